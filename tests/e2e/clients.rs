//! What real clients send, through the whole gateway: the upstream receives their bytes but for the declared
//! edits, and they get usage exactly when they asked for it.

use scripted_vllm::ModelCard;
use serde_json::Value;
use support::World;

use crate::wire::edits;
use crate::wire::recording::{Answer, Request, names};
use crate::wire::world::{self, calls, charged, send};

/// Room for a prompt of a coding agent.
const CONTEXT: u64 = 131_072;

async fn roomy() -> World {
    let models = |vllm: &mut scripted_vllm::Config| {
        vllm.models = vec![ModelCard::new("tiny", CONTEXT)];
    };
    world::with(models, |_| {}).await
}

/// The recorded requests, each with what it is called.
fn requests() -> Vec<(String, Request)> {
    let names = names("clients").into_iter();
    let requests = names.map(|name| (name.clone(), Request::load("clients", &name)));
    requests.collect()
}

fn is_served(request: &Request) -> bool {
    matches!(
        request.path(),
        "/v1/chat/completions" | "/v1/completions" | "/v1/embeddings" | "/v1/models"
    )
}

#[tokio::test]
async fn calls_reach_the_upstream_with_the_declared_edits_alone() {
    let world = roomy().await;
    let mut seen = 0;
    for (name, request) in requests() {
        if !is_served(&request) || request.method() == "GET" {
            continue;
        }
        seen += 1;
        let account = world.register().await;
        let request = request.with_key(&account.key);
        let before = world.vllm().counts();
        let answer = send(&world, &request).await.expect("an answer");
        assert!(answer.whole, "{name}: it has its own end");
        if request.body.starts_with(b"{\"model\":\"no-such-model\"") {
            assert_eq!(answer.status, 404, "{name}: {}", answer.text());
            assert_eq!(answer.json()["error"]["code"], "model_not_found", "{name}");
            continue;
        }
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let received = world
            .vllm()
            .requests()
            .pop()
            .expect("the call was received");
        edits::check(&name, &request, &received);
        for (header, value) in &received.headers {
            let value = String::from_utf8_lossy(value);
            assert!(
                !value.contains(&account.key),
                "{name}: the client's key must not reach the upstream in {header}"
            );
        }
        check_usage(&name, &request, &answer);

        let counts = world.vllm().counts();
        let generated = counts.prompt_tokens - before.prompt_tokens + counts.completion_tokens
            - before.completion_tokens;
        let charged = charged(&world, &account).await;
        assert_eq!(charged, generated, "{name}: tokens charged");
    }
    assert!(seen >= 30, "most recordings are calls: {seen}");
}

/// A stream has usage if it was asked for, in the last event before `[DONE]` alone.
fn check_usage(name: &str, request: &Request, answer: &Answer) {
    let body: Value = serde_json::from_slice(&request.body).expect("clients send JSON");
    if body["stream"] != true {
        assert!(answer.json()["usage"].is_object(), "{name}: usage");
        return;
    }
    let mut events = answer.events();
    assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{name}");
    let asked = body["stream_options"]["include_usage"] == true;
    if asked {
        let last: Value = events
            .pop()
            .and_then(|last| serde_json::from_str(&last).ok())
            .expect("an event");
        assert_eq!(last["choices"], Value::Array(Vec::new()), "{name}: {last}");
        assert!(last["usage"].is_object(), "{name}: {last}");
    }
    assert!(!events.is_empty(), "{name}: text");
    for event in events {
        assert!(
            !event.contains("\"usage\""),
            "{name}: not asked for: {event}"
        );
        assert!(
            !event.contains("\"choices\":[]"),
            "{name}: nothing for choices[0]: {event}"
        );
    }
}

#[tokio::test]
async fn models_are_listed_for_every_client() {
    let world = roomy().await;
    let account = world.register().await;
    for (name, request) in requests() {
        if request.method() != "GET" {
            continue;
        }
        let answer = send(&world, &request.with_key(&account.key)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        assert_eq!(answer.json()["data"][0]["id"], "tiny", "{name}");
    }
}

#[tokio::test]
async fn routes_that_are_not_metered_are_not_found() {
    let world = roomy().await;
    let account = world.register().await;
    let mut seen = 0;
    for (name, request) in requests() {
        if is_served(&request) {
            continue;
        }
        seen += 1;
        let answer = send(&world, &request.with_key(&account.key)).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
        let error = &answer.json()["error"];
        assert!(error["message"].is_string(), "{name}: {error}");
        assert_eq!(error["type"], "invalid_request_error", "{name}");
    }
    assert!(seen >= 8, "responses, messages, count_tokens: {seen}");
    assert_eq!(calls(&world), 0, "nothing reached the upstream");
}
