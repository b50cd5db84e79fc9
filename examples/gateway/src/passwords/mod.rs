//! Passwords: which are taken, and how they are kept.
//!
//! Argon2id takes tens of milliseconds and megabytes by design, so it runs off the async threads, on as
//! many of them as there are cores, behind a queue of bounded length. A refusal takes the same work for a user who does not
//! exist as for one who does, also where the parameters have been raised or lowered since the password was set.
//!
//! ```
//! use llm_gate_gateway::config::PasswordConfig;
//! use llm_gate_gateway::passwords::{Passwords, Verdict};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), llm_gate_gateway::passwords::PasswordError> {
//! let passwords = Passwords::new(&PasswordConfig::default());
//! let hash = passwords.hash("correct horse battery".into()).await?;
//! let verdict = passwords.verify("wrong horse battery".into(), Some(hash)).await?;
//! assert_eq!(verdict, Verdict::Wrong);
//! # Ok(()) }
//! ```

mod kinds;
mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, PasswordHash, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use llm_gate::store::{StoreError, UserStore};
use thiserror::Error;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use self::kinds::{Kind, Kinds};
pub use self::policy::{MAX_LENGTH, Policy};
use crate::config::{PasswordConfig, Secret};

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    today: Kind,
    /// Those that each refusal runs.
    kinds: Kinds,
    /// Those that may run.
    running: Arc<Semaphore>,
    /// Those that may run or wait.
    waiting: Arc<Semaphore>,
    /// How many that are.
    places: usize,
    /// Those of them that may be strangers'.
    crowd: Arc<Semaphore>,
    /// Whether this one is for strangers.
    strange: bool,
    /// The hash that is checked when there is none.
    decoy: String,
    spent: Arc<Spent>,
}

/// What Argon2 has done.
#[derive(Debug, Default)]
struct Spent {
    runs: AtomicU64,
    kib: AtomicU64,
    strange: AtomicU64,
}

impl Spent {
    fn note(&self, kind: Kind) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.kib.fetch_add(kind.work(), Ordering::Relaxed);
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is not the one that was hashed, or nothing was.
    Wrong,
    /// The password is right.
    Right {
        /// A hash to keep in place of the old one, where the parameters are others since.
        fresh: Option<String>,
    },
}

/// A password that could not be hashed or checked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many password checks are waiting")]
    Overloaded,
    /// A defect: the hash that was kept is none, or the work did not finish.
    #[error("password work failed: {0}")]
    Failed(String),
}

impl Passwords {
    /// Prepares to hash with these parameters, on as many threads as there are cores.
    #[must_use]
    pub fn new(config: &PasswordConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_threads(config, cores)
    }

    fn with_threads(config: &PasswordConfig, threads: usize) -> Self {
        let (memory, passes) = (config.memory_kib, config.iterations);
        let today = Kind::new(memory, passes);
        let places = threads + config.queue;
        // Never to be matched: nobody has run Argon2 to get these 32 bytes. They need not be secret.
        let random = [
            *uuid::Uuid::new_v4().as_bytes(),
            *uuid::Uuid::new_v4().as_bytes(),
        ]
        .concat();
        let (salt, output) = (
            STANDARD_NO_PAD.encode(&random[..16]),
            STANDARD_NO_PAD.encode(&random),
        );
        Self {
            decoy: format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${output}"),
            kinds: Kinds::new(today),
            today,
            spent: Arc::default(),
            running: Arc::new(Semaphore::new(threads)),
            waiting: Arc::new(Semaphore::new(places)),
            crowd: Arc::new(Semaphore::new(places.div_ceil(2))),
            places,
            strange: false,
        }
    }

    /// The same for strangers, who have half of the places to wait in: they fill none that are kept for those who are known.
    #[must_use]
    pub fn for_strangers(&self, strange: bool) -> Self {
        let passwords = self.clone();
        Self {
            strange,
            ..passwords
        }
    }

    /// Learns which kinds of hashes are on record, so that each refusal takes the same from the first one on. What others
    /// hash with other parameters later is noticed when it is checked.
    ///
    /// # Errors
    ///
    /// Fails when the store does.
    pub async fn learn(&self, store: &dyn UserStore) -> Result<(), StoreError> {
        self.kinds.look_through(store).await
    }

