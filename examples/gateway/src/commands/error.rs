use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use llm_gate::store::{StoreError, StoreErrorKind};

use crate::config::ConfigError;
use crate::error::StartError;
use crate::passwords::PasswordError;
use crate::secrets::SecretError;

/// Why a command did not do what it should.
#[derive(Debug)]
pub(super) struct CommandError {
    code: u8,
    words: String,
}

/// Asked or configured wrongly.
const WRONG: u8 = 2;
/// Failed.
const FAILED: u8 = 1;

impl CommandError {
    /// Reports what the command was asked wrongly.
    pub(super) fn wrong(words: impl Into<String>) -> Self {
        Self {
            code: WRONG,
            words: words.into(),
        }
    }

    /// Reports what did not work.
    pub(super) fn failed(words: impl Into<String>) -> Self {
        Self {
            code: FAILED,
            words: words.into(),
        }
    }

    /// Ends the command because nobody reads what it prints, as in `llm-gate user list | head -1`.
    fn unread() -> Self {
        Self::failed("")
    }

    /// Reports that the books could not be read, which says nothing about whether they are in order.
    pub(super) fn unreadable(self) -> Self {
        Self {
            code: WRONG,
            words: format!("the books cannot be checked: {}", self.words),
        }
    }

    /// Prints one line and returns the exit code.
    pub(super) fn report(self) -> ExitCode {
        if self.words.is_empty() {
            return ExitCode::from(self.code);
        }
        let line = self.words.replace('\n', " ");
        // Where standard error is closed nobody wants to know.
        let _ = writeln!(io::stderr(), "llm-gate: {line}");
        ExitCode::from(self.code)
    }
}

/// Prints a line to standard output. Unlike `println!`, it fails where that is closed, and does not panic.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::commands::error::print(format_args!($($words)*), "\n")
    };
}
pub(super) use say;

/// Prints words and an end, see [`say`].
pub(super) fn print(words: fmt::Arguments<'_>, end: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    let printed = write!(out, "{words}{end}").and_then(|()| out.flush());
    printed.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CommandError::unread(),
        _ => CommandError::failed(format!("cannot print: {error}")),
    })
}

/// Writes an error with its causes, a colon between them.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        Self::wrong(chain(&error))
    }
}

impl From<SecretError> for CommandError {
    fn from(error: SecretError) -> Self {
        Self::wrong(chain(&error))
    }
}

impl From<StartError> for CommandError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Config(_)
            | StartError::Secret(_)
            | StartError::Key(_)
            | StartError::Issuer(_)
            | StartError::UpstreamUrl(_)
            | StartError::Upstream(_) => Self::wrong(chain(&error)),
            _ => Self::failed(chain(&error)),
        }
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Conflict => Self::failed("there is one of that name already"),
            _ => Self::failed(chain(&error)),
        }
    }
}

impl From<PasswordError> for CommandError {
    fn from(error: PasswordError) -> Self {
        Self::failed(chain(&error))
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::failed(chain(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_from_the_outside_in() {
        let error = StartError::Folder(io::Error::other("disk on fire"));
        assert_eq!(
            CommandError::from(error).words,
            "the data folder cannot be made: disk on fire"
        );
    }
}
