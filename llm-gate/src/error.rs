//! [`Rejection`]: a request refused by a layer, and the JSON envelope it goes out in.
//!
//! ```
//! use http::StatusCode;
//! use llm_gate::error::{Envelope, Rejection};
//!
//! let refused = Rejection::new(StatusCode::NOT_FOUND, "invalid_request_error", "no such model")
//!     .code("model_not_found")
//!     .param("model");
//! assert_eq!(
//!     refused.body(Envelope::OpenAi),
//!     r#"{"error":{"message":"no such model","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
//! );
//! ```

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::body::GateBody;

/// The JSON form of an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Envelope {
    /// `{"error": {"message", "type", "param", "code"}}`, as the
    /// [OpenAI API](https://platform.openai.com/docs/guides/error-codes) does.
    #[default]
    OpenAi,
    /// `{"detail": …}`, as the management routes do.
    Detail,
}

/// A request refused by a layer: a status, the words for the caller, and headers.
#[derive(Clone, Debug)]
pub struct Rejection {
    status: StatusCode,
    kind: &'static str,
    message: Cow<'static, str>,
    code: Option<&'static str>,
    param: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Rejection {
    /// Refuses with `status`; `kind` is the `type` member of the OpenAI envelope.
    #[must_use]
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            code: None,
            param: None,
            headers: Vec::new(),
        }
    }

    /// Refuses with 400 `invalid_request_error`.
    #[must_use]
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// Refuses with 401 `invalid_api_key` and asks for a bearer (RFC 6750), in the same words for every
    /// reason: who is refused learns nothing of it.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_request_error",
            "missing or invalid credentials",
        )
        .code("invalid_api_key")
        .header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// Refuses with 403 `account_required`: the credential is good, but nobody's account is behind it.
    #[must_use]
    pub fn account_required() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            "this needs an account, and the operator key has none",
        )
        .code("account_required")
    }

    /// Refuses with 403 `missing_scope`: the API key is good, but not for this.
    #[must_use]
    pub fn missing_scope(scope: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            format!("the API key has not the scope \"{scope}\""),
        )
        .code("missing_scope")
    }

    /// Refuses with 503 `service_unavailable` and says when to come back.
    #[must_use]
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            message,
        )
        .code("service_unavailable")
        .retry_after(retry_after)
    }

    /// Refuses with 500 and no details: they belong into the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "internal error",
        )
        .code("internal_error")
    }

    /// Sets the `code` member. Null unless set.
    #[must_use]
    pub const fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Sets the `param` member, the name of the field at fault. Null unless set.
    #[must_use]
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds `Retry-After`, in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(self, delay: Duration) -> Self {
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        self.header(RETRY_AFTER, seconds.into())
    }

    /// Returns the status the request is refused with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the words for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Writes the JSON body.
    #[must_use]
    pub fn body(&self, envelope: Envelope) -> String {
        match envelope {
            // Written by hand so that the members stand in the order OpenAI sends them.
            Envelope::OpenAi => format!(
                r#"{{"error":{{"message":{},"type":{},"param":{},"code":{}}}}}"#,
                json!(self.message),
                json!(self.kind),
                json!(self.param),
                json!(self.code),
            ),
            Envelope::Detail => json!({ "detail": self.message }).to_string(),
        }
    }

    /// Makes the response.
    #[must_use]
    pub fn into_response<B>(self, envelope: Envelope) -> Response<GateBody<B>> {
        let mut response = Response::new(GateBody::own(self.body(envelope)));
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped_in_both_envelopes() {
        let refused = Rejection::bad_request("a \"quoted\" word");
        for envelope in [Envelope::OpenAi, Envelope::Detail] {
            let body = refused.body(envelope);
            assert!(
                serde_json::from_str::<serde_json::Value>(&body).is_ok(),
                "{body}"
            );
        }
    }

    #[test]
    fn retry_after_is_never_too_early() {
        let response = Rejection::unavailable("later", Duration::from_millis(1001))
            .into_response::<http_body_util::Empty<bytes::Bytes>>(Envelope::OpenAi);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
