use std::panic::AssertUnwindSafe;

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::StatusCode;
use llm_gate::error::{Envelope, Rejection};
use llm_gate::identity::RequestId;
use llm_gate::upstream::UpstreamName;
use serde_json::json;

use super::envelope;

/// How the headers begin that tell of limits.
const LIMITS: &str = "x-ratelimit-";

/// Turns a panic into a 500, and lets no 500 say more than where to look in the log. One of the model server is kept; its id
/// is in the header.
pub(crate) async fn contain(request: Request, next: Next) -> Response {
    let envelope = envelope(request.uri());
    let id = request.extensions().get::<RequestId>().copied();
    // What the handler shared with others stays as the panic left it; locks that matter are poisoned.
    let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        // What it said was printed by the panic hook of the process.
        tracing::error!("a handler panicked");
        return internal(envelope, id);
    };
    let own = response.extensions().get::<UpstreamName>().is_none();
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR && own {
        return instead(response, internal(envelope, id));
    }
    response
}

/// Puts an answer in place of another one, with what that says of the caller's limits, and to the log.
fn instead(response: Response, mut new: Response) -> Response {
    let (head, _) = response.into_parts();
    let limits = head.headers.iter();
    let limits = limits.filter(|(name, _)| name.as_str().starts_with(LIMITS));
    new.headers_mut()
        .extend(limits.map(|(name, value)| (name.clone(), value.clone())));
    *new.extensions_mut() = head.extensions;
    new
}

fn internal(envelope: Envelope, id: Option<RequestId>) -> Response {
    match envelope {
        Envelope::Detail => {
            let body = json!({ "detail": "internal error", "request_id": id });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
        }
        openai => {
            let id = id.map_or_else(String::new, |id| format!(" in request {id}"));
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Rejection::new(status, "server_error", format!("internal error{id}"))
                .code("internal_error")
                .into_response::<Body>(openai)
                .map(Body::new)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use llm_gate::address::ClientAddress;
    use llm_gate::limit::{Rate, RateLimitLayer};
    use llm_gate::test_util::ManualClock;
    use tower::ServiceExt;

    use super::super::{Addresses, Hardening, Origins, around};
    use super::*;
    use crate::config::{HeaderConfig, ServerConfig};

    const CONSOLE: &str = "https://console.example";

    async fn answer(path: &str) -> (http::response::Parts, String) {
        async fn panics() -> Response {
            panic!("canary")
        }
        async fn says() -> Response {
            let limits = [("x-ratelimit-remaining-requests", "5"), ("x-canary", "1")];
            (StatusCode::INTERNAL_SERVER_ERROR, limits, "canary").into_response()
        }
        async fn upstream() -> Response {
            let mut response = says().await;
            let name = "vllm".parse::<UpstreamName>().expect("a name");
            response.extensions_mut().insert(name);
            response
        }
        let routes = Router::new()
            .route("/panics", get(panics))
            .route("/v1/panics", get(panics))
            .route("/v1/says", get(says))
            .route("/v1/upstream", get(upstream))
            .route("/says", get(says));
        let request = Request::get(path).header("origin", CONSOLE);
        let request = request.body(Body::empty()).expect("a request");
        let addresses = Addresses::new(ServerConfig::default());
        let hardening = Hardening::new(&HeaderConfig::default(), false).expect("good");
        let origins = Origins::new(&[CONSOLE.to_owned()]);
        let edge = around(routes, addresses, hardening, origins, RateLimitLayer::off());
        let response = edge.oneshot(request).await.expect("infallible");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_500_says_where_to_look_and_nothing_else() {
        for path in ["/panics", "/says"] {
            let (head, body) = answer(path).await;
            assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
            let id = head.headers["x-request-id"].to_str().expect("text");
            assert_eq!(
                body,
                format!(r#"{{"detail":"internal error","request_id":"{id}"}}"#)
            );
            assert_eq!(
                head.headers["x-frame-options"], "DENY",
                "hardened like any other"
            );
            assert_eq!(
                head.headers["access-control-allow-origin"], CONSOLE,
                "scripts that may read answers may read this one"
            );
        }
    }

    #[tokio::test]
    async fn a_500_below_v1_has_the_shape_of_openai() {
        for path in ["/v1/panics", "/v1/says"] {
            let (head, body) = answer(path).await;
            assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
            assert!(
                body.contains(r#""code":"internal_error""#) && !body.contains("canary"),
                "{body}"
            );
            let id = head.headers["x-request-id"].to_str().expect("text");
            assert!(body.contains(id), "it says where to look: {body}");
        }
    }

    #[tokio::test]
    async fn a_500_of_the_model_server_is_its_own() {
        let (head, body) = answer("/v1/upstream").await;
        assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(body, "canary");
        assert!(head.headers.contains_key("x-request-id"));
    }

    #[tokio::test]
    async fn a_500_says_what_is_left_of_a_limit() {
        for path in ["/says", "/v1/says"] {
            let (head, _) = answer(path).await;
            assert_eq!(
                head.headers["x-ratelimit-remaining-requests"], "5",
                "{path}"
            );
            assert!(
                !head.headers.contains_key("x-canary"),
                "and nothing else of it"
            );
        }
    }

    #[tokio::test]
    async fn a_panic_that_was_counted_says_so() {
        let rate = Rate::per_minute(NonZeroU32::new(7).expect("not zero"));
        let limit = RateLimitLayer::per_address(rate, Arc::new(ManualClock::new()));
        let routes = Router::new().route("/panics", get(async || -> Response { panic!("canary") }));
        let routes = routes.layer(from_fn(contain)).layer(limit);
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = "/panics".parse().expect("a path");
        let address = std::net::IpAddr::from([192, 0, 2, 1]);
        request.extensions_mut().insert(ClientAddress::new(address));
        let response = routes.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["x-ratelimit-remaining-requests"], "6");
    }
}
