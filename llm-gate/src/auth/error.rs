use std::time::Duration;

use crate::error::Rejection;
use crate::store::StoreError;

/// When to come back after the store could not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Why a caller could not be recognised.
///
/// The reason is for metrics and logs. Callers are told nothing of it: see [`rejection`](Self::rejection).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The request carries no credential.
    #[error("no credential")]
    Missing,
    /// The credential has not the form of one.
    #[error("malformed credential")]
    Malformed,
    /// The request carries several credentials.
    #[error("conflicting credentials")]
    Conflicting,
    /// The credential is not known, not genuine or not meant for this gate.
    #[error("invalid credential")]
    Invalid,
    /// The credential was good once.
    #[error("expired credential")]
    Expired,
    /// The credential or the user behind it was put out of action.
    #[error("revoked credential")]
    Revoked,
    /// The credential is good, but not from where the request comes.
    #[error("credential used from an address that it is not for")]
    Address,
    /// Nobody can tell at the moment.
    #[error("credentials cannot be checked now")]
    Unavailable(#[source] StoreError),
}

impl AuthError {
    /// Returns one word for metrics and logs.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Conflicting => "conflicting",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Address => "address",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Makes the answer for the caller: 503 with `Retry-After` when nobody can tell, otherwise 401 with
    /// `WWW-Authenticate` (RFC 6750) in the same words for every reason.
    #[must_use]
    pub fn rejection(&self) -> Rejection {
        match self {
            Self::Unavailable(_) => {
                Rejection::unavailable("credentials cannot be checked now", RETRY_AFTER)
            }
            _ => Rejection::unauthorized(),
        }
    }
}

/// Why a caller was not recognised, in the extensions of the answer: for whoever writes the log. The answer says nothing
/// of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(&'static str);

impl Refused {
    /// Returns the word of [`AuthError::reason`].
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.0
    }
}

impl From<&AuthError> for Refused {
    fn from(error: &AuthError) -> Self {
        Self(error.reason())
    }
}

/// Why a key, a secret or a set of keys is not usable. Found when a server starts, not by a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A shared secret is shorter than 32 bytes, the output of its hash (RFC 7518, section 3.2).
    #[error("a shared secret needs at least 32 bytes")]
    TooShort,
    /// The bytes are no key of the algorithm, or a weak one.
    #[error("not a usable key of this algorithm")]
    Unusable,
    /// The text is not a PEM file (RFC 7468) with one key and nothing else.
    #[error(
        "must hold one key and nothing else: BEGIN PRIVATE KEY (PKCS#8, not encrypted) or BEGIN PUBLIC KEY"
    )]
    Pem,
    /// The text is not a SHA-256 in hexadecimal.
    #[error("must be a SHA-256: 64 hexadecimal digits")]
    Digest,
    /// Two keys have the same identifier, or both have none.
    #[error("two keys have the same identifier")]
    Ambiguous,
    /// There is no key at all.
    #[error("at least one key is needed")]
    Empty,
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::error::Envelope;
    use crate::store::StoreErrorKind;

    #[test]
    fn every_reason_is_told_in_the_same_words() {
        let said: Vec<_> = [
            AuthError::Missing,
            AuthError::Malformed,
            AuthError::Conflicting,
            AuthError::Invalid,
            AuthError::Expired,
            AuthError::Revoked,
            AuthError::Address,
        ]
        .iter()
        .map(|error| error.rejection())
        .map(|rejection| (rejection.status(), rejection.body(Envelope::OpenAi)))
        .collect();
        assert_eq!(said[0].0, StatusCode::UNAUTHORIZED);
        assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
    }

    #[test]
    fn a_store_that_is_away_is_not_the_callers_fault() {
        let error = AuthError::Unavailable(StoreError::new(StoreErrorKind::Unavailable));
        assert_eq!(error.rejection().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
