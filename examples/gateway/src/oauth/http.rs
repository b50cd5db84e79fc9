use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::OAuthError;

/// How long a provider may take for one answer in all.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may be.
const MAX_BYTES: usize = 64 * 1024;

/// Asks providers, within bounds: time, size, no redirect.
#[derive(Clone, Debug)]
pub(crate) struct Http(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    body: Bytes,
}

impl Http {
    pub(crate) fn new() -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
            .expect("the provider speaks TLS 1.2 and 1.3")
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            // Minutes lie between two logins, and a code is good once: nothing is sent twice.
            .pool_max_idle_per_host(0)
            .retry_canceled_requests(false)
            .build(connector);
        Self(client)
    }

    /// Gets JSON, with `bearer` if there is one.
    pub(crate) async fn get(&self, url: &Uri, bearer: Option<&str>) -> Result<Answer, OAuthError> {
        let mut request = prepare(Method::GET, url, Bytes::new());
        if let Some(bearer) = bearer {
            authorize(&mut request, &format!("Bearer {bearer}"))?;
        }
        self.send(request).await
    }

    /// Posts a form, with `authorization` if there is one.
    pub(super) async fn post(
        &self,
        url: &Uri,
        form: String,
        authorization: Option<&str>,
    ) -> Result<Answer, OAuthError> {
        const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
        let mut request = prepare(Method::POST, url, form.into());
        request.headers_mut().insert(CONTENT_TYPE, FORM);
        if let Some(authorization) = authorization {
            authorize(&mut request, authorization)?;
        }
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, OAuthError> {
        let asking = async {
            let answer = self.0.request(request).await;
            let answer = answer.map_err(|error| OAuthError::Unreachable(error.into()))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_BYTES).collect().await;
            Ok(Answer {
                status,
                body: body.map_err(OAuthError::Unread)?.to_bytes(),
            })
        };
        tokio::time::timeout(TIMEOUT, asking)
            .await
            .map_err(|_| OAuthError::Slow)?
    }
}

impl Answer {
    /// Reads a good one.
    pub(super) fn good<T: DeserializeOwned>(&self) -> Result<T, OAuthError> {
        if self.status != StatusCode::OK {
            return Err(OAuthError::Status(self.status));
        }
        // What serde says of it may repeat it.
        self.read()
            .ok_or(OAuthError::Useless("it is not the JSON that was asked for"))
    }

    /// Reads any.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }
}

fn prepare(method: Method, url: &Uri, body: Bytes) -> Request<Full<Bytes>> {
    const ACCEPTED: HeaderValue = HeaderValue::from_static("application/json");
    const AGENT: HeaderValue =
        HeaderValue::from_static(concat!("llm-gate/", env!("CARGO_PKG_VERSION")));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.clone();
    request.headers_mut().insert(ACCEPT, ACCEPTED);
    request.headers_mut().insert(USER_AGENT, AGENT);
    request
}

fn authorize(request: &mut Request<Full<Bytes>>, value: &str) -> Result<(), OAuthError> {
    let mut value = HeaderValue::from_str(value)
        .map_err(|_| OAuthError::Useless("its token is none of a header"))?;
    value.set_sensitive(true);
    request.headers_mut().insert(AUTHORIZATION, value);
    Ok(())
}
