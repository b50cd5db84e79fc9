use std::fmt;
use std::str::FromStr;

use jsonwebtoken::Algorithm;

/// How a JSON web token is signed: the algorithms that are spoken here, and no other (RFC 8725, section 3.2).
///
/// ```
/// use llm_gate::auth::JwtAlgorithm;
///
/// assert_eq!("EdDSA".parse(), Ok(JwtAlgorithm::EdDsa));
/// assert!("none".parse::<JwtAlgorithm>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 (RFC 7518, section 3.2): a secret that signs and checks.
    Hs256,
    /// Ed25519 (RFC 8037).
    EdDsa,
    /// ECDSA on P-256 with SHA-256 (RFC 7518, section 3.4).
    Es256,
    /// RSA with SHA-256 (RFC 7518, section 3.3). Checked only, never signed with.
    Rs256,
}

impl JwtAlgorithm {
    const ALL: [Self; 4] = [Self::Hs256, Self::EdDsa, Self::Es256, Self::Rs256];

    /// Returns its name as it stands in `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Returns whether what checks a token cannot make one.
    #[must_use]
    pub const fn is_asymmetric(self) -> bool {
        !matches!(self, Self::Hs256)
    }
}

impl fmt::Display for JwtAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not one of [`JwtAlgorithm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be HS256, EdDSA, ES256 or RS256")]
pub struct UnknownAlgorithm;

impl FromStr for JwtAlgorithm {
    type Err = UnknownAlgorithm;

    /// Reads a name, letter by letter: `hs256` is none.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.as_str() == name)
            .ok_or(UnknownAlgorithm)
    }
}

impl From<JwtAlgorithm> for Algorithm {
    fn from(algorithm: JwtAlgorithm) -> Self {
        match algorithm {
            JwtAlgorithm::Hs256 => Self::HS256,
            JwtAlgorithm::EdDsa => Self::EdDSA,
            JwtAlgorithm::Es256 => Self::ES256,
            JwtAlgorithm::Rs256 => Self::RS256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_letter_by_letter() {
        for algorithm in JwtAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        }
        for name in [
            "", "none", "hs256", "HS384", "EDDSA", "Ed25519", "ES256K", " ES256",
        ] {
            assert!(name.parse::<JwtAlgorithm>().is_err(), "{name}");
        }
    }
}
