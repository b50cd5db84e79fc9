use std::sync::Arc;
use std::time::Duration;

use diesel::sqlite::SqliteConnection;
use llm_gate::store::StoreFuture;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::config::SqliteConfig;
use super::pool::{Access, Pool, connect};
use super::traits::{Desk, half};
use super::{migrate, transaction};
use crate::error::{Failure, OpenError};
use crate::tables::Tables;

/// How long a report waits until others have ended.
const PATIENCE: Duration = Duration::from_secs(5);

/// All storage traits in one SQLite file. Clones share it.
///
/// One thread writes, a few read, and no async thread waits for the disk. Every write is one transaction
/// that takes the write lock first and is on the disk before it is answered (`synchronous = FULL`), so
/// several stores, also in several processes, can use one file.
///
/// # Errors
///
/// While the file is locked, read-only, full or away, calls fail with
/// [`Unavailable`](llm_gate::store::StoreErrorKind::Unavailable). The next call tries anew, on a new
/// connection. So do reports that wait for others for longer than 5 s.
///
/// # Cancel safety
///
/// A call whose future is dropped after it was handed to its thread happens all the same, as a whole.
///
/// The example is on the [crate's page](crate).
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Pool,
    readers: Pool,
    /// How many readers reports may take.
    reports: Arc<Semaphore>,
    /// Whose chain of the ledger this store writes.
    chain: Uuid,
}

impl SqliteStore {
    /// Opens a database, makes it if it is not there, and brings its tables up to date.
    ///
    /// # Errors
    ///
    /// Fails when SQLite is too old, the file cannot be opened, is no database, or cannot be migrated.
    pub async fn open(config: SqliteConfig) -> Result<Self, OpenError> {
        let unavailable = |failure: Failure| OpenError::Unusable(failure.into());
        let writer = Pool::start(&config, Access::Write, 1).map_err(unavailable)?;
        let reports = Semaphore::new(half(config.readers));
        let reports = Arc::new(reports);
        let readers =
            Pool::start(&config, Access::Read, config.readers.get()).map_err(unavailable)?;
        writer
            .detached(move || {
                migrate::create(&config.path).map_err(unavailable)?;
                let mut connection = connect(&config, Access::Write).map_err(unavailable)?;
                migrate::prepare(&mut connection, &config)
            })
            .await
            .map_err(OpenError::Unusable)??;
        let inner = Arc::new(Inner {
            writer,
            readers,
            reports,
            chain: Uuid::now_v7(),
        });
        Ok(Self { inner })
    }

    /// Looks whether a database that is there has the tables of this program, and changes nothing.
    ///
    /// # Errors
    ///
    /// Fails when the file is not there, cannot be opened, or is no database.
    pub async fn inspect(config: SqliteConfig) -> Result<Tables, OpenError> {
        let unavailable = |failure: Failure| OpenError::Unusable(failure.into());
        let reader = Pool::start(&config, Access::Read, 1).map_err(unavailable)?;
        reader
            .detached(move || {
                let mut connection = connect(&config, Access::Read).map_err(unavailable)?;
                migrate::inspect(&mut connection)
            })
            .await
            .map_err(OpenError::Unusable)?
    }

    /// Returns what reports wait for, and how long.
    pub(super) fn reports(&self) -> (Arc<Semaphore>, Duration) {
        (Arc::clone(&self.inner.reports), PATIENCE)
    }

    pub(super) fn desk(&self) -> Desk {
        Desk {
            writer: self.inner.chain,
            database_time: false,
        }
    }

    /// Runs `body` in a transaction on the writer's thread.
    pub(super) fn write<T: Send + 'static>(
        &self,
        body: impl Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(
            self.inner
                .writer
                .run(move |connection| transaction::write(connection, body)),
        )
    }

    /// Runs `body`, which is one statement, on a reader's thread.
    pub(super) fn read<T: Send + 'static>(
        &self,
        body: impl Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(
            self.inner
                .readers
                .run(move |connection| transaction::read(connection, body)),
        )
    }

    /// Runs `body` over one unchanging state of the database.
    pub(super) fn snapshot<T: Send + 'static>(
        &self,
        body: impl Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.read(body)
    }

    pub(super) fn audit<T: Send + 'static>(
        &self,
        body: impl Fn(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.read(body)
    }

    /// Runs `body` on the writer's connection, outside of any transaction: to watch it or to break it.
    ///
    /// # Errors
    ///
    /// Fails when there is no connection.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub async fn on_writer<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut SqliteConnection) -> T + Send + 'static,
    ) -> Result<T, llm_gate::store::StoreError> {
        self.inner
            .writer
            .run(|connection| Ok(body(connection)))
            .await
    }

    /// Runs `body` on a reader's connection.
    ///
    /// # Errors
    ///
    /// Fails when there is no connection.
    #[cfg(feature = "test-util")]
    #[doc(hidden)]
    pub async fn on_reader<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut SqliteConnection) -> T + Send + 'static,
    ) -> Result<T, llm_gate::store::StoreError> {
        self.inner
            .readers
            .run(|connection| Ok(body(connection)))
            .await
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}
