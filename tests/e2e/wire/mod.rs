//! Every recording of vLLM's wire through the whole gateway.
//!
//! `fixtures/wire/TABLE.md` says what becomes of each. The recorded request goes to the gateway, which is
//! in front of a scripted vLLM that answers what the gate sent: with the recording of the same request and
//! those options, or with one made from it. Then the answer, what the upstream received and the books are
//! checked.

mod breaks;
pub(crate) mod edits;
mod made;
pub(crate) mod recording;
mod refusals;
mod splits;
mod table;
pub(crate) mod world;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use support::{Person, World};

use self::made::{Figures, with_usage, without_usage};
use self::recording::{Answer, Request, mask};
use self::table::{Outcome, Row, Upstream, rows};
use self::world::{calls, charged, send};

/// Recordings whose point is their credential: sent as they are.
const OWN_CREDENTIAL: [&str; 5] = [
    "b_chat_no_key",
    "b_messages_x_api_key",
    "b_models_basic",
    "b_models_key_head_no_key",
    "b_models_no_key",
];

#[tokio::test]
async fn every_recording_gets_what_the_table_says() {
    let world = world::with(
        |vllm| {
            let card = scripted_vllm::ModelCard::new("tiny-bert", 512);
            vllm.models.push(card);
        },
        |_| {},
    )
    .await;
    let world = Arc::new(world);
    let mut failed = Vec::new();
    for row in rows().into_iter().filter(|row| row.upstream.ends()) {
        let (world, name) = (Arc::clone(&world), row.name.clone());
        // A task of its own, so that one that fails does not hide the others.
        let replayed = tokio::spawn(async move { replay(&world, &row).await });
        if replayed.await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "not as the table says: {failed:?}");
}

/// Sends one recorded request and checks everything that follows.
async fn replay(world: &World, row: &Row) {
    let name = &row.name;
    let account = world.register().await;
    let mut request = Request::load("wire", name);
    if !OWN_CREDENTIAL.contains(&name.as_str()) {
        request = request.with_key(&account.key);
    }
    let recorded = match row.upstream {
        Upstream::NotAsked => None,
        _ => Answer::load(name),
    };
    let before = calls(world);
    if let Some(answer) = upstream(row, &request) {
        world.vllm().push(answer);
    }
    let answer = send(world, &request).await;
    let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
    assert!(answer.whole, "{name}: the answer has its own end");
    let asked = u64::from(row.upstream != Upstream::NotAsked);
    assert_eq!(
        calls(world) - before,
        asked,
        "{name}: calls that reached the upstream; {}",
        answer.text()
    );
    if asked == 1 {
        let received = world
            .vllm()
            .requests()
            .pop()
            .expect("the call was received");
        edits::check(name, &request, &received);
    }
    match row.outcome {
        Outcome::Same => {
            let recorded = recorded.as_ref().expect("a recorded answer");
            assert_eq!(answer.status, recorded.status, "{name}");
            assert_eq!(
                answer.header("content-type"),
                recorded.header("content-type"),
                "{name}"
            );
            assert_eq!(mask(&answer.body), mask(&recorded.body), "{name}");
        }
        Outcome::Refused(status) => {
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            check_envelope(name, &request, &answer);
        }
        Outcome::Rewritten(status) => {
            assert_eq!(answer.status, status, "{name}: {}", answer.text());
            check_rewritten(name, &request, &answer, recorded.as_ref());
        }
    }
    check_books(world, row, &account, recorded.as_ref()).await;
}

/// What the upstream says to what the gate sends for a row; nothing if it is not asked.
fn upstream(row: &Row, request: &Request) -> Option<scripted_vllm::Answer> {
    if row.upstream == Upstream::Model {
        return Some(scripted_vllm::Answer::Model);
    }
    let response = said(row, request)?.to_bytes();
    Some(scripted_vllm::Answer::Recording {
        response: Bytes::from(response),
    })
}