    /// Hashes a password.
    ///
    /// # Errors
    ///
    /// Fails with [`PasswordError::Overloaded`] when too many wait.
    pub async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        let (today, spent) = (self.today, Arc::clone(&self.spent));
        self.work(move || hash(today, &password, &spent)).await
    }

    /// Returns how often Argon2 has run: once for each password that was hashed or checked, once more for a hash that is
    /// made anew, and for a refusal once for each kind of hash.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.spent.runs.load(Ordering::Relaxed)
    }

    /// Returns how much Argon2 has filled, in KiB: what the time of its runs goes by.
    #[must_use]
    pub fn filled_kib(&self) -> u64 {
        self.spent.kib.load(Ordering::Relaxed)
    }

    /// Returns how many passwords were hashed or checked for [strangers](Self::for_strangers).
    #[must_use]
    pub fn of_strangers(&self) -> u64 {
        self.spent.strange.load(Ordering::Relaxed)
    }

    /// Returns how many run or wait now.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.places.saturating_sub(self.waiting.available_permits())
    }

    /// Checks a password against a hash, or against nothing with the same work.
    ///
    /// # Errors
    ///
    /// Fails with [`PasswordError::Overloaded`] when too many wait.
    pub async fn verify(
        &self,
        password: Secret,
        kept: Option<String>,
    ) -> Result<Verdict, PasswordError> {
        self.check(password, kept, false).await
    }

    /// Checks a password of somebody who is refused whether it is right or not, with the work of a refusal.
    ///
    /// # Errors
    ///
    /// Fails with [`PasswordError::Overloaded`] when too many wait.
    pub async fn verify_in_vain(
        &self,
        password: Secret,
        kept: Option<String>,
    ) -> Result<Verdict, PasswordError> {
        self.check(password, kept, true).await
    }

    async fn check(
        &self,
        password: Secret,
        kept: Option<String>,
        in_vain: bool,
    ) -> Result<Verdict, PasswordError> {
        let (today, spent) = (self.today, Arc::clone(&self.spent));
        let kinds = self.kinds.clone();
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.decoy.clone());
        self.work(move || {
            let kept = PasswordHash::new(&kept).map_err(failed)?;
            let made = Kind::of(&kept).ok_or_else(|| failed("the hash is not one of Argon2"))?;
            let mut right = false;
            for kind in kinds.with(made) {
                if kind != made {
                    hash(kind, &password, &spent)?;
                    continue;
                }
                spent.note(kind);
                let matches = argon2(kind)
                    .verify_password(normal(password.expose()).as_bytes(), &kept)
                    .is_ok();
                right = matches && known;
                if right && !in_vain {
                    let fresh = (kind != today).then(|| hash(today, &password, &spent));
                    let fresh = fresh.transpose()?;
                    return Ok(Verdict::Right { fresh });
                }
            }
            if right {
                return Ok(Verdict::Right { fresh: None });
            }
            Ok(Verdict::Wrong)
        })
        .await
    }

    /// Runs `work` off the async threads.
    ///
    /// The permits go with the work, not with the caller: a caller that leaves does not make room while
    /// its work still runs.
    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned();
        let full = |_| PasswordError::Overloaded;
        let crowd = self.strange.then(|| place(&self.crowd));
        let crowd = crowd.transpose().map_err(full)?;
        let place = place(&self.waiting).map_err(full)?;
        if self.strange {
            self.spent.strange.fetch_add(1, Ordering::Relaxed);
        }
        let core = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(failed)?;
        tokio::task::spawn_blocking(move || {
            let _permits = (crowd, place, core);
            work()
        })
        .await
        .map_err(failed)?
    }
}

fn argon2(kind: Kind) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, kind.params())
}

fn hash(kind: Kind, password: &Secret, spent: &Spent) -> Result<String, PasswordError> {
    spent.note(kind);
    argon2(kind)
        .hash_password(normal(password.expose()).as_bytes())
        .map(|hash| hash.to_string())
        .map_err(failed)
}

/// Writes a password in one way, whatever keyboard it was typed on: an "ü" may be one character or two. NFKC, which NIST
/// SP 800-63B-4 names (section 3.1.1.2) beside NFKD.
fn normal(password: &str) -> Zeroizing<String> {
    Zeroizing::new(password.nfkc().collect())
}

