//! Passwords: which are taken, and how they are kept.
//!
//! Argon2id takes tens of milliseconds and megabytes by design, so it runs off the async threads, on as
//! many of them as there are cores, behind a queue of bounded length. For a user who does not exist the
//! same work is done as for one who does, also for one whose hash is weaker than today's.
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

mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, PasswordHash, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use thiserror::Error;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

pub use self::policy::{MAX_LENGTH, Policy};
use crate::config::{PasswordConfig, Secret};

/// Hashes and checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    params: Params,
    /// Those that may run.
    running: Arc<Semaphore>,
    /// Those that may run or wait.
    waiting: Arc<Semaphore>,
    /// The hash that is checked when there is none.
    decoy: String,
    /// How often Argon2 has run.
    runs: Arc<AtomicU64>,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is not the one that was hashed, or nothing was.
    Wrong,
    /// The password is right.
    Right {
        /// A stronger hash to keep in place of the old one, where the parameters have risen since.
        stronger: Option<String>,
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
        let params = Params::new(config.memory_kib, config.iterations, 1, None)
            // The configuration was checked against narrower bounds than Argon2's own.
            .unwrap_or_default();
        let (memory, passes) = (params.m_cost(), params.t_cost());
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
            params,
            runs: Arc::default(),
            running: Arc::new(Semaphore::new(threads)),
            waiting: Arc::new(Semaphore::new(threads + config.queue)),
        }
    }

    /// Hashes a password.
    ///
    /// # Errors
    ///
    /// Fails with [`PasswordError::Overloaded`] when too many wait.
    pub async fn hash(&self, password: Secret) -> Result<String, PasswordError> {
        let (params, runs) = (self.params.clone(), Arc::clone(&self.runs));
        self.work(move || hash(params, &password, &runs)).await
    }

    /// Returns how often Argon2 has run: once for each password that was hashed or checked, and once more for a hash that
    /// is made stronger or that is weaker than today's.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
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
        let (params, runs) = (self.params.clone(), Arc::clone(&self.runs));
        let known = kept.is_some();
        let kept = kept.unwrap_or_else(|| self.decoy.clone());
        self.work(move || {
            let kept = PasswordHash::new(&kept).map_err(failed)?;
            runs.fetch_add(1, Ordering::Relaxed);
            let right = argon2(params.clone())
                .verify_password(normal(password.expose()).as_bytes(), &kept)
                .is_ok();
            let old = Params::try_from(&kept).map_err(failed)?;
            if !right || !known {
                // Or an account that has not logged in since the parameters rose would be refused sooner than nobody.
                if let Some(rest) = rest(&old, &params) {
                    hash(rest, &password, &runs)?;
                }
                return Ok(Verdict::Wrong);
            }
            let risen = old.m_cost() < params.m_cost() || old.t_cost() < params.t_cost();
            let stronger = if risen {
                Some(hash(params, &password, &runs)?)
            } else {
                None
            };
            Ok(Verdict::Right { stronger })
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
        let place = Arc::clone(&self.waiting)
            .try_acquire_owned()
            .map_err(|_| PasswordError::Overloaded)?;
        let core = Arc::clone(&self.running)
            .acquire_owned()
            .await
            .map_err(failed)?;
        tokio::task::spawn_blocking(move || {
            let _permits = (place, core);
            work()
        })
        .await
        .map_err(failed)?
    }
}

fn argon2(params: Params) -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Returns parameters for the work that a check of an old hash has saved; `None` where that is next to nothing.
fn rest(old: &Params, today: &Params) -> Option<Params> {
    let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
    let saved = work(today).checked_sub(work(old))?;
    let passes = today.t_cost();
    let memory = u32::try_from(saved / u64::from(passes)).ok()?;
    Params::new(memory, passes, 1, None).ok()
}

fn hash(params: Params, password: &Secret, runs: &AtomicU64) -> Result<String, PasswordError> {
    runs.fetch_add(1, Ordering::Relaxed);
    argon2(params)
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
        let right = Verdict::Right { stronger: None };
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
    async fn a_hash_grows_with_the_parameters() {
        let kept = Passwords::new(&weak())
            .hash("correct horse".into())
            .await
            .expect("hashed");
        let strong = Passwords::new(&PasswordConfig {
            iterations: 2,
            ..weak()
        });
        let verdict = strong
            .verify("correct horse".into(), Some(kept))
            .await
            .expect("checked");
        let Verdict::Right {
            stronger: Some(stronger),
        } = verdict
        else {
            panic!("no stronger hash: {verdict:?}");
        };
        assert!(stronger.contains("t=2"), "{stronger}");
        let again = strong
            .verify("correct horse".into(), Some(stronger))
            .await
            .expect("checked");
        assert_eq!(again, Verdict::Right { stronger: None });
    }

    #[tokio::test]
    async fn a_wrong_password_takes_the_work_of_today_also_against_an_old_hash() {
        let kept = Passwords::new(&weak()).hash("correct horse".into()).await;
        let kept = kept.expect("hashed");
        let today = Passwords::new(&PasswordConfig {
            iterations: 3,
            ..weak()
        });
        let wrong = today.verify("wrong horse".into(), Some(kept)).await;
        assert_eq!(wrong.expect("checked"), Verdict::Wrong);
        assert_eq!(today.runs(), 2, "the check, and what it has saved");
        let nobody = today.verify("wrong horse".into(), None).await;
        assert_eq!(nobody.expect("checked"), Verdict::Wrong);
        assert_eq!(today.runs(), 3, "which is one of today's");
    }

    #[test]
    fn what_an_old_hash_saves_is_what_is_spent() {
        let params = |memory, passes| Params::new(memory, passes, 1, None).expect("good");
        let work = |params: &Params| u64::from(params.m_cost()) * u64::from(params.t_cost());
        for (old, today) in [
            ((8_192, 1), (19_456, 2)),
            ((8_192, 4), (19_456, 2)),
            ((19_456, 1), (19_456, 2)),
            ((19_456, 2), (65_536, 3)),
            ((12_288, 3), (19_456, 2)),
        ] {
            let (old, today) = (params(old.0, old.1), params(today.0, today.1));
            let spent = work(&old) + rest(&old, &today).as_ref().map_or(0, work);
            let missing = work(&today).abs_diff(spent);
            // Less than the least that Argon2 can do: 8 KiB a pass.
            assert!(missing < 8 * u64::from(today.t_cost()), "{old:?} {today:?}");
        }
        // What is stronger than today's has saved nothing.
        assert!(rest(&params(65_536, 3), &params(19_456, 2)).is_none());
        assert!(rest(&params(19_456, 2), &params(19_456, 2)).is_none());
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
