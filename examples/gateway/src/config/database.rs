use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Secret};

const SETTING: &str = "database.url (DATABASE_URL)";

/// Where the books are kept.
#[derive(Clone, Debug)]
pub enum Database {
    /// In a SQLite file.
    Sqlite(PathBuf),
    /// On a PostgreSQL server; the URL may hold a password.
    Postgres(Secret),
    /// In memory, gone with the process: for tests and trials.
    Memory,
}

impl Database {
    /// Reads `sqlite:PATH`, a bare path, `sqlite::memory:`, or `postgres://…`.
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
            "postgres" | "postgresql" => Ok(Self::Postgres(url.into())),
            _ => refused("unknown kind of database; use sqlite:PATH or postgres://…"),
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
            Self::Postgres(_) | Self::Memory => false,
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
        for (url, expected) in [
            ("sqlite:data/gate.db", "data/gate.db"),
            ("sqlite:///srv/gate.db", "/srv/gate.db"),
            ("./gate.db", "./gate.db"),
        ] {
            let parsed = Database::parse(url);
            assert!(
                matches!(parsed, Ok(Database::Sqlite(path)) if path == Path::new(expected)),
                "{url}"
            );
        }
        assert!(matches!(
            Database::parse("sqlite::memory:"),
            Ok(Database::Memory)
        ));
        assert!(Database::parse("mysql://db/gate").is_err());
    }

    #[test]
    fn the_password_of_a_server_is_not_printed() {
        let parsed = Database::parse("postgres://gate:hunter2@db/gate").expect("a server");
        assert!(matches!(parsed, Database::Postgres(_)));
        assert!(!format!("{parsed:?}").contains("hunter2"));
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
