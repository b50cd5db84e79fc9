//! `llm-gate demo`: the whole way of a request with nothing but this program.

mod walk;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use llm_gate::store::{LedgerStore, Store};
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use scripted_vllm::{ModelCard, ScriptedVllm};
use tempfile::TempDir;

use self::walk::Visitor;
use super::error::{CommandError, say};
use super::serve::Signals;
use crate::config::Config;
use crate::{Gateway, Running};

/// The model of the scripted server.
const MODEL: &str = "demo-model";
const CONTEXT: u64 = 8192;
/// How fast it writes, so that streaming can be seen.
const PACE: Duration = Duration::from_millis(40);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End after the checks, with exit code 1 if one failed
    #[arg(long)]
    once: bool,
    /// The port to listen on; a free one unless said
    #[arg(long, default_value_t = 0)]
    port: u16,
}

/// Everything the demo runs on; all of it is gone afterwards.
struct Stage {
    running: Running,
    upstream: ScriptedVllm,
    store: Arc<dyn Store>,
    // Removed last, when nobody uses it any more.
    _folder: TempDir,
}

pub(super) async fn run(arguments: &Arguments) -> Result<(), CommandError> {
    let mut signals = Signals::new()?;
    let stage = Stage::set(arguments.port).await?;
    say!("gateway       {}", stage.running.url())?;
    say!(
        "metrics       http://{}/metrics",
        stage.running.metrics_address
    )?;
    say!("model server  {} (scripted)\n", stage.upstream.url())?;
    let visitor = tokio::select! {
        walked = walk::walk(&stage) => walked?,
        _ = signals.next() => return Err(CommandError::failed("interrupted")),
    };
    say!("\nall checks passed\n")?;
    if !arguments.once {
        paste(&stage, &visitor)?;
        signals.next().await;
    }
    stage.running.shutdown().await;
    Ok(())
}

impl Stage {
    async fn set(port: u16) -> Result<Self, CommandError> {
        let folder = tempfile::Builder::new()
            .prefix("llm-gate-demo-")
            .tempdir()?;
        let mut scripted = scripted_vllm::Config::default();
        scripted.models = vec![ModelCard::new(MODEL, CONTEXT)];
        scripted.pace = PACE;
        let upstream = ScriptedVllm::start(scripted).await?;

        let mut config = Config {
            data_dir: folder.path().to_owned(),
            ..Config::default()
        };
        config.server.port = port;
        config.metrics.port = 0;
        config.upstream.url = upstream.url();
        let file = SqliteConfig::new(folder.path().join("llm-gate.db"));
        let store: Arc<dyn Store> = Arc::new(
            SqliteStore::open(file)
                .await
                .map_err(|error| CommandError::failed(error.to_string()))?,
        );
        let running = Gateway::new(config)
            .store(Arc::clone(&store))
            .start()
            .await?;
        running.models_known().await;
        Ok(Self {
            running,
            upstream,
            store,
            _folder: folder,
        })
    }

    /// What the model server has counted.
    fn counted(&self) -> u64 {
        let counts = self.upstream.counts();
        counts.prompt_tokens + counts.completion_tokens
    }

    /// Whether ledger and counters agree, with nothing left open.
    async fn books_balance(&self) -> Result<bool, CommandError> {
        let totals = LedgerStore::totals(&*self.store).await?;
        Ok(totals.balance() && totals.pending == 0)
    }
}

/// Prints what to try by hand.
fn paste(stage: &Stage, visitor: &Visitor) -> Result<(), CommandError> {
    let url = stage.running.url();
    let json = "-H 'Content-Type: application/json'";
    let body = |stream: bool| {
        let message = r#""messages": [{"role": "user", "content": "Hello!"}]"#;
        format!(r#"'{{"model": "{MODEL}", "stream": {stream}, "max_tokens": 60, {message}}}'"#)
    };
    say!("Paste these; Ctrl-C ends the demo and removes its data.\n")?;
    say!("# what the key and the login are good for")?;
    say!("export KEY={}", visitor.key)?;
    say!("export LOGIN={}\n", visitor.access_token)?;
    say!("# chat")?;
    say!(
        "curl {url}/v1/chat/completions -H \"Authorization: Bearer $KEY\" {json} -d {}\n",
        body(false)
    )?;
    say!("# stream")?;
    say!(
        "curl -N {url}/v1/chat/completions -H \"Authorization: Bearer $KEY\" {json} -d {}\n",
        body(true)
    )?;
    say!("# usage (the login is good for ten minutes)")?;
    say!("curl {url}/api/v1/users/me/usage -H \"Authorization: Bearer $LOGIN\"\n")?;
    say!("# quota exhausted: lower the own limit, then ask again")?;
    say!(
        "curl -X PUT {url}/api/v1/users/me/token-limit -H \"Authorization: Bearer $LOGIN\" {json} -d '{{\"token_limit\": 1}}'"
    )?;
    say!(
        "curl -i {url}/v1/chat/completions -H \"Authorization: Bearer $KEY\" {json} -d {}\n",
        body(false)
    )?;
    Ok(())
}
