use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderName, HeaderValue, StatusCode};
use llm_gate::error::{Envelope, Rejection};
use llm_gate::store::{StoreError, StoreErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::passwords::PasswordError;

/// When to come back after the store could not answer.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// When to come back after too many passwords were waiting.
const PASSWORD_RETRY: Duration = Duration::from_secs(2);

/// Says whether the OpenAI packages repeat a request.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A refusal on the management routes.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Refused as a whole: `{"detail": "…"}`.
    Rejected(Box<Rejection>),
    /// Fields at fault: 422 `{"detail": [{"loc", "msg", "type"}]}`.
    Fields(Vec<FieldError>),
}

/// What is wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// Where it stands: `body` or `query`, and its name.
    #[schema(value_type = Vec<String>, min_items = 2, max_items = 2)]
    pub(crate) loc: [Cow<'static, str>; 2],
    /// What it must be.
    #[schema(value_type = String)]
    pub(crate) msg: Cow<'static, str>,
    /// Always `value_error`.
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: &'static str) -> Self {
        Rejection::new(status, "invalid_request_error", message).into()
    }

    /// Refuses a caller without saying why.
    pub(crate) fn unauthorized(message: &'static str) -> Self {
        Rejection::new(StatusCode::UNAUTHORIZED, "invalid_request_error", message)
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            .into()
    }

    pub(crate) fn forbidden(message: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    pub(crate) fn not_found(message: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large")
    }

    /// Refuses a field of the query that only its handler can judge.
    pub(crate) fn field(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Fields(vec![FieldError {
            loc: ["query".into(), name.into()],
            msg: message.into(),
            kind: "value_error",
        }])
    }

    /// Refuses a field of the body that only its handler can judge.
    pub(crate) fn in_body(name: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Fields(vec![FieldError {
            loc: ["body".into(), name.into()],
            msg: message.into(),
            kind: "value_error",
        }])
    }

    /// Logs a defect, and answers without it.
    pub(crate) fn defect(error: &dyn fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Rejection::internal().into()
    }
}

/// For the log, where an answer breaks off: a client has the response.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejection) => {
                write!(f, "{}: {}", rejection.status(), rejection.message())
            }
            Self::Fields(_) => f.write_str("fields were refused"),
        }
    }
}

impl std::error::Error for ApiError {}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict => Self::new(StatusCode::CONFLICT, "already taken"),
            StoreErrorKind::Stale => Rejection::unauthorized().into(),
            StoreErrorKind::Unavailable => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "store unavailable"
                );
                Rejection::unavailable("the store cannot answer now", STORE_RETRY).into()
            }
            _ => {
                tracing::error!(error = &error as &dyn std::error::Error, "store failed");
                Rejection::internal().into()
            }
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Overloaded => {
                Rejection::unavailable("too many logins at once", PASSWORD_RETRY).into()
            }
            failed @ PasswordError::Failed(_) => Self::defect(&failed),
        }
    }
}

/// What a response says, for a surface that says it in another shape.
#[derive(Clone)]
struct Said(Arc<ApiError>);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = match &self {
            Self::Rejected(rejection) => answer(rejection, Envelope::Detail),
            Self::Fields(fields) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                axum::Json(serde_json::json!({ "detail": fields })),
            )
                .into_response(),
        };
        response.extensions_mut().insert(Said(Arc::new(self)));
        response
    }
}

/// Says a refusal as the OpenAI API does, on the routes below `/v1`: fields at fault are a 400 there, whose `param` is
/// the first of them and whose words have all. A conflict is said to be final: the packages repeat those unless told not to.
pub(super) async fn as_openai(response: Response) -> Response {
    let Some(Said(error)) = response.extensions().get() else {
        return response;
    };
    match &**error {
        ApiError::Rejected(rejection) => {
            let mut response = answer(rejection, Envelope::OpenAi);
            if response.status() == StatusCode::CONFLICT {
                let no = HeaderValue::from_static("false");
                response.headers_mut().insert(SHOULD_RETRY, no);
            }
            response
        }
        ApiError::Fields(fields) => {
            let words = fields
                .iter()
                .map(|field| format!("{} {}", field.loc[1], field.msg));
            let words: Vec<String> = words.collect();
            let mut rejection = Rejection::bad_request(words.join("; "));
            if let Some(first) = fields.first().filter(|first| !first.loc[1].is_empty()) {
                rejection = rejection.param(first.loc[1].clone());
            }
            answer(&rejection, Envelope::OpenAi)
        }
    }
}

fn answer(rejection: &Rejection, envelope: Envelope) -> Response {
    let response = rejection.clone().into_response::<Body>(envelope);
    response.map(Body::new)
}
