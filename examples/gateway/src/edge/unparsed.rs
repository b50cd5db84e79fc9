use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request};
use axum::response::Response;
use http::header::{FORWARDED, HeaderName, ORIGIN};
use http::{HeaderValue, Method, StatusCode, Uri};
use llm_gate::error::{Envelope, Rejection};

use super::address::X_FORWARDED_FOR;
use super::observe::{X_REQUEST_ID, word};
use super::{Peer, envelope};

/// The headers that the edge reads.
const READ: [HeaderName; 4] = [ORIGIN, X_FORWARDED_FOR, FORWARDED, X_REQUEST_ID];
/// How much of each of them is kept where all are too large.
const MAX_KEPT: usize = 1024;

/// How a request is refused that nobody has read, in the extensions of the one that stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unparsed {
    status: StatusCode,
    envelope: Envelope,
    /// Whether the one that stands for it has its method, and its headers as far as the edge reads them.
    known: bool,
}

impl Unparsed {
    /// Whether it is not known whose script has asked.
    pub(super) const fn is_of_anybody(&self) -> bool {
        !self.known
    }
}

/// Makes the request that stands for one from `peer` that could not be read, for [`refusals`].
pub(crate) fn stand_in(peer: Peer, status: StatusCode) -> Request {
    let mut request = Request::new(Body::empty());
    // Neither is known. The log has no word for this method, and no route has this path.
    *request.method_mut() = Method::TRACE;
    *request.uri_mut() = Uri::from_static("*");
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Unparsed {
        status,
        envelope: Envelope::Detail,
        known: false,
    });
    request
}

/// Makes the request that stands for one from `peer` whose headers are too large, for [`refusals`]. What it has of them is
/// copied, because a slice keeps all that it was cut from.
pub(crate) fn too_large<B>(peer: Peer, large: &http::Request<B>) -> Request {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let mut request = stand_in(peer, status);
    request.extensions_mut().insert(Unparsed {
        status,
        envelope: envelope(large.uri()),
        known: true,
    });
    if word(large.method()) != "OTHER" {
        *request.method_mut() = large.method().clone();
    }
    for name in READ {
        let values = large.headers().get_all(&name);
        // All or none: of an address that proxies have written down, each line counts.
        if values.iter().map(|value| value.len() + 1).sum::<usize>() > MAX_KEPT {
            continue;
        }
        for value in values {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request.headers_mut().append(name.clone(), value);
            }
        }
    }
    request
}

/// What is inside the edge for requests that nobody has read. No request from outside gets there as it is.
pub fn refusals() -> Router {
    Router::new().fallback(refuse)
}

async fn refuse(Extension(unparsed): Extension<Unparsed>) -> Response {
    let words = match unparsed.status {
        StatusCode::URI_TOO_LONG => "the path is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the headers are too large or too many",
        _ => "this cannot be read as a request of HTTP",
    };
    let rejection = Rejection::new(unparsed.status, "invalid_request_error", words);
    let response = rejection.into_response::<Body>(unparsed.envelope);
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

    async fn ask_too_large(path: &str, headers: &[(&str, &str)]) -> (HeaderMap, String) {
        let mut large = http::Request::get(path);
        for (name, value) in headers {
            large = large.header(*name, *value);
        }
        let large = large.body(()).expect("a request");
        let peer = Peer(([192, 0, 2, 1], 4711).into());
        let edge = edge(&["https://a.example", "https://b.example"]);
        let response = edge.oneshot(too_large(peer, &large)).await;
        let response = response.expect("infallible");
        assert_eq!(response.status(), 431);
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.headers, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn whoever_says_too_much_is_known_all_the_same() {
        let long = "x".repeat(64 * 1024);
        let of = |origin| [("origin", origin), ("x-long", &*long)];
        let (headers, body) = ask_too_large("/v1/models", &of("https://b.example")).await;
        assert!(body.starts_with(r#"{"error":{"#), "{body}");
        assert_eq!(headers["access-control-allow-origin"], "https://b.example");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert_eq!(headers["x-request-id"].len(), 36);
        let (headers, body) = ask_too_large("/", &of("https://c.example")).await;
        let words = "the headers are too large or too many";
        assert_eq!(body, format!(r#"{{"detail":"{words}"}}"#));
        assert!(!headers.contains_key("access-control-allow-origin"));
    }

    #[test]
    fn of_headers_that_are_too_large_nothing_long_is_kept() {
        let large = http::Request::options("/v1")
            .header("x-long", "1")
            .header("access-control-request-method", "GET")
            .header("origin", "x".repeat(MAX_KEPT))
            .header("x-forwarded-for", "192.0.2.1")
            .header("x-forwarded-for", "x".repeat(MAX_KEPT))
            .header("x-request-id", "one")
            .header("x-request-id", "two")
            .body(())
            .expect("a request");
        let request = too_large(Peer(([192, 0, 2, 1], 4711).into()), &large);
        assert_eq!(request.method(), Method::OPTIONS);
        assert_eq!(request.headers().len(), 2);
        let ids = request.headers().get_all("x-request-id");
        assert!(ids.iter().eq(["one", "two"]));
        let large = http::Request::builder().method("x".repeat(MAX_KEPT).as_str());
        let large = large.body(()).expect("a request");
        let request = too_large(Peer(([192, 0, 2, 1], 4711).into()), &large);
        assert_eq!(request.method(), Method::TRACE);
    }
}
