//! The suite of the stores, on every database.

#[cfg(feature = "sqlite")]
mod sqlite {
    async fn make() -> llm_gate_diesel::SqliteStore {
        llm_gate_diesel::test_db::open().await
    }

    llm_gate::conformance_tests!(super::make);
}

#[cfg(feature = "postgres")]
mod postgres {
    async fn make() -> llm_gate_diesel::PgStore {
        llm_gate_diesel::test_db::postgres::open().await
    }

    llm_gate::conformance_tests!(super::make);
}
