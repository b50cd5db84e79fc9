//! While the database is away nothing is granted; when it is back nothing is lost.

use std::time::Duration;

use diesel::connection::SimpleConnection;
use scripted_vllm::{Answer, Gate};
use support::{Answer as Whole, Lock, Person, World, chat, in_time};

/// A world that does not wait long for a locked database.
async fn hasty() -> World {
    World::builder()
        .busy_timeout(Duration::from_millis(1))
        .start()
        .await
}

async fn call(person: &Person) -> Whole {
    person.chat(&chat("Hi").max_tokens(3)).await
}

/// Says when to come back, in the shape of OpenAI.
fn is_later(answer: &Whole) {
    assert_eq!(answer.status, 503, "{:?}", answer.json());
    let after = answer.headers["retry-after"].to_str().expect("a number");
    assert!(after.parse::<u64>().expect("a number") >= 1);
    assert_eq!(answer.json()["error"]["code"], "service_unavailable");
}

#[tokio::test]
async fn a_locked_database_grants_nothing_and_recovers_by_itself() {
    let world = hasty().await;
    let ada = world.register().await;
    let lock = Lock::take(world.folder());
    for _ in 0..3 {
        is_later(&call(&ada).await);
    }
    assert_eq!(
        world.vllm().counts().requests,
        0,
        "nothing is sent that cannot be booked"
    );
    lock.release();
    assert_eq!(
        call(&ada).await.status,
        200,
        "nobody has to restart anything"
    );
    let totals = world.settle().await;
    assert_eq!(totals.settled, 1, "what was refused left nothing behind");
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn the_admin_api_changes_nothing_while_the_database_is_locked() {
    let world = hasty().await;
    let admin = world.admin().await;
    let path = "/v1/organization/projects";
    let lock = Lock::take(world.folder());
    let body = serde_json::json!({ "name": "research" });
    let refused = in_time("a refusal", admin.post(path, &body)).await;
    is_later(&refused.expect("an answer"));
    lock.release();
    let made = in_time("a project", admin.post(path, &body)).await;
    let made = made.expect("an answer");
    assert_eq!(made.status, 200, "nobody has to restart anything: {made:?}");
    let listed = in_time("the projects", admin.get(path)).await;
    let listed = listed.expect("an answer").json();
    let named = listed["data"].as_array().expect("a list").iter();
    let named = named.filter(|project| project["name"] == "research");
    assert_eq!(named.count(), 1, "what was refused was not made");
}

#[tokio::test]
async fn a_stream_goes_on_without_the_database_and_is_settled_when_it_is_back() {
    let world = hasty().await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(5).stream()).await;
    key.release();
    stream.event().await;

    let lock = Lock::take(world.folder());
    let mut failures = world.store().failures();
    failures.borrow_and_update();
    key.open();
    assert!(stream.to_end().await.is_done(), "its hold was taken before");
    in_time("the settlement fails", failures.changed())
        .await
        .expect("the store is there");
    let open = world.totals().await;
    assert_eq!((open.pending, open.settled), (1, 0), "it is still owed");

    lock.release();
    let totals = world.settle().await;
    assert_eq!(totals.settled, 1);
    assert_eq!(world.used(&ada).await, world.generated(), "nothing is lost");
}

#[tokio::test]
async fn a_client_that_leaves_without_the_database_is_settled_when_it_is_back() {
    let world = hasty().await;
    let ada = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = ada.open(&chat("Hello").max_tokens(5).stream()).await;
    for _ in 0..3 {
        key.release();
        stream.event().await;
    }
    let lock = Lock::take(world.folder());
    drop(stream);
    world.upstream(|counts| counts.aborted == 1).await;
    lock.release();
    drop(key);
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_opened_anew() {
    let world = World::start().await;
    let ada = world.register().await;
    // By login, so that the next thing to be written is the reservation and not the last use of a key.
    let session = ada.session().await;
    let call = async || {
        let body = chat("Hi").max_tokens(3).json();
        let answer = session.post("/v1/chat/completions", &body).await;
        answer.expect("an answer")
    };
    let broken = world.store().database().on_writer(|connection| {
        connection
            .batch_execute("PRAGMA query_only = ON")
            .expect("a pragma");
    });
    broken.await.expect("there is a connection");
    is_later(&call().await);
    assert_eq!(call().await.status, 200, "a failed connection is replaced");
    world.settle().await;
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test]
async fn a_store_that_is_away_is_no_refusal_of_credentials() {
    let world = World::start().await;
    let ada = world.register().await;
    let session = ada.session().await;
    world.store().set_away(true);
    // Not looked up yet, and now it cannot be.
    let answer = call(&ada).await;
    is_later(&answer);
    assert!(
        !answer.headers.contains_key("www-authenticate"),
        "nobody says that it is wrong"
    );
    let body = chat("Hi").max_tokens(3).json();
    is_later(
        &session
            .post("/v1/chat/completions", &body)
            .await
            .expect("an answer"),
    );
    let me = session.get("/api/v1/users/me").await.expect("an answer");
    assert_eq!(me.status, 503, "{:?}", me.json());
    assert!(me.headers.contains_key("retry-after"), "{:?}", me.headers);
    for report in ["usage/daily", "usage/calls?format=csv", "usage/summary"] {
        let path = format!("/api/v1/{report}");
        let report = session.get(&path).await.expect("an answer");
        assert_eq!(report.status, 503, "no empty one: {path}");
    }
    let ready = world
        .client()
        .get("/health/ready")
        .await
        .expect("an answer");
    assert_eq!(ready.status, 503, "whoever routes to it should know");
    let live = world.client().get("/health/live").await.expect("an answer");
    assert_eq!(live.status, 200, "a restart would not help");

    world.store().set_away(false);
    assert_eq!(call(&ada).await.status, 200);
    assert_eq!(
        session
            .get("/api/v1/users/me")
            .await
            .expect("an answer")
            .status,
        200
    );
    world.settle().await;
    assert_eq!(world.vllm().counts().requests, 1);
    assert_eq!(world.used(&ada).await, world.generated());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_amid_traffic_lose_and_charge_nothing_twice() {
    let world = std::sync::Arc::new(World::start().await);
    let ada = world.register().await;
    assert_eq!(call(&ada).await.status, 200);
    world.settle().await;
    let each = world.used(&ada).await;
    world.limit(&ada, 1_000_000).await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        let (ada, world) = (ada.clone(), std::sync::Arc::clone(&world));
        callers.spawn(async move {
            let mut served = 0;
            for turn in 0..20 {
                world.store().set_away((caller + turn) % 5 == 0);
                let ask = chat("Hi").max_tokens(3);
                let ask = if turn % 2 == 0 { ask } else { ask.stream() };
                let answer = ada.open(&ask).await;
                match answer.status.as_u16() {
                    200 => served += 1,
                    503 => {}
                    other => panic!("{other}"),
                }
                assert!(answer.to_end().await.whole);
            }
            served
        });
    }
    let served = 1 + callers.join_all().await.into_iter().sum::<u64>();
    world.store().set_away(false);
    let totals = world.settle().await;
    assert_eq!(
        (world.used(&ada).await, totals.settled),
        (served * each, served),
        "every call served is charged, once, and no other"
    );
}
