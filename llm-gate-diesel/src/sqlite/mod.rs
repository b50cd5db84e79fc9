//! SQLite: one file, one thread that writes and a few that read.

mod batch;
mod config;
pub(crate) mod migrate;
mod pool;
mod store;
mod transaction;

#[allow(
    clippy::duplicate_mod,
    reason = "compiled once a database, see `traits`"
)]
#[path = "../queries/mod.rs"]
mod queries;
#[allow(clippy::duplicate_mod, reason = "written once for both databases")]
#[path = "../store/mod.rs"]
mod traits;

use diesel::sqlite::SqliteConnection as Connection;

pub use config::SqliteConfig;
pub use store::SqliteStore;
use store::SqliteStore as Store;
