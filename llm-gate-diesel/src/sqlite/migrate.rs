//! Brings a database into being, and up to date.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Instant;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::{Sqlite, SqliteConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use llm_gate::store::{StoreError, StoreErrorKind};

use super::config::SqliteConfig;
use crate::error::{Failure, OpenError};
use crate::tables::Tables;

/// All migrations for SQLite.
pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// The first SQLite whose WAL cannot be corrupted by two writers.
const OLDEST: (u32, u32, u32) = (3, 51, 3);
const OLDEST_TEXT: &str = "3.51.3";

/// Makes the file if it is not there, readable by its owner only, and its folder.
pub(crate) fn create(path: &Path) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    if path.exists() {
        return Ok(());
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    Ok(())
}

/// Checks the library, turns the write-ahead log on and runs what migrations are pending.
pub(crate) fn prepare(
    connection: &mut SqliteConnection,
    config: &SqliteConfig,
) -> Result<(), OpenError> {
    let version = diesel::select(diesel::dsl::sql::<Text>("sqlite_version()"))
        .get_result::<String>(connection)
        .map_err(unavailable)?;
    check_version(&version)?;
    enable_wal(connection, config)?;
    // One transaction around all of them: its write lock keeps other processes out, and they find
    // nothing left to do.
    let mut cause = None;
    connection
        .immediate_transaction(|connection| {
            connection
                .run_pending_migrations(MIGRATIONS)
                .map(|done| done.len())
                .map_err(|error| {
                    cause = Some(error);
                    diesel::result::Error::RollbackTransaction
                })
        })
        .map_err(|error| cause.map_or_else(|| unavailable(error), OpenError::Migrate))
        .map(|done| tracing::debug!(done, "database is up to date"))
}

/// Compares the tables with those of this program. Changes nothing.
pub(crate) fn inspect(connection: &mut SqliteConnection) -> Result<Tables, OpenError> {
    let made = diesel::select(diesel::dsl::sql::<Bool>(
        "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')",
    ));
    let run = if made.get_result(connection).map_err(unavailable)? {
        diesel::dsl::sql::<Text>("SELECT version FROM __diesel_schema_migrations ORDER BY version")
            .load::<String>(connection)
            .map_err(unavailable)?
    } else {
        Vec::new()
    };
    Tables::compare::<Sqlite>(&MIGRATIONS, &run)
}

/// Turns the write-ahead log on, which stays on. SQLite does not wait for others by itself here.
fn enable_wal(connection: &mut SqliteConnection, config: &SqliteConfig) -> Result<(), OpenError> {
    let started = Instant::now();
    loop {
        match connection.batch_execute("PRAGMA journal_mode = WAL") {
            Ok(()) => return Ok(()),
            Err(error) => {
                let error = StoreError::from(Failure::from(error));
                let passing = error.kind() == StoreErrorKind::Unavailable;
                if !passing || started.elapsed() >= config.busy_timeout {
                    return Err(OpenError::Unusable(error));
                }
                // Another process is at it: it takes a moment and nothing tells when it is done.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

fn unavailable(error: diesel::result::Error) -> OpenError {
    OpenError::Unusable(Failure::from(error).into())
}

fn check_version(version: &str) -> Result<(), OpenError> {
    let mut parts = version.split('.').map(str::parse);
    let found = match (parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => (major, minor, patch),
        _ => (0, 0, 0),
    };
    if found < OLDEST {
        return Err(OpenError::TooOld {
            found: version.to_owned(),
            needed: OLDEST_TEXT,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_sqlite_is_refused() {
        for old in ["3.51.2", "3.7.0", "3.50.10", "2.99.99", "", "new"] {
            let error = check_version(old).expect_err("older than the repair");
            assert!(
                error.to_string().contains("at least 3.51.3"),
                "says what is needed: {error}"
            );
        }
        for new in ["3.51.3", "3.52.0", "3.53.1", "4.0.0"] {
            check_version(new).expect("new enough");
        }
    }
}
