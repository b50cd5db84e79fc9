//! What a caller is told whose hold was not granted.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::error::Rejection;
use crate::identity::Subject;
use crate::ledger::{RecordError, ReserveError};
use crate::store::{Denial, DenialReason, Standing};
use crate::tokens::Tokens;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-tokens");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-tokens");
/// Tells the OpenAI packages whether trying again makes sense.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// When to come back while the books cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Shows how the tightest limit stands; nothing where there is none.
pub(super) fn show(headers: &mut HeaderMap, standing: &Standing) {
    if let (Some(limit), Some(remaining)) = (standing.limit, standing.remaining()) {
        headers.insert(LIMIT, limit.get().into());
        headers.insert(REMAINING, remaining.get().into());
    }
}

/// Makes the answer for a hold that was not granted: `asked` is what was asked for, `least` what would do if it
/// were asked for again.
pub(super) fn refused(error: ReserveError, asked: Tokens, least: Tokens) -> Rejection {
    match error {
        ReserveError::Denied(denial) => match denial.reason {
            DenialReason::Exhausted => exhausted(&denial, asked, least),
            DenialReason::Frozen => frozen(denial.subject),
        },
        ReserveError::Repeated => {
            let words = "the request id was used before";
            Rejection::new(StatusCode::CONFLICT, "invalid_request_error", words)
                .code("request_repeated")
        }
        ReserveError::Full => {
            metrics::counter!("llm_gate_quota_refused_total", "reason" => "full").increment(1);
            Rejection::unavailable("too many requests are under way", RETRY)
        }
        ReserveError::Unavailable(error) => {
            metrics::counter!("llm_gate_quota_refused_total", "reason" => "unavailable")
                .increment(1);
            tracing::error!(
                error = &error as &dyn Error,
                "no reservation: the books cannot be written"
            );
            unaccountable()
        }
    }
}

/// Makes the answer for a request that cannot be written down.
pub(super) fn unaccountable() -> Rejection {
    Rejection::unavailable("the gate cannot account for the request now", RETRY)
}

/// Makes the answer for a request whose time is over.
pub(super) fn overdue() -> Rejection {
    let words = "the request took too long";
    Rejection::new(StatusCode::GATEWAY_TIMEOUT, "upstream_error", words).code("gateway_timeout")
}

/// Makes the answer for a request of which nothing more could be written down.
pub(super) fn unrecorded(error: &RecordError) -> Rejection {
    match error {
        RecordError::Ended => overdue(),
        _ => unaccountable(),
    }
}

/// A total limit does not come back by itself, so trying again is of no use; unless less would do than was asked
/// for.
fn exhausted(denial: &Denial, asked: Tokens, least: Tokens) -> Rejection {
    metrics::counter!("llm_gate_quota_refused_total", "reason" => "exhausted").increment(1);
    let standing = &denial.standing;
    let (limit, remaining) = (
        standing.limit.unwrap_or_default(),
        standing.remaining().unwrap_or_default(),
    );
    let words = format!(
        "the request may use up to {asked} tokens, and {remaining} of the {} limit of {limit} are left",
        denial.subject.parts().0
    );
    let again = if standing.room() < least {
        "false"
    } else {
        "true"
    };
    let mut shown = HeaderMap::new();
    show(&mut shown, standing);
    let rejection = Rejection::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", words)
        .code("insufficient_quota")
        .header(SHOULD_RETRY, HeaderValue::from_static(again));
    shown
        .into_iter()
        .fold(rejection, |rejection, (name, value)| match name {
            Some(name) => rejection.header(name, value),
            None => rejection,
        })
}

/// A key revoked or a user disabled since the credential was checked.
fn frozen(subject: Subject) -> Rejection {
    metrics::counter!("llm_gate_quota_refused_total", "reason" => "frozen").increment(1);
    tracing::info!(%subject, "a reservation on a frozen counter was refused");
    match subject {
        Subject::User(_) | Subject::Key(_) => Rejection::unauthorized(),
        Subject::Project(_) => Rejection::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            "the project is suspended",
        ),
    }
}
