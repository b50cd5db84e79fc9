//! `kill -9`: after the next start everything delivered is charged, nothing is charged twice, and nothing
//! stays held.

use std::path::Path;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;
use llm_gate::store::{LedgerStore, Totals};
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use scripted_vllm::{Answer, Config, Gate, ScriptedVllm};
use serde_json::Value;
use support::{Person, Server, chat, in_time};
use tempfile::TempDir;

/// A gateway in a process of its own, its upstream and its data.
struct Rig {
    vllm: ScriptedVllm,
    folder: TempDir,
}

impl Rig {
    async fn new() -> Self {
        Self {
            vllm: ScriptedVllm::start(Config::default())
                .await
                .expect("a free port"),
            folder: tempfile::tempdir().expect("a folder can be made"),
        }
    }

    async fn serve(&self) -> Server {
        Server::start(self.folder.path(), &self.vllm.url()).await
    }

    /// Returns the books as they lie on the disk, of a person and as a whole.
    async fn books(&self, person: &Person) -> (u64, u64, Totals) {
        let path = self.folder.path().join("llm-gate.db");
        let store = SqliteStore::open(SqliteConfig::new(path))
            .await
            .expect("a database");
        let standing = store.standing(person.subject()).await.expect("readable");
        let totals = store.totals().await.expect("readable");
        (standing.used.get(), standing.reserved.get(), totals)
    }
}

/// How many journals there are.
fn journals(folder: &Path) -> usize {
    let files = std::fs::read_dir(folder.join("journal")).expect("made at the start");
    files.count()
}

/// What the upstream had reported with an event.
fn reported(event: &str) -> u64 {
    let event: Value = serde_json::from_str(event).expect("JSON");
    event["usage"]["total_tokens"]
        .as_u64()
        .expect("running usage was asked for")
}

#[tokio::test]
async fn a_kill_at_any_event_charges_what_was_delivered() {
    let rig = Rig::new().await;
    let mut server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(4).stream().with(
        "stream_options",
        serde_json::json!({ "include_usage": true, "continuous_usage_stats": true }),
    );
    let mut charged = 0;
    for events in 0..=5 {
        let ada = ada.at(server.address);
        let (gate, key) = Gate::new();
        rig.vllm.push(Answer::Lockstep { gate });
        let mut stream = ada.open(&ask).await;
        let mut delivered = 0;
        for _ in 0..events {
            key.release();
            delivered = reported(&stream.event().await);
        }
        server.kill().await;
        assert!(!stream.to_end().await.whole, "nobody takes it for whole");
        drop(key);
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(used, charged, "not settled by the dead");
        assert!(
            reserved > 0 && totals.pending == 1,
            "the hold stands in for it meanwhile"
        );

        server = rig.serve().await;
        charged += delivered;
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(
            used, charged,
            "killed after {events} events: charged what was delivered"
        );
        assert_eq!((reserved, totals.pending), (0, 0), "nothing stays held");
        assert!(totals.balance());
        assert_eq!(
            journals(rig.folder.path()),
            1,
            "the dead one's journal is settled and gone"
        );
    }
}

#[tokio::test]
async fn an_answer_that_was_never_delivered_is_free() {
    let rig = Rig::new().await;
    let server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let (gate, key) = Gate::new();
    rig.vllm.push(Answer::Lockstep { gate });
    let call = tokio::spawn({
        let (client, body) = (ada.client.clone(), chat("Hello").max_tokens(4).json());
        async move { client.post("/v1/chat/completions", &body).await }
    });
    in_time(
        "the upstream is asked",
        rig.vllm.until(|counts| counts.active == 1),
    )
    .await;
    server.kill().await;
    assert!(call.await.expect("no panic").is_err(), "no answer");
    drop(key);

    let _server = rig.serve().await;
    let (used, reserved, totals) = rig.books(&ada).await;
    assert_eq!((used, reserved, totals.pending), (0, 0, 0));
}

