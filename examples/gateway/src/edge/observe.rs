use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use llm_gate::auth::Refused;
use llm_gate::identity::{Principal, RequestId, UserId};
use llm_gate::tokens::Metered;
use tracing::Instrument;

use super::ObservedBody;

/// The header that names a request in answers and logs.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest foreign request id that is logged.
const MAX_FOREIGN_ID: usize = 128;

/// Who is calling, as far as the log knows: filled in behind the auth layer, read at the end.
#[derive(Clone, Debug, Default)]
pub struct Caller(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    who: OnceLock<Who>,
    /// Why the credential was refused.
    refused: OnceLock<&'static str>,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    User(UserId),
    Operator,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => user.fmt(f),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl Caller {
    /// Notes the principal of a request for its line in the log.
    pub fn note<B>(request: http::Request<B>) -> http::Request<B> {
        let extensions = request.extensions();
        if let (Some(caller), Some(principal)) =
            (extensions.get::<Self>(), extensions.get::<Principal>())
        {
            let who = if principal.has_account() {
                Who::User(principal.user)
            } else {
                Who::Operator
            };
            // The first one stays: nobody is two people.
            let _ = caller.0.who.set(who);
        }
        request
    }

    /// Notes why a credential was refused by a handler; what the auth layer has refused, its answer says.
    pub(crate) fn refused(&self, reason: &'static str) {
        let _ = self.0.refused.set(reason);
    }
}

/// Gives a request its id.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    identified(RequestId::new(), request, next).await
}

async fn identified(id: RequestId, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(id);
    let span = tracing::info_span!("request", %id);
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(X_REQUEST_ID, value);
    }
    response
}

/// Gives a request its id, and writes its line and its metrics when its body has ended.
pub(super) async fn observe(mut request: Request, next: Next) -> Response {
    let id = RequestId::new();
    let caller = Caller::default();
    let observation = Observation::begin(&request, id, caller.clone());
    log_foreign_id(&request, id);
    request.extensions_mut().insert(caller);
    let response = identified(id, request, next).await;
    let observation = observation.answered(&response);
    response.map(|body| Body::new(ObservedBody::new(body, observation)))
}

/// The client's own id helps it to find the request again; it is never used as one.
fn log_foreign_id(request: &Request, id: RequestId) {
    if let Some(foreign) = request.headers().get(X_REQUEST_ID) {
        let bytes = foreign.as_bytes();
        let foreign = bytes[..bytes.len().min(MAX_FOREIGN_ID)].escape_ascii();
        tracing::info!(%id, client_id = %foreign, "the client calls this request");
    }
}

/// One request under way. Its end is written when this is dropped, however that comes about.
#[derive(Debug)]
pub(super) struct Observation {
    id: RequestId,
    method: &'static str,
    handler: String,
    begun: Instant,
    caller: Caller,
    status: Option<StatusCode>,
    metered: Option<Metered>,
    refused: Option<Refused>,
}

impl Observation {
    fn begin(request: &Request, id: RequestId, caller: Caller) -> Self {
        metrics::gauge!("http_requests_in_progress").increment(1);
        Self {
            id,
            method: word(request.method()),
            handler: request
                .extensions()
                .get::<MatchedPath>()
                .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned()),
            begun: Instant::now(),
            caller,
            status: None,
            metered: None,
            refused: None,
        }
    }

    fn answered(mut self, response: &Response) -> Self {
        self.status = Some(response.status());
        self.metered = response.extensions().get::<Metered>().cloned();
        self.refused = response.extensions().get().copied();
        self
    }

    fn write(&self, latency: Duration) {
        // 499 as nginx has it: the client left before there was an answer.
        let status = self.status.map_or(499, |status| status.as_u16());
        let usage = self.metered.as_ref().and_then(Metered::usage);
        let refused = self.refused.map(Refused::reason);
        tracing::info!(
            id = %self.id,
            method = self.method,
            route = self.handler,
            status,
            latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            user = self.caller.0.who.get().map(tracing::field::display),
            refused = refused.or_else(|| self.caller.0.refused.get().copied()),
            tokens = usage.map(|usage| usage.total().get()),
            "request"
        );
        metrics::counter!(
            "http_requests_total",
            "method" => self.method,
            "handler" => self.handler.clone(),
            "status" => status.to_string(),
        )
        .increment(1);
        metrics::histogram!(
            "http_request_duration_seconds",
            "method" => self.method,
            "handler" => self.handler.clone(),
        )
        .record(latency);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        metrics::gauge!("http_requests_in_progress").decrement(1);
        self.write(self.begun.elapsed());
    }
}

/// A bounded set of words, so that callers cannot make up time series.
pub(super) fn word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}
