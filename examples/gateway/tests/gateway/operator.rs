//! The operator key: the platform's admin without an account.

use http::{Method, StatusCode};
use llm_gate::auth::OperatorSecret;
use llm_gate_gateway::client::Client;
use serde_json::{Value, json};

use super::program::Served;
use super::support::{Gate, config, run, send, start, start_with, unused_database};

async fn operated() -> (Gate, Client) {
    let key = OperatorSecret::generate();
    let hash = key.hash().to_string();
    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    let operator = gate.client.bearer(key.expose());
    (gate, operator)
}

async fn status(client: &Client, method: Method, path: &str, body: &Value) -> StatusCode {
    let kind = [("content-type", "application/json")];
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    send(client, method, path, &kind, body).await.status
}

#[tokio::test]
async fn routes_for_admins_take_it() {
    let (gate, operator) = operated().await;
    let ada = gate.person("ada").await;
    let user = format!("/api/v1/users/{}", ada.id);
    let limit = format!("{user}/token-limit");
    for (method, path, body) in [
        (Method::GET, "/api/v1/users", json!(null)),
        (Method::GET, &user, json!(null)),
        (Method::PUT, &limit, json!({ "token_limit": 77 })),
        (Method::GET, "/api/v1/limits", json!(null)),
        (Method::GET, "/api/v1/prices", json!(null)),
        (Method::GET, "/api/v1/audit", json!(null)),
        (
            Method::PUT,
            "/api/v1/prices",
            json!({ "model": "m", "prompt": 1, "completion": 1 }),
        ),
        (Method::GET, "/api/v1/ledger/verify", json!(null)),
        (Method::GET, "/api/v1/ledger/export", json!(null)),
        (Method::GET, "/api/v1/ledger/presumed", json!(null)),
        (Method::GET, "/api/v1/models", json!(null)),
    ] {
        let answer = status(&operator, method.clone(), path, &body).await;
        assert_eq!(answer, StatusCode::OK, "{method} {path}");
    }
    let me = ada.get("/users/me").await;
    assert_eq!(me.json()["token_limit"], 77);
}

#[tokio::test]
async fn routes_that_need_an_account_and_calls_answer_403() {
    let (gate, operator) = operated().await;
    let ada = gate.person("ada").await;
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let chat = json!({ "model": "tiny", "max_tokens": 1, "messages": [{ "role": "user", "content": "hi" }] });
    for (method, path, body) in [
        (Method::GET, "/api/v1/users/me", json!(null)),
        (Method::GET, "/users/usage", json!(null)),
        (
            Method::PUT,
            "/users/me/token-limit",
            json!({ "token_limit": 1 }),
        ),
        (Method::GET, "/api/v1/projects", json!(null)),
        (Method::GET, &keys, json!(null)),
        (Method::POST, &keys, json!({})),
        (Method::POST, "/v1/chat/completions", chat.clone()),
        (Method::POST, "/chat/completions", chat),
        (
            Method::POST,
            "/v1/completions",
            json!({ "model": "tiny", "prompt": "hi" }),
        ),
        (
            Method::POST,
            "/v1/embeddings",
            json!({ "model": "tiny", "input": "hi" }),
        ),
        (Method::GET, "/v1/models", json!(null)),
        (Method::GET, "/v1/models/tiny", json!(null)),
        (Method::GET, "/v1/other", json!(null)),
    ] {
        let answer = status(&operator, method.clone(), path, &body).await;
        assert_eq!(answer, StatusCode::FORBIDDEN, "{method} {path}");
    }
    let refused = operator.get("/v1/models").await.expect("an answer");
    assert_eq!(refused.json()["error"]["code"], "account_required");
    let refused = operator.get("/users/me").await.expect("an answer");
    assert!(refused.text("detail").contains("account"), "{refused:?}");
}

#[tokio::test]
async fn it_can_be_checked() {
    let (gate, operator) = operated().await;
    let check = operator.get("/api/login").await.expect("an answer");
    assert_eq!(check.status, StatusCode::OK);
    assert_eq!(check.text("credential"), "operator");
    assert_eq!(check.text("role"), "admin");
    assert!(check.json()["user_id"].is_null());
    let key = OperatorSecret::generate();
    let other = gate.client.bearer(key.expose());
    let refused = other.get("/api/v1/users").await.expect("an answer");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "another key");
    let hash = gate.client.bearer(key.hash().to_string());
    let refused = hash.get("/api/v1/users").await.expect("an answer");
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "the hash is no key"
    );
}

#[tokio::test]
async fn nobody_is_the_operator_unless_configured() {
    let gate = start().await;
    let key = OperatorSecret::generate();
    let operator = gate.client.bearer(key.expose());
    let refused = operator.get("/api/v1/users").await.expect("an answer");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_command_prints_a_key_and_the_hash_that_makes_it_work() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = run(&folder, &["token"], "").await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let line = |prefix| {
        let mut lines = output.stdout.lines();
        lines
            .find_map(|line| line.strip_prefix(prefix))
            .expect(prefix)
    };
    let key = line("operator key, shown this once: ");
    let hash = line("API_TOKEN_HASH=");
    assert!(folder.path().read_dir().expect("a folder").next().is_none());

    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    let operator = gate.client.bearer(key);
    let users = async || {
        operator
            .get("/api/v1/users")
            .await
            .expect("an answer")
            .status
    };
    assert_eq!(gate.agreed(users).await, StatusCode::OK);
    let shown = format!("{:?}", {
        let mut config = config(&gate.folder);
        config.auth.api_token_hash = Some(hash.into());
        config
    });
    assert!(
        !shown.contains(hash),
        "a guessable key would be found from it"
    );
}

/// In processes of their own, because the recorder is the process's: each says it of itself.
#[tokio::test]
async fn the_metric_says_whether_there_is_one() {
    let database = unused_database().await;
    let hash = OperatorSecret::generate().hash().to_string();
    // Beside each other on one database, where there are two.
    let mut all = Vec::new();
    for (hash, line) in [("", "token_configured 0"), (&hash, "token_configured 1")] {
        let served = Served::start(database.as_deref(), &[("API_TOKEN_HASH", hash)]).await;
        let metrics = Client::new(served.metrics_address).get("/metrics").await;
        let body = metrics.expect("an answer").body;
        let text = String::from_utf8_lossy(&body);
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
        all.push(served);
    }
}
