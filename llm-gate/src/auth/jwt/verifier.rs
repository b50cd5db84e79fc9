use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::claims::{Claims, Header};
use super::key::VerifyingKey;
use super::strict;
use crate::auth::{AuthError, Authenticate, KeyError, bearer, crypto};
use crate::clock::{Clock, Timestamp};
use crate::identity::Principal;

/// How many checked tokens are remembered unless set otherwise.
const CAPACITY: usize = 16 * 1024;

/// How far clocks may differ unless set otherwise.
const LEEWAY: Duration = Duration::from_secs(5);

/// How far clocks may differ at most.
const MAX_LEEWAY: Duration = Duration::from_secs(60);

/// Recognises users by JSON web tokens of our own (RFC 9068), checked as RFC 8725 advises.
///
/// Only signatures are left to a library; what a token says is read and judged here, strictly: the
/// algorithm is the key's, the `typ` is `at+jwt`, the header holds nothing else, every claim is there,
/// has its type and is there once.
///
/// A token that was good is remembered by its SHA-256, with its end, so that it costs one hash to see it
/// again. The end is checked each time. Clones share that memory.
///
/// A token cannot be revoked before its end: keep lifetimes short. Calls of a disabled user are stopped
/// by its frozen counter.
#[derive(Clone)]
pub struct JwtVerifier {
    shared: Arc<Shared>,
    seen: Arc<Cache<[u8; 32], Seen>>,
    leeway: Duration,
}

struct Shared {
    issuer: String,
    audience: String,
    keys: Vec<VerifyingKey>,
    clock: Arc<dyn Clock>,
}

/// A token that was good when it was first seen.
#[derive(Clone)]
struct Seen {
    principal: Principal,
    expires_at: Timestamp,
}

impl JwtVerifier {
    /// Accepts tokens that `issuer` made for `audience` and signed with one of `keys`.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Empty`] without keys, and with [`KeyError::Ambiguous`] if two have the same
    /// identifier or both have none.
    ///
    /// # Panics
    ///
    /// Without the feature `aws-lc-rs`, panics if the process has not installed a back end of
    /// `jsonwebtoken`: here rather than at the first request.
    pub fn new(
        issuer: impl Into<String>,
        audience: impl Into<String>,
        keys: impl IntoIterator<Item = VerifyingKey>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        crypto::require();
        let mut unique: Vec<VerifyingKey> = Vec::new();
        for key in keys {
            if unique.iter().any(|other| other.kid == key.kid) {
                return Err(KeyError::Ambiguous);
            }
            unique.push(key);
        }
        if unique.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                issuer: issuer.into(),
                audience: audience.into(),
                keys: unique,
                clock,
            }),
            seen: Arc::new(Cache::new(CAPACITY)),
            leeway: LEEWAY,
        })
    }

    /// Sets how far the clocks of issuer and gate may differ. 5 s unless set, 60 s at most.
    #[must_use]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway.min(MAX_LEEWAY);
        self
    }

    /// Sets how many checked tokens are remembered. 16,384 unless set. Forgets those seen so far.
    #[must_use]
    pub fn capacity(mut self, tokens: usize) -> Self {
        self.seen = Arc::new(Cache::new(tokens));
        self
    }

    /// Checks a token and returns whose it is.
    ///
    /// # Errors
    ///
    /// Fails with [`AuthError::Malformed`] when `jwt` has not three parts or more than 8 KiB, with [`AuthError::Expired`]
    /// when it was good once, and with [`AuthError::Invalid`] for every other fault.
    pub fn verify(&self, jwt: &str) -> Result<Principal, AuthError> {
        // The layers have looked already; others may not have.
        if jwt.len() > bearer::MAX_LEN {
            return Err(AuthError::Malformed);
        }
        self.check(jwt, Sha256::digest(jwt).into())
    }

    /// Checks a token whose SHA-256 is known.
    pub(in crate::auth) fn check(
        &self,
        jwt: &str,
        digest: [u8; 32],
    ) -> Result<Principal, AuthError> {
        let now = self.shared.clock.now();
        if let Some(seen) = self.seen.get(&digest) {
            return if now < seen.expires_at.after(self.leeway) {
                Ok(seen.principal)
            } else {
                Err(AuthError::Expired)
            };
        }
        let claims = self.shared.claims(jwt)?;
        claims.check_times(now, self.leeway)?;
        let principal = claims.principal();
        let seen = Seen {
            principal: principal.clone(),
            expires_at: claims.expires_at(),
        };
        self.seen.insert(digest, seen);
        Ok(principal)
    }
}

impl JwtVerifier {
    /// Returns whether a token with this SHA-256 was good once.
    pub(in crate::auth) fn has_seen(&self, digest: &[u8; 32]) -> bool {
        self.seen.contains_key(digest)
    }
}

impl Shared {
    /// Reads the claims of a token whose signature holds and that is meant for us.
    fn claims(&self, jwt: &str) -> Result<Claims, AuthError> {
        let (message, signature) = jwt.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(AuthError::Malformed)?;
        if claims.contains('.') {
            return Err(AuthError::Malformed);
        }
        let header: Header = decode(header)?;
        let key = self.key_for(&header)?;
        if !key.signed(message, signature) {
            return Err(AuthError::Invalid);
        }
        let claims: Claims = decode(claims)?;
        claims.check_parties(&self.issuer, &self.audience)?;
        Ok(claims)
    }

    fn key_for(&self, header: &Header) -> Result<&VerifyingKey, AuthError> {
        self.keys
            .iter()
            .find(|key| key.kid == header.kid)
            .filter(|key| key.algorithm.as_str() == header.alg && header.is_access_token())
            .ok_or(AuthError::Invalid)
    }
}

/// Decodes one part: base64url without padding or stray bits (RFC 7515, section 2), then strict JSON.
pub(in crate::auth) fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, AuthError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| AuthError::Invalid)?;
    strict::from_slice(&json).map_err(|_| AuthError::Invalid)
}

impl Authenticate for JwtVerifier {
    type Future = Ready<Result<Principal, AuthError>>;

    fn authenticate(&self, headers: &HeaderMap) -> Self::Future {
        ready(bearer::credential(headers).and_then(|jwt| self.verify(jwt)))
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("issuer", &self.shared.issuer)
            .field("audience", &self.shared.audience)
            .field("keys", &self.shared.keys)
            .field("leeway", &self.leeway)
            .finish_non_exhaustive()
    }
}
