use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{KeyError, base62};

const PREFIX: &str = "lgo_";
const RANDOM: usize = 43;

/// A fresh operator key: 256 random bits, to be shown once. Only its [`hash`](Self::hash) is kept.
///
/// ```
/// use llm_gate::auth::{OperatorHash, OperatorSecret};
///
/// let key = OperatorSecret::generate();
/// assert!(key.expose().starts_with("lgo_"));
/// let hash = key.hash().to_string();
/// assert_eq!(hash.parse::<OperatorHash>().unwrap().to_string(), hash);
/// assert_eq!(format!("{key:?}"), "OperatorSecret(..)");
/// ```
#[derive(Clone)]
pub struct OperatorSecret(SecretString);

impl OperatorSecret {
    /// Makes a fresh one.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn generate() -> Self {
        let mut text = String::with_capacity(PREFIX.len() + RANDOM);
        text.push_str(PREFIX);
        base62::push_random(&mut text, RANDOM);
        Self(text.into())
    }

    /// Returns the key, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns what a server keeps of it.
    #[must_use]
    pub fn hash(&self) -> OperatorHash {
        OperatorHash(Sha256::digest(self.expose()).into())
    }
}

impl fmt::Debug for OperatorSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorSecret(..)")
    }
}

/// The SHA-256 of the operator key. Written as 64 hexadecimal digits.
///
/// It may be of any text that is a credential and does not begin with `lg_`, which is looked up as an API
/// key. Without key or salt it protects only what nobody can guess: take one that
/// [`OperatorSecret::generate`] made, not a word.
#[derive(Clone, Copy)]
pub struct OperatorHash([u8; 32]);

impl OperatorHash {
    /// Compares in constant time.
    pub(super) fn is(&self, digest: &[u8; 32]) -> bool {
        self.0.ct_eq(digest).into()
    }
}

impl FromStr for OperatorHash {
    type Err = KeyError;

    /// Reads hexadecimal digits in any case.
    fn from_str(hex: &str) -> Result<Self, KeyError> {
        let digits: &[u8; 64] = hex.as_bytes().try_into().map_err(|_| KeyError::Digest)?;
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            let value = |digit: u8| char::from(digit).to_digit(16).ok_or(KeyError::Digest);
            let (high, low) = (value(pair[0])?, value(pair[1])?);
            *byte = u8::try_from(high << 4 | low).map_err(|_| KeyError::Digest)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Display for OperatorHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for OperatorHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OperatorHash(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of "abc" (FIPS 180-4).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_hash_is_a_plain_sha_256_in_hexadecimal() {
        let digest: [u8; 32] = Sha256::digest("abc").into();
        for hex in [ABC.to_owned(), ABC.to_uppercase()] {
            let hash: OperatorHash = hex.parse().expect("a hash");
            assert!(hash.is(&digest), "{hex}");
            assert_eq!(hash.to_string(), ABC);
        }
        let mut other = digest;
        other[31] ^= 1;
        assert!(!ABC.parse::<OperatorHash>().expect("a hash").is(&other));
    }

    #[test]
    fn what_is_no_hash_is_refused_at_start() {
        for bad in [
            "",
            "abc",
            &ABC[1..],
            &format!("{ABC}0"),
            &ABC.replace('b', "g"),
            &format!("{}+f", &ABC[..62]),
            &format!("{}é", &ABC[..62]),
        ] {
            assert_eq!(
                bad.parse::<OperatorHash>().err(),
                Some(KeyError::Digest),
                "{bad}"
            );
        }
    }

    #[test]
    fn no_two_are_alike() {
        let (one, two) = (OperatorSecret::generate(), OperatorSecret::generate());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.expose().len(), 47);
    }
}
