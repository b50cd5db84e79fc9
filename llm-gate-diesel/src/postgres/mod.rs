//! PostgreSQL: a bounded pool, and transactions that nobody can cancel.

mod batch;
mod bulk;
mod config;
mod connect;
pub(crate) mod migrate;
mod store;
mod tls;
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

use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::pooled_connection::deadpool::Object;

pub use config::PgConfig;
pub use store::PgStore;
use store::PgStore as Store;

/// A connection of the pool, with Diesel's blocking interface: for threads that may wait.
type Connection = AsyncConnectionWrapper<Object<AsyncPgConnection>>;
