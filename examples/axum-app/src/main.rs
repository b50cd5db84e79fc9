//! Starts the application in front of a scripted vLLM, with one key that may spend 10,000 tokens.
//!
//! ```text
//! cargo run -p llm-gate-axum-app
//! ```

use std::sync::Arc;

use llm_gate::call::{Model, Models};
use llm_gate::proxy::{Upstream, VllmProxyService};
use llm_gate::store::MemoryStore;
use llm_gate_axum_app::{app, with_one_key};
use scripted_vllm::{Config, ScriptedVllm};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vllm = ScriptedVllm::start(Config::default()).await?;
    let upstream = VllmProxyService::new(Upstream::new(vllm.url().parse()?)?);
    let models = Models::fixed([Model::new("tiny").context_length(4096)]);

    let store = Arc::new(MemoryStore::new());
    let (keys, key) = with_one_key(&store).await?;
    let app = app(&store, keys, models, upstream);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    println!(
        "curl http://{address}/v1/chat/completions -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\\n  -d '{{\"model\":\"tiny\",\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}'\n\
         curl http://{address}/usage -H 'authorization: Bearer {key}'",
        key = key.expose(),
    );
    axum::serve(listener, app)
        .with_graceful_shutdown(async { drop(tokio::signal::ctrl_c().await) })
        .await?;
    Ok(())
}
