use std::fmt;

use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey};

use super::{Jwk, JwtAlgorithm};
use crate::auth::{KeyError, crypto};

/// The shortest secret for HMAC with SHA-256: the size of its output (RFC 7518, section 3.2).
const MIN_SECRET: usize = 32;

/// A key that JSON web tokens are checked with, bound to one algorithm (RFC 8725, section 3.1).
///
/// A token is checked with the key that its `kid` names, or with the key without identifier if it names
/// none. It is refused if its `alg` is not that key's own.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key: DecodingKey,
}

impl VerifyingKey {
    /// Takes a shared secret for HS256. It has no identifier unless [`kid`](Self::kid) gives it one.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::TooShort`] for fewer than 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, KeyError> {
        long_enough(secret)?;
        Ok(Self::new(
            JwtAlgorithm::Hs256,
            DecodingKey::from_secret(secret),
        ))
    }

    /// Takes the 32 bytes of an Ed25519 public key, for EdDSA (RFC 8037).
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] for any other number of bytes.
    pub fn ed25519(kid: impl Into<String>, public: &[u8]) -> Result<Self, KeyError> {
        if public.len() != 32 {
            return Err(KeyError::Unusable);
        }
        Ok(Self::new(JwtAlgorithm::EdDsa, DecodingKey::from_ed_der(public)).kid(kid))
    }

    /// Takes a point of P-256, uncompressed (`04`, then both coordinates: 65 bytes), for ES256.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] for any other form.
    pub fn es256(kid: impl Into<String>, point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 65 || point[0] != 4 {
            return Err(KeyError::Unusable);
        }
        Ok(Self::new(JwtAlgorithm::Es256, DecodingKey::from_ec_der(point)).kid(kid))
    }

    /// Takes an RSA modulus and public exponent, both big-endian, for RS256.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] for a modulus below 2048 or above 8192 bits or an even or
    /// trivial exponent.
    pub fn rs256(
        kid: impl Into<String>,
        modulus: &[u8],
        exponent: &[u8],
    ) -> Result<Self, KeyError> {
        let (modulus, exponent) = (unpadded(modulus), unpadded(exponent));
        let long = (256..=1024).contains(&modulus.len()) && modulus[0].leading_zeros() == 0;
        let odd = exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1];
        if !long || !odd || exponent.len() > 4 {
            return Err(KeyError::Unusable);
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::new(JwtAlgorithm::Rs256, key).kid(kid))
    }

    /// Sets the identifier that tokens name in their header.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Returns the algorithm it is bound to.
    #[must_use]
    pub const fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// Returns the key as it may be published; `None` for a shared secret, which must not be.
    #[must_use]
    pub fn jwk(&self) -> Option<Jwk> {
        Jwk::of(self)
    }

    /// Returns the identifier that tokens name in their header.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Returns whether a token would name either.
    #[cfg(feature = "jwks")]
    pub(in crate::auth) fn is_called_as(&self, other: &Self) -> bool {
        self.kid == other.kid && self.algorithm == other.algorithm
    }

    /// Returns whether this key's private part signed `message`.
    pub(in crate::auth) fn signed(&self, message: &str, signature: &str) -> bool {
        crypto::verify(message, signature, &self.key, self.algorithm.into())
            .is_ok_and(|genuine| genuine)
    }

    /// Names the key by its thumbprint (RFC 7638).
    pub(super) fn by_thumbprint(self) -> Self {
        match self.jwk() {
            Some(jwk) => self.kid(jwk.thumbprint()),
            None => self,
        }
    }

    pub(super) fn public(&self) -> Option<Public<'_>> {
        Some(match (self.algorithm, self.key.kind()) {
            (JwtAlgorithm::EdDsa, DecodingKeyKind::SecretOrDer(x)) => Public::Ed25519(x),
            (JwtAlgorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => Public::P256(point),
            (JwtAlgorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                Public::Rsa { n, e }
            }
            _ => return None,
        })
    }

    pub(super) const fn new(algorithm: JwtAlgorithm, key: DecodingKey) -> Self {
        Self {
            kid: None,
            algorithm,
            key,
        }
    }
}

