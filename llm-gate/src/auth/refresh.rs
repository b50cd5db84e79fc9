use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{AuthError, base62};
use crate::store::TokenHash;

const PREFIX: &str = "lgr_";
const RANDOM: usize = 43;

/// An opaque refresh token: 256 random bits, of which only the hash is kept.
///
/// SHA-256 without a key or salt suffices, because nobody can enumerate 256 bits.
///
/// ```
/// use llm_gate::auth::RefreshToken;
///
/// let given = RefreshToken::generate();
/// let presented = RefreshToken::parse(given.expose()).unwrap();
/// assert_eq!(given.hash(), presented.hash());
/// assert_eq!(format!("{given:?}"), "RefreshToken(..)");
/// ```
#[derive(Clone)]
pub struct RefreshToken(SecretString);

impl RefreshToken {
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

    /// Takes what a client sent.
    ///
    /// # Errors
    ///
    /// Fails with [`AuthError::Malformed`] when it has not the form of a refresh token.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        match text.strip_prefix(PREFIX) {
            Some(rest)
                if rest.len() == RANDOM && rest.bytes().all(|c| c.is_ascii_alphanumeric()) =>
            {
                Ok(Self(text.into()))
            }
            _ => Err(AuthError::Malformed),
        }
    }

    /// Returns the text to hand to the client.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns what a store keeps of it.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.expose()).into())
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_made_here_is_refused_without_a_look_up() {
        let good = RefreshToken::generate();
        let text = good.expose();
        for bad in [
            "",
            "lgr_",
            &text[1..],
            &text[..46],
            &format!("{text}a"),
            &text.replace("lgr_", "lgr_-")[..47],
        ] {
            assert!(RefreshToken::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(
            RefreshToken::generate().hash(),
            RefreshToken::generate().hash()
        );
    }
}
