//! The secrets of the gate: as configured, or made once beside the embedded database.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_gate::auth::{JwtAlgorithm, KeyError};
use rand::TryRng;
use rand::rngs::SysRng;
use thiserror::Error;

use crate::config::{Config, ConfigError, MIN_SECRET_BYTES, Secret};
use crate::signing::JwtKeys;

const JWT_FILE: &str = "jwt-secret";
const PEPPER_FILE: &str = "api-key-pepper";

/// What signs access tokens and keys the hashes of API keys.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Sign and check access tokens.
    pub jwt: JwtKeys,
    /// Keys the hashes of API keys.
    pub pepper: Secret,
}

/// A secret that cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SecretError {
    /// Neither configured nor made here.
    #[error(
        "{setting} is not set; it is made up only for the embedded database in the data folder, \
         so set it to at least 32 random bytes, for example from: openssl rand -base64 48"
    )]
    Missing {
        /// Its name and variable.
        setting: &'static str,
    },
    /// The file can be read by others than its owner, or changed if it is a public key.
    #[error("{} is open to others (mode {mode:o}); run: chmod 600 {}", .path.display(), .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no secret, or a weak one.
    #[error("{} holds fewer than 32 bytes", .0.display())]
    Weak(PathBuf),
    /// The file cannot be read or made.
    #[error("{} cannot be used", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configured secret is none that can sign.
    #[error("JWT_SECRET_KEY (auth.jwt_secret) cannot be used")]
    Secret {
        /// Why.
        source: KeyError,
    },
    /// The file holds no key.
    #[error("{} cannot be used", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// The key that is to sign is of another kind than configured.
    #[error("{} holds a key for {found}, but JWT_ALGORITHM (auth.jwt_algorithm) is {wanted}", .path.display())]
    Algorithm {
        /// The file.
        path: PathBuf,
        /// What is configured.
        wanted: JwtAlgorithm,
        /// What the file is for.
        found: JwtAlgorithm,
    },
    /// There is no key to sign with.
    #[error(
        "JWT_KEY_FILES (auth.jwt_key_files) is not set; make a key with: llm-gate signing-key create FILE"
    )]
    NoKeyFile,
    /// The configuration does not say where the books are.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Secrets {
    /// Takes the secrets from the configuration; where one is not set and the database lies in the data
    /// folder, reads it from a file there, which is made on first use. Key files are never made here.
    ///
    /// # Errors
    ///
    /// Refuses missing secrets elsewhere, files that others can read, and files without a key.
    pub fn load(config: &Config) -> Result<Self, SecretError> {
        let embedded = config.database()?.lies_in(&config.data_dir);
        let find = |set: &Option<Secret>, setting, file| match set {
            Some(secret) => Ok(secret.clone()),
            None if embedded => read_or_make(&config.data_dir, file),
            None => Err(SecretError::Missing { setting }),
        };
        Ok(Self {
            jwt: JwtKeys::load(&config.auth, || {
                find(
                    &config.auth.jwt_secret,
                    "JWT_SECRET_KEY (auth.jwt_secret)",
                    JWT_FILE,
                )
            })?,
            pepper: find(
                &config.auth.api_key_pepper,
                "API_KEY_PEPPER (auth.api_key_pepper)",
                PEPPER_FILE,
            )?,
        })
    }
}

/// Returns whether [`Secrets::load`] would make a secret up.
#[must_use]
pub fn to_be_made(config: &Config) -> bool {
    let embedded = config
        .database()
        .is_ok_and(|database| database.lies_in(&config.data_dir));
    let needed = |set: &Option<Secret>, file| set.is_none() && !config.data_dir.join(file).exists();
    let shared = matches!(config.auth.algorithm(), Some(JwtAlgorithm::Hs256) | None);
    embedded
        && (needed(&config.auth.api_key_pepper, PEPPER_FILE)
            || (shared && needed(&config.auth.jwt_secret, JWT_FILE)))
}

/// Makes the data folder, for its owner only.
///
/// # Errors
///
/// Fails when it cannot be made.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn read_or_make(folder: &Path, name: &str) -> Result<Secret, SecretError> {
    let path = folder.join(name);
    let read = match read(&path) {
        Err(SecretError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            make(folder, &path).and_then(|()| read(&path))
        }
        other => other,
    };
    read.inspect_err(|error| tracing::debug!(error = error as &dyn std::error::Error, "no secret"))
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let text = io::read_to_string(file).map_err(failed)?;
    let secret = text.trim_end();
    if secret.len() < MIN_SECRET_BYTES {
        return Err(SecretError::Weak(path.to_owned()));
    }
    Ok(Secret::from(secret))
}

/// Writes a fresh secret aside and links it into place: another process sees all of it or nothing, and
/// of two that start at once the first wins.
fn make(folder: &Path, path: &Path) -> Result<(), SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    make_folder(folder).map_err(failed)?;
    let mut bytes = [0; 48];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| failed(io::Error::other(error)))?;
    let aside = folder.join(format!(".{}", uuid::Uuid::new_v4()));
    let written = write(&aside, &(URL_SAFE_NO_PAD.encode(bytes) + "\n")).and_then(|()| {
        match fs::hard_link(&aside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    });
    // Nothing hangs on the file aside; what counts is whether the link stands.
    let _ = fs::remove_file(&aside);
    written.map_err(failed)
}

/// Writes a file that was not there, for its owner only.
///
/// # Errors
///
/// Fails when there is one already, or it cannot be made.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(folder: &Path) -> Config {
        Config {
            data_dir: folder.join("data"),
            ..Config::default()
        }
    }

    #[test]
    fn secrets_are_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(folder.path());
        let jwt = || fs::read_to_string(config.data_dir.join(JWT_FILE)).expect("made");
        let first = Secrets::load(&config).expect("made");
        let made = jwt();
        let second = Secrets::load(&config).expect("read");
        assert_eq!(made, jwt());
        assert_eq!(first.pepper.expose(), second.pepper.expose());
        assert_ne!(made.trim_end(), first.pepper.expose());
        for name in [JWT_FILE, PEPPER_FILE] {
            let path = config.data_dir.join(name);
            let mode = fs::metadata(path).expect("made").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let left = fs::read_dir(&config.data_dir).expect("made").count();
        assert_eq!(left, 2, "nothing is left aside");
    }

    #[test]
    fn racing_starts_agree() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(folder.path());
        let all: Vec<String> = std::thread::scope(|scope| {
            let load = || Secrets::load(&config).map(|secrets| secrets.pepper.expose().to_owned());
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            let joined = starts
                .into_iter()
                .map(|start| start.join().expect("no panic"));
            joined.collect::<Result<_, _>>().expect("made or read")
        });
        assert!(all.iter().all(|secret| *secret == all[0]));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(folder.path());
        Secrets::load(&config).expect("made");
        let path = config.data_dir.join(JWT_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(
            Secrets::load(&config),
            Err(SecretError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_short_file_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = config(folder.path());
        make_folder(&config.data_dir).expect("made");
        write(&config.data_dir.join(JWT_FILE), "short").expect("written");
        assert!(matches!(Secrets::load(&config), Err(SecretError::Weak(_))));
    }

    #[test]
    fn nothing_is_made_up_for_a_database_elsewhere() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(folder.path());
        config.database.url = Some("sqlite:/srv/gate.db".into());
        let error = Secrets::load(&config).expect_err("not set");
        assert!(error.to_string().contains("JWT_SECRET_KEY"), "{error}");
        assert!(!config.data_dir.exists(), "nothing was made");
    }
}
