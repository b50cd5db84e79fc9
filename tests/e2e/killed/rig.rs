//! A gateway in a process of its own, its upstream and its data.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::Duration;

use llm_gate::store::{LedgerStore, Totals};
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};
use scripted_vllm::{Config, ScriptedVllm};
use support::{Person, Server};
use tempfile::TempDir;

pub(super) struct Rig {
    pub(super) vllm: ScriptedVllm,
    pub(super) folder: TempDir,
    /// The URL of the database, where that is not in the folder.
    database: Option<String>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(super) async fn with(config: Config) -> Self {
        Self {
            vllm: ScriptedVllm::start(config).await.expect("a free port"),
            folder: tempfile::tempdir().expect("a folder can be made"),
            database: None,
        }
    }

    /// Keeps the books in a PostgreSQL instead.
    pub(super) fn on(mut self, database: &PgConfig) -> Self {
        self.database = Some(database.url().to_owned());
        self
    }

    pub(super) async fn serve(&self) -> Server {
        let mut settings = Vec::new();
        if let Some(url) = &self.database {
            settings.extend([
                ("DATABASE_URL", url.as_str()),
                ("JWT_SECRET_KEY", "a secret of the tests, thirty-two bytes"),
                ("API_KEY_PEPPER", "a pepper of the tests, thirty-two bytes"),
            ]);
        }
        Server::start_with(self.folder.path(), &self.vllm.url(), &settings).await
    }

    /// Opens the books as the dead have left them.
    pub(super) async fn store(&self) -> Box<dyn LedgerStore> {
        if let Some(url) = &self.database {
            let patient = PgConfig::new(url).connect_timeout(Duration::from_secs(60));
            let store = PgStore::open(patient).await;
            return Box::new(store.expect("a database"));
        }
        let path = self.folder.path().join("llm-gate.db");
        let store = SqliteStore::open(SqliteConfig::new(path)).await;
        Box::new(store.expect("a database"))
    }

    /// Returns the books, of a person and as a whole.
    pub(super) async fn books(&self, person: &Person) -> (u64, u64, Totals) {
        let store = self.store().await;
        let standing = store.standing(person.subject()).await.expect("readable");
        let totals = store.totals().await.expect("readable");
        (standing.used.get(), standing.reserved.get(), totals)
    }

    /// The names of the journals there are.
    pub(super) fn journals(&self) -> BTreeSet<OsString> {
        let files = std::fs::read_dir(self.folder.path().join("journal"));
        // One that is taken away meanwhile is not there.
        let files = files.expect("made at the start").filter_map(Result::ok);
        files.map(|file| file.file_name()).collect()
    }
}
