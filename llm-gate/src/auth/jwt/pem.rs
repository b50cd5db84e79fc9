//! Keys as files hold them: PEM (RFC 7468), private ones as PKCS#8, public ones as SubjectPublicKeyInfo.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use zeroize::Zeroizing;

use super::{JwtAlgorithm, SigningKey, VerifyingKey};
use crate::auth::KeyError;

const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// What stands before the 32 bytes of an Ed25519 public key (RFC 8410). There is no other way to write it in DER.
const ED25519: &[u8] = &[
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// What stands before an uncompressed point of P-256 (RFC 5480).
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl SigningKey {
    /// Takes an Ed25519 or P-256 private key from a PEM file: PKCS#8, not encrypted. Which of them it is
    /// decides the [algorithm](Self::algorithm). Its identifier is its thumbprint (RFC 7638) unless
    /// [`kid`](Self::kid) gives it another.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Pem`] if the text is none, and with [`KeyError::Unusable`] for another kind of
    /// key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = section(pem, PRIVATE)?;
        let ed25519 = || Self::asymmetric(JwtAlgorithm::EdDsa, EncodingKey::from_ed_der(&der));
        let p256 = || Self::asymmetric(JwtAlgorithm::Es256, EncodingKey::from_ec_der(&der));
        let key = ed25519().or_else(|_| p256())?;
        Ok(match key.verifying_key().by_thumbprint().id() {
            Some(kid) => key.kid(kid),
            None => key,
        })
    }

    /// Makes a fresh private key and returns it as a PEM file, to be kept where only its owner can read it.
    ///
    /// # Errors
    ///
    /// Fails with [`KeyError::Unusable`] for an algorithm other than EdDSA and ES256, or if the operating
    /// system has no random numbers.
    #[cfg(feature = "aws-lc-rs")]
    pub fn generate_pem(algorithm: JwtAlgorithm) -> Result<secrecy::SecretString, KeyError> {
        let der = crate::auth::crypto::generate(algorithm.into()).ok_or(KeyError::Unusable)?;
        Ok(write(PRIVATE, &Zeroizing::new(der)).into())
    }
}

impl VerifyingKey {
    /// Takes an Ed25519 or P-256 key from a PEM file: a public key, or a private one whose public part is
    /// kept. Its identifier is its thumbprint (RFC 7638) unless [`kid`](Self::kid) gives it another, so it
    /// is the same from either.
    ///
    /// # Errors
    ///
    /// As [`SigningKey::from_pem`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let Ok(der) = section(pem, PUBLIC) else {
            return Ok(SigningKey::from_pem(pem)?.verifying_key());
        };
        let key = if let Some(x) = der.strip_prefix(ED25519).filter(|x| x.len() == 32) {
            Self::new(JwtAlgorithm::EdDsa, DecodingKey::from_ed_der(x))
        } else if let Some(point) = der.strip_prefix(P256).filter(|point| is_point(point)) {
            Self::new(JwtAlgorithm::Es256, DecodingKey::from_ec_der(point))
        } else {
            return Err(KeyError::Unusable);
        };
        Ok(key.by_thumbprint())
    }

    /// Returns a public Ed25519 or P-256 key as a PEM file; `None` for other kinds.
    #[must_use]
    pub fn to_pem(&self) -> Option<String> {
        use super::key::Public;

        let der = match self.public()? {
            Public::Ed25519(x) => [ED25519, x].concat(),
            Public::P256(point) => [P256, point].concat(),
            Public::Rsa { .. } => return None,
        };
        Some(write(PUBLIC, &der))
    }
}

pub(super) fn is_point(point: &[u8]) -> bool {
    point.len() == 65 && point[0] == 4
}

/// Decodes the one section of a file, if it is labelled so.
fn section(pem: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let body = pem
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))
        .and_then(|rest| rest.strip_suffix(&format!("-----END {label}-----")))
        .ok_or(KeyError::Pem)?;
    let text: Zeroizing<String> = body.split_ascii_whitespace().collect::<String>().into();
    let der = STANDARD
        .decode(text.as_bytes())
        .map_err(|_| KeyError::Pem)?;
    Ok(Zeroizing::new(der))
}

fn write(label: &str, der: &[u8]) -> String {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.extend(line.iter().copied().map(char::from));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_generated_key_is_read_again_and_named_by_its_thumbprint() {
        for algorithm in [JwtAlgorithm::EdDsa, JwtAlgorithm::Es256] {
            let pem = SigningKey::generate_pem(algorithm).expect("random numbers");
            let key = SigningKey::from_pem(pem.expose_secret()).expect("a key");
            assert_eq!(key.algorithm(), algorithm);
            let public = key.verifying_key();
            let thumbprint = public.jwk().expect("public").thumbprint();
            assert_eq!(public.id(), Some(&*thumbprint));
            let pem = public.to_pem().expect("Ed25519 or P-256");
            let read = VerifyingKey::from_pem(&pem).expect("a key");
            assert_eq!(read.jwk(), public.jwk(), "the public file is the same key");
            let other = SigningKey::generate_pem(algorithm).expect("random numbers");
            let other = VerifyingKey::from_pem(other.expose_secret()).expect("a key");
            assert_ne!(other.id(), public.id());
        }
    }

    #[test]
    fn only_algorithms_with_a_private_key_have_one_made() {
        for algorithm in [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256] {
            assert_eq!(
                SigningKey::generate_pem(algorithm).err(),
                Some(KeyError::Unusable)
            );
        }
    }

    #[test]
    fn a_file_with_anything_else_in_it_is_refused() {
        let pem = SigningKey::generate_pem(JwtAlgorithm::Es256).expect("random numbers");
        let good = pem.expose_secret();
        let public = SigningKey::from_pem(good).expect("a key").verifying_key();
        let public = public.to_pem().expect("P-256");
        for bad in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----",
            &format!("{good}{good}"),
            &format!("Bag Attributes\n{good}"),
            &good.replace("PRIVATE", "EC PRIVATE"),
            &good.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            &good[..good.len() / 2],
            &public,
        ] {
            assert!(SigningKey::from_pem(bad).is_err(), "{bad}");
        }
        for bad in [
            public.replace("PUBLIC", "RSA PUBLIC"),
            write(PUBLIC, &[ED25519, &[7; 31]].concat()),
            write(PUBLIC, &[P256, &[2; 65]].concat()),
            write(PUBLIC, b""),
        ] {
            assert!(VerifyingKey::from_pem(&bad).is_err(), "{bad}");
        }
    }
}
