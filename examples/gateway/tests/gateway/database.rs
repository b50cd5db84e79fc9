//! A database that is broken or away.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use http::StatusCode;
use llm_gate::auth::OperatorSecret;
use llm_gate_diesel::test_db;
use llm_gate_diesel::test_db::postgres::Cluster;
use llm_gate_gateway::Gateway;
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::ledger::tamper;
use super::support::{PASSWORD, config, start, start_on_postgres, start_pair_on, start_with};

#[tokio::test]
async fn a_broken_database_is_told_by_status_and_not_in_words() {
    let gate = start().await;
    let (ready, live) = ("/health/ready", "/health/live");
    let at = async |path: &'static str| gate.everywhere(async || gate.get(path).await).await;
    for ready in at(ready).await {
        assert_eq!(ready.status, StatusCode::OK);
    }
    let broken = "ALTER TABLE counters RENAME TO gone; ALTER TABLE users RENAME TO away";
    tamper(&gate, broken).await;

    for ready in at(ready).await {
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.text("status"), "unhealthy");
    }
    for live in at(live).await {
        assert_eq!(live.status, StatusCode::OK, "restarting would not help");
    }

    let body = json!({ "username": "ada", "password": PASSWORD });
    for login in gate
        .everywhere(async || gate.post("/auth/login", body.clone()).await)
        .await
    {
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
    }
    gate.shutdown().await;
}

#[tokio::test]
async fn a_500_below_v1_says_where_to_look_too() {
    let key = OperatorSecret::generate();
    let hash = key.hash().to_string();
    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    tamper(&gate, "ALTER TABLE invites RENAME TO gone").await;
    let operator = gate.client.bearer(key.expose());
    for failed in gate
        .everywhere(async || operator.get("/v1/organization/invites").await)
        .await
    {
        let failed = failed.expect("an answer");
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
        let id = failed.headers["x-request-id"].to_str().expect("text");
        let error = failed.json()["error"].clone();
        assert_eq!(error["code"], "internal_error");
        assert_eq!(error["message"], format!("internal error in request {id}"));
        let left = &failed.headers["x-ratelimit-remaining-requests"];
        assert!(left.to_str().is_ok_and(|left| left.parse::<u64>().is_ok()));
    }
    gate.shutdown().await;
}

fn is_told_to_come_back(refused: &Answer) {
    is_later(refused, "/auth/register");
    assert!(refused.json()["detail"].is_string());
}

/// SQLite is told so on the connection that the gateway writes on.
#[tokio::test]
async fn a_file_that_takes_no_writes_is_a_503_that_says_when_to_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = test_db::open().await;
    let gateway = Gateway::new(config(&folder)).store(Arc::new(store.clone()));
    let running = gateway.start().await.expect("started");
    let client = Client::new(running.address);
    let register = async |name: &str| {
        let body = json!({ "username": name, "password": PASSWORD });
        let answer = client.post("/auth/register", &body).await;
        answer.expect("an answer")
    };
    // Behind what is written when it starts, of which a failure would end the connection.
    assert_eq!(register("ada").await.status, StatusCode::CREATED);
    let locked = store.on_writer(|connection| connection.batch_execute("PRAGMA query_only = ON"));
    locked.await.expect("a connection").expect("executed");
    is_told_to_come_back(&register("eve").await);
    running.shutdown().await;
}

/// PostgreSQL says so on every connection that is made from now on, as one that follows another does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_a_503_that_says_when_to_come_back() {
    let gate = start_on_postgres().await;
    let ada = gate.person("ada").await;
    tamper(
        &gate,
        "DO $$ BEGIN EXECUTE format( \
             'ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$; \
         COMMIT; \
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    let body = json!({ "username": "eve", "password": PASSWORD });
    for refused in gate
        .everywhere(async || gate.post("/auth/register", body.clone()).await)
        .await
    {
        is_told_to_come_back(&refused);
    }
    let me = async || ada.get("/users/me").await.status;
    assert_eq!(gate.agreed(me).await, StatusCode::OK, "it can be read");
    gate.shutdown().await;
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
