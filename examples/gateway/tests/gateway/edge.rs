//! What every answer carries, and what never gets in.

use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::json;

use super::support::{Gate, send, start, start_with};

#[tokio::test]
async fn every_answer_is_hardened_and_has_an_id_and_may_be_read_by_the_console() {
    let gate = start_for_the_console().await;
    let long = "x".repeat(65 * 1024);
    let mut ids = Vec::new();
    for (method, path, body, status) in [
        (Method::GET, "/", "", 200),
        (Method::GET, "/health/live", "", 200),
        (Method::POST, "/auth/login", "{", 400),
        (Method::GET, "/users/me", "", 401),
        (Method::GET, "/v1/models", "", 401),
        (Method::POST, "/v1/chat/completions", "", 401),
        (Method::GET, "/nowhere", "", 404),
        (Method::DELETE, "/auth/login", "", 405),
        (Method::POST, "/auth/login", &long, 413),
        (Method::POST, "/auth/token", "", 415),
        (Method::POST, "/auth/login", "{}", 422),
    ] {
        let headers = [
            ("x-request-id", "theirs\t1"),
            ("origin", CONSOLE),
            ("content-type", "application/json"),
        ];
        let answer = send(&gate.client, method, path, &headers, body.to_owned()).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("access-control-allow-origin", CONSOLE),
            ("vary", "origin"),
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
    assert_eq!(ids.len(), 11);
}

#[tokio::test]
async fn what_operators_ask_is_hardened_and_has_an_id_too() {
    let gate = start_with(|config| config.headers.hsts = "max-age=60".to_owned()).await;
    let operators = gate
        .all()
        .map(|running| Client::new(running.metrics_address));
    let mut ids = Vec::new();
    for operators in operators {
        for (method, path, status) in [
            (Method::GET, "/metrics", 200),
            (Method::GET, "/nowhere", 404),
            (Method::POST, "/metrics", 405),
        ] {
            let answer = send(&operators, method, path, &[], "").await;
            assert_eq!(answer.status.as_u16(), status, "{path}");
            for (name, value) in [
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("cache-control", "no-store"),
            ] {
                assert_eq!(answer.headers[name], value, "{path}");
            }
            assert!(answer.headers.contains_key("content-security-policy"));
            assert!(!answer.headers.contains_key("strict-transport-security"));
            assert_eq!(answer.json()["detail"].is_string(), status != 200, "{path}");
            assert_eq!(
                answer.headers.contains_key("allow"),
                status == 405,
                "{path}"
            );
            let id = answer.headers["x-request-id"].to_str().expect("text");
            ids.push(id.to_owned());
        }
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3 * gate.gateways(), "each its own");
}

#[tokio::test]
async fn behind_tls_browsers_are_told_to_stay_there() {
    let gate = start_with(|config| config.web_url = Some("https://gate.example".to_owned())).await;
    let answer = gate.get("/").await;
    let promise = &answer.headers["strict-transport-security"];
    assert_eq!(promise, "max-age=31536000; includeSubDomains");
}

#[tokio::test]
async fn what_browsers_are_told_can_be_set() {
    let gate = start_with(|config| {
        config.web_url = Some("https://gate.example".to_owned());
        config.headers.csp = "default-src 'self'".to_owned();
        config.headers.hsts = "max-age=60".to_owned();
    })
    .await;
    let answer = gate.get("/users/me").await;
    assert_eq!(
        answer.headers["content-security-policy"],
        "default-src 'self'"
    );
    assert_eq!(answer.headers["strict-transport-security"], "max-age=60");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let gate = start().await;
    let answer = send(&gate.client, Method::PUT, "/api/v1/users", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers["allow"], "GET,HEAD,POST");
    assert!(answer.json()["detail"].is_string());
}

const CONSOLE: &str = "https://console.example";

async fn start_for_the_console() -> Gate {
    start_with(|config| config.cors.origins = vec![CONSOLE.to_owned()]).await
}

#[tokio::test]
async fn a_preflight_is_answered_before_anything_asks_who_is_calling() {
    let gate = start_for_the_console().await;
    for path in [
        "/api/v1/users/me/token-limit",
        "/v1/chat/completions",
        "/nowhere",
    ] {
        let headers = [
            ("origin", CONSOLE),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "authorization"),
        ];
        let ours = send(&gate.client, Method::OPTIONS, path, &headers, "").await;
        assert_eq!(ours.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(ours.headers["access-control-allow-origin"], CONSOLE);
        let methods = &ours.headers["access-control-allow-methods"];
        assert!(methods.to_str().expect("text").contains("PUT"));
        let allowed = &ours.headers["access-control-allow-headers"];
        assert!(allowed.to_str().expect("text").contains("authorization"));
        for name in ["x-request-id", "x-frame-options"] {
            assert!(ours.headers.contains_key(name), "like any other answer");
        }
        assert_eq!(
            ours.headers["x-ratelimit-remaining-requests"], "6000",
            "what is left, of which it takes nothing"
        );
        for name in ours.headers.keys() {
            assert_ne!(
                name, "access-control-allow-credentials",
                "no cookies from elsewhere"
            );
        }
    }
}

/// What the OpenAI package for JavaScript sends from a browser, see `tests/fixtures/clients/openai-npm.*`.
const PACKAGE: &str = "authorization,content-type,x-stainless-arch,x-stainless-helper-method,x-stainless-lang,\
    x-stainless-os,x-stainless-package-version,x-stainless-retry-count,x-stainless-runtime,\
    x-stainless-runtime-version";
/// What scripts may send without asking in a way that is repeated.
const FIXED: &str = "authorization, content-type, x-api-key, x-session-id";

/// Asks as a browser does which headers a script may send.
async fn preflight(gate: &Gate, origin: &str, wanted: Option<&str>) -> Answer {
    let mut headers = vec![
        ("origin", origin),
        ("access-control-request-method", "POST"),
    ];
    headers.extend(wanted.map(|wanted| ("access-control-request-headers", wanted)));
    let path = "/v1/chat/completions";
    let answer = send(&gate.client, Method::OPTIONS, path, &headers, "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert_eq!(
        answer.headers["vary"], "origin, access-control-request-headers",
        "a cache must tell them apart"
    );
    answer
}

#[tokio::test]
async fn a_script_may_send_the_headers_that_it_asks_for() {
    let gate = start_for_the_console().await;
    for names in [PACKAGE, "x-session-id, X-Trace-2", &"a".repeat(1024)] {
        let answer = preflight(&gate, CONSOLE, Some(names)).await;
        assert_eq!(answer.headers["access-control-allow-headers"], names);
    }
    let stranger = preflight(&gate, "https://evil.example", Some(PACKAGE)).await;
    let allowed = stranger.headers.get("access-control-allow-headers");
    assert_eq!(allowed, None, "of other origins none");
}

#[tokio::test]
async fn what_is_no_list_of_headers_is_not_repeated() {
    let gate = start_for_the_console().await;
    for names in [
        None,
        Some(""),
        Some("*"),
        Some("x_trace"),
        Some("x-trace; path=/"),
        Some("x-trace\tx-other"),
        Some("x-tracé"),
        Some(&*"a".repeat(1025)),
    ] {
        let answer = preflight(&gate, CONSOLE, names).await;
        let allowed = &answer.headers["access-control-allow-headers"];
        assert_eq!(allowed, FIXED, "{names:?}");
    }
}

#[tokio::test]
async fn scripts_of_other_origins_are_told_nothing() {
    let gate = start_for_the_console().await;
    for origin in [
        "https://evil.example",
        "https://console.example.evil.example",
        "http://console.example",
        "https://console.example:8443",
        "null",
    ] {
        let preflight = [("origin", origin), ("access-control-request-method", "GET")];
        let both = "origin, access-control-request-headers";
        for (method, headers, depends) in [
            (Method::OPTIONS, &preflight[..], both),
            (Method::GET, &preflight[..1], "origin"),
        ] {
            let answer = send(&gate.client, method, "/health/live", headers, "").await;
            assert_eq!(
                answer.headers["vary"], depends,
                "a cache must tell them apart"
            );
            for name in answer.headers.keys() {
                assert!(
                    !name.as_str().starts_with("access-control-"),
                    "{origin}: {name}"
                );
            }
        }
    }
    let closed = start().await;
    let answer = send(&closed.client, Method::GET, "/", &[("origin", CONSOLE)], "").await;
    let allowed = answer.headers.get("access-control-allow-origin");
    assert_eq!(allowed, None, "none unless configured");
}

#[tokio::test]
async fn options_that_is_no_preflight_is_a_method_like_any_other() {
    let gate = start_for_the_console().await;
    for headers in [&[][..], &[("origin", CONSOLE)][..]] {
        let answer = send(&gate.client, Method::OPTIONS, "/health/live", headers, "").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}

#[tokio::test]
async fn metrics_are_for_operators() {
    let gate = start().await;
    gate.person("ada").await;
    let metrics = async || gate.get("/metrics").await.status;
    assert_eq!(gate.agreed(metrics).await, StatusCode::NOT_FOUND);
    // The metrics are those of the process, which both are in where there are two.
    for running in gate.all() {
        let operators = Client::new(running.metrics_address);
        let metrics = operators.get("/metrics").await.expect("an answer");
        assert_eq!(metrics.status, StatusCode::OK);
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        for name in [
            r#"http_requests_total{method="POST",handler="/api/v1/auth/register",status="201"}"#,
            "http_request_duration_seconds_bucket",
            "http_requests_in_progress",
            "auth_success_total",
            "token_configured ",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
        let elsewhere = operators.get("/users/me").await.expect("an answer");
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn an_endless_header_block_is_cut() {
    let gate = start().await;
    let large = "x".repeat(80 * 1024);
    let answer = gate.client.bearer(large).get("/").await;
    let answer = answer.expect("refused before it is routed");
    assert_eq!(answer.status, 431);
    assert_eq!(answer.headers["x-request-id"].len(), 36);
    assert!(answer.json()["detail"].is_string(), "like any other");
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
    for running in gate.all() {
        let stream = tokio::net::TcpStream::connect(running.address)
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
}