/// The answer that was recorded, or made, for a row.
fn said(row: &Row, request: &Request) -> Option<Answer> {
    let recorded = |name| Answer::load(name).expect("a recorded answer");
    match &row.upstream {
        Upstream::Recorded(name) => Some(recorded(name)),
        Upstream::Made => {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let prompts = body["prompt"].as_array().map_or(1, Vec::len) as u64;
            Some(with_usage(&recorded(&row.name), row.charged, prompts))
        }
        _ => None,
    }
}

/// Below `/v1` errors have OpenAI's shape, elsewhere the one of the management routes.
fn check_envelope(name: &str, request: &Request, answer: &Answer) {
    if request.method() == "HEAD" {
        return;
    }
    let body = answer.json();
    if request.path().starts_with("/v1/") {
        let error = body["error"].as_object();
        let error = error.unwrap_or_else(|| panic!("{name}: no error object: {body}"));
        assert!(error["message"].is_string(), "{name}: {body}");
        assert!(error["type"].is_string(), "{name}: {body}");
        assert!(
            error.contains_key("param") && error.contains_key("code"),
            "{name}: {body}"
        );
    } else {
        assert!(body["detail"].is_string(), "{name}: {body}");
    }
    if answer.status == 405 {
        assert!(answer.header("allow").is_some(), "{name}: what is allowed");
    }
    if answer.status == 401 {
        assert!(answer.header("www-authenticate").is_some(), "{name}");
    }
}

fn check_rewritten(name: &str, request: &Request, answer: &Answer, recorded: Option<&Answer>) {
    if answer.status >= 400 {
        return check_envelope(name, request, answer);
    }
    if request.method() == "HEAD" {
        return;
    }
    let id = |answer: &Answer| answer.json()["id"].to_string();
    match (request.path(), recorded) {
        ("/v1/models", _) => {
            let data = &answer.json()["data"];
            let expected = json!({"id": "tiny", "object": "model", "owned_by": "vllm", "max_model_len": 4096, "created": data[0]["created"]});
            assert_eq!(data[0], expected, "{name}: the catalogue's entry");
        }
        ("/v1/models/tiny", _) => assert_eq!(answer.json()["id"], "tiny", "{name}"),
        ("/" | "/health", _) => assert!(answer.json().is_object(), "{name}: the gate's own"),
        ("/openapi.json", _) => {
            assert_eq!(
                answer.json()["info"]["title"],
                "llm-gate",
                "{name}: the gate's own"
            );
        }
        ("/docs", _) => assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{name}: the gate's own"
        ),
        (_, Some(recorded)) if answer.is_stream() => {
            let left: Vec<Value> = without_usage(answer);
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let asked = body["stream_options"]["include_usage"] == true;
            let events = answer.events();
            let reporting = events.iter().filter(|data| data.contains("\"usage\""));
            assert_eq!(
                reporting.count(),
                usize::from(asked),
                "{name}: as asked for"
            );
            let mut expected = without_usage(recorded);
            for (left, expected) in left.iter().zip(&mut expected) {
                if left["id"] != expected["id"] {
                    // The gate's own request id stands in for the client's.
                    expected["id"] = left["id"].clone();
                    expected["created"] = left["created"].clone();
                }
            }
            assert_eq!(left, expected, "{name}: everything but usage");
        }
        (_, Some(recorded)) => {
            let ours = format!(
                "\"chatcmpl-{}\"",
                answer.header("x-request-id").unwrap_or_default()
            );
            assert!(
                id(answer) == ours || recorded.status != 200,
                "{name}: named by the gate: {}",
                id(answer)
            );
        }
        (_, None) => panic!("{name}: nothing was recorded to be rewritten"),
    }
}

/// What was charged is what the table says, and what was recorded if that says anything.
async fn check_books(world: &World, row: &Row, account: &Person, recorded: Option<&Answer>) {
    let name = &row.name;
    let charged = charged(world, account).await;
    assert_eq!(charged, row.charged.total(), "{name}: tokens charged");
    if row.upstream != Upstream::NotAsked
        && let Some(reported) = recorded.and_then(Figures::reported)
    {
        assert_eq!(row.charged, reported, "{name}: as vLLM reported");
    }
}
