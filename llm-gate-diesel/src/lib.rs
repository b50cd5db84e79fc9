//! The storage traits of [`llm_gate`] on Diesel: `SqliteStore` and `PgStore`.
//!
//! Both run the same code over the same tables; what differs is how transactions are run and how the batches of the
//! ledger are written.
//!
//! # Examples
//!
//! ```
//! use llm_gate::identity::{Subject, UserId};
//! use llm_gate::store::LedgerStore;
//! use llm_gate::tokens::Tokens;
//! use llm_gate_diesel::{SqliteConfig, SqliteStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = SqliteStore::open(SqliteConfig::new(folder.path().join("llm-gate.db"))).await?;
//! let user = Subject::User(UserId::new());
//! store.set_limit(user, Some(Tokens::new(10_000))).await?;
//! assert_eq!(store.standing(user).await?.remaining(), Some(Tokens::new(10_000)));
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! | Feature | What it adds |
//! |---|---|
//! | `sqlite` (default) | `SqliteStore`: an embedded database, SQLite compiled in |
//! | `postgres` (default) | `PgStore`: several gateways on one server, without libpq |
//! | `test-util` | `test_db`: a fresh database per test, and hooks to the connections |
#![deny(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(
        dead_code,
        unused,
        reason = "without a database there is nothing to use it"
    )
)]

mod chain;
mod error;
mod models;
#[cfg(feature = "postgres")]
mod postgres;
mod schema;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tables;
#[cfg(feature = "test-util")]
pub mod test_db;

pub use error::OpenError;
#[cfg(feature = "postgres")]
pub use postgres::{PgConfig, PgStore};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteConfig, SqliteStore};
pub use tables::Tables;
