//! PostgreSQL decides as memory does.

#[path = "../support/differential.rs"]
mod support;

use llm_gate_diesel::test_db::postgres;
use proptest::prelude::*;
use support::{agrees, runtime, script};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn postgres_decides_as_memory_does(script in script()) {
        runtime().block_on(async { agrees(postgres::open().await, script).await })?;
    }
}
