//! Fresh databases for tests: SQLite in temporary folders, PostgreSQL in a cluster of one's own.
//!
//! ```
//! use llm_gate::store::LedgerStore;
//! use llm_gate_diesel::test_db;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let store = test_db::open().await;
//! assert!(store.totals().await.unwrap().balance());
//! # }
//! ```

#[cfg(all(feature = "postgres", unix))]
pub mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "sqlite")]
pub use sqlite::{config, open};
