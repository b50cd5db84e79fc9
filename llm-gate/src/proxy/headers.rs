//! Which headers pass: short lists, everything else stays here.

use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::RequestId;

use super::Upstream;

/// Our request id, under the name vLLM reads.
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What of a request's headers reaches the upstream: what the answer depends on, session affinity, traces.
const REQUEST: [HeaderName; 7] = [
    ACCEPT,
    CONTENT_TYPE,
    HeaderName::from_static("endpoint-load-metrics-format"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-session-id"),
];

/// What of an answer's headers reaches the client.
const RESPONSE: [HeaderName; 5] = [
    CACHE_CONTROL,
    CONTENT_TYPE,
    RETRY_AFTER,
    HeaderName::from_static("endpoint-load-metrics"),
    HeaderName::from_static("metadata"),
];

/// Makes the headers to send. The length and the host come from the client that sends them.
pub(super) fn request(theirs: &HeaderMap, upstream: &Upstream, id: Option<RequestId>) -> HeaderMap {
    let mut ours = pick(theirs, &REQUEST);
    ours.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(credential) = &upstream.credential {
        ours.insert(AUTHORIZATION, credential.clone());
    }
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        ours.insert(X_REQUEST_ID, id);
    }
    ours
}

/// Makes the headers to answer with.
pub(super) fn response(theirs: &HeaderMap) -> HeaderMap {
    pick(theirs, &RESPONSE)
}

fn pick(from: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut picked = HeaderMap::with_capacity(names.len() + 2);
    for name in names {
        if let Some(value) = from.get(name) {
            picked.insert(name.clone(), value.clone());
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passes_that_is_not_on_the_list() {
        let mut theirs = HeaderMap::new();
        for name in [
            "authorization",
            "x-api-key",
            "cookie",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "expect",
            "x-forwarded-for",
            "x-request-id",
            "accept-encoding",
            "accept",
        ] {
            theirs.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static("theirs"),
            );
        }
        let upstream = Upstream::new("http://127.0.0.1".parse().expect("a URI")).expect("valid");
        let ours = request(&theirs, &upstream.credential("sk").expect("valid"), None);
        assert_eq!(ours.len(), 3, "{ours:?}");
        assert_eq!(ours[ACCEPT], "theirs");
        assert_eq!(ours[AUTHORIZATION], "Bearer sk");
        assert_eq!(ours[ACCEPT_ENCODING], "identity");
        assert!(response(&theirs).is_empty());
    }
}
