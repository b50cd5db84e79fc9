//! A database that is broken or away.

use std::sync::Arc;

use diesel::connection::SimpleConnection;
use http::StatusCode;
use llm_gate_diesel::{SqliteStore, test_db};
use llm_gate_gateway::client::Client;
use llm_gate_gateway::{Gateway, Running};
use scripted_vllm::ScriptedVllm;
use serde_json::json;

use super::support::{PASSWORD, config};

/// A gateway whose database can be broken from outside.
async fn start() -> (Running, Client, SqliteStore, ScriptedVllm) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let upstream = ScriptedVllm::start(scripted_vllm::Config::default())
        .await
        .expect("a free port");
    let store = test_db::open().await;
    let mut config = config(&folder);
    config.upstream.url = upstream.url();
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
