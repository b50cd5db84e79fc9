use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bucket::{Bucket, Nanos};

/// How many keys a set has places for.
const WAYS: usize = 16;

/// The counts of a bounded number of keys.
///
/// Like the cache of a processor: a key has its place in one of few sets, by a hash that nobody outside can
/// foretell. A key that has got all of its rate back is as good as one never seen, so its place is free
/// again. While all places of a set are taken, the newcomers among its keys share one more bucket. So nobody's
/// count is ever thrown away to make room, and nobody is refused because there is none: see the
/// [module page](super).
pub(super) struct Table<K> {
    sets: Box<[Mutex<Set<K>>]>,
    hasher: RandomState,
}

struct Set<K> {
    own: Vec<(K, Nanos)>,
    shared: Nanos,
}

/// What became of a request.
pub(super) struct Taken {
    /// The key's moment now, or how long to wait.
    pub(super) result: Result<Nanos, Duration>,
    /// The key's moment if nothing was taken.
    pub(super) before: Nanos,
    /// Whether it was counted together with others.
    pub(super) shared: bool,
}

impl<K: Hash + Eq> Table<K> {
    /// Makes room for about `keys`, at least for those of one set.
    pub(super) fn new(keys: usize) -> Self {
        let set = || {
            Mutex::new(Set {
                own: Vec::new(),
                shared: Nanos::MIN,
            })
        };
        Self {
            sets: (0..keys.div_ceil(WAYS).max(1)).map(|_| set()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn take(&self, key: K, now: Nanos, bucket: &Bucket) -> Taken {
        let mut set = self.set(&key);
        let found = set.own.iter().position(|(own, _)| *own == key);
        let place = match found {
            Some(place) => Some(place),
            None => set.place(key, now, bucket),
        };
        let (moment, shared) = match place {
            Some(place) => (&mut set.own[place].1, false),
            None => (&mut set.shared, true),
        };
        let before = *moment;
        let result = bucket.take(before, now);
        if let Ok(after) = result {
            *moment = after;
        }
        Taken {
            result,
            before,
            shared,
        }
    }

    /// Returns when what a key has used is back: its own, or what it would begin with.
    pub(super) fn look(&self, key: &K) -> Nanos {
        let set = self.set(key);
        let own = set.own.iter().find(|(own, _)| own == key);
        own.map_or(set.shared, |(_, moment)| *moment)
    }

    /// Gives a request back to where it was counted; nothing if that has come back by itself.
    pub(super) fn give_back(&self, key: &K, shared: bool, bucket: &Bucket) {
        let mut set = self.set(key);
        let moment = if shared {
            Some(&mut set.shared)
        } else {
            let own = set.own.iter_mut().find(|(own, _)| own == key);
            own.map(|(_, moment)| moment)
        };
        if let Some(moment) = moment {
            *moment = bucket.give_back(*moment);
        }
    }

    /// Counts the keys that have a place.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sets.iter().map(|set| lock(set).own.len()).sum()
    }

    fn set(&self, key: &K) -> MutexGuard<'_, Set<K>> {
        let hash = self.hasher.hash_one(key) % self.sets.len() as u64;
        // Less than the number of sets, which is a usize.
        lock(&self.sets[hash as usize])
    }
}

/// A panic leaves no half-written moment behind.
fn lock<K>(set: &Mutex<Set<K>>) -> MutexGuard<'_, Set<K>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Eq> Set<K> {
    /// Gives a newcomer a place of its own, if there is one.
    ///
    /// It begins where the shared bucket stands: it may have been counted there.
    fn place(&mut self, key: K, now: Nanos, bucket: &Bucket) -> Option<usize> {
        if self.own.len() == WAYS {
            self.own.retain_mut(|(_, moment)| {
                *moment = bucket.sane(*moment, now);
                *moment > now
            });
        }
        if self.own.len() == WAYS {
            return None;
        }
        self.own.push((key, self.shared));
        Some(self.own.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn bucket() -> Bucket {
        Bucket::new("6/minute".parse().expect("a rate"))
    }

    /// One set, all of whose places are taken.
    fn full(bucket: &Bucket) -> Table<usize> {
        let table = Table::new(WAYS);
        for key in 0..WAYS {
            assert!(table.take(key, SECOND, bucket).result.is_ok());
        }
        table
    }

    #[test]
    fn an_own_count_is_not_touched_by_those_who_find_no_place() {
        let bucket = bucket();
        let table = full(&bucket);
        for _ in 0..5 {
            assert!(table.take(0, SECOND, &bucket).result.is_ok());
        }
        for stranger in 100..10_000 {
            assert!(
                table.take(stranger, SECOND, &bucket).shared,
                "no place left"
            );
        }
        assert!(
            table.take(0, SECOND, &bucket).result.is_err(),
            "what was used stays used"
        );
        assert!(
            table.take(1, SECOND, &bucket).result.is_ok(),
            "and what is left stays left"
        );
        assert_eq!(table.len(), WAYS, "bounded");
    }

    #[test]
    fn those_without_a_place_have_one_rate_together() {
        let bucket = bucket();
        let table = full(&bucket);
        let strangers = (100..200).map(|key| table.take(key, SECOND, &bucket));
        let passed = strangers.filter(|taken| taken.result.is_ok()).count();
        assert_eq!(passed, 6, "neither none nor all");
    }

    #[test]
    fn a_place_is_free_again_when_its_rate_is_back() {
        let bucket = bucket();
        let table = full(&bucket);
        let later = SECOND + 10 * SECOND;
        assert!(
            !table.take(100, later, &bucket).shared,
            "each had used one of six"
        );
        assert_eq!(
            table.len(),
            1,
            "the others are forgotten, they have nothing to remember"
        );
    }

    #[test]
    fn moving_into_a_place_of_ones_own_frees_nobody() {
        let bucket = bucket();
        let table = full(&bucket);
        let passed = (0..7).filter(|_| table.take(100, SECOND, &bucket).result.is_ok());
        assert_eq!(passed.count(), 6);
        let later = SECOND + 10 * SECOND;
        let own = table.take(100, later, &bucket);
        assert!(
            !own.shared && own.result.is_ok(),
            "one of six has come back"
        );
        let next = table.take(100, later, &bucket);
        assert!(next.result.is_err(), "the others have not");
    }

    #[test]
    fn places_of_before_a_clock_was_set_back_become_free() {
        let bucket = bucket();
        let table = Table::new(WAYS);
        let future = 1_000_000 * SECOND;
        for key in 0..WAYS {
            assert!(table.take(key, future, &bucket).result.is_ok());
        }
        assert!(table.take(100, SECOND, &bucket).shared);
        let later = SECOND + 61 * SECOND;
        assert!(
            !table.take(100, later, &bucket).shared,
            "a period later at the latest"
        );
    }

    #[test]
    fn what_is_given_back_goes_where_it_was_counted() {
        let bucket = bucket();
        let table = full(&bucket);
        for _ in 0..6 {
            assert!(table.take(100, SECOND, &bucket).shared);
        }
        table.give_back(&100, true, &bucket);
        assert!(table.take(101, SECOND, &bucket).result.is_ok());
        assert!(table.take(101, SECOND, &bucket).result.is_err());
        table.give_back(&5, false, &bucket);
        let taken = (0..7).filter(|_| table.take(5, SECOND, &bucket).result.is_ok());
        assert_eq!(taken.count(), 6, "its whole rate");
    }
}
