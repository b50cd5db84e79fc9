use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::body::GateBody;
use crate::error::Rejection;
use crate::identity::{ConversationId, InvalidConversation};

use super::bound::Bound;
use super::model::Found;
use super::parse::parse;
use super::read::Fault;
use super::value::shown;
use super::{Call, CallFuture, CallLayer, Model, Route, SESSION, UnknownRoute};

/// The service of [`CallLayer`].
#[derive(Clone, Debug)]
pub struct CallService<S> {
    config: Arc<CallLayer>,
    inner: S,
}

impl<S> CallService<S> {
    pub(super) fn new(config: CallLayer, inner: S) -> Self {
        Self {
            config: Arc::new(config),
            inner,
        }
    }
}

impl<S, B, R> Service<Request<B>> for CallService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<R>>;
    type Error = S::Error;
    type Future = CallFuture<B, S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match admit(&self.config, &request) {
            Err(rejection) => CallFuture::refused(rejection),
            Ok((route, session)) => {
                // Move the ready service into the future and keep the fresh clone.
                let clone = self.inner.clone();
                let inner = std::mem::replace(&mut self.inner, clone);
                CallFuture::reading(self.config.clone(), (route, session), inner, request)
            }
        }
    }
}

/// Decides by the request's head.
fn admit<B: Body>(
    config: &CallLayer,
    request: &Request<B>,
) -> Result<(Route, Option<ConversationId>), Rejection> {
    let route =
        Route::of(request.method(), request.uri().path()).map_err(|unknown| match unknown {
            UnknownRoute::Path => Rejection::new(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "there is no such route",
            )
            .code("not_found"),
            UnknownRoute::Method => Rejection::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request_error",
                "the route wants POST",
            )
            .code("method_not_allowed")
            .header(ALLOW, HeaderValue::from_static("POST")),
        })?;
    if !is_json(request.headers()) {
        let words =
            "the content type must be application/json in UTF-8, without a content encoding";
        return Err(Rejection::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            words,
        )
        .code("unsupported_media_type"));
    }
    let declared = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or_else(|| request.body().size_hint().lower());
    if declared > config.body_limit as u64 {
        return Err(too_large(config.body_limit));
    }
    Ok((route, session(request.headers())?))
}

/// Reads which conversation the call is part of.
fn session(headers: &HeaderMap) -> Result<Option<ConversationId>, Rejection> {
    let mut all = headers.get_all(SESSION).iter();
    let Some(first) = all.next() else {
        return Ok(None);
    };
    let name = first.to_str().ok().filter(|_| all.next().is_none());
    match name.and_then(|name| name.parse().ok()) {
        Some(session) => Ok(Some(session)),
        None => {
            let words = format!("{SESSION}: {InvalidConversation}");
            Err(Rejection::bad_request(words).param(SESSION))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else {
        return false;
    };
    let Ok(only) = only.to_str() else {
        return false;
    };
    let mut parts = only.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    let encoding = headers.get(CONTENT_ENCODING);
    json && utf8 && encoding.is_none_or(|encoding| encoding == "identity")
}

pub(super) fn too_large(limit: usize) -> Rejection {
    let words = format!("the body is larger than {limit} bytes");
    Rejection::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "invalid_request_error",
        words,
    )
    .code("request_too_large")
}

/// Decides by the request's body.
pub(super) fn understand(
    config: &CallLayer,
    (route, session): (Route, Option<ConversationId>),
    body: Bytes,
) -> Result<Call, Rejection> {
    let mut request = parse(route, &body, config.max_n).map_err(refusal)?;
    let named = request.model.take().filter(|name| !name.is_empty());
    let Some(name) = named.as_deref().or(config.default_model.as_deref()) else {
        return Err(refusal(Fault::of("model", "model is missing")));
    };
    let names_model = named.is_none();
    let model = match config.models.find(name) {
        Found::Known(model) => model,
        Found::Unknown => {
            let words = format!("the model {:?} does not exist", shown(name));
            return Err(
                Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", words)
                    .code("model_not_found")
                    .param("model"),
            );
        }
        Found::Pending => return Err(unbounded(None)),
    };
    let Some(context) = model.context() else {
        return Err(unbounded(Some(&model)));
    };
    let bound = Bound::of(route, &request, &model, context, body.len()).map_err(refusal)?;
    Ok(Call {
        route,
        session,
        model,
        bound,
        body,
        request,
        names_model,
        running_usage: config.running_usage,
        usage: None,
        output: None,
        edits: Vec::new(),
    })
}

fn unbounded(model: Option<&Model>) -> Rejection {
    let words = model.map_or_else(
        || "the list of models has not been read yet".to_owned(),
        |model| format!("the context length of {:?} is not known", model.id()),
    );
    Rejection::unavailable(words, std::time::Duration::from_secs(5))
}

fn refusal(fault: Fault) -> Rejection {
    let rejection = Rejection::bad_request(fault.message);
    match fault.param {
        Some(param) => rejection.param(param),
        None => rejection,
    }
}
