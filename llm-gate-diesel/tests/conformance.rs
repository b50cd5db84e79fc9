//! The suite of the stores on SQLite. On PostgreSQL it runs in `postgres/conformance.rs`.
#![cfg(feature = "sqlite")]

async fn make() -> llm_gate_diesel::SqliteStore {
    llm_gate_diesel::test_db::open().await
}

llm_gate::conformance_tests!(crate::make);
