use std::sync::Arc;
use std::time::Duration;

use crate::{SqliteConfig, SqliteStore};

/// Describes a new database. Its folder is kept as long as the description, a copy of it, or a store that
/// was opened with it.
///
/// # Panics
///
/// Panics when no temporary folder can be made.
#[must_use]
pub fn config() -> SqliteConfig {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    SqliteConfig {
        folder: Some(Arc::new(folder)),
        ..SqliteConfig::new("")
    }
    .busy_timeout(Duration::from_secs(30))
    .in_folder()
}

/// Opens a new database.
///
/// # Panics
///
/// Panics when that fails.
pub async fn open() -> SqliteStore {
    SqliteStore::open(config())
        .await
        .expect("a new database can be opened")
}

impl SqliteConfig {
    fn in_folder(mut self) -> Self {
        if let Some(folder) = &self.folder {
            self.path = folder.path().join("test.db");
        }
        self
    }
}
