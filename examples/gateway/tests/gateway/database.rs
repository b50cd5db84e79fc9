//! A database that is broken or away.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use http::StatusCode;
use llm_gate::auth::OperatorSecret;
use llm_gate_diesel::test_db::postgres::Cluster;
use llm_gate_diesel::{SqliteStore, test_db};
use llm_gate_gateway::client::{Answer, Client};
use llm_gate_gateway::config::Config;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::ScriptedVllm;
use serde_json::{Value, json};

use super::support::{PASSWORD, config, start_pair_on};

/// A gateway whose database can be broken from outside.
async fn start() -> (Running, Client, SqliteStore, ScriptedVllm) {
    start_with(|_| ()).await
}

async fn start_with(
    change: impl FnOnce(&mut Config),
) -> (Running, Client, SqliteStore, ScriptedVllm) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let store = test_db::open().await;
    let mut config = config(&folder);
    config.upstream.url = upstream.url();
    change(&mut config);
    let gateway = Gateway::new(config).store(Arc::new(store.clone()));
    let running = gateway.start().await.expect("started");
    running.models_known().await;
    let client = Client::new(running.address);
    (running, client, store, upstream)
}

async fn sql(store: &SqliteStore, statement: &'static str) {
    let done = store.on_writer(move |connection| connection.batch_execute(statement));
    done.await.expect("a connection").expect("executed");
}

#[tokio::test]
async fn a_broken_database_is_told_by_status_and_not_in_words() {
    let (running, client, store, _upstream) = start().await;
    let ready = client.get("/health/ready").await.expect("an answer");
    assert_eq!(ready.status, StatusCode::OK);
    sql(&store, "PRAGMA foreign_keys = OFF; ALTER TABLE counters RENAME TO gone; ALTER TABLE users RENAME TO away").await;

    let ready = client.get("/health/ready").await.expect("an answer");
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready.text("status"), "unhealthy");
    let live = client.get("/health/live").await.expect("an answer");
    assert_eq!(live.status, StatusCode::OK, "restarting would not help");

    let body = json!({ "username": "ada", "password": PASSWORD });
    let login = client.post("/auth/login", &body).await.expect("an answer");
    assert_eq!(login.status, StatusCode::INTERNAL_SERVER_ERROR);
    let id = login.headers["x-request-id"].to_str().expect("text");
    assert_eq!(
        login.json(),
        json!({ "detail": "internal error", "request_id": id })
    );
    assert!(
        login.headers.contains_key("x-ratelimit-remaining-requests"),
        "it was counted: {login:?}"
    );
    running.shutdown().await;
}

#[tokio::test]
async fn a_500_below_v1_says_where_to_look_too() {
    let key = OperatorSecret::generate();
    let hash = key.hash().to_string();
    let (running, client, store, _upstream) =
        start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    sql(&store, "ALTER TABLE invites RENAME TO gone").await;
    let operator = client.bearer(key.expose());
    let failed = operator.get("/v1/organization/invites").await;
    let failed = failed.expect("an answer");
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    let id = failed.headers["x-request-id"].to_str().expect("text");
    let error = failed.json()["error"].clone();
    assert_eq!(error["code"], "internal_error");
    assert_eq!(error["message"], format!("internal error in request {id}"));
    let left = &failed.headers["x-ratelimit-remaining-requests"];
    assert!(left.to_str().is_ok_and(|left| left.parse::<u64>().is_ok()));
    running.shutdown().await;
}

#[tokio::test]
async fn a_locked_database_is_a_503_that_says_when_to_come_back() {
    let (running, client, store, _upstream) = start().await;
    sql(&store, "PRAGMA query_only = ON").await;
    let body = json!({ "username": "ada", "password": PASSWORD });
    let refused = client
        .post("/auth/register", &body)
        .await
        .expect("an answer");
    assert_eq!(
        refused.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{refused:?}"
    );
    assert!(refused.headers.contains_key("retry-after"));
    assert!(refused.json()["detail"].is_string());
    running.shutdown().await;
}

/// Gets a path, or posts a body there.
async fn ask(client: &Client, path: &str, body: &Value) -> Answer {
    let asked = match body {
        Value::Null => client.get(path).await,
        body => client.post(path, body).await,
    };
    asked.expect("an answer")
}

/// Says when to come back, and nothing of credentials.
fn is_later(answer: &Answer, path: &str) {
    assert_eq!(
        answer.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{path}: nobody knows whether it is wrong: {answer:?}"
    );
    let after = answer.headers["retry-after"].to_str().expect("text");
    assert!(
        after.parse::<u64>().is_ok_and(|after| after > 0),
        "{path}: {after}"
    );
    assert!(
        !answer.headers.contains_key("www-authenticate"),
        "{path}: nobody says that it is wrong"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_gateway_takes_a_server_that_is_away_for_wrong_credentials() {
    let cluster = Cluster::start(&[]).await;
    let gate = start_pair_on(cluster.database().await).await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let chat = json!({
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    let login = json!({ "username": "ada", "password": PASSWORD });
    let all = [
        (&key, "/v1/models", Value::Null, 200),
        (&key, "/v1/chat/completions", chat.clone(), 200),
        (&ada.session, "/v1/chat/completions", chat, 200),
        (&ada.session, "/api/v1/users/me", Value::Null, 200),
        (&ada.session, keys.as_str(), json!({ "name": "ci" }), 201),
        (&root.session, "/api/v1/users", Value::Null, 200),
        (&root.session, "/v1/organization/projects", Value::Null, 200),
        (&gate.client, "/auth/login", login, 200),
    ];
    let all_work = async || {
        for (client, path, body, status) in &all {
            for answer in gate
                .everywhere(async || ask(client, path, body).await)
                .await
            {
                assert_eq!(answer.status.as_u16(), *status, "{path}: {answer:?}");
            }
        }
        gate.settled(&ada).await;
    };
    all_work().await;
    // Past what each of them remembers of the key.
    gate.clock.advance(Duration::from_secs(2));

    cluster.crash();
    for (client, path, body, _) in &all {
        for answer in gate
            .everywhere(async || ask(client, path, body).await)
            .await
        {
            is_later(&answer, path);
        }
    }
    for answer in gate
        .everywhere(async || gate.get("/health/ready").await)
        .await
    {
        is_later(&answer, "whoever routes to it should know");
    }
    for answer in gate
        .everywhere(async || gate.get("/health/live").await)
        .await
    {
        assert_eq!(answer.status, StatusCode::OK, "a restart would not help");
    }

    cluster.restart();
    // By themselves, and at once.
    all_work().await;
    gate.does(&["ledger", "verify"]).await;
    gate.shutdown().await;
}
