//! Looking whether a database has the tables of this program, without touching it.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use diesel::connection::{Connection, SimpleConnection};
use diesel::sqlite::SqliteConnection;
use llm_gate_diesel::{OpenError, SqliteConfig, SqliteStore, Tables, test_db};

async fn inspected(config: &SqliteConfig) -> Tables {
    SqliteStore::inspect(config.clone()).await.unwrap()
}

#[tokio::test]
async fn a_database_that_was_opened_has_all_tables() {
    let config = test_db::config();
    drop(SqliteStore::open(config.clone()).await.unwrap());
    assert_eq!(inspected(&config).await, Tables::default());
}

#[tokio::test]
async fn an_empty_file_lacks_everything_and_is_left_as_it_is() {
    let config = test_db::config();
    std::fs::write(config.path(), "").unwrap();
    let tables = inspected(&config).await;
    assert!(!tables.pending.is_empty() && tables.unknown.is_empty() && tables.empty);
    assert_eq!(inspected(&config).await, tables, "nothing was made");
    assert_eq!(std::fs::metadata(config.path()).unwrap().len(), 0);
}

#[tokio::test]
async fn tables_of_a_later_program_are_not_known() {
    let config = test_db::config();
    drop(SqliteStore::open(config.clone()).await.unwrap());
    let mut connection = SqliteConnection::establish(config.path().to_str().unwrap()).unwrap();
    connection
        .batch_execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101')")
        .unwrap();
    assert_eq!(inspected(&config).await.unknown, ["99990101"]);
}

#[tokio::test]
async fn what_is_not_there_or_no_database_is_an_error_and_is_not_made() {
    let config = test_db::config();
    let absent = SqliteStore::inspect(config.clone()).await;
    assert!(matches!(absent, Err(OpenError::Unusable(_))), "{absent:?}");
    assert!(!config.path().exists());
    std::fs::write(config.path(), "no database, but long enough to be looked at as one, which takes a hundred bytes or so at the least").unwrap();
    let wrong = SqliteStore::inspect(config).await;
    assert!(matches!(wrong, Err(OpenError::Unusable(_))), "{wrong:?}");
}
