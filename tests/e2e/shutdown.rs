//! The end of a process is the end of nothing in the books.

use llm_gate::store::LedgerStore;
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use scripted_vllm::{Answer, Config, Gate, ScriptedVllm};
use support::{Person, Server, World, chat, in_time};
use tokio::net::TcpStream;

#[tokio::test]
async fn open_streams_are_served_to_their_end_and_settled() {
    let mut world = World::start().await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(5).stream()).await;
    key.release();
    stream.event().await;

    let address = world.address();
    let stopping = tokio::spawn(world.take_gateway().shutdown());
    in_time("nobody listens any more", async {
        while TcpStream::connect(address).await.is_ok() {}
    })
    .await;
    assert!(!stopping.is_finished(), "a stream is open");
    key.open();
    assert!(
        stream.to_end().await.is_done(),
        "a shutdown cuts nobody off"
    );
    in_time("the shutdown", stopping).await.expect("no panic");

    let totals = world.totals().await;
    assert_eq!(
        (totals.pending, totals.settled),
        (0, 1),
        "settled before the process ends"
    );
    assert!(totals.balance());
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn streams_that_outlast_the_drain_time_are_cut_and_settled() {
    let mut world = World::builder()
        .config(|config| config.server.drain_seconds = 1)
        .start()
        .await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(5).stream()).await;
    for _ in 0..3 {
        key.release();
        stream.event().await;
    }
    world.shut_down().await;
    let ended = stream.to_end().await;
    assert!(!ended.whole, "{ended:?}");
    world.upstream(|counts| counts.aborted == 1).await;
    drop(key);
    let totals = world.totals().await;
    assert_eq!((totals.pending, totals.settled), (0, 1));
    assert!(totals.balance());
    assert_eq!(
        world.used(&ada).await,
        world.generated(),
        "what was delivered is charged"
    );
}

#[tokio::test]
async fn calls_that_are_not_streamed_are_drained_too() {
    let mut world = World::start().await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let call = tokio::spawn({
        let ada = ada.clone();
        async move { ada.chat(&chat("Hello").max_tokens(5)).await }
    });
    world.upstream(|counts| counts.active == 1).await;
    let address = world.address();
    let stopping = tokio::spawn(world.take_gateway().shutdown());
    in_time("nobody listens any more", async {
        while TcpStream::connect(address).await.is_ok() {}
    })
    .await;
    key.open();
    assert_eq!(call.await.expect("no panic").status, 200);
    in_time("the shutdown", stopping).await.expect("no panic");
    assert_eq!(world.totals().await.pending, 0);
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn books_accounts_and_keys_outlive_the_process() {
    let mut world = World::start().await;
    let ada = world.register().await;
    assert_eq!(ada.chat(&chat("Hello").max_tokens(5)).await.status, 200);
    world.settle().await;
    let before = world.used(&ada).await;
    world.shut_down().await;
    world.start_again().await;

    assert_eq!(world.used(&ada).await, before);
    let body = chat("Hello again").max_tokens(5).json();
    let again = world.client().bearer(&ada.key);
    let answer = again
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(
        answer.status,
        200,
        "the pepper was kept: {:?}",
        answer.json()
    );
    let totals = world.settle().await;
    assert_eq!(totals.settled, 2);
    assert_eq!(world.used(&ada).await, world.generated());
    world.shut_down().await;
}

#[tokio::test]
async fn a_kill_makes_nothing_free_and_the_next_process_settles_it_to_the_token() {
    let vllm = ScriptedVllm::start(Config::default())
        .await
        .expect("a free port");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let server = Server::start(folder.path(), &vllm.url()).await;
    let ada = Person::register(server.address, "ada").await;
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(5).stream()).await;
    for _ in 0..3 {
        key.release();
        stream.event().await;
    }
    server.kill().await;
    assert!(!stream.to_end().await.whole, "nobody takes it for whole");
    in_time(
        "the upstream is let go",
        vllm.until(|counts| counts.aborted == 1),
    )
    .await;
    drop(key);

    let store = SqliteStore::open(SqliteConfig::new(folder.path().join("llm-gate.db"))).await;
    let store = store.expect("a kill leaves a database");
    let totals = store.totals().await.expect("the database is there");
    assert!(totals.balance(), "{totals:?}");
    let standing = store
        .standing(ada.subject())
        .await
        .expect("the database is there");
    let counts = vllm.counts();
    let taken = standing.used.get() + standing.reserved.get();
    assert!(
        taken >= counts.prompt_tokens + counts.completion_tokens,
        "what was delivered is charged or held: {standing:?}"
    );

    let delivered = counts.prompt_tokens + counts.completion_tokens;
    let server = Server::start(folder.path(), &vllm.url()).await;
    in_time("the hold of the dead process is resolved", async {
        while store.totals().await.expect("the database is there").pending > 0 {}
    })
    .await;
    let standing = store
        .standing(ada.subject())
        .await
        .expect("the database is there");
    assert_eq!(
        standing.used.get(),
        delivered,
        "the journal knows to the token"
    );
    let again = support::Client::new(server.address).bearer(&ada.key);
    let body = chat("Hello").max_tokens(5).json();
    let answer = again
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{:?}", answer.json());
}
