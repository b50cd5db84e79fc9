use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::ForeignIssuer;
use crate::auth::{JwkError, JwkSet, VerifyingKey};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Fetches sets of keys.
#[derive(Clone, Debug)]
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

/// Why there are no keys. For the log.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("no answer in time")]
    Slow,
    #[error("no answer")]
    Unreachable(#[source] BoxError),
    // A redirect too: where it leads was not agreed on.
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("the answer broke off or is too long")]
    Unread(#[source] BoxError),
    #[error("the answer cannot be used")]
    Useless(#[from] JwkError),
}

impl Fetcher {
    pub(super) fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .expect("the provider speaks TLS 1.2 and 1.3")
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            // Minutes lie between two fetches, and each is one request.
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Self(client)
    }

    /// Fetches the keys of an issuer, once, within its bounds.
    pub(super) async fn fetch(
        &self,
        issuer: &ForeignIssuer,
    ) -> Result<Vec<VerifyingKey>, FetchError> {
        let fetching = self.get(issuer);
        let json = tokio::time::timeout(issuer.timeout, fetching)
            .await
            .map_err(|_| FetchError::Slow)??;
        Ok(JwkSet::read(&json)?)
    }

    async fn get(&self, issuer: &ForeignIssuer) -> Result<Bytes, FetchError> {
        const ACCEPTED: HeaderValue =
            HeaderValue::from_static("application/jwk-set+json, application/json");
        const AGENT: HeaderValue =
            HeaderValue::from_static(concat!("llm-gate/", env!("CARGO_PKG_VERSION")));
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = issuer.jwks.clone();
        request.headers_mut().insert(ACCEPT, ACCEPTED);
        request.headers_mut().insert(USER_AGENT, AGENT);
        let answer = self.0.request(request).await;
        let answer = answer.map_err(|error| FetchError::Unreachable(error.into()))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Refused(answer.status()));
        }
        let body = Limited::new(answer.into_body(), issuer.max_bytes);
        let body = body.collect().await.map_err(FetchError::Unread)?;
        Ok(body.to_bytes())
    }
}
