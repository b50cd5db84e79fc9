use thiserror::Error;

/// A configuration that is not started with.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file or variable cannot be read as settings.
    #[error("{0}")]
    Unreadable(Box<figment::Error>),
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
        Self::Unreadable(Box::new(error))
    }
}

impl ConfigError {
    pub(super) fn refused(setting: &'static str, reason: impl Into<String>) -> Self {
        Self::Refused {
            setting,
            reason: reason.into(),
        }
    }
}
