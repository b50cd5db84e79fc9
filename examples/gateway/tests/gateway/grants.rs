//! What a key may be used for, where it is used.

use http::StatusCode;
use llm_gate::clock::Clock;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, Person, send, start};

async fn key(gate: &Gate, owner: &Person, grants: Value) -> (String, Client) {
    let path = format!("/api/v1/projects/{}/api-keys", owner.project);
    let made = owner.post(&path, grants).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let client = gate.client.bearer(made.text("api_key"));
    (made.text("id"), client)
}

async fn chat(client: &Client) -> Answer {
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    client
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer")
}

async fn get(client: &Client, path: &str) -> Answer {
    client.get(path).await.expect("an answer")
}

#[tokio::test]
async fn a_key_is_good_for_its_scopes_and_nothing_else() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let project_usage = format!("/api/v1/projects/{}/usage", ada.project);
    for (scope, calls, lists, reports, manages) in [
        ("inference", true, false, false, false),
        ("models", false, true, false, false),
        ("usage", false, false, true, false),
        // Who may manage the account may read what it used.
        ("manage", false, false, true, true),
    ] {
        let (_, key) = key(&gate, &ada, json!({ "scopes": [scope] })).await;
        let expect = |answer: &Answer, good: bool, code: &str| {
            let expected = if good { 200 } else { 403 };
            assert_eq!(answer.status, expected, "{scope}: {answer:?}");
            if !good && !code.is_empty() {
                assert_eq!(answer.json()["error"]["code"], code, "{scope}");
            }
        };
        expect(&chat(&key).await, calls, "missing_scope");
        expect(&get(&key, "/v1/models").await, lists, "missing_scope");
        expect(&get(&key, "/v1/models/tiny").await, lists, "missing_scope");
        expect(&get(&key, "/api/v1/models").await, lists, "");
        expect(&get(&key, "/api/v1/users/me/usage").await, reports, "");
        expect(&get(&key, "/api/v1/usage/calls").await, reports, "");
        expect(&get(&key, &project_usage).await, reports, "");
        expect(&get(&key, "/api/v1/projects").await, manages, "");
        expect(&get(&key, "/api/v1/users/me").await, manages, "");
        expect(&get(&key, "/api/v1/users/me/sessions").await, false, "");
        expect(&get(&key, "/api/v1/users").await, false, "");
        expect(&get(&key, "/api/v1/auth/check").await, true, "");
    }
}

#[tokio::test]
async fn only_an_admins_key_for_it_does_what_admins_do() {
    let gate = start().await;
    let (admin, ada) = (gate.admin().await, gate.person("ada").await);
    let (_, managing) = key(&gate, &admin, json!({ "scopes": ["manage"] })).await;
    let foreign = format!("/api/v1/projects/{}", ada.project);
    assert_eq!(
        get(&managing, "/api/v1/users").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        get(&managing, &foreign).await.status,
        StatusCode::NOT_FOUND,
        "a key that may manage leaves the role of an admin aside"
    );
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let wanted = ada.post(&path, json!({ "scopes": ["admin"] })).await;
    assert_eq!(
        wanted.status,
        StatusCode::FORBIDDEN,
        "nobody makes a key that may do more than its maker"
    );

    let (_, all) = key(&gate, &admin, json!({ "scopes": ["manage", "admin"] })).await;
    assert_eq!(get(&all, "/api/v1/users").await.status, StatusCode::OK);
    assert_eq!(get(&all, &foreign).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_key_calls_and_sees_its_models_only() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let grants = json!({ "scopes": ["inference", "models"], "models": ["another"] });
    let (id, other) = key(&gate, &ada, grants).await;
    let refused = chat(&other).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "model_not_allowed");
    assert_eq!(refused.json()["error"]["param"], "model");
    assert_eq!(
        gate.upstream.counts().requests,
        0,
        "the model server is not asked"
    );
    assert_eq!(get(&other, "/v1/models").await.json()["data"], json!([]));
    assert_eq!(
        get(&other, "/v1/models/tiny").await.status,
        StatusCode::NOT_FOUND
    );
    let overview = get(&other, "/api/v1/models").await.json();
    assert_eq!(
        (&overview["models"], &overview["current"]),
        (&json!([]), &Value::Null)
    );

    let path = format!("/api/v1/projects/{}/api-keys/{id}", ada.project);
    let change = json!({ "models": ["another", "tiny"] }).to_string();
    let json = [("content-type", "application/json")];
    let changed = send(&ada.session, http::Method::PATCH, &path, &json, change).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    gate.told_everywhere();
    assert_eq!(chat(&other).await.status, StatusCode::OK, "at once");
    assert_eq!(
        get(&other, "/v1/models").await.json()["data"][0]["id"],
        "tiny"
    );
}

#[tokio::test]
async fn a_key_from_another_network_is_no_key() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    for (networks, good) in [
        (json!(["127.0.0.0/8"]), true),
        (json!(["192.0.2.0/24", "127.0.0.1"]), true),
        (json!(["192.0.2.0/24"]), false),
        (json!(["::/0"]), false),
    ] {
        let (_, key) = key(&gate, &ada, json!({ "networks": networks })).await;
        let expected = if good { 200 } else { 401 };
        assert_eq!(chat(&key).await.status, expected, "{networks}");
        assert_eq!(get(&key, "/v1/models").await.status, expected, "{networks}");
        assert_eq!(
            get(&key, "/api/v1/auth/check").await.status,
            expected,
            "{networks}"
        );
    }
}

#[tokio::test]
async fn the_last_use_of_a_key_is_written_at_most_once_a_minute() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let (id, key) = key(&gate, &ada, json!({})).await;
    let path = format!("/api/v1/projects/{}/api-keys/{id}", ada.project);
    let books = gate.books().await;
    let (id, owner) = (id.parse().expect("an id"), ada.id.parse().expect("an id"));
    let last_used = async || {
        let key = books.key_of_member(id, owner).await.expect("books");
        key.expect("it is there").last_used_at
    };
    let noted = async |expected: &str| {
        // It is written beside the request.
        let now = Some(gate.clock.now());
        while last_used().await != now {}
        let shown = gate.agreed(async || ada.get(&path).await.json()["last_used_at"].clone());
        assert_eq!(shown.await, expected);
    };
    assert_eq!(ada.get(&path).await.json()["last_used_at"], Value::Null);
    assert_eq!(get(&key, "/v1/models").await.status, StatusCode::OK);
    noted("2026-01-01T00:00:00Z").await;
    gate.clock.advance(std::time::Duration::from_secs(59));
    assert_eq!(get(&key, "/v1/models").await.status, StatusCode::OK);
    gate.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(chat(&key).await.status, StatusCode::OK);
    // Had the one in between been written, this one would not be.
    noted("2026-01-01T00:01:00Z").await;
}
