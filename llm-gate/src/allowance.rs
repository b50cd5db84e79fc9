//! [`Allowance`]: how much of a limit of requests is left, and the headers that tell it.
//!
//! Several layers may limit requests, one inside the other. Each shows its own allowance on the answer, and
//! of all of them the tightest remains, so that a client reads one.
//!
//! ```
//! use std::time::Duration;
//! use http::HeaderMap;
//! use llm_gate::allowance::Allowance;
//! use llm_gate::clock::Timestamp;
//!
//! let now = Timestamp::from_micros(1_767_225_600_000_000);
//! let minute = Allowance { limit: 100, remaining: 40, resets: Some(Duration::from_secs(36)) };
//! let day = Allowance { limit: 500, remaining: 3, resets: Some(Duration::from_secs(7200)) };
//!
//! let mut headers = HeaderMap::new();
//! day.show(&mut headers, now);
//! minute.show(&mut headers, now);
//! assert_eq!(headers["x-ratelimit-remaining-requests"], "3", "the tightest, whoever came first");
//! assert_eq!(headers["x-ratelimit-reset-requests"], "7200s");
//! assert_eq!(headers["x-ratelimit-reset"], "1767232800");
//! ```

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::clock::Timestamp;

// The names that OpenAI has for them …
const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit-requests");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining-requests");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset-requests");
// … and those that older clients read; there the reset is a moment, in Unix seconds.
const OLD_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const OLD_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const OLD_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// The headers that [`Allowance::show`] writes, for servers that list what scripts may read.
pub const HEADERS: [HeaderName; 6] = [LIMIT, REMAINING, RESET, OLD_LIMIT, OLD_REMAINING, OLD_RESET];

/// How much of a limit of requests is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// How many requests the limit allows.
    pub limit: u64,
    /// How many more would be let through now.
    pub remaining: u64,
    /// How long until all of them are there again; `None` if they do not come back by themselves.
    pub resets: Option<Duration>,
}

impl Allowance {
    /// Writes `x-ratelimit-{limit,remaining,reset}-requests` and the older `x-ratelimit-{limit,remaining,reset}`,
    /// unless a tighter allowance is shown already.
    ///
    /// Tighter is what leaves fewer requests; of equals, what takes longer to come back.
    ///
    /// # Panics
    ///
    /// Never: what is written are digits.
    pub fn show(&self, headers: &mut HeaderMap, now: Timestamp) {
        if shown(headers).is_some_and(|shown| shown <= self.tightness()) {
            return;
        }
        for name in [LIMIT, OLD_LIMIT] {
            headers.insert(name, self.limit.into());
        }
        for name in [REMAINING, OLD_REMAINING] {
            headers.insert(name, self.remaining.into());
        }
        match self.resets {
            Some(resets) => {
                let seconds = format!("{}s", whole_seconds(resets));
                let seconds = HeaderValue::try_from(seconds).expect("digits and a letter");
                headers.insert(RESET, seconds);
                // Rounded up like the other: whoever waits until then has waited long enough.
                let moment = now.after(resets).as_micros();
                let moment =
                    moment.div_euclid(1_000_000) + i64::from(moment.rem_euclid(1_000_000) > 0);
                headers.insert(OLD_RESET, moment.into());
            }
            None => {
                headers.remove(RESET);
                headers.remove(OLD_RESET);
            }
        }
    }

    /// Sorts the tightest first.
    fn tightness(&self) -> (u64, u64) {
        let wait = self.resets.map_or(u64::MAX, whole_seconds);
        (self.remaining, u64::MAX - wait)
    }
}

/// Reads how tight the allowance is that is shown already.
fn shown(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let remaining = text(REMAINING)?.parse().ok()?;
    let wait = match text(RESET) {
        Some(wait) => wait.strip_suffix('s')?.parse().ok()?,
        None => u64::MAX,
    };
    Some((remaining, u64::MAX - wait))
}

/// Rounds up: whoever waits so long has waited long enough.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_000_000_500_000);

    fn allowance(remaining: u64, millis: Option<u64>) -> Allowance {
        let resets = millis.map(Duration::from_millis);
        Allowance {
            limit: 10,
            remaining,
            resets,
        }
    }

    fn remaining_after(order: &[Allowance]) -> (String, String) {
        let mut headers = HeaderMap::new();
        for allowance in order {
            allowance.show(&mut headers, NOW);
        }
        let text = |name: &str| {
            let value = headers.get(name).map(|value| value.to_str().expect("text"));
            value.unwrap_or("none").to_owned()
        };
        assert_eq!(
            text("x-ratelimit-remaining"),
            text("x-ratelimit-remaining-requests")
        );
        (
            text("x-ratelimit-remaining-requests"),
            text("x-ratelimit-reset-requests"),
        )
    }

    #[test]
    fn the_tightest_is_shown_in_whatever_order_they_come() {
        let (loose, tight) = (allowance(5, Some(9000)), allowance(2, Some(100)));
        for order in [[loose, tight], [tight, loose]] {
            assert_eq!(remaining_after(&order), ("2".into(), "1s".into()));
        }
        let (soon, late) = (allowance(0, Some(1000)), allowance(0, Some(60_000)));
        let never = allowance(0, None);
        assert_eq!(remaining_after(&[soon, late]).1, "60s");
        assert_eq!(remaining_after(&[late, soon]).1, "60s");
        assert_eq!(
            remaining_after(&[late, never]).1,
            "none",
            "the old reset is not left behind"
        );
        assert_eq!(remaining_after(&[never, late]).1, "none");
    }

    #[test]
    fn the_reset_is_never_too_early() {
        let mut headers = HeaderMap::new();
        allowance(1, Some(1501)).show(&mut headers, NOW);
        assert_eq!(headers["x-ratelimit-reset-requests"], "2s");
        assert_eq!(
            headers["x-ratelimit-reset"], "1000003",
            "1000000.5 s and 1.501 s more"
        );
        assert_eq!(headers.len(), HEADERS.len());
        assert!(HEADERS.iter().all(|name| headers.contains_key(name)));
    }

    #[test]
    fn what_somebody_else_has_written_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REMAINING, HeaderValue::from_static("many"));
        allowance(1, None).show(&mut headers, NOW);
        assert_eq!(headers[REMAINING], "1");
    }
}
