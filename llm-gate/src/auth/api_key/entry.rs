use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use subtle::ConstantTimeEq;

use crate::auth::AuthError;
use crate::clock::Timestamp;
use crate::identity::{Credential, Principal};
use crate::store::{ApiKeyRecord, TokenHash};

/// What is remembered of a key: whose it is and how to tell it, never the key.
pub(super) struct Entry {
    principal: Principal,
    hash: TokenHash,
    revoked: bool,
    expires_at: Option<Timestamp>,
    /// When the store was asked. What it said is as of this moment or later.
    asked_at: Timestamp,
    /// The plain digest of the secret, once one has matched the keyed hash: cheaper to compare with.
    proven: OnceLock<[u8; 32]>,
    void: AtomicBool,
}

impl Entry {
    pub(super) fn new(record: &ApiKeyRecord, public_id: &str, asked_at: Timestamp) -> Self {
        let key = &record.key;
        Self {
            principal: Principal::new(key.user, key.project, Credential::Key(key.id))
                .role(record.role)
                .grants(Arc::new(key.grants.clone()))
                .public_id(public_id.into()),
            hash: record.hash,
            revoked: key.revoked_at.is_some() || record.user_disabled,
            expires_at: record.until,
            asked_at,
            proven: OnceLock::new(),
            void: AtomicBool::new(false),
        }
    }

    pub(super) const fn asked_at(&self) -> Timestamp {
        self.asked_at
    }

    /// Takes the entry out of force, for those too who hold it already.
    pub(super) fn annul(&self) {
        self.void.store(true, Ordering::Release);
    }

    pub(super) fn is_void(&self) -> bool {
        self.void.load(Ordering::Acquire)
    }

    /// Decides about a key by the digest of its secret and, only where that is not enough, its keyed
    /// hash. State is revealed, even to metrics, only to those who have the secret.
    pub(super) fn judge(
        &self,
        digest: &[u8; 32],
        hash: impl FnOnce() -> TokenHash,
        now: Timestamp,
    ) -> Result<Principal, AuthError> {
        let matches = match self.proven.get() {
            Some(proven) => proven.ct_eq(digest).into(),
            None => {
                let matches = self.hash.0.ct_eq(&hash().0).into();
                if matches {
                    self.proven.get_or_init(|| *digest);
                }
                matches
            }
        };
        if !matches {
            Err(AuthError::Invalid)
        } else if self.revoked {
            Err(AuthError::Revoked)
        } else if self.expires_at.is_some_and(|end| end <= now) {
            Err(AuthError::Expired)
        } else {
            Ok(self.principal.clone())
        }
    }
}
