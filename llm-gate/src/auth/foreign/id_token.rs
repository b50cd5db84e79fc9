use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::ForeignIssuer;
use super::claims::ID;
use super::fetch::Fetcher;
use super::keys::Keys;
use super::unproven::Unproven;
use crate::auth::jwt::{Audience, decode, strict};
use crate::auth::{AuthError, crypto};
use crate::clock::Clock;

/// Checks the ID tokens that one issuer makes for one client (OpenID Connect Core 1.0, section 3.1.3.7).
///
/// The rules are those of [`ForeignVerifier`](super::ForeignVerifier): the same keys, algorithms, leeway and bounds. The
/// audience of the [`ForeignIssuer`] is the client. Beside that a token names when it was made and the nonce of the
/// login, and no other party than the client it was made for (`azp`); and it says of itself that it is no access token,
/// or nothing. Clones share the keys.
///
/// # Cancel safety
///
/// A fetch that was begun goes on when nobody waits for it any more: it is bounded, and others need it.
#[derive(Clone)]
pub struct IdTokenVerifier {
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

/// What an ID token that was good says of its subject.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdToken {
    /// The name that the issuer never gives to another.
    pub subject: String,
    /// The e-mail address, as the issuer writes it.
    pub email: Option<String>,
    /// Whether the issuer has seen that the subject reads that address. Only the word `true` says so.
    pub email_verified: bool,
}

/// Prints nobody's address.
impl fmt::Debug for IdToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdToken").finish_non_exhaustive()
    }
}

/// The claims that ID tokens have and other tokens need not.
#[derive(Deserialize)]
struct Claims {
    aud: Audience,
    nonce: String,
    #[serde(rename = "iat")]
    _iat: Value,
    #[serde(default, deserialize_with = "strict::present")]
    azp: Option<String>,
    #[serde(default)]
    email: Value,
    #[serde(default)]
    email_verified: Value,
}

impl IdTokenVerifier {
    /// Takes the tokens of `issuer`.
    ///
    /// # Panics
    ///
    /// Without the feature `aws-lc-rs`, panics if the process has not installed a back end of
    /// `jsonwebtoken`: here rather than at the first login.
    #[must_use]
    pub fn new(issuer: ForeignIssuer, clock: Arc<dyn Clock>) -> Self {
        crypto::require();
        let keys = Keys::new(issuer, Fetcher::new(), Arc::clone(&clock));
        Self {
            keys: Arc::new(keys),
            clock,
        }
    }

    /// Checks the token of a login that was begun with `nonce`.
    ///
    /// # Errors
    ///
    /// Fails with [`AuthError::Malformed`] when `jwt` has not three parts, with [`AuthError::Expired`] when it was good
    /// once, with [`AuthError::Unavailable`] when the keys of the issuer cannot be had, and with
    /// [`AuthError::Invalid`] for every other fault.
    pub async fn verify(&self, jwt: &str, nonce: &str) -> Result<IdToken, AuthError> {
        let token = Unproven::read(jwt, &self.keys.issuer, ID)?;
        token.prove(&self.keys, &*self.clock).await?;
        let claims = jwt.split('.').nth(1).ok_or(AuthError::Malformed)?;
        let claims: Claims = decode(claims)?;
        let client = &*self.keys.issuer.audience;
        if !claims.is_for(client) || !bool::from(claims.nonce.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(AuthError::Invalid);
        }
        Ok(IdToken {
            subject: token.claims.sub,
            email: claims.email.as_str().map(str::to_owned),
            email_verified: claims.email_verified == Value::Bool(true),
        })
    }
}

impl Claims {
    /// Whether it was made for `client`. Beside other audiences it has to say so.
    fn is_for(&self, client: &str) -> bool {
        match &self.azp {
            Some(party) => party == client,
            None => self.aud.is_only(client),
        }
    }
}

impl fmt::Debug for IdTokenVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdTokenVerifier")
            .field("issuer", &self.keys.issuer)
            .finish_non_exhaustive()
    }
}
