//! Calls to models, through the whole stack.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use llm_gate::identity::Subject;
use llm_gate::tokens::Amount;
use llm_gate_gateway::Running;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, Person, run_on, send, start};

fn chat(stream: bool, max_tokens: u64) -> Value {
    json!({
        "model": "tiny", "stream": stream, "max_tokens": max_tokens,
        "messages": [{ "role": "user", "content": "Hello!" }],
    })
}

async fn caller(gate: &Gate) -> (Person, Client) {
    let ada = gate.person("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    (ada, key)
}

async fn call(client: &Client, path: &str, body: &Value) -> Answer {
    client.post(path, body).await.expect("an answer")
}

async fn used(person: &Person) -> u64 {
    let usage = person.get("/users/usage").await.json();
    assert_eq!(usage["reserved"], 0, "nothing is under way");
    usage["tokens_used"].as_u64().expect("a number")
}

#[tokio::test]
async fn what_the_model_server_counts_is_what_is_charged() {
    let gate = start().await;
    let (ada, key) = caller(&gate).await;
    for (path, body) in [
        ("/v1/chat/completions", chat(false, 20)),
        ("/v1/chat/completions", chat(true, 20)),
        ("/chat/completions", chat(false, 5)),
        (
            "/v1/completions",
            json!({ "model": "tiny", "prompt": "Once", "max_tokens": 7 }),
        ),
        (
            "/v1/embeddings",
            json!({ "model": "tiny", "input": "Once upon a time" }),
        ),
    ] {
        let answer = call(&key, path, &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        let counts = gate.upstream.counts();
        gate.settled(&ada).await;
        assert_eq!(
            used(&ada).await,
            counts.prompt_tokens + counts.completion_tokens,
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_exhausted_quota_is_refused_before_the_model_server_is_asked() {
    let gate = start().await;
    let (ada, key) = caller(&gate).await;
    ada.put("/users/me/token-limit", json!({ "token_limit": 10 }))
        .await;
    let answer = call(&key, "/v1/chat/completions", &chat(false, 20)).await;
    assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.json()["error"]["code"], "insufficient_quota");
    assert_eq!(gate.upstream.counts().requests, 0);
    assert_eq!(used(&ada).await, 0);
}

#[tokio::test]
async fn models_are_listed_and_shown() {
    let gate = start().await;
    let (_, key) = caller(&gate).await;
    let list = key.get("/v1/models").await.expect("an answer").json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], "tiny");
    assert_eq!(list["data"][0]["max_model_len"], 4096);
    let mut one = key.get("/v1/models/tiny").await.expect("an answer").json();
    // When a gateway asked, which each does for itself.
    assert!(one["created"].is_i64(), "{one}");
    one["created"] = list["data"][0]["created"].clone();
    assert_eq!(one, list["data"][0]);
    let none = key.get("/v1/models/org/none").await.expect("an answer");
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert_eq!(none.json()["error"]["code"], "model_not_found");
}

#[tokio::test]
async fn errors_below_v1_have_the_shape_of_openai() {
    let gate = start().await;
    let (_, key) = caller(&gate).await;
    for (method, path, body, status) in [
        (Method::POST, "/v1/responses/other", "{}", 404),
        (Method::GET, "/v1/organization", "", 404),
        (Method::GET, "/v1/metrics", "", 404),
        (Method::GET, "/v1", "", 404),
        (Method::GET, "/v1/", "", 404),
        (Method::GET, "/v1/chat/completions", "", 405),
        (Method::DELETE, "/v1/models", "", 405),
        (Method::POST, "/v1/chat/completions", "{", 400),
        (
            Method::POST,
            "/v1/chat/completions",
            r#"{"model":"none","messages":[{"role":"user","content":"hi"}]}"#,
            404,
        ),
    ] {
        let answer = send(&key, method.clone(), path, &[], body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{method} {path}: {answer:?}"
        );
        assert_eq!(
            answer.headers.contains_key("allow"),
            status == 405,
            "{method} {path}"
        );
    }
    let anonymous = send(
        &gate.client,
        Method::POST,
        "/v1/chat/completions",
        &[],
        "{}",
    )
    .await;
    assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
    assert_eq!(anonymous.json()["error"]["code"], "invalid_api_key");
    assert_eq!(gate.upstream.counts().requests, 0, "nothing of it went on");
}

#[tokio::test]
async fn disabled_users_and_revoked_keys_spend_nothing_more() {
    let gate = start().await;
    let (ada, key) = caller(&gate).await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let id = ada.get(&path).await.json()["keys"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    ada.post(&format!("{path}/{id}/revoke"), json!({})).await;
    let revoked = call(&key, "/v1/chat/completions", &chat(false, 5)).await;
    assert_eq!(revoked.status, StatusCode::UNAUTHORIZED);

    let by_login = call(&ada.session, "/v1/chat/completions", &chat(false, 5)).await;
    assert_eq!(by_login.status, StatusCode::OK, "a login may call as well");
    let used = by_login.json()["usage"]["total_tokens"].clone();
    gate.settled(&ada).await;
    gate.command(&["user", "disable", "ada"]).await;
    let disabled = async || call(&ada.session, "/v1/chat/completions", &chat(false, 5)).await;
    for disabled in gate.everywhere(disabled).await {
        assert_eq!(
            disabled.status,
            StatusCode::UNAUTHORIZED,
            "although its token is good"
        );
    }
    let listed = gate.command(&["user", "list"]).await;
    assert!(
        listed.stdout.contains(&format!("ada\tuser\t{used}\t")),
        "what was sent before the refusal was known is not charged: {listed:?}"
    );
}

#[tokio::test]
async fn shutdown_waits_for_open_streams_and_settles_them() {
    use scripted_vllm::Answer;
    let gate = start().await;
    let secret = gate.person("ada").await.key().await.text("api_key");
    let at = |running: &Running| Client::new(running.address).bearer(secret.as_str());
    let key = at(&gate.running);
    let (held, release) = scripted_vllm::Gate::new();
    gate.upstream.push(Answer::Lockstep { gate: held });
    let request = key
        .request(
            Method::POST,
            "/v1/chat/completions",
            chat(true, 20).to_string(),
        )
        .expect("a request");
    let streamed = key.stream(request).await.expect("a head");
    let (folder, database) = (gate.folder, gate.database);
    let shutdown = tokio::spawn(gate.running.shutdown());
    // Another one on the same books neither ends nor waits with it.
    if let Some(other) = gate.other {
        let served = call(&at(&other), "/v1/chat/completions", &chat(false, 5)).await;
        assert_eq!(served.status, StatusCode::OK, "{served:?}");
        other.shutdown().await;
    }
    assert!(!shutdown.is_finished(), "a stream is open");
    release.open();
    let body = streamed
        .into_body()
        .collect()
        .await
        .expect("the whole stream")
        .to_bytes();
    assert!(body.ends_with(b"data: [DONE]\n\n"), "{body:?}");
    shutdown.await.expect("no panic");

    let counts = gate.upstream.counts();
    let listed = run_on(database.as_deref(), &folder, &["user", "list"], "").await;
    let charged = counts.prompt_tokens + counts.completion_tokens;
    assert!(
        listed.stdout.contains(&format!("ada\tuser\t{charged}\t")),
        "{listed:?}"
    );
}

impl Gate {
    /// Waits until nothing of `person` is under way: the last bytes reach the client before the books.
    pub(crate) async fn settled(&self, person: &Person) {
        // In the books: who asks a gateway may do so often enough, but not without end.
        let books = self.books().await;
        let subject = Subject::User(person.id.parse().expect("an id"));
        while books.standing(subject).await.expect("books").reserved != Amount::ZERO {}
    }
}
