//! SQLite decides as memory does. That PostgreSQL does too is seen in `postgres/differential.rs`.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

#[path = "support/differential.rs"]
mod support;

use llm_gate_diesel::test_db;
use proptest::prelude::*;
use support::{agrees, runtime, script};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn sqlite_decides_as_memory_does(script in script()) {
        runtime().block_on(async { agrees(test_db::open().await, script).await })?;
    }
}
