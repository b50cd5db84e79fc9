//! Gateways that are not heard of any more, and the others on their PostgreSQL.

use std::path::Path;
use std::time::Duration;

use llm_gate::store::{LedgerStore, Totals};
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{PgConfig, PgStore};
use scripted_vllm::{Answer, Config, Gate, ScriptedVllm};
use serde_json::{Value, json};
use support::{Person, Server, chat, in_time};

/// Waits until the books say so.
async fn until(store: &PgStore, what: &str, said: impl Fn(Totals) -> bool) {
    in_time(what, async {
        while !said(store.totals().await.expect("the database is there")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_held_is_presumed_by_another_and_corrected_by_its_journal() {
    if !postgres::installed() {
        eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let database = postgres::config().await;
    let vllm = ScriptedVllm::start(Config::default())
        .await
        .expect("a free port");
    let settings = [
        ("DATABASE_URL", database.url()),
        ("JWT_SECRET_KEY", "one secret for all, thirty-two bytes"),
        ("API_KEY_PEPPER", "one pepper for all, thirty-two bytes"),
        ("WEB_URL", "http://gate.example"),
        ("LLM_GATE_LEDGER__HEARTBEAT_SECONDS", "1"),
        // Long enough for a heartbeat, on a busy machine too.
        ("LLM_GATE_LEDGER__LEASE_SECONDS", "10"),
        ("LLM_GATE_LEDGER__GRACE_SECONDS", "0"),
    ];
    let start = async |folder: &Path| Server::start_with(folder, &vllm.url(), &settings).await;
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder can be made"));
    let dying = start(folders[0].path()).await;
    let _living = start(folders[1].path()).await;
    let patient = PgConfig::new(database.url()).connect_timeout(Duration::from_secs(60));
    let store = PgStore::open(patient).await.expect("a database");
    let used = async |person: &Person| {
        let standing = store.standing(person.subject()).await;
        let standing = standing.expect("the database is there");
        (
            standing.used.get(),
            standing.reserved.get(),
            standing.overage.get(),
        )
    };

    let ada = Person::register(dying.address, "ada").await;
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let usage = json!({ "include_usage": true, "continuous_usage_stats": true });
    let ask = chat("Hello")
        .max_tokens(40)
        .stream()
        .with("stream_options", usage);
    let mut stream = ada.open(&ask).await;
    let mut delivered = 0;
    for _ in 0..3 {
        key.release();
        let event: Value = serde_json::from_str(&stream.event().await).expect("JSON");
        delivered = event["usage"]["total_tokens"]
            .as_u64()
            .expect("running usage was asked for");
    }
    let (_, held, _) = used(&ada).await;
    assert!(held > delivered, "more is held than was delivered");
    dying.kill().await;
    drop(key);
    until(&store, "the other one notices", |totals| {
        totals.pending == 0
    })
    .await;
    let (presumed, reserved, _) = used(&ada).await;
    assert_eq!(reserved, 0, "nothing stays held");
    assert!(presumed >= delivered, "nothing that was delivered is free");
    assert!(presumed <= held, "and no more than was held is charged");

    // It comes back with its journal.
    let _again = start(folders[0].path()).await;
    assert_eq!(
        used(&ada).await,
        (delivered, 0, 0),
        "charged what was delivered"
    );
    let totals = store.totals().await.expect("the database is there");
    assert!(totals.balance(), "{totals:?}");
}
