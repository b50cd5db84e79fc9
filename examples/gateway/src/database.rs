//! Opens the books where the configuration says they are.

use std::sync::Arc;

use llm_gate::store::{MemoryStore, Store};
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};

use crate::config::{Config, Database};
use crate::error::StartError;
use crate::secrets;

/// Opens the database, made and migrated if need be.
///
/// # Errors
///
/// Fails when it cannot be opened.
pub async fn open(config: &Config) -> Result<Arc<dyn Store>, StartError> {
    match config.database()? {
        Database::Memory => Ok(Arc::new(MemoryStore::new())),
        Database::Postgres(url) => Ok(Arc::new(PgStore::open(PgConfig::new(url.expose())).await?)),
        Database::Sqlite(path) => {
            if config.database()?.lies_in(&config.data_dir) {
                secrets::make_folder(&config.data_dir).map_err(StartError::Folder)?;
            }
            Ok(Arc::new(SqliteStore::open(SqliteConfig::new(path)).await?))
        }
    }
}
