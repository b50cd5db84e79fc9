use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// The headers that every answer carries.
#[derive(Clone, Copy, Debug)]
pub struct Hardening {
    tls: bool,
}

const FIXED: [(HeaderName, &str); 7] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

impl Hardening {
    /// Prepares the headers; `tls` says whether users reach the gateway by `https` only.
    #[must_use]
    pub const fn new(tls: bool) -> Self {
        Self { tls }
    }

    fn apply(self, headers: &mut HeaderMap) {
        for (name, value) in FIXED {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.tls {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000; includeSubDomains"),
            );
        }
        // Everything here belongs to one caller, or changes from one moment to the next.
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        headers.remove(header::SERVER);
    }
}

pub(super) async fn harden(
    State(hardening): State<Hardening>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    hardening.apply(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transport_security_is_promised_only_over_tls() {
        let mut headers = HeaderMap::new();
        Hardening::new(false).apply(&mut headers);
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        Hardening::new(true).apply(&mut headers);
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn the_server_is_not_named_and_a_policy_of_the_answer_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        Hardening::new(false).apply(&mut headers);
        assert!(!headers.contains_key(header::SERVER));
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    }
}