/// What is public of a key.
pub(super) enum Public<'a> {
    Ed25519(&'a [u8]),
    /// Uncompressed: `04`, then both coordinates.
    P256(&'a [u8]),
    Rsa {
        n: &'a [u8],
        e: &'a [u8],
    },
}

/// Prints no key, not even a public one.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A key that JSON web tokens are signed with, bound to one algorithm.
#[derive(Clone)]
pub struct SigningKey {
    pub(super) kid: Option<String>,
    pub(super) algorithm: JwtAlgorithm,
    pub(super) key: EncodingKey,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// Takes a shared secret for HS256. It has no identifier unless [`kid`](Self::kid) gives it one.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::TooShort`] for fewer than 32 bytes.
    pub fn hs256(secret: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            kid: None,
            algorithm: JwtAlgorithm::Hs256,
            key: EncodingKey::from_secret(secret),
            verifying: VerifyingKey::hs256(secret)?,
        })
    }

    /// Takes an Ed25519 private key in PKCS#8 DER, for EdDSA.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] if it is none.
    pub fn ed25519(kid: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::asymmetric(JwtAlgorithm::EdDsa, EncodingKey::from_ed_der(pkcs8))?.kid(kid))
    }

    /// Takes a P-256 private key in PKCS#8 DER, for ES256.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] if it is none.
    pub fn es256(kid: impl Into<String>, pkcs8: &[u8]) -> Result<Self, KeyError> {
        Ok(Self::asymmetric(JwtAlgorithm::Es256, EncodingKey::from_ec_der(pkcs8))?.kid(kid))
    }

    /// Sets the identifier that tokens name in their header.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        let kid = kid.into();
        self.verifying = self.verifying.kid(kid.clone());
        self.kid = Some(kid);
        self
    }

    /// Returns the algorithm it is bound to.
    #[must_use]
    pub const fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// Returns the key that checks what this one signs.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.verifying.clone()
    }

    pub(super) fn asymmetric(algorithm: JwtAlgorithm, key: EncodingKey) -> Result<Self, KeyError> {
        let public = crypto::public_key(&key, algorithm.into()).map_err(|_| KeyError::Unusable)?;
        Ok(Self {
            kid: None,
            algorithm,
            key,
            verifying: VerifyingKey::new(algorithm, public),
        })
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

const fn long_enough(secret: &[u8]) -> Result<(), KeyError> {
    if secret.len() < MIN_SECRET {
        return Err(KeyError::TooShort);
    }
    Ok(())
}

fn unpadded(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weak_secret_is_refused_at_start() {
        assert_eq!(
            VerifyingKey::hs256(&[7; 31]).err(),
            Some(KeyError::TooShort)
        );
        assert_eq!(SigningKey::hs256(&[7; 31]).err(), Some(KeyError::TooShort));
        assert!(VerifyingKey::hs256(&[7; 32]).is_ok());
    }

    #[test]
    fn a_weak_or_broken_public_key_is_refused_at_start() {
        let unusable = [
            VerifyingKey::ed25519("k", &[1; 31]),
            VerifyingKey::es256("k", &[4; 64]),
            VerifyingKey::es256("k", &[2; 65]),
            VerifyingKey::rs256("k", &[0xff; 255], &[1, 0, 1]),
            VerifyingKey::rs256("k", &[0x7f; 256], &[1, 0, 1]),
            VerifyingKey::rs256("k", &[0xff; 1025], &[1, 0, 1]),
            VerifyingKey::rs256("k", &[0xff; 256], &[1]),
            VerifyingKey::rs256("k", &[0xff; 256], &[2]),
            VerifyingKey::rs256("k", &[0xff; 256], &[]),
            VerifyingKey::rs256("k", &[], &[3]),
        ];
        for key in unusable {
            assert_eq!(key.err(), Some(KeyError::Unusable));
        }
        assert!(VerifyingKey::rs256("k", &[&[0], &[0xff; 256][..]].concat(), &[1, 0, 1]).is_ok());
    }

    #[test]
    fn a_broken_private_key_is_refused_at_start() {
        assert_eq!(
            SigningKey::ed25519("k", b"no").err(),
            Some(KeyError::Unusable)
        );
        assert_eq!(
            SigningKey::es256("k", b"no").err(),
            Some(KeyError::Unusable)
        );
    }

    #[test]
    fn keys_are_not_printed() {
        let secret = [b'S'; 32];
        let key = SigningKey::hs256(&secret).expect("long enough");
        let printed = format!("{key:?} {:?}", key.verifying_key());
        assert!(
            !printed.contains("SSS") && !printed.contains("83"),
            "{printed}"
        );
    }
}
