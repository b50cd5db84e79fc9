//! The one place that calls the signature library.
//!
//! `jsonwebtoken` picks its back end by the features of the whole build, at first use and for ever, and
//! panics if they name none or two. With our feature `aws-lc-rs` its provider is called directly, so
//! that nothing another crate does can make a request panic.

use jsonwebtoken::errors::Result;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};

/// Makes AWS-LC the back end of every other user of `jsonwebtoken` in the process.
///
/// The verifiers and issuers of this module do not need it. A server calls it first thing if some other
/// crate in it uses `jsonwebtoken` too: with two back ends compiled in, that crate would panic. May be
/// called again and again; the first choice of a process stands, whoever made it.
#[cfg(feature = "aws-lc-rs")]
pub fn install_crypto() {
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[cfg(feature = "aws-lc-rs")]
mod backend {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    use jsonwebtoken::errors::ErrorKind;

    use super::{Algorithm, DecodingKey, EncodingKey, Result};

    pub(in super::super) const fn require() {}

    pub(in super::super) fn verify(
        message: &str,
        signature: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<bool> {
        let signature = URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| ErrorKind::InvalidSignature)?;
        let verifier = (DEFAULT_PROVIDER.verifier_factory)(&algorithm, key)?;
        Ok(verifier.verify(message.as_bytes(), &signature).is_ok())
    }

    pub(in super::super) fn sign(
        message: &str,
        key: &EncodingKey,
        algorithm: Algorithm,
    ) -> Result<String> {
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, key)?;
        Ok(URL_SAFE_NO_PAD.encode(signer.try_sign(message.as_bytes())?))
    }

    /// Makes a private key, in PKCS#8 DER; `None` for an algorithm that has none, or without random numbers.
    pub(in super::super) fn generate(algorithm: Algorithm) -> Option<Vec<u8>> {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};

        let pkcs8 = match algorithm {
            Algorithm::EdDSA => Ed25519KeyPair::generate().ok()?.to_pkcs8v1(),
            Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|key| key.to_pkcs8v1()),
            _ => return None,
        };
        Some(pkcs8.ok()?.as_ref().to_vec())
    }

    pub(in super::super) fn public_key(
        key: &EncodingKey,
        algorithm: Algorithm,
    ) -> Result<DecodingKey> {
        use jsonwebtoken::jwk::EllipticCurve;

        let utils = &DEFAULT_PROVIDER.key_utils;
        if algorithm == Algorithm::EdDSA {
            let x = (utils.ed_pub_components_from_private_key)(
                key.as_bytes(),
                &EllipticCurve::Ed25519,
            )?;
            return Ok(DecodingKey::from_ed_der(&x));
        }
        let (_, x, y) = (utils.ec_pub_components_from_private_key)(key.as_bytes(), algorithm)?;
        Ok(DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat()))
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
mod backend {
    use jsonwebtoken::jwk::Jwk;

    use super::{Algorithm, DecodingKey, EncodingKey, Result};

    /// Uses the back end once, so that its absence panics when a server starts, not when it is asked.
    pub(in super::super) fn require() {
        let _ = sign("", &EncodingKey::from_secret(&[0; 32]), Algorithm::HS256);
    }

    pub(in super::super) fn verify(
        message: &str,
        signature: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<bool> {
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, algorithm)
    }

    pub(in super::super) fn sign(
        message: &str,
        key: &EncodingKey,
        algorithm: Algorithm,
    ) -> Result<String> {
        jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm)
    }

    pub(in super::super) fn public_key(
        key: &EncodingKey,
        algorithm: Algorithm,
    ) -> Result<DecodingKey> {
        DecodingKey::from_jwk(&Jwk::from_encoding_key(key, algorithm)?)
    }
}

#[cfg(feature = "aws-lc-rs")]
pub(super) use backend::generate;
pub(super) use backend::{public_key, require, sign, verify};
