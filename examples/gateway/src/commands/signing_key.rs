use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use llm_gate::auth::{JwtAlgorithm, SigningKey};
use secrecy::ExposeSecret;

use super::error::{CommandError, print, say};
use crate::secrets;
use crate::signing::verifying_key;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a private key in a file of its own, for its owner only; it is never printed
    Create {
        /// The file to make
        file: PathBuf,
        /// What it signs: EdDSA or ES256
        #[arg(long, default_value = "EdDSA", value_parser = algorithm)]
        algorithm: JwtAlgorithm,
    },
    /// Print the public part of a key file, which checks what the private one signed
    Public {
        /// The key file
        file: PathBuf,
    },
}

fn algorithm(name: &str) -> Result<JwtAlgorithm, String> {
    match name.parse() {
        Ok(algorithm @ (JwtAlgorithm::EdDsa | JwtAlgorithm::Es256)) => Ok(algorithm),
        _ => Err("must be EdDSA or ES256".to_owned()),
    }
}

pub(super) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Create { file, algorithm } => create(&file, algorithm),
        Command::Public { file } => {
            let pem = verifying_key(&file)?.to_pem().unwrap_or_default();
            print(format_args!("{pem}"), "")
        }
    }
}

fn create(file: &Path, algorithm: JwtAlgorithm) -> Result<(), CommandError> {
    let pem = SigningKey::generate_pem(algorithm)
        .map_err(|error| CommandError::failed(error.to_string()))?;
    secrets::write(file, pem.expose_secret()).map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AlreadyExists => "it is there already".to_owned(),
            _ => error.to_string(),
        };
        CommandError::failed(format!("{} cannot be made: {reason}", file.display()))
    })?;
    let key = verifying_key(file)?;
    say!(
        "made {}: signs {algorithm}, key id {}",
        file.display(),
        key.id().unwrap_or_default()
    )
}
