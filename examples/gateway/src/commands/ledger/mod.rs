mod export;
mod presumed;
mod verify;

use std::sync::Arc;

use clap::Subcommand;
use llm_gate::store::Store;
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};

use super::error::CommandError;
use super::user;
use crate::config::{Config, Database, Loaded};
use crate::error::StartError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the books: counters, ledger, hashes; exit code 1 with what is wrong, 2 if they cannot be read or there are none
    Verify,
    /// Write the ledger to a file, a line a row
    Export(export::Arguments),
    /// Charges that were presumed, because nobody knows what was used
    #[command(subcommand)]
    Presumed(presumed::Command),
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let config = &loaded.config;
    match command {
        Command::Verify => verify::run(config).await,
        Command::Export(arguments) => export::run(open(config).await?, arguments).await,
        Command::Presumed(command) => presumed::run(&*open(config).await?, command).await,
    }
}

/// Opens books that are there: empty ones, made on the spot, would only seem to be in order.
async fn open(config: &Config) -> Result<Arc<dyn Store>, CommandError> {
    let (place, tables) = match config.database()? {
        Database::Memory => return user::open(config).await,
        Database::Sqlite(path) if !path.exists() => {
            let words = format!("there is no database at {}", path.display());
            return Err(CommandError::wrong(words));
        }
        Database::Sqlite(path) => {
            let place = path.display().to_string();
            (place, SqliteStore::inspect(SqliteConfig::new(path)).await)
        }
        Database::Postgres(url) => {
            let place = "the server of DATABASE_URL".to_owned();
            (place, PgStore::inspect(PgConfig::new(url.expose())).await)
        }
    };
    if tables.map_err(StartError::from)?.empty {
        let words = format!("there are no books yet: {place} has no tables");
        return Err(CommandError::wrong(words));
    }
    user::open(config).await
}
