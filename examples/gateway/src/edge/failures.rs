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
use serde_json::json;

use super::envelope;

/// Turns a panic into a 500, and lets no 500 of the management routes say more than where to look in the
/// log. Below `/v1` a 500 may be the model server's and is kept; its id is in the header.
pub(super) async fn contain(request: Request, next: Next) -> Response {
    let envelope = envelope(request.uri());
    let id = request.extensions().get::<RequestId>().copied();
    // What the handler shared with others stays as the panic left it; locks that matter are poisoned.
    let Ok(response) = AssertUnwindSafe(next.run(request)).catch_unwind().await else {
        // What it said was printed by the panic hook of the process.
        tracing::error!("a handler panicked");
        return internal(envelope, id);
    };
    if response.status() == StatusCode::INTERNAL_SERVER_ERROR && envelope == Envelope::Detail {
        return internal(envelope, id);
    }
    response
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
    use axum::Router;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::super::{Addresses, Hardening, Origins, around};
    use super::*;
    use crate::config::{HeaderConfig, ServerConfig};

    const CONSOLE: &str = "https://console.example";

    async fn answer(path: &str) -> (http::response::Parts, String) {
        async fn panics() -> Response {
            panic!("canary")
        }
        let routes = Router::new()
            .route("/panics", get(panics))
            .route("/v1/panics", get(panics))
            .route(
                "/says",
                get(async || (StatusCode::INTERNAL_SERVER_ERROR, "canary")),
            );
        let request = Request::get(path).header("origin", CONSOLE);
        let request = request.body(Body::empty()).expect("a request");
        let addresses = Addresses::new(ServerConfig::default());
        let hardening = Hardening::new(&HeaderConfig::default(), false).expect("good");
        let origins = Origins::new(&[CONSOLE.to_owned()]);
        let edge = around(routes, addresses, hardening, origins);
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
    async fn a_panic_below_v1_has_the_shape_of_openai() {
        let (head, body) = answer("/v1/panics").await;
        assert_eq!(head.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(
            body.contains(r#""code":"internal_error""#) && !body.contains("canary"),
            "{body}"
        );
        let id = head.headers["x-request-id"].to_str().expect("text");
        assert!(body.contains(id), "it says where to look: {body}");
    }
}