fn failed(error: impl std::fmt::Display) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weak() -> PasswordConfig {
        PasswordConfig {
            memory_kib: 8 * 1024,
            iterations: 1,
            ..PasswordConfig::default()
        }
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_others_are_not() {
        let passwords = Passwords::new(&weak());
        let kept = passwords
            .hash("correct horse".into())
            .await
            .expect("hashed");
        assert!(kept.starts_with("$argon2id$v=19$m=8192,t=1,p=1$"), "{kept}");
        let check = |password: &str| passwords.verify(password.into(), Some(kept.clone()));
        let right = Verdict::Right { fresh: None };
        assert_eq!(check("correct horse").await.expect("checked"), right);
        assert_eq!(
            check("correct horsf").await.expect("checked"),
            Verdict::Wrong
        );
    }

    #[tokio::test]
    async fn nobody_has_a_password_that_is_checked_all_the_same() {
        let passwords = Passwords::new(&weak());
        assert!(
            PasswordHash::new(&passwords.decoy).is_ok(),
            "the work must be done"
        );
        let verdict = passwords.verify("anything".into(), None).await;
        assert_eq!(verdict.expect("checked"), Verdict::Wrong);
    }

    #[tokio::test]
    async fn a_hash_follows_the_parameters_up_and_down() {
        let other = PasswordConfig {
            iterations: 2,
            ..weak()
        };
        for (before, today, passes) in [(weak(), other.clone(), 2), (other, weak(), 1)] {
            let kept = Passwords::new(&before).hash("correct horse".into()).await;
            let kept = kept.expect("hashed");
            let today = Passwords::new(&today);
            let verdict = today.verify("correct horse".into(), Some(kept)).await;
            let Ok(Verdict::Right { fresh: Some(fresh) }) = verdict else {
                panic!("no fresh hash: {verdict:?}");
            };
            assert!(fresh.contains(&format!("t={passes},")), "{fresh}");
            let again = today.verify("correct horse".into(), Some(fresh)).await;
            assert_eq!(again.expect("checked"), Verdict::Right { fresh: None });
        }
    }

    #[tokio::test]
    async fn a_refusal_runs_each_kind_of_hash_that_was_seen() {
        let before = Passwords::new(&PasswordConfig {
            iterations: 3,
            ..weak()
        });
        let old = before.hash("correct horse".into()).await.expect("hashed");
        let today = Passwords::new(&weak());
        let new = today.hash("correct horse".into()).await.expect("hashed");
        for (what, kept, runs, passes) in [
            ("one kind", None, 1, 1),
            ("the first of another", Some(&old), 2, 4),
            ("one of today's", Some(&new), 2, 4),
            ("nobody", None, 2, 4),
        ] {
            let (ran, filled) = (today.runs(), today.filled_kib());
            let wrong = today.verify("wrong horse".into(), kept.cloned()).await;
            assert_eq!(wrong.expect("checked"), Verdict::Wrong, "{what}");
            assert_eq!(today.runs() - ran, runs, "{what}");
            assert_eq!(today.filled_kib() - filled, passes * 8 * 1024, "{what}");
        }
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_its_characters_are_composed() {
        let passwords = Passwords::with_threads(&weak(), 1);
        let composed = "gr\u{fc}ne \u{c4}pfel im Garten";
        let decomposed = "gru\u{308}ne A\u{308}pfel im Garten";
        assert_ne!(composed, decomposed);
        let hash = passwords.hash(decomposed.into()).await.expect("hashed");
        for typed in [composed, decomposed] {
            let verdict = passwords.verify(typed.into(), Some(hash.clone())).await;
            let right = matches!(verdict, Ok(Verdict::Right { .. }));
            assert!(right, "{}", typed.escape_unicode());
        }
        let another = passwords.verify("grune Apfel im Garten".into(), Some(hash));
        assert!(
            matches!(another.await, Ok(Verdict::Wrong)),
            "not less than that"
        );
    }

    #[tokio::test]
    async fn strangers_leave_half_of_the_places_to_those_who_are_known() {
        let passwords = Passwords::with_threads(&PasswordConfig { queue: 4, ..weak() }, 1);
        let core = Arc::clone(&passwords.running).acquire_owned();
        let core = core.await.expect("free");
        let wait = |passwords: Passwords| {
            tokio::spawn(async move { passwords.hash("correct horse".into()).await })
        };
        // One that would run and two that wait.
        let mut all: Vec<_> = (0..3)
            .map(|_| wait(passwords.for_strangers(true)))
            .collect();
        while passwords.crowd.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let crowd = passwords.for_strangers(true);
        let refused = crowd.hash("correct horse".into());
        assert!(matches!(refused.await, Err(PasswordError::Overloaded)));
        all.extend((0..2).map(|_| wait(passwords.for_strangers(false))));
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        drop(core);
        for one in all {
            assert!(one.await.expect("no panic").is_ok(), "each has its turn");
        }
        let again = crowd.hash("correct horse".into());
        assert!(again.await.is_ok(), "the places are free again");
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once() {
        let passwords = Passwords::with_threads(&PasswordConfig { queue: 1, ..weak() }, 1);
        let core = Arc::clone(&passwords.running)
            .acquire_owned()
            .await
            .expect("free");
        let _runs = Arc::clone(&passwords.waiting)
            .acquire_owned()
            .await
            .expect("free");
        let waits = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.hash("correct horse".into()).await }
        });
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash("correct horse".into()).await;
        assert!(matches!(refused, Err(PasswordError::Overloaded)));
        drop(core);
        assert!(
            waits.await.expect("no panic").is_ok(),
            "the one that waited is served"
        );
    }
}
