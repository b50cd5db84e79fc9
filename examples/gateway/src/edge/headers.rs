use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderValue;
use http::header::{self, HeaderName, InvalidHeaderValue};

use crate::config::HeaderConfig;

/// The headers that every answer carries.
#[derive(Clone, Debug)]
pub struct Hardening {
    policy: HeaderValue,
    transport: Option<HeaderValue>,
}

/// The content security policy of a page of our own, put into the extensions of its answer. Nothing else
/// changes the policy: a header that an answer brings along is replaced.
#[derive(Clone, Debug)]
pub(crate) struct ContentPolicy(pub(crate) HeaderValue);

const FIXED: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
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
    ///
    /// # Errors
    ///
    /// Fails when a setting is no value of a header.
    pub fn new(config: &HeaderConfig, tls: bool) -> Result<Self, InvalidHeaderValue> {
        let transport = Some(&config.hsts).filter(|promise| tls && !promise.is_empty());
        Ok(Self {
            policy: HeaderValue::from_str(&config.csp)?,
            transport: transport
                .map(|promise| HeaderValue::from_str(promise))
                .transpose()?,
        })
    }

    fn apply(&self, response: &mut Response) {
        let policy = response.extensions_mut().remove::<ContentPolicy>();
        let policy = policy.map_or_else(|| self.policy.clone(), |own| own.0);
        let headers = response.headers_mut();
        for (name, value) in FIXED {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        if let Some(promise) = &self.transport {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, promise.clone());
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
    hardening.apply(&mut response);
    response
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn hardened(config: &HeaderConfig, tls: bool, mut response: Response) -> HeaderMap {
        let hardening = Hardening::new(config, tls).expect("values of headers");
        hardening.apply(&mut response);
        response.into_parts().0.headers
    }

    #[test]
    fn transport_security_is_promised_only_over_tls() {
        let config = HeaderConfig::default();
        let headers = hardened(&config, false, Response::default());
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        let headers = hardened(&config, true, Response::default());
        let promise = &headers[header::STRICT_TRANSPORT_SECURITY];
        assert_eq!(promise, "max-age=31536000; includeSubDomains");
        let config = HeaderConfig {
            hsts: String::new(),
            ..HeaderConfig::default()
        };
        let headers = hardened(&config, true, Response::default());
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn only_our_own_pages_have_another_policy() {
        let config = HeaderConfig {
            csp: "default-src 'self'".to_owned(),
            ..HeaderConfig::default()
        };
        let mut foreign = Response::default();
        foreign.headers_mut().insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src *"),
        );
        let headers = hardened(&config, false, foreign);
        assert_eq!(
            headers[header::CONTENT_SECURITY_POLICY],
            "default-src 'self'"
        );
        let mut page = Response::default();
        page.extensions_mut()
            .insert(ContentPolicy(HeaderValue::from_static("script-src 'self'")));
        let headers = hardened(&config, false, page);
        assert_eq!(
            headers[header::CONTENT_SECURITY_POLICY],
            "script-src 'self'"
        );
    }

    #[test]
    fn the_server_is_not_named_and_a_policy_of_the_answer_stays() {
        let mut response = Response::default();
        let headers = response.headers_mut();
        headers.insert(header::SERVER, HeaderValue::from_static("uvicorn"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let headers = hardened(&HeaderConfig::default(), false, response);
        assert!(!headers.contains_key(header::SERVER));
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    }
}
