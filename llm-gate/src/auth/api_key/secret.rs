use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::KeyHasher;
use crate::auth::seal::{self, ACCOUNT, SEAL};
use crate::auth::{AuthError, base62};
use crate::identity::UserId;
use crate::store::TokenHash;

/// What every key begins with: secret scanners find it, and it tells a key from a JSON web token.
pub(in crate::auth) const PREFIX: &str = "lg_";

const PUBLIC: usize = 12;
const SECRET: usize = 43;
/// Where the parts of `lg_<12 public>_<43 secret><6 checksum>` begin.
const PUBLIC_AT: usize = PREFIX.len();
const SECRET_AT: usize = PUBLIC_AT + PUBLIC + 1;
const CHECKSUM_AT: usize = SECRET_AT + SECRET;
const LEN: usize = CHECKSUM_AT + 6;

/// The public part of a key, by which it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PublicId([u8; PUBLIC]);

impl PublicId {
    /// Takes a public id as stores keep it; `None` if no key can have it.
    pub(super) fn new(text: &str) -> Option<Self> {
        let bytes: [u8; PUBLIC] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_alphanumeric)
            .then_some(Self(bytes))
    }

    pub(super) fn text(self) -> String {
        self.0.iter().copied().map(char::from).collect()
    }
}

/// A fresh API key, to be shown to its owner once. Only its [`hash`](Self::hash) is kept.
///
/// The form is `lg_<12 public id>_<43 secret><6 checksum>`, all in base62: 256 secret bits, or 142 with whose it is and a seal, and a
/// CRC32 over everything before it, by which typing errors and invented keys are refused without asking the store.
///
/// ```
/// use llm_gate::auth::{ApiKeySecret, KeyHasher, PresentedKey};
///
/// let key = ApiKeySecret::generate();
/// let hasher = KeyHasher::new(b"at least thirty-two bytes, in secret").unwrap();
/// let presented = PresentedKey::parse(key.expose()).unwrap();
/// assert_eq!(presented.public_id(), key.public_id());
/// assert_eq!(hasher.hash(&presented), key.hash(&hasher));
/// assert_eq!(format!("{key:?}"), format!("ApiKeySecret({}..)", key.public_id()));
/// ```
#[derive(Clone)]
pub struct ApiKeySecret(SecretString);

impl ApiKeySecret {
    /// Makes a fresh key from the operating system's random numbers.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        Self::with(|text| base62::push_random(text, SECRET))
    }

    /// Makes a fresh key of `user` with a seal, see [`PresentedKey::account`]: 142 bits are secret.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn sealed(hasher: &KeyHasher, user: UserId) -> Self {
        Self::with(|text| {
            seal::push_account(text, hasher, user);
            base62::push_random(text, SECRET - ACCOUNT - SEAL);
            seal::seal(text, hasher);
        })
    }

    fn with(push_secret: impl FnOnce(&mut String)) -> Self {
        let mut text = String::with_capacity(LEN);
        text.push_str(PREFIX);
        base62::push_random(&mut text, PUBLIC);
        text.push('_');
        push_secret(&mut text);
        let checksum = base62::checksum(crc32fast::hash(text.as_bytes()));
        text.extend(checksum.map(char::from));
        Self(text.into())
    }

    /// Returns the whole key, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the public part.
    #[must_use]
    pub fn public_id(&self) -> &str {
        &self.expose()[PUBLIC_AT..PUBLIC_AT + PUBLIC]
    }

    /// Returns what a store keeps of the key.
    #[must_use]
    pub fn hash(&self, hasher: &KeyHasher) -> TokenHash {
        hasher.hash(&PresentedKey(self.expose()))
    }
}

impl fmt::Debug for ApiKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeySecret({}..)", self.public_id())
    }
}

/// A key that a caller sent. Its form and checksum hold; whether it exists is not known yet.
#[derive(Clone, Copy)]
pub struct PresentedKey<'a>(&'a str);

