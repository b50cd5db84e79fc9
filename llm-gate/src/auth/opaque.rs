use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::seal::{self, ACCOUNT, SEAL, derive};
use super::{AuthError, KeyHasher, base62};
use crate::identity::UserId;
use crate::store::TokenHash;

const RANDOM: usize = 43;

/// Makes a kind of opaque token, told from others by its prefix.
macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(SecretString);

        impl $name {
            /// Makes a fresh one.
            ///
            /// # Panics
            ///
            /// Panics if the operating system has no random numbers.
            #[must_use]
            pub fn generate() -> Self {
                let mut text = String::with_capacity($prefix.len() + RANDOM);
                text.push_str($prefix);
                base62::push_random(&mut text, RANDOM);
                Self(text.into())
            }

            /// Takes what a client sent.
            ///
            /// # Errors
            ///
            /// Fails with [`AuthError::Malformed`] when it has not the form of such a token.
            pub fn parse(text: &str) -> Result<Self, AuthError> {
                match text.strip_prefix($prefix) {
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

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

opaque! {
/// An opaque refresh token: 256 random bits, or 142 with whose it is and a seal, of which only the hash is kept.
///
/// SHA-256 without a key or salt suffices, because nobody can enumerate as many.
///
/// ```
/// use llm_gate::auth::RefreshToken;
///
/// let given = RefreshToken::generate();
/// let presented = RefreshToken::parse(given.expose()).unwrap();
/// assert_eq!(given.hash(), presented.hash());
/// assert_eq!(format!("{given:?}"), "RefreshToken(..)");
/// ```
RefreshToken "lgr_"
}

opaque! {
    /// A secret that is mailed to a user, to be used once: it confirms an address or sets a new password.
    MailToken "lgm_"
}

opaque! {
    /// The secret of an invite.
    InviteToken "lgi_"
}

impl RefreshToken {
    /// Makes a fresh one of `user` with a seal, see [`account`](Self::account).
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn sealed(hasher: &KeyHasher, user: UserId) -> Self {
        let mut text = String::from("lgr_");
        seal::push_account(&mut text, hasher, user);
        base62::push_random(&mut text, RANDOM - ACCOUNT - SEAL);
        seal::seal(&mut text, hasher);
        Self(text.into())
    }

    /// Returns a name of whose it is if a holder of the pepper has given it out, without asking anybody. It may be spent or
    /// revoked since. All that is given out to a user has the same one, and it tells nothing else.
    #[must_use]
    pub fn account(&self, hasher: &KeyHasher) -> Option<&str> {
        seal::is_sealed(self.expose(), hasher).then(|| self.named())
    }

    /// Returns the token that is given out for this one, always the same: of two tabs that refresh at once both get it,
    /// although no store keeps it. Only the pepper's holder can tell it. It has a seal, and is of the same user.
    #[must_use]
    pub fn successor(&self, hasher: &KeyHasher) -> Self {
        let mut text = format!("lgr_{}", self.named());
        let purpose = "successor of a refresh token";
        let random = RANDOM - ACCOUNT - SEAL;
        derive(&mut text, random, hasher, purpose, self.expose());
        seal::seal(&mut text, hasher);
        Self(text.into())
    }

    fn named(&self) -> &str {
        let (_, rest) = self.expose().split_at("lgr_".len());
        rest.get(..ACCOUNT).unwrap_or_default()
    }
}

impl MailToken {
    /// Makes a fresh one for `user` with a seal, see [`account`](Self::account): 142 bits are random.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn sealed(hasher: &KeyHasher, user: UserId) -> Self {
        let mut text = String::from("lgm_");
        seal::push_account(&mut text, hasher, user);
        base62::push_random(&mut text, RANDOM - ACCOUNT - SEAL);
        seal::seal(&mut text, hasher);
        Self(text.into())
    }

    /// Returns a name of whose it is if a holder of the pepper has given it out, without asking anybody. It may be used or too
    /// old by now. The name is that of [`RefreshToken::account`].
    #[must_use]
    pub fn account(&self, hasher: &KeyHasher) -> Option<&str> {
        let sealed = seal::is_sealed(self.expose(), hasher);
        let (_, rest) = self.expose().split_at("lgm_".len());
        rest.get(..ACCOUNT).filter(|_| sealed)
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
    fn a_seal_shows_that_a_token_was_given_out_and_to_whom() {
        let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
        let (ada, eve) = (UserId::new(), UserId::new());
        let token = RefreshToken::sealed(&hasher(1), ada);
        let parsed = RefreshToken::parse(token.expose()).expect("the form of one");
        let account = parsed.account(&hasher(1)).expect("sealed");
        let next = token.successor(&hasher(1));
        assert_eq!(next.account(&hasher(1)), Some(account));
        let other = RefreshToken::sealed(&hasher(1), ada);
        assert_ne!(token.expose(), other.expose());
        assert_eq!(other.account(&hasher(1)), Some(account), "the same user");
        let other = RefreshToken::sealed(&hasher(1), eve);
        assert_ne!(other.account(&hasher(1)), Some(account));
        assert_eq!(token.account(&hasher(2)), None, "another pepper");
        assert_eq!(RefreshToken::generate().account(&hasher(1)), None);
        for place in [4, 11, 12, 35, 36, 46] {
            let mut text = token.expose().to_owned().into_bytes();
            text[place] = if text[place] == b'a' { b'b' } else { b'a' };
            let text = String::from_utf8(text).expect("letters");
            let changed = RefreshToken::parse(&text).expect("the form of one");
            assert_eq!(changed.account(&hasher(1)), None, "character {place}");
        }
    }

    #[test]
    fn a_letter_shows_that_it_was_written_here() {
        let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
        let ada = UserId::new();
        let token = MailToken::sealed(&hasher(1), ada);
        let parsed = MailToken::parse(token.expose()).expect("the form of one");
        let session = RefreshToken::sealed(&hasher(1), ada);
        assert_eq!(parsed.account(&hasher(1)), session.account(&hasher(1)));
        assert!(parsed.account(&hasher(1)).is_some());
        assert_eq!(parsed.account(&hasher(2)), None, "another pepper");
        assert_eq!(MailToken::generate().account(&hasher(1)), None);
        let refresh = token.expose().replacen("lgm_", "lgr_", 1);
        let refresh = RefreshToken::parse(&refresh).expect("the form of one");
        assert_eq!(refresh.account(&hasher(1)), None, "another kind");
    }

    #[test]
    fn a_token_has_one_successor_that_only_the_pepper_tells() {
        let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
        let token = RefreshToken::generate();
        let next = token.successor(&hasher(1));
        assert_eq!(next.expose(), token.successor(&hasher(1)).expose());
        assert_ne!(next.expose(), token.successor(&hasher(2)).expose());
        assert_ne!(next.expose(), token.expose());
        assert_ne!(next.expose(), next.successor(&hasher(1)).expose());
        assert!(
            RefreshToken::parse(next.expose()).is_ok(),
            "it has the form of one"
        );
        assert_ne!(
            next.expose(),
            RefreshToken::generate().successor(&hasher(1)).expose()
        );
    }

    #[test]
    fn one_kind_is_not_taken_for_another() {
        let token = MailToken::generate();
        assert!(MailToken::parse(token.expose()).is_ok());
        assert!(InviteToken::parse(token.expose()).is_err());
        assert!(RefreshToken::parse(token.expose()).is_err());
        assert_eq!(format!("{token:?}"), "MailToken(..)");
    }

    #[test]
    fn no_two_are_alike() {
        assert_ne!(
            RefreshToken::generate().hash(),
            RefreshToken::generate().hash()
        );
    }
}
