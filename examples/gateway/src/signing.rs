//! What access tokens are signed and checked with: a shared secret, or key files.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use llm_gate::auth::{JwtAlgorithm, KeyError, SigningKey, VerifyingKey};

use crate::config::{AuthConfig, Secret};
use crate::secrets::SecretError;

/// Far more than a key takes.
const MAX_FILE: u64 = 16 * 1024;

/// What access tokens are signed and checked with.
#[derive(Clone, Debug)]
pub struct JwtKeys {
    /// Signs new ones.
    pub signing: SigningKey,
    /// Check them: the public part of the signing key, and of those that signed before or will sign next.
    pub verifying: Vec<VerifyingKey>,
}

impl JwtKeys {
    /// Takes the secret alone, for HS256.
    ///
    /// # Errors
    ///
    /// Refuses a short one.
    pub fn of_secret(secret: &Secret) -> Result<Self, KeyError> {
        let signing = SigningKey::hs256(secret.expose().as_bytes())?;
        Ok(Self {
            verifying: vec![signing.verifying_key()],
            signing,
        })
    }

    /// Reads the keys that `auth` names. With HS256 `secret` is asked for the one that signs, and the files
    /// only check. Otherwise the first file signs, and a secret that is configured only checks, so that
    /// one can go from one to the other.
    pub(crate) fn load(
        auth: &AuthConfig,
        secret: impl FnOnce() -> Result<Secret, SecretError>,
    ) -> Result<Self, SecretError> {
        let wrong = |source| SecretError::Secret { source };
        let mut files = auth.jwt_key_files.iter();
        let mut keys = match auth.algorithm() {
            Some(JwtAlgorithm::Hs256) | None => Self::of_secret(&secret()?).map_err(wrong)?,
            Some(wanted) => {
                let path = files.next().ok_or(SecretError::NoKeyFile)?;
                let signing = signing_key(path, wanted)?;
                let mut verifying = vec![signing.verifying_key()];
                if let Some(secret) = &auth.jwt_secret {
                    verifying.extend(Self::of_secret(secret).map_err(wrong)?.verifying);
                }
                Self { signing, verifying }
            }
        };
        for path in files {
            keys.verifying.push(verifying_key(path)?);
        }
        Ok(keys)
    }
}

fn signing_key(path: &Path, wanted: JwtAlgorithm) -> Result<SigningKey, SecretError> {
    let key = SigningKey::from_pem(read(path)?.expose()).map_err(|source| SecretError::Key {
        path: path.to_owned(),
        source,
    })?;
    if key.algorithm() != wanted {
        return Err(SecretError::Algorithm {
            path: path.to_owned(),
            wanted,
            found: key.algorithm(),
        });
    }
    Ok(key)
}

/// Reads a key that tokens are checked with, from the file of a private key or of a public one.
///
/// # Errors
///
/// Refuses a private key that others can read, a public one that others can change, and what is no key.
pub fn verifying_key(path: &Path) -> Result<VerifyingKey, SecretError> {
    VerifyingKey::from_pem(read(path)?.expose()).map_err(|source| SecretError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Reads a key file. Whoever could change it could make tokens; whoever can read a private one too.
fn read(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    let mut text = String::new();
    let read = file.take(MAX_FILE + 1).read_to_string(&mut text);
    let text = read.map(|_| Secret::from(text)).map_err(failed)?;
    if text.expose().len() as u64 > MAX_FILE {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let forbidden = if text.expose().contains("BEGIN PUBLIC KEY") {
        0o022
    } else {
        0o077
    };
    if mode & forbidden != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(text)
}
