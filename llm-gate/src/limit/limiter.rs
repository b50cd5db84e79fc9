use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::Rate;
use super::bucket::{Bucket, Nanos, nanos};
use super::table::Table;
use crate::allowance::Allowance;
use crate::clock::{Clock, Timestamp};
use crate::error::Rejection;

/// How many keys are counted by themselves unless set otherwise.
const CAPACITY: usize = 64 * 1024;

/// How long a client is told to wait and try again by itself; the answer to a longer wait is a person's.
const WAIT: Duration = Duration::from_secs(120);

/// Tells the OpenAI packages whether trying again makes sense.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Counts requests by key against one [`Rate`].
///
/// What the layers stand on, for use where a layer cannot: in a handler that knows more than the request's
/// head. Clones share their counts. They live in this process and are gone with it.
///
/// ```
/// use std::sync::Arc;
/// use llm_gate::limit::Limiter;
/// use llm_gate::test_util::ManualClock;
/// # use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let mails = Limiter::new("2/hour".parse()?, Arc::new(clock.clone()));
/// assert_eq!(mails.take("ada@example.com").expect("the first").remaining, 1);
/// assert_eq!(mails.peek(&"ada@example.com").remaining, 1, "to look counts nothing");
/// assert!(mails.take("ada@example.com").is_ok());
/// let refused = mails.take("ada@example.com").expect_err("the third");
/// assert_eq!(refused.wait(), Duration::from_secs(1800));
/// assert_eq!(mails.peek(&"eve@example.com").remaining, 2, "everybody has the rate");
/// assert!(mails.take("eve@example.com").is_ok());
/// # Ok::<(), llm_gate::limit::RateError>(())
/// ```
pub struct Limiter<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    rate: Rate,
    bucket: Bucket,
    table: Table<K>,
    clock: Arc<dyn Clock>,
}

impl<K: Hash + Eq> Limiter<K> {
    /// Allows each key `rate`, by the time of `clock`.
    #[must_use]
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::with_capacity(rate, clock, CAPACITY)
    }

    /// Forgets everything and counts up to `keys` by themselves, about 32 bytes each. 65,536 unless set.
    ///
    /// Only keys that have used some of their rate lately need a place; those that find none share some of
    /// the rate: see the [module page](super).
    #[must_use]
    pub fn capacity(self, keys: usize) -> Self {
        Self::with_capacity(self.shared.rate, Arc::clone(&self.shared.clock), keys)
    }

    fn with_capacity(rate: Rate, clock: Arc<dyn Clock>, keys: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                rate,
                bucket: Bucket::new(rate),
                table: Table::new(keys),
                clock,
            }),
        }
    }

    /// Returns the rate of each key.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.shared.rate
    }

    /// Counts a request of `key`, and tells how many are left.
    ///
    /// # Errors
    ///
    /// Fails when the rate is used up; then nothing is counted.
    pub fn take(&self, key: K) -> Result<Allowance, Exceeded> {
        self.take_at(key).map(|(allowance, _)| allowance)
    }

    /// Tells how many are left of `key`, and counts nothing.
    #[must_use]
    pub fn peek(&self, key: &K) -> Allowance {
        self.peek_at(key).0
    }

    /// As [`peek`](Self::peek), with the moment that it holds for.
    pub(super) fn peek_at(&self, key: &K) -> (Allowance, Timestamp) {
        let Shared {
            bucket,
            table,
            clock,
            ..
        } = &*self.shared;
        let at = clock.now();
        let now = nanos(at);
        (bucket.allowance(table.look(key), now), at)
    }

    /// As [`take`](Self::take), with the moment of the decision.
    pub(super) fn take_at(&self, key: K) -> Result<(Allowance, Timestamp), Exceeded> {
        let at = self.shared.clock.now();
        self.count(key, at).map(|(allowance, _)| (allowance, at))
    }

    /// Counts a request of `key` that may yet turn out not to count.
    ///
    /// # Errors
    ///
    /// Fails when the rate is used up; then nothing is counted.
    pub fn hold(&self, key: K) -> Result<Held<K>, Exceeded>
    where
        K: Clone,
    {
        let (_, shared) = self.count(key.clone(), self.shared.clock.now())?;
        Ok(Held {
            limiter: self.clone(),
            key: Some(key),
            shared,
        })
    }

    fn count(&self, key: K, at: Timestamp) -> Result<(Allowance, bool), Exceeded> {
        let Shared {
            rate,
            bucket,
            table,
            ..
        } = &*self.shared;
        let now = nanos(at);
        let taken = table.take(key, now, bucket);
        let allowance = |moment: Nanos| bucket.allowance(moment, now);
        match taken.result {
            Ok(after) => Ok((allowance(after), taken.shared)),
            Err(wait) => Err(Exceeded {
                rate: *rate,
                allowance: allowance(taken.before),
                wait,
                at,
            }),
        }
    }
}

impl<K> Clone for Limiter<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("rate", &self.shared.rate)
            .finish_non_exhaustive()
    }
}

/// A request that is counted until it turns out not to count: dropped, it is given back.
#[must_use = "dropped at once, it counts for nothing"]
pub struct Held<K: Hash + Eq> {
    limiter: Limiter<K>,
    /// Taken out when it is to count.
    key: Option<K>,
    shared: bool,
}

impl<K: Hash + Eq> Held<K> {
    /// Lets it count for good.
    pub fn keep(mut self) {
        self.key = None;
    }
}

impl<K: Hash + Eq> Drop for Held<K> {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            let Shared { bucket, table, .. } = &*self.limiter.shared;
            table.give_back(key, self.shared, bucket);
        }
    }
}

impl<K: Hash + Eq> fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

/// A rate that is used up.
#[derive(Clone, Debug, thiserror::Error)]
#[error("more than {rate}")]
pub struct Exceeded {
    rate: Rate,
    allowance: Allowance,
    wait: Duration,
    at: Timestamp,
}

impl Exceeded {
    /// Returns how long to wait for one request.
    #[must_use]
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Makes the answer: 429 `rate_limit_exceeded` with `Retry-After` and the allowance, and counts it in
    /// `rate_limit_exceeded_total{endpoint}`.
    ///
    /// `what` completes "too many …". Where the wait is longer than two minutes `x-should-retry: false` keeps the
    /// OpenAI packages from trying again by themselves.
    #[must_use]
    pub fn refuse(&self, what: &str, endpoint: &Endpoint) -> Rejection {
        const KIND: &str = "rate_limit_exceeded";
        metrics::counter!("rate_limit_exceeded_total", "endpoint" => endpoint.0.clone())
            .increment(1);
        tracing::debug!(what, endpoint = &*endpoint.0, rate = %self.rate, "rate limit exceeded");
        let words = format!("too many {what}, the limit is {}", self.rate);
        let mut rejection = Rejection::new(StatusCode::TOO_MANY_REQUESTS, KIND, words)
            .code(KIND)
            .retry_after(self.wait);
        if self.wait > WAIT {
            rejection = rejection.header(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        let mut shown = HeaderMap::new();
        self.allowance.show(&mut shown, self.at);
        // Each name is there once.
        shown
            .into_iter()
            .fold(rejection, |rejection, (name, value)| match name {
                Some(name) => rejection.header(name, value),
                None => rejection,
            })
    }
}

/// What the metrics call a request's route; put into its extensions by the server.
///
/// Never its path: whoever can make up paths could make up time series. Without one it is `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Arc<str>);

impl Endpoint {
    /// Wraps a name, one of few.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new("all")
    }
}
