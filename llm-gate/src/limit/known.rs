use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many are remembered in one set.
const WAYS: usize = 16;

/// How many are remembered unless set otherwise.
const CAPACITY: usize = 64 * 1024;

/// Remembers a bounded number of acquaintances, those that were met last.
///
/// For what is proven elsewhere and only decides who has to wait: whom it takes for known may, very rarely, be
/// somebody else (it keeps 64 bits of a hash whose key nobody knows), and whom it has forgotten has to prove
/// something once more. Clones share their memory.
///
/// ```
/// use llm_gate::limit::Known;
///
/// let known = Known::new();
/// assert!(!known.knows(&("192.0.2.1", "ada")));
/// known.remember(&("192.0.2.1", "ada"));
/// assert!(known.knows(&("192.0.2.1", "ada")));
/// ```
#[derive(Clone)]
pub struct Known {
    shared: Arc<Shared>,
}

struct Shared {
    /// The one met last comes first.
    sets: Box<[Mutex<Vec<u64>>]>,
    hasher: RandomState,
}

/// What is kept of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mark(u64);

impl Known {
    /// Knows nobody yet, and remembers up to 65,536.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows nobody yet, and remembers up to `number`, 8 bytes each.
    #[must_use]
    pub fn with_capacity(number: usize) -> Self {
        let sets = number.div_ceil(WAYS).max(1);
        Self {
            shared: Arc::new(Shared {
                sets: (0..sets).map(|_| Mutex::default()).collect(),
                hasher: RandomState::new(),
            }),
        }
    }

    /// Makes an acquaintance, or a fresh one of an old one.
    pub fn remember(&self, one: &impl Hash) {
        self.remember_mark(self.mark(one));
    }

    /// Returns whether it was met and not forgotten since.
    #[must_use]
    pub fn knows(&self, one: &impl Hash) -> bool {
        self.knows_mark(self.mark(one))
    }

    pub(super) fn mark(&self, one: &impl Hash) -> Mark {
        Mark(self.shared.hasher.hash_one(one))
    }

    pub(super) fn remember_mark(&self, mark: Mark) {
        let mut set = self.set(mark);
        set.retain(|known| *known != mark.0);
        set.truncate(WAYS - 1);
        set.insert(0, mark.0);
    }

    pub(super) fn knows_mark(&self, mark: Mark) -> bool {
        self.set(mark).contains(&mark.0)
    }

    pub(super) fn forget_mark(&self, mark: Mark) {
        self.set(mark).retain(|known| *known != mark.0);
    }

    fn set(&self, mark: Mark) -> MutexGuard<'_, Vec<u64>> {
        let sets = &self.shared.sets;
        // Less than the number of sets, which is a usize.
        let set = &sets[(mark.0 % sets.len() as u64) as usize];
        set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Known {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_met_last_are_remembered() {
        let known = Known::with_capacity(WAYS);
        for one in 0..WAYS {
            known.remember(&one);
        }
        known.remember(&0_usize);
        known.remember(&WAYS);
        assert!(known.knows(&0_usize), "met again");
        assert!(!known.knows(&1_usize), "met longest ago, it made room");
        assert!((2..=WAYS).all(|one| known.knows(&one)));
        known.forget_mark(known.mark(&2_usize));
        assert!(!known.knows(&2_usize) && known.knows(&3_usize));
    }
}
