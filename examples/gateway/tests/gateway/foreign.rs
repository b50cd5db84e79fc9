//! Tokens of another issuer, whose keys are fetched from where it publishes them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Method, StatusCode};
use llm_gate::auth::{JwkSet, JwtAlgorithm, JwtIssuer, SigningKey};
use llm_gate::identity::{ProjectId, Role, UserId};
use llm_gate::test_util::ManualClock;
use llm_gate_gateway::Gateway;
use llm_gate_gateway::config::{AccountBy, Config, IssuerConfig, Registration};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::support::{Gate, PASSWORD, config, send, start, start_with};
use super::usage::{Unread, many_calls};

const FOREIGN: &str = "https://login.test";

/// A login service of somebody else.
struct Login {
    url: String,
    key: SigningKey,
}

impl Login {
    async fn start() -> Self {
        let pem = SigningKey::generate_pem(JwtAlgorithm::Es256).expect("random numbers");
        let key = SigningKey::from_pem(pem.expose_secret()).expect("a key");
        let set = JwkSet::of([&key.verifying_key()]).to_json();
        let routes = Router::new().route("/keys", get(async move || set.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { url, key }
    }

    fn trusted(&self) -> impl FnOnce(&mut Config) {
        self.trusted_by(AccountBy::Id)
    }

    fn trusted_by(&self, accounts: AccountBy) -> impl FnOnce(&mut Config) {
        let issuer = IssuerConfig {
            jwks_url: self.url.clone(),
            audience: "llm-gate".to_owned(),
            algorithms: vec!["ES256".to_owned()],
            accounts,
        };
        |config| drop(config.auth.issuers.insert(FOREIGN.to_owned(), issuer))
    }

    /// Makes a token that says it is for an admin.
    fn token(&self, user: UserId, clock: &ManualClock) -> String {
        let issuer = JwtIssuer::new(
            FOREIGN,
            "llm-gate",
            self.key.clone(),
            Arc::new(clock.clone()),
        );
        let issued = issuer.issue(
            user,
            ProjectId::new(),
            Role::Admin,
            Duration::from_secs(600),
        );
        issued.expect("signs").jwt
    }
}

fn id(text: &str) -> UserId {
    text.parse().expect("an id")
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_is_a_login_of_the_account_it_names() {
    let login = Login::start().await;
    let gate = start_with(login.trusted()).await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let session = gate.client.bearer(login.token(id(&ada.id), &gate.clock));
    let check = session.get("/api/login").await.expect("an answer");
    assert_eq!(check.text("user_id"), ada.id);
    assert_eq!(check.text("project_id"), ada.project, "not the one it says");
    assert_eq!(check.text("credential"), "foreign");
    let body = json!({ "model": "tiny", "max_tokens": 2, "messages": [{ "role": "user", "content": "hi" }] });
    let call = session
        .post("/v1/chat/completions", &body)
        .await
        .expect("an answer");
    assert_eq!(call.status, StatusCode::OK, "{call:?}");
    let usage = ada.get("/users/usage").await.json();
    let of = |member: &str| usage[member].as_u64().unwrap_or_default();
    // Settled a moment after the answer, and held until then.
    let counted = of("tokens_used") + of("reserved");
    assert!(counted > 0, "charged to the account: {usage}");

    let admin = gate.client.bearer(login.token(id(&root.id), &gate.clock));
    assert_eq!(
        admin
            .get("/users/me")
            .await
            .expect("an answer")
            .text("role"),
        "admin"
    );
    let users = admin.get("/api/v1/users").await.expect("an answer");
    assert_eq!(users.status, StatusCode::FORBIDDEN, "admins log in here");

    let nobody = gate.client.bearer(login.token(UserId::new(), &gate.clock));
    let refused = nobody.get("/users/me").await.expect("an answer");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "no such account");

    let disabled = gate.command(&["user", "disable", "ada"]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    for path in ["/users/me", "/v1/models"] {
        let ask = async || session.get(path).await.expect("an answer").status;
        assert_eq!(gate.agreed(ask).await, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn an_answer_under_way_ends_with_the_token_it_was_asked_with() {
    let login = Login::start().await;
    let gate = start_with(login.trusted()).await;
    let ada = gate.person("ada").await;
    many_calls(&gate, &ada).await;
    let token = login.token(id(&ada.id), &gate.clock);
    let table = "/api/v1/usage/calls?format=csv";
    let (_, whole) = Unread::begin(&gate, table, &token).await.rest().await;
    assert!(whole, "while it is good");
    let unread = Unread::begin(&gate, table, &token).await;
    gate.clock.advance(Duration::from_secs(3600));
    unread.breaks_off().await;
}

#[tokio::test]
async fn nobody_else_is_trusted() {
    let login = Login::start().await;
    let gate: Gate = start().await;
    let ada = gate.person("ada").await;
    let session = gate.client.bearer(login.token(id(&ada.id), &gate.clock));
    let refused = session.get("/users/me").await.expect("an answer");
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_issuer_whose_keys_cannot_be_had_is_a_503() {
    let mut login = Login::start().await;
    // Port 9 of loopback: nobody is there.
    login.url = "http://127.0.0.1:9/keys".to_owned();
    let gate = start_with(login.trusted()).await;
    let ada = gate.person("ada").await;
    let session = gate.client.bearer(login.token(id(&ada.id), &gate.clock));
    let answer = session.get("/users/me").await.expect("an answer");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(
        ada.get("/users/me").await.status,
        StatusCode::OK,
        "own tokens are"
    );
}

#[tokio::test]
async fn nobody_speaks_in_the_name_of_the_gateway() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(&folder);
    config.web_url = Some(FOREIGN.to_owned());
    Login::start().await.trusted()(&mut config);
    let error = Gateway::new(config).start().await.expect_err("refused");
    assert!(error.to_string().contains("own name"), "{error}");
}

#[tokio::test]
async fn a_token_of_another_issuer_changes_nothing_of_the_account_itself() {
    let login = Login::start().await;
    let gate = start_with(login.trusted()).await;
    let ada = gate.person("ada").await;
    let session = gate.client.bearer(login.token(id(&ada.id), &gate.clock));
    for (method, path, body) in [
        (
            Method::PUT,
            "/api/v1/users/me/password",
            json!({ "current_password": PASSWORD, "new_password": "battery horse correct" }),
        ),
        (
            Method::PATCH,
            "/api/v1/users/me",
            json!({ "username": "eve" }),
        ),
        (
            Method::DELETE,
            "/api/v1/users/me",
            json!({ "password": PASSWORD }),
        ),
        (Method::DELETE, "/api/v1/users/me/sessions", json!({})),
    ] {
        let answer = send(&session, method, path, &[], body.to_string()).await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{path}: who signs tokens elsewhere would own the account here"
        );
    }
    assert_eq!(ada.get("/api/v1/users/me").await.text("username"), "ada");
}

#[tokio::test]
async fn nobody_takes_a_name_that_tokens_of_another_issuer_go_by() {
    let login = Login::start().await;
    let trusted = login.trusted_by(AccountBy::Name);
    let gate = start_with(|config| {
        config.registration = Some(Registration::Closed);
        trusted(config);
    });
    let gate = gate.await;
    let (ada, root) = (gate.made("ada").await, gate.admin().await);
    for change in [
        json!({ "username": "grace" }),
        json!({ "email": "grace@example.org", "current_password": PASSWORD }),
    ] {
        let answer = ada.patch("/api/v1/users/me", change.clone()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{change}");
    }
    // Nor does a key that ends tomorrow give the name to somebody who has a token without an end.
    let keys = format!("/api/v1/projects/{}/api-keys", root.project);
    for (bound, status) in [
        (json!(["tiny"]), StatusCode::FORBIDDEN),
        (json!(null), StatusCode::OK),
    ] {
        let wanted = json!({ "name": "admin", "scopes": ["admin"], "models": bound });
        let key = root.post(&keys, wanted).await.text("api_key");
        let body = json!({ "username": "ada.lovelace" }).to_string();
        let path = format!("/api/v1/users/{}", ada.id);
        let answer = send(&gate.client.bearer(key), Method::PATCH, &path, &[], body).await;
        assert_eq!(answer.status, status, "{bound}: {answer:?}");
    }
    let back = json!({ "username": "ada" });
    let back = root.patch(&format!("/api/v1/users/{}", ada.id), back).await;
    assert_eq!(back.status, StatusCode::OK, "{back:?}");
    let called = json!({ "name": "Ada", "username": "ada" });
    let answer = ada.patch("/api/v1/users/me", called).await;
    assert_eq!(answer.status, StatusCode::OK, "what nothing goes by");
    // Who is invited has the address that was written to, and no name of its own choice.
    let invite = json!({ "email": "grace@example.org" });
    let invite = root.post("/api/v1/invites", invite).await.text("token");
    let body = json!({ "username": "eve", "password": PASSWORD, "invite": invite });
    let named = gate.post("/api/v1/auth/register", body).await;
    assert_eq!(named.status, StatusCode::FORBIDDEN, "{named:?}");
    let body = json!({ "password": PASSWORD, "invite": invite });
    let registered = gate.post("/api/v1/auth/register", body).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    assert_eq!(registered.json()["username"], Value::Null);
}
