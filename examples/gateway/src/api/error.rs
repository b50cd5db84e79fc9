use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use llm_gate::error::{Envelope, Rejection};
use llm_gate::store::{StoreError, StoreErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use crate::passwords::PasswordError;

/// When to come back after the store could not answer.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// When to come back after too many passwords were waiting.
const PASSWORD_RETRY: Duration = Duration::from_secs(2);

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
    pub(crate) fn defect(error: &dyn std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Rejection::internal().into()
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Box::new(rejection))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict => Self::new(StatusCode::CONFLICT, "already taken"),
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

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Rejected(rejection) => rejection
                .into_response::<Body>(Envelope::Detail)
                .map(Body::new),
            Self::Fields(fields) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                axum::Json(serde_json::json!({ "detail": fields })),
            )
                .into_response(),
        }
    }
}
