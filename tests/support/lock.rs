use std::path::Path;

use diesel::Connection;
use diesel::connection::SimpleConnection;
use diesel::sqlite::SqliteConnection;

/// Somebody else who writes to the database, and does not end.
pub struct Lock(SqliteConnection);

impl Lock {
    /// Takes the write lock of the database in `folder`.
    ///
    /// # Panics
    ///
    /// Panics when it is not there, or never free.
    #[must_use]
    pub fn take(folder: &Path) -> Self {
        let file = folder.join("llm-gate.db");
        let url = file.to_str().expect("a plain path");
        let mut connection = SqliteConnection::establish(url).expect("the file is there");
        let begin = "PRAGMA busy_timeout = 10000; BEGIN IMMEDIATE;";
        connection
            .batch_execute(begin)
            .expect("the lock is free in time");
        Self(connection)
    }

    /// Lets go of it, with nothing written.
    ///
    /// # Panics
    ///
    /// Panics when the database is gone.
    pub fn release(mut self) {
        self.0.batch_execute("ROLLBACK").expect("it holds the lock");
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}
