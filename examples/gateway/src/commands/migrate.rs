use super::error::{CommandError, say};
use crate::config::{Database, Loaded};
use crate::database;

pub(super) async fn run(loaded: Loaded) -> Result<(), CommandError> {
    // Opening brings the tables up to date.
    database::open(&loaded.config).await?;
    match loaded.config.database()? {
        Database::Sqlite(path) => say!("up to date: {}", path.display())?,
        Database::Postgres(_) => println!("up to date: the server of DATABASE_URL"),
        Database::Memory => say!("a database in memory needs no migration")?,
    }
    Ok(())
}
