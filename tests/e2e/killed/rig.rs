//! A gateway in a process of its own, its upstream and its data.

use llm_gate::store::{LedgerStore, Totals};
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use scripted_vllm::{Config, ScriptedVllm};
use support::{Person, Server};
use tempfile::TempDir;

pub(super) struct Rig {
    pub(super) vllm: ScriptedVllm,
    pub(super) folder: TempDir,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        Self {
            vllm: ScriptedVllm::start(config).await.expect("a free port"),
            folder: tempfile::tempdir().expect("a folder can be made"),
        }
    }

    pub(super) async fn serve(&self) -> Server {
        Server::start(self.folder.path(), &self.vllm.url()).await
    }

    /// Opens the books as they lie on the disk.
    pub(super) async fn store(&self) -> SqliteStore {
        let path = self.folder.path().join("llm-gate.db");
        SqliteStore::open(SqliteConfig::new(path))
            .await
            .expect("a database")
    }

    /// Returns the books, of a person and as a whole.
    pub(super) async fn books(&self, person: &Person) -> (u64, u64, Totals) {
        let store = self.store().await;
        let standing = store.standing(person.subject()).await.expect("readable");
        let totals = store.totals().await.expect("readable");
        (standing.used.get(), standing.reserved.get(), totals)
    }

    /// How many journals there are.
    pub(super) fn journals(&self) -> usize {
        let files = std::fs::read_dir(self.folder.path().join("journal"));
        files.expect("made at the start").count()
    }
}
