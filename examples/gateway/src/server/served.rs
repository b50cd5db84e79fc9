use std::convert::Infallible;
use std::error::Error;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::Version;
use http_body::Body;
use hyper::service::Service;
use tower::ServiceExt;
use tower::util::Oneshot;
use tower_http::timeout::TimeoutBody;

use super::request::InTime;
use super::{BODY_IDLE, BODY_TOTAL, MAX_HEADER_BYTES, MAX_HEADERS, Routes};
use crate::edge::{Peer, too_large};

/// What a header line counts beside its letters (RFC 9113, section 6.5.2).
const LINE: usize = 32;

/// Answers the requests of one connection, which come from `peer`.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) routes: Routes,
    pub(super) peer: Peer,
}

impl<B> Service<http::Request<B>> for Served
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Oneshot<Router, Request>;

    fn call(&self, request: http::Request<B>) -> Self::Future {
        if is_too_large(&request) {
            // Dropped now, not when the answer's turn comes.
            let request = too_large(self.peer, &request);
            return self.routes.refusals.clone().oneshot(request);
        }
        let request = into_axum(request, self.peer);
        self.routes.served.clone().oneshot(request)
    }
}

/// Whether there are more headers than are allowed. Those over HTTP/1.1 hyper has counted.
fn is_too_large<B>(request: &http::Request<B>) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_2
        && (headers.len() > MAX_HEADERS || size(request) > MAX_HEADER_BYTES)
}

/// Returns how large the headers of a request are, with its path.
fn size<B>(request: &http::Request<B>) -> usize {
    let path = request.uri().path_and_query();
    let path = path.map_or(0, |path| path.as_str().len() + LINE);
    let headers = request.headers().iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + LINE);
    headers.sum::<usize>() + path
}

/// Notes where a request comes from, and bounds how long its client may be silent in the middle of a body, and
/// take for the whole.
fn into_axum<B>(mut request: http::Request<B>, peer: Peer) -> Request
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    request.extensions_mut().insert(peer);
    request.map(|body| AxumBody::new(InTime::new(TimeoutBody::new(BODY_IDLE, body), BODY_TOTAL)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request with so many headers, one of which has `length` letters.
    fn request(version: Version, lines: usize, length: usize) -> http::Request<()> {
        let mut request = http::Request::get("/").version(version);
        for line in 1..lines {
            request = request.header(format!("x-{line}"), "");
        }
        let request = request.header("x-long", "x".repeat(length));
        request.body(()).expect("a request")
    }

    #[test]
    fn over_http2_no_more_headers_are_allowed_than_over_http1() {
        let most = MAX_HEADER_BYTES - 2 * LINE - "/".len() - "x-long".len();
        for (lines, length, large) in [
            (1, 0, false),
            (MAX_HEADERS, 0, false),
            (MAX_HEADERS + 1, 0, true),
            (1, most, false),
            (1, most + 1, true),
        ] {
            let request = request(Version::HTTP_2, lines, length);
            assert_eq!(is_too_large(&request), large, "{lines} {length}");
        }
        let request = request(Version::HTTP_11, 1, most + 1);
        assert!(!is_too_large(&request), "hyper counts otherwise");
    }
}
