use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use llm_gate::store::{StoreError, StoreErrorKind, StoreFuture};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::traits::{Desk, half};
use super::{Connection, PgConfig, connect, migrate, transaction};
use crate::error::{Failure, OpenError};
use crate::tables::Tables;

/// All storage traits in one PostgreSQL database. Clones share its connections.
///
/// Several stores, in one process or in many, can use one database: every grant is decided under the locks of
/// the counters it is taken from. A commit is on the server's disk before it is answered.
///
/// # Errors
///
/// While the server is away, starting, full, read-only or out of connections, and where a lock takes too long,
/// calls fail with [`Unavailable`](StoreErrorKind::Unavailable). The next call tries anew, on a new connection. So do
/// reports that wait for others for longer than a connection is waited for.
///
/// # Cancel safety
///
/// A call whose future is dropped after it had a connection happens all the same, as a whole: it runs on a
/// thread of the runtime that is never cancelled, and that the runtime waits for when it shuts down.
///
/// # Panics
///
/// Calls must be made inside a Tokio runtime with I/O and time enabled.
///
/// # Examples
///
/// ```no_run
/// use llm_gate_diesel::{PgConfig, PgStore};
///
/// # async fn doc() -> Result<(), llm_gate_diesel::OpenError> {
/// let store = PgStore::open(PgConfig::new("postgres://gate@localhost/gate")).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PgStore {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool<AsyncPgConnection>,
    /// How many connections reports may take.
    reports: Arc<Semaphore>,
    patience: Duration,
    /// Whose chain of the ledger this store writes.
    chain: Uuid,
    database_time: bool,
}

impl PgStore {
    /// Connects, and brings the tables up to date. Of several that are opened at once on a new database one
    /// makes the tables and the others wait for it.
    ///
    /// # Errors
    ///
    /// Fails when the configuration makes no sense, the server does not answer or refuses, the database's
    /// encoding is not UTF-8, or it cannot be migrated.
    pub async fn open(config: PgConfig) -> Result<Self, OpenError> {
        let store = Self::new(&config)?;
        store.prepared(migrate::prepare).await?;
        Ok(store)
    }

    /// Connects, looks whether the database has the tables of this program, and changes nothing.
    ///
    /// # Errors
    ///
    /// Fails as [`open`](Self::open) does, but for the tables.
    pub async fn inspect(config: PgConfig) -> Result<Tables, OpenError> {
        Self::new(&config)?.prepared(migrate::inspect).await
    }

    fn new(config: &PgConfig) -> Result<Self, OpenError> {
        let inner = Inner {
            pool: connect::pool(config)?,
            reports: Arc::new(Semaphore::new(half(config.connections))),
            patience: config.connect_timeout,
            chain: Uuid::now_v7(),
            database_time: config.database_time,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    async fn prepared<T: Send + 'static>(
        &self,
        prepare: fn(&mut Connection) -> Result<T, OpenError>,
    ) -> Result<T, OpenError> {
        let connection = self.connection().await.map_err(StoreError::from);
        let connection = connection.map_err(OpenError::Unusable)?;
        run(connection, move |connection| Ok(prepare(connection)))
            .await
            .map_err(OpenError::Unusable)?
    }

    async fn connection(&self) -> Result<Object<AsyncPgConnection>, Failure> {
        match timeout(self.inner.patience, self.inner.pool.get()).await {
            Ok(connection) => Ok(connection?),
            Err(elapsed) => Err(elapsed.into()),
        }
    }

    /// Runs `body` on a connection, which is given up where that fails: what a failure did to it is not
    /// known. A conflict is an answer and not a failure.
    fn work<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(async move {
            // Whoever was let in once is let in: now it can only be away.
            let connection = self.connection().await.map_err(Failure::into_passing)?;
            run(connection, |connection| {
                body(connection).map_err(StoreError::from)
            })
            .await
        })
    }

    /// Returns what reports wait for, and how long.
    pub(super) fn reports(&self) -> (Arc<Semaphore>, Duration) {
        (Arc::clone(&self.inner.reports), self.inner.patience)
    }

    pub(super) fn desk(&self) -> Desk {
        Desk {
            writer: self.inner.chain,
            database_time: self.inner.database_time,
        }
    }

    /// Runs `body` in a transaction; again, where the database asks for it.
    pub(super) fn write<T: Send + 'static>(
        &self,
        body: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.work(move |connection| transaction::write(connection, body))
    }

    /// Runs `body`, which is one statement and needs no transaction.
    pub(super) fn read<T: Send + 'static>(
        &self,
        body: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.work(body)
    }

    /// Runs `body` over one unchanging state of the database.
    pub(super) fn snapshot<T: Send + 'static>(
        &self,
        body: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.work(move |connection| transaction::snapshot(connection, body))
    }

    /// Runs `body`, which reads whole tables for as long as it takes, over one unchanging state.
    pub(super) fn audit<T: Send + 'static>(
        &self,
        body: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.work(move |connection| transaction::audit(connection, body))
    }

    /// Runs `body` on a connection of the pool, outside of any transaction: to watch it or to break it.
    ///
    /// # Errors
    ///
    /// Fails when there is no connection.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub async fn on_connection<T: Send + 'static>(
        &self,
        body: impl FnOnce(
            &mut diesel_async::async_connection_wrapper::AsyncConnectionWrapper<
                Object<AsyncPgConnection>,
            >,
        ) -> T
        + Send
        + 'static,
    ) -> Result<T, StoreError> {
        self.work(move |connection| Ok(body(connection))).await
    }
}

/// Runs `body` on a thread that may wait and that nobody cancels: dropping a transaction of diesel-async in
/// the middle would leave it open on its connection, and its locks held.
async fn run<T: Send + 'static>(
    connection: Object<AsyncPgConnection>,
    body: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let job = tokio::task::spawn_blocking(move || {
        let mut connection = Connection::from(connection);
        let result =
            catch_unwind(AssertUnwindSafe(|| body(&mut connection))).unwrap_or_else(|_| {
                let why = "a storage call panicked";
                Err(StoreError::with_source(StoreErrorKind::Other, why))
            });
        if matches!(&result, Err(error) if !error.kind().is_answer()) {
            // Closes it, with whatever transaction is open.
            drop(Object::take(connection.into_inner()));
        }
        result
    });
    job.await.unwrap_or_else(|_| {
        let why = "the runtime shuts down";
        Err(StoreError::with_source(StoreErrorKind::Unavailable, why))
    })
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").finish_non_exhaustive()
    }
}
