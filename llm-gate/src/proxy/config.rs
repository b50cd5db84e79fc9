use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use thiserror::Error;

use crate::upstream::UpstreamName;

/// A model server and how it is talked to.
#[derive(Clone, Debug)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    prefix: String,
    pub(super) name: Option<UpstreamName>,
    pub(super) credential: Option<HeaderValue>,
    pub(super) connect_timeout: Duration,
    pub(super) stream_head_timeout: Duration,
    pub(super) head_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) total_timeout: Duration,
}

/// Why a URL cannot be an upstream.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// It has no scheme, or another than `http` and, with the feature `tls`, `https`.
    #[error("the upstream's URL must start with http:// (or https:// where TLS is built in)")]
    Scheme,
    /// It has no host.
    #[error("the upstream's URL has no host")]
    Host,
    /// The credential cannot be a header.
    #[error("the upstream's credential has characters that no header can carry")]
    Credential,
}

impl Upstream {
    /// Describes the server at `url`, such as `http://127.0.0.1:8000`. A path is put before every route;
    /// `/v1` at its end is understood as part of the routes.
    ///
    /// # Errors
    ///
    /// Fails if `url` has no host or a scheme that cannot be spoken.
    pub fn new(url: Uri) -> Result<Self, InvalidUpstream> {
        let parts = url.into_parts();
        let scheme = parts.scheme.ok_or(InvalidUpstream::Scheme)?;
        let tls = cfg!(feature = "tls") && scheme == Scheme::HTTPS;
        if scheme != Scheme::HTTP && !tls {
            return Err(InvalidUpstream::Scheme);
        }
        let path = parts
            .path_and_query
            .as_ref()
            .map_or("", PathAndQuery::path)
            .trim_end_matches('/');
        Ok(Self {
            scheme,
            authority: parts.authority.ok_or(InvalidUpstream::Host)?,
            prefix: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
            name: None,
            credential: None,
            connect_timeout: Duration::from_secs(2),
            stream_head_timeout: Duration::from_secs(60),
            head_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(120),
            total_timeout: Duration::from_secs(3600),
        })
    }

    /// Sets what it is called on record, by an [`UpstreamName`] in the extensions of its answers. Nothing unless
    /// set.
    #[must_use]
    pub fn name(mut self, name: UpstreamName) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the key the upstream wants as `Authorization: Bearer`. None is sent unless set.
    ///
    /// # Errors
    ///
    /// Fails if no header can carry it.
    pub fn credential(mut self, key: &str) -> Result<Self, InvalidUpstream> {
        let mut value = HeaderValue::try_from(format!("Bearer {key}"))
            .map_err(|_| InvalidUpstream::Credential)?;
        value.set_sensitive(true);
        self.credential = Some(value);
        Ok(self)
    }

    /// Sets how long connecting may take. 2 s unless set.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long the head of a streamed answer may take. 60 s unless set. vLLM sends it at once.
    #[must_use]
    pub const fn stream_head_timeout(mut self, limit: Duration) -> Self {
        self.stream_head_timeout = limit;
        self
    }

    /// Sets how long the head of any other answer may take. 600 s unless set. vLLM sends it when all is
    /// generated.
    #[must_use]
    pub const fn head_timeout(mut self, limit: Duration) -> Self {
        self.head_timeout = limit;
        self
    }

    /// Sets how long an answer may be silent. 120 s unless set. SSE comments count as life.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit;
        self
    }

    /// Sets how long a request may take in all. 1 h unless set.
    #[must_use]
    pub const fn total_timeout(mut self, limit: Duration) -> Self {
        self.total_timeout = limit;
        self
    }

    /// Puts the URL of a route together.
    pub(super) fn uri(&self, path: &'static str) -> Uri {
        let path = if self.prefix.is_empty() {
            PathAndQuery::from_static(path)
        } else {
            // The prefix came out of a URL, the path is ours.
            format!("{}{path}", self.prefix)
                .parse()
                .unwrap_or_else(|_| PathAndQuery::from_static(path))
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path make a URL")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(url: &'static str) -> String {
        Upstream::new(Uri::from_static(url))
            .expect("valid")
            .uri("/v1/chat/completions")
            .to_string()
    }

    #[test]
    fn routes_stand_below_the_given_path() {
        assert_eq!(
            chat("http://127.0.0.1:8000"),
            "http://127.0.0.1:8000/v1/chat/completions"
        );
        assert_eq!(
            chat("http://127.0.0.1:8000/v1/"),
            "http://127.0.0.1:8000/v1/chat/completions"
        );
        assert_eq!(
            chat("http://127.0.0.1:8000/a/b"),
            "http://127.0.0.1:8000/a/b/v1/chat/completions"
        );
    }

    #[test]
    fn urls_that_lead_nowhere_are_refused() {
        for url in ["/v1", "127.0.0.1:8000", "ftp://127.0.0.1"] {
            assert!(Upstream::new(url.parse().expect("a URI")).is_err(), "{url}");
        }
    }

    #[test]
    fn the_credential_is_not_printed() {
        let upstream = Upstream::new(Uri::from_static("http://127.0.0.1")).expect("valid");
        let upstream = upstream.credential("sk-canary").expect("valid");
        assert!(!format!("{upstream:?}").contains("canary"));
        assert!(upstream.credential("a\nb").is_err());
    }
}
