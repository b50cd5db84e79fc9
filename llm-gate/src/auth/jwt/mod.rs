//! JSON web tokens of our own: RFC 9068 access tokens, checked as RFC 8725 advises.

mod algorithm;
mod claims;
mod issuer;
mod jwk;
mod key;
mod pem;
pub(super) mod strict;
mod verifier;

use std::time::Duration;

pub use algorithm::{JwtAlgorithm, UnknownAlgorithm};
pub use issuer::{IssuedJwt, JwtIssuer};
pub use jwk::{Jwk, JwkError, JwkSet};
pub use key::{SigningKey, VerifyingKey};
pub use verifier::JwtVerifier;
#[cfg(feature = "jwks")]
pub(super) use {
    claims::{Audience, moment},
    verifier::decode,
};

/// The longest life of a JSON web token. A longer one is neither issued nor accepted.
pub const MAX_JWT_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
