//! What the client is told when the upstream refuses or fails.

use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Rejection;

/// The two shapes vLLM refuses in.
#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

/// What becomes of the body of a refusal.
pub(super) enum Passed {
    /// It is in OpenAI's shape and goes on as it is.
    AsItIs,
    /// This goes instead.
    Instead(Rejection),
}

/// Decides about an answer with an error status.
pub(super) fn refused(status: StatusCode, body: &[u8]) -> Passed {
    if status == StatusCode::UNAUTHORIZED
        || status == StatusCode::FORBIDDEN && !has_error_object(body)
    {
        // It is the gate's own key that is wrong, which is nothing the client can mend.
        tracing::error!(%status, "the upstream refuses the gate's credential");
        metrics::counter!("llm_gate_upstream_unauthorized_total").increment(1);
        return Passed::Instead(bad_gateway("the upstream refused the gate"));
    }
    if !status.is_client_error() && !status.is_server_error() {
        tracing::warn!(%status, "the upstream answered with an unexpected status");
        return Passed::Instead(bad_gateway("the upstream gave an unexpected answer"));
    }
    if has_error_object(body) {
        return Passed::AsItIs;
    }
    let parsed: Option<Refusal<'_>> = serde_json::from_slice(body).ok();
    let detail =
        parsed.and_then(|refusal| serde_json::from_str::<String>(refusal.detail?.get()).ok());
    Passed::Instead(match detail {
        Some(detail) if status.is_client_error() => {
            Rejection::new(status, "invalid_request_error", detail)
        }
        _ if status.is_client_error() => Rejection::new(
            status,
            "invalid_request_error",
            "the upstream refused the request",
        ),
        _ => Rejection::new(status, "upstream_error", "the upstream failed"),
    })
}

/// Tells whether a body is `{"error": {…}}`.
fn has_error_object(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal<'_>>(body)
        .ok()
        .and_then(|refusal| refusal.error)
        .is_some_and(|error| error.get().starts_with('{'))
}

pub(super) fn bad_gateway(why: &'static str) -> Rejection {
    Rejection::new(StatusCode::BAD_GATEWAY, "upstream_error", why).code("bad_gateway")
}

pub(super) fn timeout() -> Rejection {
    let why = "the upstream did not answer in time";
    Rejection::new(StatusCode::GATEWAY_TIMEOUT, "upstream_error", why).code("gateway_timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instead(status: u16, body: &str) -> Option<(u16, String)> {
        match refused(
            StatusCode::from_u16(status).expect("a status"),
            body.as_bytes(),
        ) {
            Passed::AsItIs => None,
            Passed::Instead(rejection) => {
                Some((rejection.status().as_u16(), rejection.message().to_owned()))
            }
        }
    }

    #[test]
    fn openai_shapes_pass_and_nothing_else_does() {
        assert_eq!(
            instead(400, r#"{"error":{"message":"m","code":400}}"#),
            None
        );
        assert_eq!(instead(429, r#"{"error":{"message":"slow down"}}"#), None);
        assert_eq!(
            instead(404, r#"{"detail":"Not Found"}"#),
            Some((404, "Not Found".to_owned()))
        );
        let page = "<html>nginx at 10.0.0.7</html>";
        assert_eq!(
            instead(503, page),
            Some((503, "the upstream failed".to_owned()))
        );
        assert_eq!(
            instead(500, r#"{"detail":"at 10.0.0.7"}"#),
            Some((500, "the upstream failed".to_owned()))
        );
    }

    #[test]
    fn a_wrong_key_of_ours_is_not_the_clients_fault() {
        assert_eq!(
            instead(401, r#"{"error":"Unauthorized"}"#).map(|(status, _)| status),
            Some(502)
        );
        assert_eq!(
            instead(401, r#"{"error":{"message":"m"}}"#).map(|(status, _)| status),
            Some(502)
        );
        assert_eq!(instead(403, r#"{"error":{"message":"m"}}"#), None);
    }

    #[test]
    fn a_redirect_is_not_followed_nor_passed() {
        assert_eq!(instead(307, "").map(|(status, _)| status), Some(502));
    }
}
