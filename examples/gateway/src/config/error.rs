use figment::error::Kind;
use thiserror::Error;

use super::SETTINGS;

/// A configuration that is not started with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or variable cannot be read as settings. The words never repeat a value, which may be a secret.
    #[error("{0}")]
    Unreadable(String),
    /// A variable cannot be understood.
    #[error("{name}: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong, without the value.
        reason: &'static str,
    },
    /// A setting has a value that cannot work or is not safe.
    #[error("{setting}: {reason}")]
    Refused {
        /// Its name and variable.
        setting: &'static str,
        /// What is wrong, without the value.
        reason: String,
    },
    /// The configuration file that was named does not exist.
    #[error("configuration file {0} not found")]
    Missing(String),
}

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        Self::Unreadable(describe(&error))
    }
}

/// Says which setting is wrong, how, and where it stands.
fn describe(error: &figment::Error) -> String {
    let path = error.path.join(".");
    let source = error.metadata.as_ref().map(|metadata| {
        let file = metadata.source.as_ref().map(ToString::to_string);
        file.unwrap_or_else(|| metadata.name.to_string())
    });
    let variable = SETTINGS.iter().find(|setting| setting.name == path);
    let name = match variable {
        Some(setting) => format!("{path} ({}): ", setting.variable()),
        None if path.is_empty() => String::new(),
        None => format!("{path}: "),
    };
    let source = source.map_or_else(String::new, |source| format!(" (in {source})"));
    format!("{name}{}{source}", reason(&error.kind))
}

fn reason(kind: &Kind) -> String {
    match kind {
        Kind::UnknownField(_, known) => {
            format!("no such setting; there are {}", known.join(", "))
        }
        Kind::UnknownVariant(_, [others @ .., last]) if !others.is_empty() => {
            format!("must be {} or {last}", others.join(", "))
        }
        Kind::UnknownVariant(_, known) => format!("must be {}", known.concat()),
        Kind::InvalidType(_, wanted) | Kind::InvalidValue(_, wanted) => {
            format!("must be {}", wanted_words(wanted))
        }
        // The parser of the file prints the line at fault, which may hold a secret: only its first and last
        // words are kept.
        Kind::Message(words) if words.starts_with("TOML") => {
            let lines = words.lines().map(str::trim);
            let lines: Vec<&str> = lines
                .filter(|line| !line.is_empty() && !line.contains('|'))
                .collect();
            lines.join(": ")
        }
        other => other.to_string(),
    }
}

/// Says for people what serde expected.
fn wanted_words(wanted: &str) -> &str {
    match wanted {
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number",
        "a string" => "a text, in quotes",
        _ if wanted.starts_with("struct ") => "a section with settings of its own",
        _ => wanted,
    }
}

impl ConfigError {
    pub(crate) fn refused(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused {
            setting,
            reason: reason.into(),
        }
    }
}
