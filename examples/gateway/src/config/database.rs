use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

const SETTING: &str = "database.url (DATABASE_URL)";

/// Where the books are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In a SQLite file.
    Sqlite(PathBuf),
    /// In memory, gone with the process: for tests and trials.
    Memory,
}

impl Database {
    /// Reads `sqlite:PATH`, a bare path, or `sqlite::memory:`.
    ///
    /// # Errors
    ///
    /// Refuses other schemes. The words never repeat the URL, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, ConfigError> {
        let refused = |reason: &str| Err(ConfigError::refused(SETTING, reason));
        let (scheme, rest) = match url.split_once(':') {
            // One letter is a drive, not a scheme.
            Some((scheme, rest)) if scheme.len() > 1 => (scheme, rest),
            _ => return Self::file(url),
        };
        match scheme {
            "sqlite" if rest == ":memory:" => Ok(Self::Memory),
            "sqlite" => Self::file(rest.strip_prefix("//").unwrap_or(rest)),
            "postgres" | "postgresql" => refused(
                "PostgreSQL is not in this build yet; use sqlite:PATH or leave it unset for the embedded database",
            ),
            _ => refused("unknown kind of database; use sqlite:PATH"),
        }
    }

    fn file(path: &str) -> Result<Self, ConfigError> {
        if path.is_empty() {
            return Err(ConfigError::refused(SETTING, "the path is empty"));
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    /// Returns whether the file lies in `folder`, so that secrets beside it share its fate.
    #[must_use]
    pub fn lies_in(&self, folder: &Path) -> bool {
        match self {
            Self::Sqlite(path) => {
                let absolute = |path: &Path| std::path::absolute(path).ok();
                let parent = absolute(path).and_then(|path| path.parent().map(Path::to_owned));
                parent.is_some() && parent == absolute(folder)
            }
            Self::Memory => false,
        }
    }
}

impl Config {
    /// Returns where the books are kept.
    ///
    /// # Errors
    ///
    /// As [`Database::parse`].
    pub fn database(&self) -> Result<Database, ConfigError> {
        match &self.database.url {
            Some(url) => Database::parse(url.expose()),
            None => Ok(Database::Sqlite(self.data_dir.join("llm-gate.db"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_needs_no_scheme() {
        let file = |path: &str| Database::Sqlite(PathBuf::from(path));
        for (url, expected) in [
            ("sqlite:data/gate.db", file("data/gate.db")),
            ("sqlite:///srv/gate.db", file("/srv/gate.db")),
            ("./gate.db", file("./gate.db")),
            ("sqlite::memory:", Database::Memory),
        ] {
            assert_eq!(Database::parse(url).ok(), Some(expected), "{url}");
        }
    }

    #[test]
    fn postgres_is_refused_without_repeating_the_password() {
        let error = Database::parse("postgres://gate:hunter2@db/gate").expect_err("not built in");
        let words = error.to_string();
        assert!(words.contains("not in this build yet"), "{words}");
        assert!(!words.contains("hunter2"), "{words}");
    }

    #[test]
    fn a_folder_is_the_same_however_it_is_written() {
        let file = |path: &str| Database::Sqlite(PathBuf::from(path));
        assert!(file("data/gate.db").lies_in(Path::new("./data")));
        assert!(file("./data/gate.db").lies_in(Path::new("data/")));
        assert!(!file("data/deeper/gate.db").lies_in(Path::new("data")));
        assert!(!file("gate.db").lies_in(Path::new("data")));
        assert!(!Database::Memory.lies_in(Path::new("data")));
    }

    #[test]
    fn nothing_and_unknown_schemes_are_refused() {
        for url in ["", "sqlite:", "mysql://x"] {
            assert!(Database::parse(url).is_err(), "{url:?}");
        }
    }
}
