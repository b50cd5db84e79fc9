use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Attempt;
use super::attempt::Parts;
use super::presented::Presented;
use crate::address::Network;
use crate::clock::Clock;
use crate::limit::known::Mark;
use crate::limit::{Exceeded, Held, Known, Limiter, Rate};

/// Counts by address what was presented and turned out wrong.
///
/// What [`FailureLimitLayer`](super::FailureLimitLayer) stands on, for use in handlers where a secret stands in
/// a body. Clones share their counts.
#[derive(Clone)]
pub struct Failures {
    shared: Arc<Shared>,
}

/// Tells whether a secret shows by itself that it was given out here.
type Vouch = dyn Fn(&[u8]) -> bool + Send + Sync;

struct Shared {
    limiter: Limiter<Network>,
    known: Known,
    /// What was vouched for and has failed: it may do so as often as guesses may.
    spent: Known,
    /// What is being looked at now: who presents one secret many times at once guesses once.
    under_way: Mutex<HashMap<Mark, Weak<Parts>>>,
    vouch: Box<Vouch>,
}

impl Failures {
    /// Allows each address `rate` failures.
    #[must_use]
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::vouched(rate, clock, |_| false)
    }

    /// As [`new`](Self::new), but admits what `vouch` knows, whatever else has failed: secrets that show by themselves, as by a
    /// signature, that they were given out here or by another process. One that has failed from an address all the same is a
    /// guess from there from then on. It is asked of all that is presented
    /// for the first time, so it must not look anything up; it may be wrong about what was revoked.
    #[must_use]
    pub fn vouched(
        rate: Rate,
        clock: Arc<dyn Clock>,
        vouch: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                limiter: Limiter::new(rate, clock),
                known: Known::new(),
                spent: Known::new(),
                under_way: Mutex::default(),
                vouch: Box::new(vouch),
            }),
        }
    }

    /// Admits an attempt to prove something by `secret`, which nobody has looked at yet.
    ///
    /// It counts as a failure until it has succeeded, so that no more can be tried at once than may fail; but for what is
    /// vouched for, which is no guess. A secret that was good from this address before, or is vouched for, is always admitted.
    ///
    /// # Errors
    ///
    /// Fails when as many failures have come from this address as are allowed.
    pub fn admit(&self, network: Network, secret: &[u8]) -> Result<Attempt, Exceeded> {
        self.admit_presented(network, Presented::One(secret))
    }

    pub(super) fn admit_presented(
        &self,
        network: Network,
        presented: Presented<'_>,
    ) -> Result<Attempt, Exceeded> {
        let Shared {
            limiter,
            known,
            spent,
            vouch,
            ..
        } = &*self.shared;
        let Presented::One(secret) = presented else {
            let held = limiter.hold(network)?;
            return Ok(Attempt::new(self, network, None, Some(held), false));
        };
        let mark = known.mark(&(network, secret));
        if known.knows_mark(mark) || (!spent.knows_mark(mark) && vouch(secret)) {
            return Ok(Attempt::new(self, network, Some(mark), None, false));
        }
        let mut under_way = self.under_way();
        if let Some(parts) = under_way.get(&mark).and_then(Weak::upgrade) {
            return Ok(Attempt(parts));
        }
        let held = limiter.hold(network)?;
        let attempt = Attempt::new(self, network, Some(mark), Some(held), true);
        under_way.insert(mark, Arc::downgrade(&attempt.0));
        Ok(attempt)
    }

    /// Counts a failure until it is dropped or kept, whatever was presented.
    ///
    /// # Errors
    ///
    /// Fails when as many failures have come from this address as are allowed.
    pub fn hold(&self, network: Network) -> Result<Held<Network>, Exceeded> {
        self.shared.limiter.hold(network)
    }

    pub(super) fn succeeded(&self, mark: Option<Mark>) {
        if let Some(mark) = mark {
            self.shared.known.remember_mark(mark);
        }
    }

    pub(super) fn failed(&self, network: Network, mark: Option<Mark>, held: Option<Held<Network>>) {
        match held {
            Some(held) => held.keep(),
            // Nothing was held for it: it was good before, or others have failed with it meanwhile. Where the
            // rate is used up already there is nothing left to count.
            None => drop(self.shared.limiter.take(network)),
        }
        if let Some(mark) = mark {
            self.shared.known.forget_mark(mark);
            self.shared.spent.remember_mark(mark);
        }
    }

    /// Takes an attempt that nobody waits for any more off the list.
    pub(super) fn over(&self, mark: Mark) {
        let mut under_way = self.under_way();
        // It may be another one by now.
        if under_way
            .get(&mark)
            .is_some_and(|parts| parts.strong_count() == 0)
        {
            under_way.remove(&mark);
        }
    }

    fn under_way(&self) -> MutexGuard<'_, HashMap<Mark, Weak<Parts>>> {
        let under_way = &self.shared.under_way;
        under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.under_way().len()
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failures")
            .field("rate", &self.shared.limiter.rate())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn network(last: u8) -> Network {
        Network::of([192, 0, 2, last].into())
    }

    fn failures() -> Failures {
        Failures::new("3/day".parse().expect("a rate"), Arc::new(SystemClock))
    }

    fn fail(failures: &Failures, secret: &str) -> bool {
        let attempt = failures.admit(network(1), secret.as_bytes());
        attempt.map(|attempt| attempt.failed()).is_ok()
    }

    #[test]
    fn failures_are_counted_by_address() {
        let failures = failures();
        assert!(["a", "b", "c"].iter().all(|secret| fail(&failures, secret)));
        assert!(!fail(&failures, "d"), "as many as are allowed");
        assert!(failures.admit(network(2), b"d").is_ok(), "another address");
        assert_eq!(failures.open(), 0, "nothing is kept of those that are over");
    }

    #[test]
    fn no_more_are_tried_at_once_than_may_fail() {
        let failures = failures();
        let mut attempts = Vec::new();
        for secret in [b"a", b"b", b"c"] {
            attempts.push(failures.admit(network(1), secret).expect("within the rate"));
        }
        assert!(failures.admit(network(1), b"d").is_err());
        attempts[0].recognised();
        assert!(failures.admit(network(1), b"d").is_ok(), "one was good");
        drop(attempts);
        assert!(
            (0..3).all(|_| failures.admit(network(1), b"e").is_ok()),
            "nobody could tell"
        );
    }

    #[test]
    fn one_secret_presented_often_at_once_is_one_guess() {
        let failures = failures();
        let attempts: Vec<_> = (0..100)
            .map(|_| failures.admit(network(1), b"a").expect("the same"))
            .collect();
        assert!(failures.admit(network(1), b"b").is_ok());
        for attempt in &attempts {
            attempt.failed();
        }
        assert!(
            failures.admit(network(1), b"b").is_err(),
            "but each answer counts"
        );
    }

    #[test]
    fn what_is_vouched_for_is_admitted_where_nothing_is_left_and_counts_all_the_same() {
        let rate = "3/day".parse().expect("a rate");
        let vouch = |secret: &[u8]| secret.starts_with(b"ours");
        let failures = Failures::vouched(rate, Arc::new(SystemClock), vouch);
        assert!(fail(&failures, "ours, revoked"), "it counts like others");
        assert!(fail(&failures, "a") && fail(&failures, "b"));
        assert!(!fail(&failures, "c"), "as many as are allowed");
        let ours = failures.admit(network(1), b"ours").expect("vouched for");
        assert!(failures.admit(network(1), b"c").is_err());
        ours.recognised();
        drop(ours);
        assert!(failures.admit(network(1), b"ours").is_ok());
        let other = failures.admit(network(1), b"ours, too");
        other.expect("vouched for").failed();
        for spent in ["ours, revoked", "ours, too"] {
            assert!(!fail(&failures, spent), "{spent}: it has failed before");
        }
        assert!(
            failures.admit(network(2), b"ours, too").is_ok(),
            "not there"
        );
        assert_eq!(failures.open(), 0);
    }

    #[test]
    fn what_was_good_from_here_is_admitted_however_many_fail() {
        let failures = failures();
        failures
            .admit(network(1), b"good")
            .expect("the first")
            .recognised();
        while fail(&failures, "bad") {}
        assert!(failures.admit(network(1), b"good").is_ok());
        assert!(failures.admit(network(1), b"other").is_err());
        // Revoked since.
        failures.admit(network(1), b"good").expect("known").failed();
        assert!(failures.admit(network(1), b"good").is_err(), "good no more");
    }
}
