use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use super::records::{Answer, Asked, Records};
use super::secret::PublicId;
use super::{KeyHasher, PresentedKey};
use crate::auth::{AuthError, Authenticate, Authenticating, bearer};
use crate::clock::Clock;
use crate::identity::{Principal, UserId};
use crate::store::{CredentialStore, StoreError, TokenHash};

/// How many keys are remembered unless set otherwise, and how many that do not exist.
const CAPACITY: usize = 16 * 1024;

/// How long a key is remembered at most: a revocation by another process is seen within this time.
const MAX_LIFE: Duration = Duration::from_secs(1);

/// Recognises callers by API keys.
///
/// What has not the form of a key, checksum included, is refused without asking the store. What the store
/// said is remembered for at most a second, so that a key that was revoked, or whose user was disabled,
/// by another process stops within that time; in this process [`invalidate`](Self::invalidate) stops it at
/// once. A wrong secret for an existing key is decided by what is remembered; that there is no such key
/// is remembered too, for ten seconds. A store that cannot answer is never remembered.
///
/// Secrets are compared in constant time, by hash. Clones share what they remember.
///
/// # Cancel safety
///
/// Concurrent look-ups of one key are one. It goes on as long as anybody waits for it.
#[derive(Clone)]
pub struct ApiKeyVerifier {
    shared: Arc<Shared>,
    life: Duration,
}

struct Shared {
    records: Arc<Records>,
    hasher: KeyHasher,
    clock: Arc<dyn Clock>,
}

impl ApiKeyVerifier {
    /// Looks keys up in `store` by their public part and compares hashes made by `hasher`.
    #[must_use]
    pub fn new(store: Arc<dyn CredentialStore>, hasher: KeyHasher, clock: Arc<dyn Clock>) -> Self {
        Self {
            shared: Arc::new(Shared {
                records: Arc::new(Records::new(store, CAPACITY)),
                hasher,
                clock,
            }),
            life: MAX_LIFE,
        }
    }

    /// Sets how long a key is remembered. 1 s unless set, 1 s at most; zero asks every time.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = life.min(MAX_LIFE);
        self
    }

    /// Sets how many keys are remembered, and how many that do not exist. 16,384 each unless set.
    ///
    /// Forgets what was remembered; clones made before keep their own memory.
    #[must_use]
    pub fn capacity(mut self, keys: usize) -> Self {
        self.shared = Arc::new(Shared {
            records: Arc::new(Records::new(self.shared.records.store(), keys)),
            hasher: self.shared.hasher.clone(),
            clock: Arc::clone(&self.shared.clock),
        });
        self
    }

    /// Forgets a key. To be called after it was revoked or changed in the store: from then on nobody is
    /// recognised by what the store said before, not even by a look-up that is under way.
    pub fn invalidate(&self, public_id: &str) {
        if let Some(id) = PublicId::new(public_id) {
            self.shared.records.forget(id);
        }
    }

    /// Notes that a key was made, so that it works even if its public id was tried before.
    pub fn created(&self, public_id: &str) {
        self.invalidate(public_id);
    }

    /// Forgets all keys: for changes that concern many, such as disabling a user.
    pub fn invalidate_all(&self) {
        self.shared.records.forget_all();
    }

    /// Returns a name of whose a key is that a holder of the pepper has given out, by its seal.
    pub(in crate::auth) fn account<'a>(&self, key: &'a str) -> Option<&'a str> {
        let key = PresentedKey::parse(key).ok()?;
        key.account(&self.shared.hasher)
    }

    /// Returns the name that stands in all that is given out to a user.
    pub(in crate::auth) fn account_of(&self, user: UserId) -> String {
        self.shared.hasher.account(user)
    }

    /// Checks a key and finds out whose it is.
    ///
    /// # Errors
    ///
    /// The answer is [`AuthError::Malformed`] when `key` has not the form of one,
    /// [`AuthError::Revoked`] or [`AuthError::Expired`] when it was good once, [`AuthError::Unavailable`]
    /// when the store could not answer, and [`AuthError::Invalid`] otherwise.
    pub fn check(&self, key: &str) -> Authenticating {
        let key = match PresentedKey::parse(key) {
            Ok(key) => key,
            Err(error) => return Authenticating::ready(Err(error)),
        };
        let (shared, id) = (&self.shared, key.id());
        let now = shared.clock.now();
        match shared.records.cached(id, now, self.life) {
            Some(Answer::Known(entry)) => {
                Authenticating::ready(entry.judge(&key.digest(), || shared.hasher.hash(&key), now))
            }
            Some(_) => Authenticating::ready(Err(AuthError::Invalid)),
            None => {
                let (digest, hash) = (key.digest(), shared.hasher.hash(&key));
                Authenticating::waiting(Arc::clone(shared).decide(id, digest, hash, self.life))
            }
        }
    }
}

impl Shared {
    async fn decide(
        self: Arc<Self>,
        id: PublicId,
        digest: [u8; 32],
        hash: TokenHash,
        life: Duration,
    ) -> Result<Principal, AuthError> {
        loop {
            let answer = match self.records.ask(id, self.clock.now(), life) {
                Asked::Answered(answer) => answer,
                Asked::Flying(look_up) => look_up.await,
            };
            match answer {
                Answer::Known(entry) if entry.is_void() => {}
                Answer::Known(entry) => {
                    return entry.judge(&digest, || hash, self.clock.now());
                }
                Answer::Unknown => return Err(AuthError::Invalid),
                // Each further round takes a further change of this very key by its owner.
                Answer::Void => {}
                Answer::Failed(error) => {
                    return Err(AuthError::Unavailable(StoreError::with_source(
                        error.kind(),
                        error,
                    )));
                }
            }
        }
    }
}

impl Authenticate for ApiKeyVerifier {
    type Future = Authenticating;

    fn authenticate(&self, headers: &HeaderMap) -> Self::Future {
        match bearer::credential(headers) {
            Ok(key) => self.check(key),
            Err(error) => Authenticating::ready(Err(error)),
        }
    }
}

impl fmt::Debug for ApiKeyVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeyVerifier")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}
