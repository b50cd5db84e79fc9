//! What every answer carries, and what never gets in.

use http::{Method, StatusCode};
use serde_json::json;

use super::support::{send, start, start_with};

#[tokio::test]
async fn every_answer_is_hardened_and_has_an_id() {
    let gate = start().await;
    let mut ids = Vec::new();
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/health/live", 200),
        (Method::GET, "/nowhere", 404),
        (Method::DELETE, "/auth/login", 405),
        (Method::POST, "/auth/login", 415),
        (Method::GET, "/users/me", 401),
        (Method::GET, "/v1/models", 401),
        (Method::POST, "/v1/chat/completions", 401),
    ] {
        let answer = send(
            &gate.client,
            method,
            path,
            &[("x-request-id", "theirs\t1")],
            "",
        )
        .await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers[name], value, "{path}");
        }
        assert!(answer.headers.contains_key("content-security-policy"));
        assert!(answer.headers.contains_key("permissions-policy"));
        assert!(!answer.headers.contains_key("server"), "{path}");
        assert!(
            !answer.headers.contains_key("strict-transport-security"),
            "not over TLS"
        );
        assert!(answer.json().is_object(), "{path} answers JSON");
        ids.push(
            answer.headers["x-request-id"]
                .to_str()
                .expect("text")
                .to_owned(),
        );
    }
    assert!(
        ids.iter().all(|id| id.len() == 36),
        "the client's own id is not taken over"
    );
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 8);
}

#[tokio::test]
async fn behind_tls_browsers_are_told_to_stay_there() {
    let gate = start_with(|config| config.web_url = Some("https://gate.example".to_owned())).await;
    let answer = gate.get("/").await;
    let promise = &answer.headers["strict-transport-security"];
    assert_eq!(promise, "max-age=31536000; includeSubDomains");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let gate = start().await;
    let answer = send(&gate.client, Method::PUT, "/api/v1/users", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "GET,HEAD");
    assert!(answer.json()["detail"].is_string());
}

#[tokio::test]
async fn only_configured_origins_may_call_from_a_browser() {
    let gate =
        start_with(|config| config.cors.origins = vec!["https://console.example".to_owned()]).await;
    let preflight = |origin: &'static str| {
        let client = gate.client.clone();
        async move {
            let headers = [("origin", origin), ("access-control-request-method", "PUT")];
            send(
                &client,
                Method::OPTIONS,
                "/api/v1/users/me/token-limit",
                &headers,
                "",
            )
            .await
        }
    };
    let ours = preflight("https://console.example").await;
    assert_eq!(ours.status, StatusCode::OK);
    assert_eq!(
        ours.headers["access-control-allow-origin"],
        "https://console.example"
    );
    assert!(
        !ours
            .headers
            .contains_key("access-control-allow-credentials")
    );
    let theirs = preflight("https://evil.example").await;
    assert!(!theirs.headers.contains_key("access-control-allow-origin"));

    let closed = start().await;
    let headers = [("origin", "https://console.example")];
    let answer = send(&closed.client, Method::GET, "/", &headers, "").await;
    assert!(
        !answer.headers.contains_key("access-control-allow-origin"),
        "none unless configured"
    );
}

#[tokio::test]
async fn metrics_are_for_operators() {
    let gate = start().await;
    gate.person("ada").await;
    assert_eq!(gate.get("/metrics").await.status, StatusCode::NOT_FOUND);
    let operators = llm_gate_gateway::client::Client::new(gate.running.metrics_address);
    let metrics = operators.get("/metrics").await.expect("an answer");
    assert_eq!(metrics.status, StatusCode::OK);
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    for name in [
        r#"http_requests_total{method="POST",handler="/api/v1/auth/register",status="201"}"#,
        "http_request_duration_seconds_bucket",
        "http_requests_in_progress",
        "auth_success_total",
        "token_configured 1",
    ] {
        assert!(text.contains(name), "{name} is missing in {text}");
    }
    let elsewhere = operators.get("/users/me").await.expect("an answer");
    assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_endless_header_block_is_cut() {
    let gate = start().await;
    let large = "x".repeat(80 * 1024);
    let answer = gate.client.bearer(large).get("/").await;
    let refused = answer.is_ok_and(|answer| answer.status == 431);
    assert!(refused, "refused before it is routed");
    let many = json!({}).to_string();
    assert_eq!(
        send(&gate.client, Method::GET, "/", &[], many).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn http2_is_spoken_on_the_same_port() {
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let gate = start().await;
    let stream = tokio::net::TcpStream::connect(gate.running.address)
        .await
        .expect("connected");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get("http://gate.example/health/live")
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.version(), http::Version::HTTP_2);
}
