//! The suite of the stores.

async fn make() -> llm_gate_diesel::PgStore {
    llm_gate_diesel::test_db::postgres::open().await
}

llm_gate::conformance_tests!(crate::conformance::make);
