//! Settings, secrets and the folder they lie in.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Findings;
use crate::commands::error::{CommandError, chain};
use crate::config::{Config, Loaded, Registration};
use crate::secrets::{self, Secrets};

pub(super) fn settings(found: &Findings, loaded: &Loaded) -> Result<(), CommandError> {
    let config = &loaded.config;
    found.good(
        "settings",
        "good; `llm-gate config show` prints them and where each comes from",
    )?;
    for file in loaded.files_with_secrets() {
        if let Some(mode) = open_to_others(&file) {
            let file = file.display();
            found.warn(
                "settings",
                format_args!(
                    "{file} has secrets in it and is open to others (mode {mode:o}); run: chmod 600 {file}"
                ),
            )?;
        }
    }
    if config.server.host.is_loopback() {
        return Ok(());
    }
    let host = config.server.host;
    if config.registration() == Registration::Open {
        found.warn(
            "settings",
            format_args!(
                "whoever reaches {host} may make an account; set registration (LLM_GATE_REGISTRATION) to \"invite\" or \"closed\" unless that is wanted"
            ),
        )?;
    }
    match &config.web_url {
        None => found.warn(
            "settings",
            "WEB_URL is not set: links in letters and the issuer of tokens name the listener; set the address that users see",
        ),
        Some(url) if !url.starts_with("https://") => found.warn(
            "settings",
            "WEB_URL is not https: keys and passwords go over the network for all to read; put TLS in front",
        ),
        Some(_) => Ok(()),
    }
}

pub(super) fn secrets(found: &mut Findings, config: &Config) -> Result<(), CommandError> {
    const CHECK: &str = "secrets";
    if secrets::to_be_made(config) {
        return found.good(CHECK, "made when the gateway starts for the first time");
    }
    match Secrets::load(config) {
        Ok(_) => found.good(CHECK, "strong, and for their owner only"),
        Err(error) => found.fail(CHECK, chain(&error)),
    }
}

pub(super) fn folder(found: &mut Findings, config: &Config) -> Result<(), CommandError> {
    const CHECK: &str = "folder";
    let folder = &config.data_dir;
    let name = folder.display();
    match fs::metadata(folder) {
        Ok(of) if !of.is_dir() => found.fail(
            CHECK,
            format_args!("{name} is no folder; set another as data_dir (LLM_GATE_DATA_DIR)"),
        ),
        Ok(_) => match tempfile_in(folder) {
            Err(error) => found.fail(
                CHECK,
                format_args!("{name} cannot be written to: {error}; let the gateway's user own it"),
            ),
            Ok(()) => match open_to_others(folder) {
                Some(mode) => found.warn(
                    CHECK,
                    format_args!("{name} is open to others (mode {mode:o}); run: chmod 700 {name}"),
                ),
                None => found.good(CHECK, name),
            },
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => found.good(
            CHECK,
            format_args!("{name} is made when it is first needed"),
        ),
        Err(error) => found.fail(CHECK, format_args!("{name} cannot be looked into: {error}")),
    }
}

/// Makes a file and takes it away again.
fn tempfile_in(folder: &Path) -> io::Result<()> {
    let file = folder.join(format!(".{}", uuid::Uuid::new_v4()));
    secrets::write(&file, "")?;
    fs::remove_file(file)
}

/// Returns the permissions of what others than its owner can do something with.
pub(super) fn open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}
