use super::error::CommandError;
use crate::config::{Database, Loaded};
use crate::database;

pub(super) async fn run(loaded: Loaded) -> Result<(), CommandError> {
    // Opening brings the tables up to date.
    database::open(&loaded.config).await?;
    match loaded.config.database()? {
        Database::Sqlite(path) => println!("up to date: {}", path.display()),
        Database::Memory => println!("a database in memory needs no migration"),
    }
    Ok(())
}