impl<'a> PresentedKey<'a> {
    /// Checks form and checksum, in the same time wherever the fault is.
    ///
    /// # Errors
    ///
    /// Fails with [`AuthError::Malformed`].
    pub fn parse(text: &'a str) -> Result<Self, AuthError> {
        let bytes: &[u8; LEN] = text
            .as_bytes()
            .try_into()
            .map_err(|_| AuthError::Malformed)?;
        let separated = &bytes[..PUBLIC_AT] == PREFIX.as_bytes() && bytes[SECRET_AT - 1] == b'_';
        let digits = bytes[PUBLIC_AT..SECRET_AT - 1]
            .iter()
            .chain(&bytes[SECRET_AT..])
            .fold(true, |all, byte| all & byte.is_ascii_alphanumeric());
        let checksum = base62::checksum(crc32fast::hash(&bytes[..CHECKSUM_AT]));
        if separated & digits & (bytes[CHECKSUM_AT..] == checksum) {
            Ok(Self(text))
        } else {
            Err(AuthError::Malformed)
        }
    }

    /// Returns the public part.
    #[must_use]
    pub fn public_id(&self) -> &'a str {
        &self.0[PUBLIC_AT..PUBLIC_AT + PUBLIC]
    }

    /// Returns a name of whose it is if a holder of the pepper has given it out, without asking anybody. It may be revoked
    /// since. All that is given out to a user has the same one.
    #[must_use]
    pub fn account(&self, hasher: &KeyHasher) -> Option<&'a str> {
        let sealed = seal::is_sealed(&self.0[..CHECKSUM_AT], hasher);
        sealed.then(|| &self.0[SECRET_AT..SECRET_AT + ACCOUNT])
    }

    pub(super) fn id(&self) -> PublicId {
        let mut id = [0; PUBLIC];
        id.copy_from_slice(self.public_id().as_bytes());
        PublicId(id)
    }

    pub(super) const fn whole(&self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// Hashes the secret part, which fits into one block, for comparing within the process.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.0[SECRET_AT..CHECKSUM_AT]).into()
    }
}

impl fmt::Debug for PresentedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PresentedKey({}..)", self.public_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_documented_form() {
        let key = ApiKeySecret::generate();
        let text = key.expose();
        assert_eq!(text.len(), 65);
        assert_eq!(&text[..3], "lg_");
        assert_eq!(&text[15..16], "_");
        assert!(PresentedKey::parse(text).is_ok());
    }

    #[test]
    fn a_seal_shows_that_a_key_was_given_out_here() {
        let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
        let [ada, eve] = [UserId::new(), UserId::new()];
        let account = |key: &ApiKeySecret, byte| {
            let presented = PresentedKey::parse(key.expose()).expect("fresh");
            presented.account(&hasher(byte)).map(str::to_owned)
        };
        let key = ApiKeySecret::sealed(&hasher(1), ada);
        let other = ApiKeySecret::sealed(&hasher(1), ada);
        assert_ne!(key.expose(), other.expose());
        assert!(account(&key, 1).is_some());
        assert_eq!(account(&key, 1), account(&other, 1), "of one user");
        let eves = ApiKeySecret::sealed(&hasher(1), eve);
        assert_ne!(account(&key, 1), account(&eves, 1));
        assert_eq!(account(&key, 2), None, "another pepper");
        assert_eq!(account(&ApiKeySecret::generate(), 1), None);
    }

    #[test]
    fn one_wrong_character_anywhere_is_noticed() {
        let key = ApiKeySecret::generate();
        for at in 0..LEN {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
            let text = String::from_utf8(bytes).expect("ASCII");
            assert!(PresentedKey::parse(&text).is_err(), "at {at}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let key = ApiKeySecret::generate();
        let text = key.expose();
        let accented = format!("{}é", &text[..63]);
        assert_eq!(accented.len(), LEN);
        for bad in ["", "lg_", &text[..64], &format!("{text}0"), &accented] {
            assert!(PresentedKey::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_not_printed() {
        let key = ApiKeySecret::generate();
        let presented = PresentedKey::parse(key.expose()).expect("fresh");
        let printed = format!("{key:?} {presented:?}");
        assert!(!printed.contains(&key.expose()[SECRET_AT..]));
    }
}
