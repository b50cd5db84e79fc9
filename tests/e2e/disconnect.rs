//! A client that leaves is charged for what it has got, and nobody works for it any longer.

use scripted_vllm::{Answer, Gate, Step};
use support::{Ask, Events, Http2, Person, World, chat};

/// Tokens of the answer in these tests.
const TOKENS: usize = 4;
/// Events of a stream with usage: the role, the tokens, the usage.
const EVENTS: usize = TOKENS + 2;

fn ask() -> Ask {
    chat("Tell me everything")
        .max_tokens(TOKENS as u64)
        .stream()
        .usage()
}

/// Reads `events` of a stream that the upstream releases one by one, leaves, and returns what was charged
/// and what the upstream had written by then.
async fn leave_after(
    world: &World,
    person: &Person,
    events: usize,
    open: impl AsyncFnOnce() -> Events,
) -> (u64, u64) {
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let (generated, aborted) = (world.generated(), world.vllm().counts().aborted);
    let mut stream = open().await;
    assert_eq!(stream.status, 200);
    for _ in 0..events {
        key.release();
        stream.event().await;
    }
    drop(stream);
    world.upstream(|counts| counts.aborted > aborted).await;
    // Held until here: without its key a gate is open.
    drop(key);
    world.settle().await;
    (world.used(person).await, world.generated() - generated)
}

#[tokio::test]
async fn a_client_that_leaves_between_two_events_is_charged_for_those_before() {
    let world = World::start().await;
    for events in 0..=EVENTS {
        let person = world.register().await;
        let (charged, generated) =
            leave_after(&world, &person, events, async || person.open(&ask()).await).await;
        assert_eq!(charged, generated, "after {events} events");
        assert_eq!(charged == 0, events == 0, "the head alone costs nothing");
    }
}

#[tokio::test]
async fn a_stream_of_http2_that_is_reset_is_charged_alike() {
    let world = World::start().await;
    let mut connection = Http2::connect(world.address()).await;
    for events in 0..=EVENTS {
        let person = world.register().await;
        let request = person.request("/v1/chat/completions", &ask());
        let (charged, generated) = leave_after(&world, &person, events, async || {
            connection.open(request).await
        })
        .await;
        assert_eq!(charged, generated, "after {events} events");
    }
    // The connection outlives its streams.
    let person = world.register().await;
    let request = person.request("/v1/chat/completions", &ask());
    assert!(connection.open(request).await.to_end().await.is_done());
    world.settle().await;
}

#[tokio::test]
async fn an_event_that_was_not_delivered_is_not_charged() {
    let world = World::start().await;
    let person = world.register().await;
    // Without usage the last token's event waits for the fingerprint of the one behind it.
    let ask = chat("Tell me everything")
        .max_tokens(TOKENS as u64)
        .stream();
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut stream = person.open(&ask).await;
    for _ in 0..TOKENS {
        key.release();
        stream.event().await;
    }
    let delivered = world.generated();
    key.release();
    world
        .upstream(|counts| counts.events as usize == TOKENS + 1)
        .await;
    drop(stream);
    world.upstream(|counts| counts.aborted == 1).await;
    drop(key);
    world.settle().await;
    let charged = world.used(&person).await;
    assert!(
        charged >= delivered,
        "nothing is free: {charged} for {delivered}"
    );
    assert!(
        charged <= delivered + 1,
        "at most one event more: {charged} for {delivered}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_the_head_is_charged_nothing() {
    let world = World::start().await;
    let person = world.register().await;
    for ask in [ask(), chat("Hi").max_tokens(3)] {
        let aborted = world.vllm().counts().aborted;
        let (gate, key) = Gate::new();
        world
            .vllm()
            .push(Answer::Raw(vec![Step::Wait(gate), Step::Close]));
        let mut client = world.raw().await;
        client
            .request(&head(&person), &ask.json().to_string())
            .await;
        world.upstream(|counts| counts.active == 1).await;
        drop(client);
        world.upstream(|counts| counts.aborted > aborted).await;
        drop(key);
        let totals = world.settle().await;
        assert_eq!((totals.counters_used, totals.settled), (0, 0));
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_generated_is_charged_nothing() {
    let world = World::start().await;
    let person = world.register().await;
    let ask = chat("Hi").max_tokens(3).json().to_string();
    for leaving in [Leaving::Close, Leaving::HalfClose, Leaving::Reset] {
        let aborted = world.vllm().counts().aborted;
        let (gate, key) = Gate::new();
        world.vllm().push(Answer::Lockstep { gate });
        let mut client = world.raw().await;
        client.request(&head(&person), &ask).await;
        world.upstream(|counts| counts.active == 1).await;
        let half = match leaving {
            Leaving::Close => {
                drop(client);
                None
            }
            Leaving::HalfClose => {
                client.half_close().await;
                Some(client)
            }
            Leaving::Reset => {
                client.reset();
                None
            }
        };
        world.upstream(|counts| counts.aborted > aborted).await;
        drop((half, key));
        let totals = world.settle().await;
        assert_eq!(
            (totals.counters_used, totals.settled),
            (0, 0),
            "{leaving:?}"
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    Close,
    HalfClose,
    Reset,
}

#[tokio::test]
async fn a_client_that_resets_its_connection_amid_a_stream_is_charged_for_what_it_got() {
    let world = World::start().await;
    let person = world.register().await;
    let (gate, key) = Gate::new();
    world.vllm().push(Answer::Lockstep { gate });
    let mut client = world.raw().await;
    client
        .request(&head(&person), &ask().json().to_string())
        .await;
    client.until("\r\n\r\n").await;
    for _ in 0..3 {
        key.release();
        client.until("\n\n").await;
    }
    client.reset();
    world.upstream(|counts| counts.aborted == 1).await;
    drop(key);
    world.settle().await;
    assert_eq!(world.used(&person).await, world.generated());
}

#[tokio::test]
async fn a_request_that_never_comes_whole_holds_nothing() {
    let world = World::start().await;
    let person = world.register().await;
    let mut client = world.raw().await;
    let head = head(&person);
    client
        .send(format!(
            "{head}\r\nhost: gate\r\ncontent-length: 1000\r\n\r\n{{\"model\":"
        ))
        .await;
    drop(client);
    assert_eq!(person.chat(&chat("Hi").max_tokens(2)).await.status, 200);
    let totals = world.settle().await;
    assert_eq!(totals.settled, 1, "only the other one was a call");
    assert_eq!(world.vllm().counts().requests, 1);
}

fn head(person: &Person) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-type: application/json",
        person.key
    )
}
