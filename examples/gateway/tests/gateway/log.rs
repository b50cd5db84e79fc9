//! What the log has of a credential that was refused (M-10).

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llm_gate_gateway::client::Client;
use serde_json::{Value, json};

use super::ledger::tamper;
use super::support::{PASSWORD, start};

/// What was logged, by whoever shares it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("text")
    }

    /// Returns the line of a request, which is written when its answer has ended.
    async fn line(&self, id: &str) -> Value {
        let find = async {
            loop {
                let text = self.text();
                let lines = text.lines().map(|line| {
                    let line: Value = serde_json::from_str(line).expect("a line of JSON");
                    line["fields"].clone()
                });
                let mut found =
                    lines.filter(|line| line["message"] == "request" && line["id"] == id);
                if let Some(line) = found.next() {
                    return line;
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(30), find).await;
        found.expect("each request has a line")
    }
}

// One thread, so that everything is logged where the test looks.
#[tokio::test]
async fn why_a_credential_was_refused_stands_in_the_line_of_its_request() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // As long as there is only one subscriber, what a thread of another test logs first is decided by that thread, which
    // has none, for all threads.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::default());
    let gate = start().await;
    let client = &gate.client;
    let names = json!({ "username": "ada", "password": PASSWORD });
    let post = async |client: &Client, path: &str, body: &Value| {
        let answer = client.post(path, body).await.expect("an answer");
        assert!(answer.status.is_success(), "{answer:?}");
        answer
    };
    post(client, "/api/v1/auth/register", &names).await;
    let pair = post(client, "/api/v1/auth/login", &names).await;
    let session = client.bearer(pair.text("access_token"));
    let me = session.get("/api/v1/users/me").await.expect("an answer");
    let keys = format!(
        "/api/v1/projects/{}/api-keys",
        me.text("default_project_id")
    );
    let revoked = post(&session, &keys, &json!({})).await;
    let revoke = format!("{keys}/{}/revoke", revoked.text("id"));
    post(&session, &revoke, &json!({})).await;
    let ends = json!({ "expires_at": "2026-01-01T00:00:30Z" });
    let expired = post(&session, &keys, &ends).await.text("api_key");
    let revoked = revoked.text("api_key");
    let good = post(&session, &keys, &json!({})).await.text("api_key");
    // Of the right form, and nobody's.
    let unknown = llm_gate::auth::ApiKeySecret::generate().expose().to_owned();
    let refresh = json!({ "refresh_token": pair.text("refresh_token") });
    post(client, "/api/v1/auth/logout", &refresh).await;
    gate.clock.advance(Duration::from_secs(60));

    let ended = pair.text("access_token");
    let refused = async |path: &str, credential: Option<&str>, status: u16, reason: &str| {
        let caller = credential.map_or_else(|| client.clone(), |secret| client.bearer(secret));
        // Of two gateways each has a line of its own.
        for answer in gate.everywhere(async || caller.get(path).await).await {
            let answer = answer.expect("an answer");
            assert_eq!(answer.status.as_u16(), status, "{reason}: {answer:?}");
            let id = answer.headers["x-request-id"].to_str().expect("text");
            let line = log.line(id).await;
            assert_eq!(line["refused"], reason, "{path}: {line}");
        }
    };
    for path in ["/v1/models", "/api/v1/users/me", "/v1/organization/users"] {
        refused(path, None, 401, "missing").await;
        refused(path, Some("two words"), 401, "malformed").await;
        refused(path, Some(&unknown), 401, "invalid").await;
        refused(path, Some(&expired), 401, "expired").await;
        refused(path, Some(&revoked), 401, "revoked").await;
        refused(path, Some(&ended), 401, "revoked").await;
    }
    let answer = client
        .bearer(&good)
        .get("/v1/models")
        .await
        .expect("an answer");
    let id = answer.headers["x-request-id"].to_str().expect("text");
    assert_eq!(log.line(id).await["refused"], Value::Null, "it was good");
    let login = json!({ "username": "ada", "password": "another one than hers" });
    let answer = client
        .post("/api/v1/auth/login", &login)
        .await
        .expect("an answer");
    let id = answer.headers["x-request-id"].to_str().expect("text");
    assert_eq!(
        log.line(id).await["refused"],
        "invalid",
        "a password is one, too"
    );
    tamper(&gate, "ALTER TABLE api_keys RENAME TO gone").await;
    // One that was not asked for before.
    let another = llm_gate::auth::ApiKeySecret::generate();
    refused("/v1/models", Some(another.expose()), 503, "unavailable").await;

    let text = log.text();
    for secret in [&unknown, &expired, &revoked, &good, &ended] {
        // Long enough to be nothing else by chance.
        let (_, end) = secret.split_at(secret.len() - 20);
        assert!(!text.contains(end), "no part of a credential");
    }
    gate.shutdown().await;
}
