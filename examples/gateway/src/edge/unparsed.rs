use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request};
use axum::response::Response;
use http::{Method, StatusCode, Uri};
use llm_gate::error::{Envelope, Rejection};

use super::Peer;

/// With which status a request is refused that nobody could read, in the extensions of the one that stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unparsed(StatusCode);

/// Makes the request that stands for one from `peer` that could not be read, for [`refusals`].
pub(crate) fn stand_in(peer: Peer, status: StatusCode) -> Request {
    let mut request = Request::new(Body::empty());
    // Neither is known. The log has no word for this method, and no route has this path.
    *request.method_mut() = Method::TRACE;
    *request.uri_mut() = Uri::from_static("*");
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Unparsed(status));
    request
}

/// What is inside the edge for requests that could not be read. No request from outside gets there.
pub fn refusals() -> Router {
    Router::new().fallback(refuse)
}

async fn refuse(Extension(Unparsed(status)): Extension<Unparsed>) -> Response {
    let words = match status {
        StatusCode::URI_TOO_LONG => "the path is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the headers are too large or too many",
        _ => "this cannot be read as a request of HTTP",
    };
    let rejection = Rejection::new(status, "invalid_request_error", words);
    let response = rejection.into_response::<Body>(Envelope::Detail);
    response.map(Body::new)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http_body_util::BodyExt;
    use llm_gate::limit::RateLimitLayer;
    use tower::ServiceExt;

    use super::super::{Addresses, Hardening, Origins, around, around_operators};
    use super::*;
    use crate::config::{HeaderConfig, ServerConfig};

    async fn ask(edge: Router, status: StatusCode) -> (HeaderMap, String) {
        let peer = Peer(([192, 0, 2, 1], 4711).into());
        let request = stand_in(peer, status);
        let response = edge.oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), status);
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.headers, String::from_utf8_lossy(&body).into_owned())
    }

    fn edge(origins: &[&str]) -> Router {
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        let addresses = Addresses::new(ServerConfig::default());
        let hardening = Hardening::new(&HeaderConfig::default(), true).expect("good");
        let rate = RateLimitLayer::off();
        around(
            refusals(),
            addresses,
            hardening,
            Origins::new(&origins),
            rate,
        )
    }

    #[tokio::test]
    async fn it_is_answered_like_any_other_request() {
        let hardening = Hardening::new(&HeaderConfig::default(), false).expect("good");
        for edge in [edge(&[]), around_operators(refusals(), hardening)] {
            for (status, body) in [
                (
                    400,
                    r#"{"detail":"this cannot be read as a request of HTTP"}"#,
                ),
                (414, r#"{"detail":"the path is too long"}"#),
                (431, r#"{"detail":"the headers are too large or too many"}"#),
            ] {
                let status = StatusCode::from_u16(status).expect("a status");
                let (headers, answered) = ask(edge.clone(), status).await;
                assert_eq!(answered, body);
                assert_eq!(headers["x-frame-options"], "DENY");
                assert_eq!(headers["x-request-id"].len(), 36);
                assert_eq!(headers["content-type"], "application/json");
                assert!(!headers.contains_key("access-control-allow-origin"));
            }
        }
    }

    #[tokio::test]
    async fn scripts_may_read_it_where_those_of_one_origin_may_read_anything() {
        let (one, other) = ("https://a.example", "https://b.example");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let (headers, _) = ask(edge(&[one]), status).await;
        assert_eq!(headers["access-control-allow-origin"], one);
        assert!(headers.contains_key("access-control-expose-headers"));
        assert_eq!(headers["vary"], "origin");
        let (headers, _) = ask(edge(&[one, other]), status).await;
        let allowed = headers.get("access-control-allow-origin");
        assert_eq!(allowed, None, "nobody knows which of them has asked");
        assert_eq!(headers["vary"], "origin");
    }
}