#[tokio::test]
async fn what_was_sent_before_its_commit_leaves_nothing() {
    let rig = Rig::new().await;
    let server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(4);
    let answer = ada.chat(&ask).await;
    assert_eq!(answer.status, 200);
    let used = answer.json()["usage"]["total_tokens"].as_u64();
    in_time("the first one is settled", async {
        while rig.books(&ada).await.2.pending > 0 {}
    })
    .await;
    // Somebody else writes, so no hold is committed.
    let path = rig.folder.path().join("llm-gate.db");
    let url = path.to_str().expect("a plain path");
    let mut lock = SqliteConnection::establish(url).expect("the file is there");
    lock.batch_execute("PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE;")
        .expect("the lock is free in time");
    let call = tokio::spawn({
        let (client, body) = (ada.client.clone(), ask.json());
        async move { client.post("/v1/chat/completions", &body).await }
    });
    in_time(
        "the upstream has answered",
        rig.vllm.until(|counts| counts.finished == 2),
    )
    .await;
    server.kill().await;
    assert!(
        call.await.expect("no panic").is_err(),
        "nothing is delivered before the commit"
    );
    lock.batch_execute("ROLLBACK").expect("it holds the lock");
    let (before, reserved, totals) = rig.books(&ada).await;
    assert_eq!((Some(before), reserved, totals.pending), (used, 0, 0));

    let _server = rig.serve().await;
    let (after, reserved, totals) = rig.books(&ada).await;
    assert_eq!(
        (Some(after), reserved, totals.pending, totals.settled),
        (used, 0, 0, 1),
        "at no charge"
    );
    assert_eq!(
        journals(rig.folder.path()),
        1,
        "the dead one's journal is gone, and not set aside"
    );
}

#[tokio::test]
async fn what_was_settled_before_the_kill_is_not_settled_again() {
    let rig = Rig::new().await;
    let mut server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    for round in 1..=3 {
        let ada = ada.at(server.address);
        let answer = ada.chat(&chat("Hello").max_tokens(4)).await;
        assert_eq!(answer.status, 200);
        // Whether or not the settlement is committed by now.
        server.kill().await;
        server = rig.serve().await;
        let counts = rig.vllm.counts();
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(
            used,
            counts.prompt_tokens + counts.completion_tokens,
            "round {round}"
        );
        assert_eq!(
            (reserved, totals.settled),
            (0, round),
            "one settlement each"
        );
        assert!(totals.balance());
    }
}

#[tokio::test]
async fn a_kill_under_load_loses_and_doubles_nothing() {
    // More rounds: LOAD_ROUNDS=100 cargo test --package llm-gate-tests killed
    let rounds = std::env::var("LOAD_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(3);
    let rig = Rig::new().await;
    let mut server = rig.serve().await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(3).stream().with(
        "stream_options",
        serde_json::json!({ "include_usage": true, "continuous_usage_stats": true }),
    );
    let mut least = 0;
    for round in 0..rounds {
        let streams: Vec<_> = (0..8)
            .map(|_| {
                let (ada, ask) = (ada.at(server.address), ask.clone());
                tokio::spawn(async move {
                    // One after the other until the kill.
                    let mut delivered = 0;
                    while let Ok(mut stream) = ada.try_open(&ask).await {
                        let mut last = 0;
                        while let Ok(Some(event)) = stream.next().await {
                            if event.starts_with('{') {
                                last = reported(&event);
                            }
                        }
                        delivered += last;
                    }
                    delivered
                })
            })
            .collect();
        let seen = rig.vllm.counts().finished;
        in_time(
            "some are served",
            rig.vllm.until(|counts| counts.finished > seen + 20),
        )
        .await;
        server.kill().await;
        for stream in streams {
            least += stream.await.expect("no panic");
        }
        server = rig.serve().await;
        let (used, reserved, totals) = rig.books(&ada).await;
        assert_eq!(
            (reserved, totals.pending),
            (0, 0),
            "round {round}: nothing stays held"
        );
        assert!(totals.balance(), "round {round}: {totals:?}");
        assert!(
            used >= least,
            "round {round}: {used} charged, {least} delivered"
        );
        // What the gate had handed over and the kill kept from arriving: of each stream one answer at most.
        assert!(
            used <= least + 8 * 14,
            "round {round}: {used} charged, {least} delivered"
        );
        least = used;
    }
}
