//! What the gateway starts with, and what it refuses to start with.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;

use http::StatusCode;
use llm_gate_gateway::{Gateway, StartError};
use serde_json::json;

use super::support::{PASSWORD, config, start, start_with};

#[tokio::test]
async fn weak_or_missing_secrets_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut weak = config(&folder);
    weak.auth.jwt_secret = Some("secret".into());
    assert!(matches!(
        Gateway::new(weak).start().await,
        Err(StartError::Config(_))
    ));

    let mut elsewhere = config(&folder);
    elsewhere.database.url = Some("sqlite::memory:".into());
    assert!(matches!(
        Gateway::new(elsewhere).start().await,
        Err(StartError::Secret(_))
    ));
}

#[tokio::test]
async fn a_provider_that_cannot_stand_on_record_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["", "two\nlines", &"x".repeat(65)] {
        let mut nameless = config(&folder);
        nameless.upstream.provider = name.to_owned();
        let Err(refused) = Gateway::new(nameless).start().await else {
            panic!("{name:?} is no name")
        };
        assert!(refused.to_string().contains("LLM_PROVIDER"), "{refused}");
    }
}

#[tokio::test]
async fn secrets_and_books_outlive_the_process_and_are_for_the_owner_only() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let key = ada.key().await.text("api_key");
    let data = gate.folder.path().join("data");
    // Two have their books elsewhere.
    let books = gate.database.is_none().then_some("llm-gate.db");
    for name in ["jwt-secret", "api-key-pepper"].into_iter().chain(books) {
        let mode = std::fs::metadata(data.join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{name} has {mode:o}");
    }
    let mode = std::fs::metadata(&data)
        .expect("a folder")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);

    let gate = gate.again(|_| ()).await;
    let models = gate.with_key(&key).await;
    assert_eq!(models, StatusCode::OK, "the pepper is the same");
    let body = json!({ "username": "ada", "password": PASSWORD });
    let login = async || gate.post("/auth/login", body.clone()).await.status;
    assert_eq!(gate.agreed(login).await, StatusCode::OK);
    gate.shutdown().await;
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_refused() {
    let gate = start().await;
    let folder = gate.folder;
    gate.running.shutdown().await;
    let path = folder.path().join("data/jwt-secret");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("changed");
    let error = Gateway::new(config(&folder))
        .start()
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_listener_for_others_needs_a_word_on_registration() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut open = config(&folder);
    open.server.host = Ipv4Addr::UNSPECIFIED.into();
    let error = Gateway::new(open).start().await.expect_err("refused");
    assert!(error.to_string().contains("registration"), "{error}");
}

#[tokio::test]
async fn an_address_in_use_is_said_so() {
    let gate = start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut second = config(&folder);
    second.server.port = gate.running.address.port();
    assert!(matches!(
        Gateway::new(second).start().await,
        Err(StartError::Listen { .. })
    ));
}

#[tokio::test]
async fn a_gate_without_its_model_server_is_alive_but_not_ready() {
    // Port 9 of loopback: nobody is there.
    let gate = start_with(|config| config.upstream.url = "http://127.0.0.1:9".to_owned()).await;
    for live in gate
        .everywhere(async || gate.get("/health/live").await)
        .await
    {
        assert_eq!(live.status, StatusCode::OK);
    }
    for ready in gate
        .everywhere(async || gate.get("/health/ready").await)
        .await
    {
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ready.json()["code"], 503);
        assert_eq!(ready.text("status"), "degraded");
    }
    gate.shutdown().await;
}
