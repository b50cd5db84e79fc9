//! The kinds of hashes that there are. Each refused check runs every one of them once, so it takes the same for an account
//! whose password was set before the parameters were raised or lowered, for one of today's, and for nobody's.

use std::sync::{Arc, Mutex, PoisonError};

use argon2::{Params, PasswordHash};
use llm_gate::store::{StoreError, UserStore};

/// How many kinds are looked for. There is one for each pair of parameters that an operator has set and that somebody's
/// password still has.
const MAX_KINDS: usize = 16;

/// What the work of a hash is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Kind {
    pub(super) const fn new(memory_kib: u32, passes: u32) -> Self {
        Self {
            memory_kib,
            passes,
            lanes: 1,
        }
    }

    /// Returns what a hash was made with; `None` where that is not said as Argon2 says it.
    pub(super) fn of(hash: &PasswordHash) -> Option<Self> {
        let params = Params::try_from(hash).ok()?;
        Some(Self {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
        })
    }

    pub(super) fn params(self) -> Params {
        // Those of the configuration were checked against narrower bounds than Argon2's own.
        Params::new(self.memory_kib, self.passes, self.lanes, None).unwrap_or_default()
    }

    /// How much is filled, in KiB.
    pub(super) fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }
}

/// The kinds that were seen, today's first.
#[derive(Clone, Debug)]
pub(super) struct Kinds(Arc<Mutex<Vec<Kind>>>);

impl Kinds {
    pub(super) fn new(today: Kind) -> Self {
        Self(Arc::new(Mutex::new(vec![today])))
    }

    /// Takes note of a kind; returns all, in the same order each time.
    pub(super) fn with(&self, kind: Kind) -> Vec<Kind> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        kinds.clone()
    }

    /// Takes note of each kind on record.
    pub(super) async fn look_through(&self, store: &dyn UserStore) -> Result<(), StoreError> {
        let mut after = String::new();
        for _ in 0..MAX_KINDS {
            let Some(hash) = store.next_password_hash(after).await? else {
                return Ok(());
            };
            let parsed = PasswordHash::new(&hash).ok();
            if let Some(kind) = parsed.as_ref().and_then(Kind::of) {
                self.with(kind);
            }
            after = behind(hash);
        }
        tracing::warn!("password hashes are of more kinds than were looked at");
        Ok(())
    }
}

/// Returns what is greater than all hashes of the same kind, `$argon2id$v=19$m=19456,t=2,p=1$salt$output`: no salt has a
/// tilde.
fn behind(hash: String) -> String {
    hash.rsplitn(3, '$')
        .nth(2)
        .map(|kind| format!("{kind}$~"))
        .unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_kind_is_behind_all_its_salts_and_before_the_next_kind() {
        let kind = "$argon2id$v=19$m=19456,t=2,p=1";
        let end = behind(format!("{kind}$c2FsdA$aGFzaA"));
        for salt in ["+", "/zzz", "AAAA", "zzzzzzzzzzzzzzzzzzzzzz"] {
            assert!(format!("{kind}${salt}$zzzz") < end, "{salt}");
        }
        for next in ["m=19456,t=3,p=1", "m=7168,t=5,p=1"] {
            assert!(end < format!("$argon2id$v=19${next}$++++$++++"), "{next}");
        }
        assert_eq!(behind("no hash".to_owned()), "no hash");
    }

    #[test]
    fn a_kind_is_kept_once_and_todays_stays_the_first() {
        let (today, other) = (Kind::new(19_456, 2), Kind::new(7_168, 5));
        let kinds = Kinds::new(today);
        assert_eq!(kinds.with(other), [today, other]);
        assert_eq!(kinds.with(today), [today, other]);
        assert_eq!(kinds.with(other), [today, other]);
    }
}
