//! Changes of who there is that meet, by several stores on one file. On PostgreSQL they meet in `postgres/races.rs`.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use llm_gate_diesel::{SqliteStore, test_db};

async fn make() -> [SqliteStore; 2] {
    let config = test_db::config();
    [
        SqliteStore::open(config.clone()).await.unwrap(),
        SqliteStore::open(config).await.unwrap(),
    ]
}

support::races::race_tests!(make);
