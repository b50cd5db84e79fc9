//! Answers that break off: by the upstream, which dies, is killed or falls silent, and by the client.

use bytes::Bytes;
use scripted_vllm::{Answer as Script, Step};
use support::{World, in_time};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::edits;
use super::made::with_usage;
use super::recording::{Answer, Request, find, mask};
use super::table::{Outcome, Row, Upstream, rows};
use super::world::{self, charged, send};

#[tokio::test]
async fn a_killed_upstream_costs_what_it_reported_and_never_looks_whole() {
    let world = world::start().await;
    for row in rows_of(&Upstream::Closes) {
        cut(&world, &row, Step::Close).await;
    }
}

#[tokio::test]
async fn a_silent_upstream_is_given_up_after_the_idle_limit() {
    let world = world::with(|_| {}, |gateway| gateway.upstream.idle_timeout_seconds = 1).await;
    for row in rows_of(&Upstream::FallsSilent) {
        cut(&world, &row, Step::Stall).await;
    }
    let gone = world.vllm().until(|counts| counts.active == 0);
    in_time("the upstream is let go", gone).await;
}

#[tokio::test]
async fn a_client_that_leaves_costs_what_it_was_given() {
    for row in rows_of(&Upstream::ClientLeaves) {
        leave(&world::start().await, &row).await;
    }
}

/// Lets the upstream say what was recorded, and then takes `end`.
async fn cut(world: &World, row: &Row, end: Step) {
    let name = &row.name;
    let account = world.register().await;
    let request = Request::load("wire", name).with_key(&account.key);
    let recorded = Answer::load(name);
    let mut steps: Vec<Step> = said(row, recorded.as_ref()).into_iter().collect();
    steps.push(end);
    world.vllm().push(Script::Raw(steps));
    let answer = send(world, &request).await;
    let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
    let received = world
        .vllm()
        .requests()
        .pop()
        .expect("the call was received");
    edits::check(name, &request, &received);
    match recorded {
        Some(recorded) => {
            assert_eq!(row.outcome, Outcome::Rewritten(answer.status), "{name}");
            assert!(!answer.whole, "{name}: the connection closes early");
            let (said, error) = answer.body.split_at(recorded.body.len());
            assert_eq!(mask(said), mask(&recorded.body), "{name}: every event");
            let error = String::from_utf8_lossy(error);
            assert!(error.starts_with("data: {\"error\":{"), "{name}: {error}");
            assert!(!error.contains("[DONE]"), "{name}: it is not done");
        }
        None => {
            assert_eq!(row.outcome, Outcome::Rewritten(answer.status), "{name}");
            assert_eq!(answer.json()["error"]["code"], "bad_gateway", "{name}");
        }
    }
    let charged = charged(world, &account).await;
    assert_eq!(charged, row.charged.total(), "{name}: what was reported");
}

/// Reads all that was recorded, and leaves without a word.
async fn leave(world: &World, row: &Row) {
    let name = &row.name;
    let account = world.register().await;
    let request = Request::load("wire", name).with_key(&account.key);
    let recorded = Answer::load(name);
    let mut steps: Vec<Step> = said(row, recorded.as_ref()).into_iter().collect();
    steps.push(Step::Stall);
    world.vllm().push(Script::Raw(steps));

    let mut client = TcpStream::connect(world.address())
        .await
        .expect("the gateway listens");
    let bytes = request.to_bytes(world.address());
    client
        .write_all(&bytes)
        .await
        .expect("the gateway reads it");
    let received = world.vllm().until(|counts| counts.active == 1);
    in_time("the upstream has the call", received).await;
    if let Some(recorded) = &recorded {
        let last = recorded.text();
        let last = last.trim_end().rsplit("\n\n").next().unwrap_or_default();
        let times = recorded.text().matches(last).count();
        read_until(&mut client, last.as_bytes(), times).await;
    }
    drop(client);

    let gone = world.vllm().until(|counts| counts.aborted == 1);
    in_time("the upstream is let go", gone).await;
    let charged = charged(world, &account).await;
    assert_eq!(charged, row.charged.total(), "{name}: what was delivered");
}

/// Reads the head, and on until `part` has come `times` times.
async fn read_until(client: &mut TcpStream, part: &[u8], times: usize) {
    let mut all = Vec::new();
    let complete = |all: &[u8]| {
        let body = find(all, b"\r\n\r\n").map(|at| &all[at..]);
        body.is_some_and(|body| {
            part.is_empty() || body.windows(part.len()).filter(|w| *w == part).count() == times
        })
    };
    while !complete(&all) {
        let read = client.read_buf(&mut all).await;
        assert!(read.is_ok_and(|read| read > 0), "the answer goes on");
    }
}

/// What the upstream says before it breaks off.
fn said(row: &Row, recorded: Option<&Answer>) -> Option<Step> {
    let mut stream = with_usage(recorded?, row.charged, 1);
    stream.whole = false;
    Some(Step::Write(Bytes::from(stream.to_bytes())))
}

fn rows_of(upstream: &Upstream) -> Vec<Row> {
    let found: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.upstream == *upstream)
        .collect();
    assert!(!found.is_empty(), "there are recordings of it");
    found
}
