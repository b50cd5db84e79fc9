use std::time::Duration;

use super::Rate;
use crate::allowance::Allowance;
use crate::clock::Timestamp;

/// A moment in nanoseconds since the Unix epoch.
pub(super) type Nanos = i64;

pub(super) fn nanos(moment: Timestamp) -> Nanos {
    moment.as_micros().saturating_mul(1000)
}

/// The arithmetic of a rate (the generic cell rate algorithm of ITU-T I.371): all that is kept of a key is
/// the moment from which on its whole rate is there again.
///
/// Each request moves that moment by one interval, and one that would move it beyond a whole depth from now is
/// refused and moves nothing. A key whose moment has come is as good as one never seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    amount: u32,
    /// What a request costs. Rounded up, so that no more than the rate is let through.
    interval: Nanos,
    /// What all of them cost.
    depth: Nanos,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        // At most a day has 8.64e13 of them, so nothing here is near the end of the numbers.
        let period = rate.period().as_nanos() as Nanos;
        let interval = period / Nanos::from(rate.amount())
            + Nanos::from(period % Nanos::from(rate.amount()) > 0);
        Self {
            amount: rate.amount(),
            interval,
            depth: interval * Nanos::from(rate.amount()),
        }
    }

    /// Takes one request; returns the new moment, or how long to wait.
    pub(super) fn take(&self, full_at: Nanos, now: Nanos) -> Result<Nanos, Duration> {
        let next = self
            .sane(full_at, now)
            .max(now)
            .saturating_add(self.interval);
        let most = now.saturating_add(self.depth);
        if next > most {
            Err(Duration::from_nanos((next - most).unsigned_abs()))
        } else {
            Ok(next)
        }
    }

    /// Gives one request back.
    pub(super) const fn give_back(&self, full_at: Nanos) -> Nanos {
        full_at.saturating_sub(self.interval)
    }

    /// A moment farther away than a depth was written before the clock was set back: nobody waits longer
    /// than for a whole rate because of that.
    pub(super) fn sane(&self, full_at: Nanos, now: Nanos) -> Nanos {
        full_at.min(now.saturating_add(self.depth))
    }

    pub(super) fn allowance(&self, full_at: Nanos, now: Nanos) -> Allowance {
        let used = self.sane(full_at, now).saturating_sub(now).max(0);
        Allowance {
            limit: self.amount.into(),
            remaining: ((self.depth - used) / self.interval).unsigned_abs(),
            resets: Some(Duration::from_nanos(used.unsigned_abs())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(rate: &str) -> Bucket {
        Bucket::new(rate.parse().expect("a rate"))
    }

    #[test]
    fn all_at_once_and_then_one_an_interval() {
        let bucket = bucket("60/minute");
        let mut full_at = 0;
        for left in (0..60).rev() {
            full_at = bucket.take(full_at, 1000).expect("within the rate");
            assert_eq!(bucket.allowance(full_at, 1000).remaining, left);
        }
        assert_eq!(bucket.take(full_at, 1000), Err(Duration::from_secs(1)));
        let later = 1000 + 1_000_000_000;
        assert!(
            bucket.take(full_at, later).is_ok(),
            "waited as long as was said"
        );
        assert!(
            bucket.take(full_at, later - 1).is_err(),
            "and not a moment less"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out_for_longer_than_a_period() {
        let bucket = bucket("10/minute");
        let (long_ago, today) = (1000, 86_400_000_000_000);
        let full_at = bucket.take(0, today).expect("within the rate");
        let wait = bucket
            .take(full_at, long_ago)
            .expect_err("as if all were used");
        assert!(wait <= Duration::from_secs(60), "{wait:?}");
        assert_eq!(bucket.allowance(full_at, long_ago).remaining, 0);
    }

    proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_depth(
            amount in 1_u32..50,
            period in prop::sample::select(vec!["second", "minute", "hour", "day"]),
            steps in prop::collection::vec(0_u32..1000, 1..300),
        ) {
            let rate: Rate = format!("{amount}/{period}").parse().expect("a rate");
            let bucket = Bucket::new(rate);
            let unit = bucket.interval / 100 + 1;
            let (start, mut now, mut full_at, mut passed) = (1_000_000, 1_000_000, 0, 0_i64);
            for step in steps {
                now += unit * Nanos::from(step);
                let before = bucket.allowance(full_at, now).remaining;
                match bucket.take(full_at, now) {
                    Ok(next) => {
                        prop_assert!(before > 0, "what is said to remain is what passes");
                        full_at = next;
                        passed += 1;
                    }
                    Err(wait) => {
                        prop_assert_eq!(before, 0);
                        let then = now + wait.as_nanos() as Nanos;
                        prop_assert!(bucket.take(full_at, then).is_ok(), "the wait is enough");
                    }
                }
                let refilled = (now - start) / bucket.interval;
                prop_assert!(passed <= i64::from(amount) + refilled);
            }
        }

        #[test]
        fn what_is_given_back_is_as_if_never_taken(times in 1_usize..20, now in 0_i64..1_000_000_000) {
            let bucket = bucket("20/minute");
            let mut full_at = now;
            for _ in 0..times {
                full_at = bucket.take(full_at, now).expect("within the rate");
            }
            for _ in 0..times {
                full_at = bucket.give_back(full_at);
            }
            prop_assert_eq!(full_at, now);
        }
    }
}
