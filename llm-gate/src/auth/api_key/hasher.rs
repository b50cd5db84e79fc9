use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::PresentedKey;
use crate::auth::KeyError;
use crate::auth::seal::{self, ACCOUNT};
use crate::identity::UserId;
use crate::store::TokenHash;

/// Hashes API keys with HMAC-SHA-256 under a pepper, so that a stolen database alone does not even tell
/// whether a key is in it.
///
/// The pepper must be the same on all replicas and stay the same for as long as the keys live.
#[derive(Clone)]
pub struct KeyHasher(Hmac<Sha256>);

impl KeyHasher {
    /// Takes the pepper.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::TooShort`] for fewer than 32 bytes.
    pub fn new(pepper: &[u8]) -> Result<Self, KeyError> {
        if pepper.len() < 32 {
            return Err(KeyError::TooShort);
        }
        Hmac::new_from_slice(pepper)
            .map(Self)
            .map_err(|_| KeyError::Unusable)
    }

    /// Fills `bytes` with what only the pepper's holder can tell from `parts`. No API key begins like `purpose`.
    pub(in crate::auth) fn derive(
        &self,
        purpose: &'static str,
        parts: [&[u8]; 2],
        bytes: &mut [u8],
    ) {
        let mac = self.0.clone().chain_update(purpose);
        let mac = parts.iter().fold(mac, |mac, part| mac.chain_update(part));
        for (to, from) in bytes.iter_mut().zip(mac.finalize().into_bytes()) {
            *to = from;
        }
    }

    /// Returns the name of a user that stands in all that is given out with a seal: 8 characters, which nobody else can tell.
    #[must_use]
    pub fn account(&self, user: UserId) -> String {
        let mut name = String::with_capacity(ACCOUNT);
        seal::push_account(&mut name, self, user);
        name
    }

    /// Hashes a whole key.
    #[must_use]
    pub fn hash(&self, key: &PresentedKey<'_>) -> TokenHash {
        let mac = self.0.clone().chain_update(key.whole());
        TokenHash(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::ApiKeySecret;

    #[test]
    fn a_short_pepper_is_refused_at_start() {
        assert_eq!(KeyHasher::new(&[1; 31]).err(), Some(KeyError::TooShort));
    }

    #[test]
    fn another_pepper_gives_another_hash() {
        let key = ApiKeySecret::generate();
        let (one, two) = (KeyHasher::new(&[1; 32]), KeyHasher::new(&[2; 32]));
        let (one, two) = (one.expect("long"), two.expect("long"));
        assert_ne!(key.hash(&one), key.hash(&two));
        assert_eq!(key.hash(&one), key.hash(&one.clone()));
    }
}
