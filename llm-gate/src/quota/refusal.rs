//! What a caller is told whose hold was not granted.

use std::error::Error;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::allowance::{Allowance, whole_seconds};
use crate::clock::Timestamp;
use crate::error::Rejection;
use crate::identity::{Principal, Scope, Subject};
use crate::ledger::{RecordError, Reservation, ReserveError};
use crate::store::{Denial, DenialReason, Standing, Unit};
use crate::tokens::Tokens;

/// How a limit is shown: how much it is, what is left of it, when it comes back.
type Names = [HeaderName; 3];

/// In the names that OpenAI has for them.
const TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
/// OpenAI has none for money; these are what other gateways say.
const COST: Names = [
    HeaderName::from_static("x-ratelimit-limit-cost"),
    HeaderName::from_static("x-ratelimit-remaining-cost"),
    HeaderName::from_static("x-ratelimit-reset-cost"),
];
/// Tells the OpenAI packages whether trying again makes sense.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// When to come back while the books cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// How long a caller is told to wait at most; a limit that takes longer to come back is spent for now.
const WAIT: Duration = Duration::from_secs(120);

/// Shows how the tightest limits stand; nothing where there is none.
pub(super) fn show(headers: &mut HeaderMap, reservation: &Reservation) {
    let now = reservation.granted_at();
    show_amounts(headers, TOKENS, &reservation.standing(), now);
    if let Some(requests) = reservation.requests() {
        show_requests(headers, &requests, now);
    }
}

fn show_amounts(
    headers: &mut HeaderMap,
    [of, left, reset]: Names,
    standing: &Standing,
    now: Timestamp,
) {
    if let (Some(limit), Some(remaining)) = (standing.limit, standing.remaining()) {
        headers.insert(of, limit.get().into());
        headers.insert(left, remaining.get().into());
        if let Some(resets) = standing.resets {
            let seconds = format!("{}s", whole_seconds(resets.since(now)));
            let value = HeaderValue::try_from(seconds).expect("digits and a letter");
            headers.insert(reset, value);
        }
    }
}

fn show_requests(headers: &mut HeaderMap, standing: &Standing, now: Timestamp) {
    if let (Some(limit), Some(remaining)) = (standing.limit, standing.remaining()) {
        let allowance = Allowance {
            limit: limit.get(),
            remaining: remaining.get(),
            resets: standing.resets.map(|resets| resets.since(now)),
        };
        allowance.show(headers, now);
    }
}

/// Refuses what the caller's key is not for: models at all, or this one.
pub(super) fn beyond(principal: &Principal, model: &str) -> Option<Rejection> {
    let (reason, rejection) = if !principal.allows(Scope::Inference) {
        ("scope", Rejection::missing_scope(Scope::Inference))
    } else if !principal.allows_model(model) {
        let words = "the API key is not for this model";
        let rejection = Rejection::new(StatusCode::FORBIDDEN, "invalid_request_error", words);
        ("model", rejection.code("model_not_allowed").param("model"))
    } else {
        return None;
    };
    metrics::counter!("llm_gate_quota_refused_total", "reason" => reason).increment(1);
    tracing::info!(user = %principal.user, reason, "a call that the key is not for was refused");
    Some(rejection)
}

/// Makes the answer for a hold that was not granted; `least` is what would do if it were asked for again.
pub(super) fn refused(error: ReserveError, least: Tokens, now: Timestamp) -> Rejection {
    match error {
        ReserveError::Denied(denial) => match denial.reason {
            DenialReason::Exhausted => exhausted(&denial, least, now),
            DenialReason::Frozen => frozen(denial.counter.subject),
            DenialReason::Unpriced => unpriced(),
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

/// A limit that comes back within two minutes is worth waiting for; a total one does not come back by itself, and
/// one that is smaller than the request never has room for it. Where less would do than was asked for, asking again helps
/// at once.
fn exhausted(denial: &Denial, least: Tokens, now: Timestamp) -> Rejection {
    // The clock that has decided may be another one than ours.
    let now = denial.at.unwrap_or(now);
    let (standing, counter) = (&denial.standing, &denial.counter);
    let (limit, remaining) = (
        standing.limit.unwrap_or_default(),
        standing.remaining().unwrap_or_default(),
    );
    let comes_back = standing.resets.filter(|_| denial.asked <= limit);
    let comes_back = comes_back.map(|resets| resets.since(now).max(Duration::from_millis(1)));
    // What needs no tokens is refused for want of something else.
    let again = (denial.fits >= least.max(Tokens::new(1))).then_some(RETRY);
    let wait = again.or_else(|| comes_back.filter(|wait| *wait <= WAIT));
    let reason = if wait.is_some() { "rate" } else { "exhausted" };
    metrics::counter!("llm_gate_quota_refused_total", "reason" => reason).increment(1);
    let unit = match counter.unit {
        Unit::Tokens => "tokens",
        Unit::Requests => "requests",
        Unit::Money => "millionths of money",
    };
    let whose = counter.subject.parts().0;
    let period = counter.period;
    let words = format!(
        "the request may use up to {} {unit}, and {remaining} of the {whose} limit of {limit} ({period}) are left",
        denial.asked
    );
    let kind = if wait.is_some() {
        "rate_limit_exceeded"
    } else {
        "insufficient_quota"
    };
    let rejection = Rejection::new(StatusCode::TOO_MANY_REQUESTS, kind, words).code(kind);
    let rejection = match wait.or(comes_back) {
        Some(wait) => rejection.retry_after(wait),
        None => rejection,
    };
    let rejection = if wait.is_some() {
        rejection
    } else {
        rejection.header(SHOULD_RETRY, HeaderValue::from_static("false"))
    };
    let mut shown = HeaderMap::new();
    match counter.unit {
        Unit::Tokens => show_amounts(&mut shown, TOKENS, standing, now),
        Unit::Requests => show_requests(&mut shown, standing, now),
        Unit::Money => show_amounts(&mut shown, COST, standing, now),
    }
    shown
        .into_iter()
        .fold(rejection, |rejection, (name, value)| match name {
            Some(name) => rejection.header(name, value),
            None => rejection,
        })
}

/// What has no price cannot be counted against a limit of money.
fn unpriced() -> Rejection {
    metrics::counter!("llm_gate_quota_refused_total", "reason" => "unpriced").increment(1);
    let words = "the model has no price, and money is limited";
    Rejection::new(StatusCode::FORBIDDEN, "invalid_request_error", words).code("model_not_priced")
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
        Subject::Platform => Rejection::new(
            StatusCode::FORBIDDEN,
            "invalid_request_error",
            "the service is suspended",
        ),
    }
}
