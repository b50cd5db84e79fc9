use std::sync::Arc;

use super::ForeignIssuer;
use super::claims::{Claims, Header};
use super::keys::{Found, Keys};
use crate::auth::jwt::decode;
use crate::auth::{AuthError, JwtAlgorithm};
use crate::clock::Clock;
use crate::store::{StoreError, StoreErrorKind};

/// A token that is in order but for its signature and its claims.
pub(super) struct Unproven {
    message: String,
    signature: String,
    pub(super) kid: String,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) claims: Claims,
}

impl Unproven {
    /// Reads a token that is said to be of `issuer` and one of `kinds`.
    pub(super) fn read(
        jwt: &str,
        issuer: &ForeignIssuer,
        kinds: &[&str],
    ) -> Result<Self, AuthError> {
        let (message, signature) = jwt.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(AuthError::Malformed)?;
        let header: Header = decode(header)?;
        let algorithm = header.algorithm(issuer, kinds);
        Ok(Self {
            message: message.to_owned(),
            signature: signature.to_owned(),
            algorithm: algorithm.ok_or(AuthError::Invalid)?,
            kid: header.kid,
            claims: decode(claims)?,
        })
    }

    /// Checks signature and claims; returns the generation of the keys that it was checked with.
    pub(super) async fn prove(
        &self,
        issuer: &Arc<Keys>,
        clock: &dyn Clock,
    ) -> Result<u64, AuthError> {
        let key = match issuer.find(&self.kid, self.algorithm).await {
            Found::Key(key) => key,
            Found::Unknown => return Err(AuthError::Invalid),
            Found::Soon(_) | Found::Unavailable => {
                let cause = "the keys of the issuer are not known";
                return Err(AuthError::Unavailable(StoreError::with_source(
                    StoreErrorKind::Unavailable,
                    cause,
                )));
            }
        };
        if !key.get().signed(&self.message, &self.signature) {
            return Err(AuthError::Invalid);
        }
        self.claims.check(&issuer.issuer, clock.now())?;
        Ok(key.generation)
    }
    /// Returns whether signature and claims are good, by those keys of the issuer that are known.
    pub(super) fn proven(&self, issuer: &Arc<Keys>, clock: &dyn Clock) -> bool {
        let Found::Key(key) = issuer.look(&self.kid, self.algorithm, false) else {
            return false;
        };
        key.get().signed(&self.message, &self.signature)
            && self.claims.check(&issuer.issuer, clock.now()).is_ok()
    }
}
