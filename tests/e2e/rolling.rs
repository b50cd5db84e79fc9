//! Streams hold step by step: many share a small budget, one is cut where the budget ends, and whatever
//! happens on the way, what was delivered is charged.

use std::time::Duration;

use llm_gate::store::LedgerStore;
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use scripted_vllm::{Answer, Config, Gate, ScriptedVllm};
use serde_json::{Value, json};
use support::{Ended, Person, Server, World, chat, completion, in_time};

/// The content and finish reasons of a streamed answer, by choice.
fn told(ended: &Ended, choice: u64) -> (usize, Vec<String>) {
    let (mut tokens, mut reasons) = (0, Vec::new());
    for event in ended.values() {
        for part in event["choices"].as_array().into_iter().flatten() {
            if part["index"] != choice {
                continue;
            }
            let content = part["delta"]["content"]
                .as_str()
                .or_else(|| part["text"].as_str());
            tokens += usize::from(content.is_some_and(|content| !content.is_empty()));
            reasons.extend(part["finish_reason"].as_str().map(str::to_owned));
        }
    }
    (tokens, reasons)
}

fn figure(usage: &Value, name: &str) -> u64 {
    usage[name].as_u64().expect("a figure")
}

#[tokio::test]
async fn ten_streams_with_wide_bounds_share_a_small_budget() {
    let world = World::start().await;
    let ada = world.register_with(5_000).await;
    // The model ends by itself, after fewer than 50 tokens of the 4,096 it may generate.
    let ask = chat("Hello").with("max_tokens", 4_000).stream().usage();
    assert!(ask.json().to_string().len() <= 150);
    let (gate, key) = Gate::new();
    for _ in 0..10 {
        world.vllm().push(Answer::Lockstep { gate: gate.clone() });
    }
    let mut streams = Vec::new();
    for _ in 0..10 {
        let stream = ada.open(&ask).await;
        assert_eq!(stream.status, 200, "all ten are let in");
        streams.push(stream);
    }
    // None has ended by now.
    world.upstream(|counts| counts.active == 10).await;
    key.open();
    for stream in streams {
        assert!(stream.to_end().await.is_done());
    }
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn a_stream_that_needs_more_is_cut_at_the_budget() {
    // Slow enough, and with enough to say, not to have written all of it when it is cut.
    let world = World::builder().vllm(|config| config.pace = Duration::from_millis(1));
    let world = world.start().await;
    for ask in [
        chat("Hi").max_tokens(4_000).stream(),
        chat("Hi").max_tokens(4_000).stream().usage(),
        completion("Hi").max_tokens(4_000).stream().usage(),
    ] {
        let ada = world.register_with(300).await;
        let aborted = world.vllm().counts().aborted;
        let path = if ask.json()["prompt"].is_string() {
            "/v1/completions"
        } else {
            "/v1/chat/completions"
        };
        let stream = ada.open_at(path, &ask).await;
        assert_eq!(stream.status, 200);
        let ended = stream.to_end().await;
        assert!(ended.is_done(), "{:?}", ended.events.last());
        let (tokens, reasons) = told(&ended, 0);
        assert_eq!(reasons, ["length"]);
        world.upstream(|counts| counts.aborted > aborted).await;
        world.settle().await;
        let used = world.used(&ada).await;
        assert!(used <= 300, "{used}");
        assert!(used > 290, "nearly all of it is spent: {used}");
        if let Some(usage) = ended.usage() {
            assert_eq!(figure(&usage, "total_tokens"), used, "what is charged");
            assert_eq!(figure(&usage, "completion_tokens"), tokens as u64);
        }
        let events = ended.values();
        let (first, last) = (&events[0], &events[events.len() - 1]);
        for same in ["id", "object", "created", "model"] {
            assert_eq!(first[same], last[same], "{same}");
        }
    }
}

#[tokio::test]
async fn both_choices_of_a_stream_are_ended() {
    let world = World::start().await;
    let ada = world.register_with(300).await;
    let ask = chat("Hi").max_tokens(500).with("n", 2).stream().usage();
    let ended = ada.open(&ask).await.to_end().await;
    assert!(ended.is_done(), "{:?}", ended.events.last());
    let (mut tokens, usage) = (0, ended.usage().expect("it was asked for"));
    for choice in 0..2 {
        let (some, reasons) = told(&ended, choice);
        assert_eq!(reasons, ["length"], "choice {choice}");
        tokens += some as u64;
    }
    world.settle().await;
    let used = world.used(&ada).await;
    assert!(used <= 300 && used > 290, "{used}");
    assert_eq!(figure(&usage, "total_tokens"), used);
    assert_eq!(figure(&usage, "completion_tokens"), tokens);

    let rich = world.register().await;
    let ask = ask.max_tokens(300);
    let ended = rich.open(&ask).await.to_end().await;
    assert!(ended.is_done());
    world.settle().await;
    let usage = ended.usage().expect("it was asked for");
    assert_eq!(world.used(&rich).await, figure(&usage, "total_tokens"));
    assert_eq!(figure(&usage, "completion_tokens"), 600, "all of it");
}

/// Runs a stream of 2,000 tokens event by event, does something to its owner behind the tenth, and returns how
/// it ended and what was charged.
async fn interrupted(world: &World, then: impl AsyncFnOnce(&Person)) -> (Ended, u64) {
    let ada = world.register().await;
    world.limit(&ada, 100_000).await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let ask = chat("Hi").max_tokens(2_000).stream().usage();
    let mut stream = ada.open(&ask).await;
    for _ in 0..10 {
        key.release();
        stream.event().await;
    }
    then(&ada).await;
    key.open();
    let ended = stream.to_end().await;
    world.upstream(|counts| counts.active == 0).await;
    world.settle().await;
    (ended, world.used(&ada).await)
}

#[tokio::test]
async fn a_lowered_limit_ends_a_stream_at_its_next_extension() {
    let world = World::start().await;
    let lower = async |ada: &Person| world.limit(ada, 50).await;
    let (ended, used) = interrupted(&world, lower).await;
    assert!(ended.is_done(), "{:?}", ended.events.last());
    assert_eq!(told(&ended, 0).1, ["length"]);
    assert!(used > 50, "what was held is spent");
    assert!(used < 300, "and no more: {used}");
    let usage = ended.usage().expect("it was asked for");
    assert_eq!(figure(&usage, "total_tokens"), used);
}

#[tokio::test]
async fn a_revoked_key_ends_its_stream_at_its_next_extension() {
    let world = World::start().await;
    let revoke = async |ada: &Person| {
        let session = ada.session().await;
        let me = session.get("/api/v1/users/me").await.expect("an answer");
        let project = me.text("default_project_id").to_owned();
        let path = format!("/api/v1/projects/{project}/api-keys");
        let keys = session.get(&path).await.expect("an answer").json();
        for key in keys["keys"].as_array().expect("a list of keys") {
            let id = key["id"].as_str().expect("an id");
            let path = format!("{path}/{id}/revoke");
            let revoked = session.post(&path, &json!({})).await.expect("an answer");
            assert!(revoked.status.is_success(), "{:?}", revoked.json());
        }
    };
    let (ended, used) = interrupted(&world, revoke).await;
    assert!(ended.is_done(), "{:?}", ended.events.last());
    assert_eq!(told(&ended, 0).1, ["length"]);
    assert!(used < 300, "not to the end of its 2,000: {used}");
    let usage = ended.usage().expect("it was asked for");
    assert_eq!(figure(&usage, "total_tokens"), used);
}

#[tokio::test]
async fn a_store_that_goes_away_ends_a_stream_with_an_error() {
    let world = World::start().await;
    let mut failures = world.store().failures();
    let cut = async |_: &Person| {
        world.store().set_away(true);
        // Back when the settlement was refused: a first failure asks ahead, a second is the stream's own.
        let store = world.store().clone();
        tokio::spawn(async move {
            let before = *failures.borrow_and_update();
            let failed = failures.wait_for(|&count| count > before + 2).await;
            failed.expect("the store is there");
            store.set_away(false);
        });
    };
    let (ended, used) = interrupted(&world, cut).await;
    assert!(ended.error().is_some(), "{:?}", ended.events.last());
    assert!(!ended.is_done(), "nobody takes it for whole");
    let (tokens, reasons) = told(&ended, 0);
    assert_eq!(reasons, Vec::<String>::new(), "and never for too long");
    assert!(used > tokens as u64, "the prompt and what was delivered");
    assert!(used < 300, "to the end of its hold: {used}");
}

#[tokio::test]
async fn a_kill_while_more_is_asked_for_charges_what_was_delivered() {
    let vllm = ScriptedVllm::start(Config::default()).await;
    let vllm = vllm.expect("a free port");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut server = Server::start(folder.path(), &vllm.url()).await;
    let ada = Person::register(server.address, "ada").await;
    let ask = chat("Hello").max_tokens(600).stream().with(
        "stream_options",
        json!({ "include_usage": true, "continuous_usage_stats": true }),
    );
    let mut charged = 0;
    // About where the first usage, half of a step and a whole one are extended.
    for events in [1, 2, 120, 129, 130, 131, 255, 258] {
        let ada = ada.at(server.address);
        let (gate, key) = Gate::new();
        vllm.push(Answer::Lockstep { gate });
        let mut stream = ada.open(&ask).await;
        let mut delivered = 0;
        key.release_many(events);
        for _ in 0..events {
            let event: Value = serde_json::from_str(&stream.event().await).expect("JSON");
            delivered = figure(&event["usage"], "total_tokens");
        }
        server.kill().await;
        assert!(!stream.to_end().await.whole, "nobody takes it for whole");
        drop(key);
        server = Server::start(folder.path(), &vllm.url()).await;
        charged += delivered;
        let path = folder.path().join("llm-gate.db");
        let store = SqliteStore::open(SqliteConfig::new(path)).await;
        let store = store.expect("a database");
        let standing = in_time("the books", store.standing(ada.subject())).await;
        let standing = standing.expect("readable");
        assert_eq!(standing.used.get(), charged, "killed after {events} events");
        assert_eq!(standing.reserved.get(), 0, "nothing stays held");
        assert!(store.totals().await.expect("readable").balance());
    }
}
