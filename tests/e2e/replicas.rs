//! Two gateways on one PostgreSQL.

use std::time::Duration;

use llm_gate::store::LedgerStore;
use llm_gate_diesel::{PgConfig, PgStore};
use llm_gate_gateway::config::Config;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::{Figure, ScriptedVllm, UsageMode};
use support::{Person, chat, database, in_time};
use tempfile::TempDir;

async fn gateway(url: &str, vllm: &ScriptedVllm) -> (Running, TempDir) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut config = Config {
        data_dir: folder.path().to_path_buf(),
        ..Config::default()
    };
    config.server.port = 0;
    config.metrics.port = 0;
    config.passwords.memory_kib = 7168;
    config.passwords.iterations = 5;
    config.database.url = Some(url.into());
    config.web_url = Some("http://gate.example".into());
    config.auth.jwt_secret = Some("one secret for all, thirty-two bytes".into());
    config.auth.api_key_pepper = Some("one pepper for all, thirty-two bytes".into());
    config.upstream.url = vllm.url();
    let running = Gateway::new(config).start().await.expect("a gateway");
    running.models_known().await;
    (running, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_gateways_keep_one_limit_and_know_the_same_keys() {
    let Some(database) = database().await else {
        return;
    };
    let mut model = scripted_vllm::Config::default();
    model.usage = UsageMode::WholeBound {
        prompt: Figure::exact(10),
        completion: Figure::max_tokens(),
    };
    let vllm = ScriptedVllm::start(model).await.expect("a free port");
    let (first, _one) = gateway(database.url(), &vllm).await;
    let (second, _two) = gateway(database.url(), &vllm).await;
    let ada = Person::register(first.address, "ada").await;
    let elsewhere = ada.at(second.address);
    let ask = chat("Hello").max_tokens(20);
    assert_eq!(
        elsewhere.chat(&ask).await.status,
        200,
        "the other one knows the key"
    );

    // A budget for what is used and exactly ten of the bounds, all of it used.
    let bound = ask.json().to_string().len() as u64 + 64 + 20;
    let patient = PgConfig::new(database.url()).connect_timeout(Duration::from_secs(60));
    let store = PgStore::open(patient).await.expect("a database");
    let limit = 30 + 9 * 30 + bound;
    store
        .set_limit(ada.subject(), Some(llm_gate::tokens::Tokens::new(limit)))
        .await
        .expect("a database");
    let calls: Vec<_> = (0..60)
        .map(|call| {
            let (person, ask) = (
                if call % 2 == 0 {
                    ada.clone()
                } else {
                    elsewhere.clone()
                },
                ask.clone(),
            );
            tokio::spawn(async move { person.chat(&ask).await.status.as_u16() })
        })
        .collect();
    let mut served = 0;
    for call in calls {
        match call.await.expect("no panic") {
            200 => served += 1,
            429 => {}
            other => panic!("{other}"),
        }
    }
    assert!(served <= 10, "{served} served on a budget for ten");
    let settled = async || {
        let pending = async || store.totals().await.expect("a database").pending;
        in_time("the books", async { while pending().await > 0 {} }).await;
    };
    settled().await;
    // Whoever tries again, once what the others have not used is given back, gets the rest.
    while ada.chat(&ask).await.status == 200 {
        served += 1;
        settled().await;
    }
    assert_eq!(served, 10, "nothing is stranded either");
    let standing = store.standing(ada.subject()).await.expect("a database");
    assert_eq!(
        standing.used.get(),
        30 * (1 + served),
        "what was served is charged, and nothing else"
    );
    assert!(standing.used.get() <= limit);
    assert!(store.totals().await.expect("a database").balance());
    first.shutdown().await;
    second.shutdown().await;
}
