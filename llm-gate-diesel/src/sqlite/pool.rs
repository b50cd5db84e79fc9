//! Connections on threads of their own, so that no async thread ever waits for the disk.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use diesel::connection::{Connection, SimpleConnection};
use diesel::sqlite::SqliteConnection;
use llm_gate::store::{StoreError, StoreErrorKind};
use tokio::sync::{mpsc, oneshot};

use super::config::SqliteConfig;
use crate::error::Failure;

/// Jobs that may wait before callers wait for a place.
const QUEUE: usize = 1024;

type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// Threads with one connection each that take jobs from one queue. They end when the pool is dropped and
/// the queue is worked off.
pub(crate) struct Pool {
    jobs: mpsc::Sender<Job>,
}

/// What the connections of a pool are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Pool {
    /// Starts `threads` threads. They connect with their first job.
    pub(crate) fn start(
        config: &SqliteConfig,
        access: Access,
        threads: usize,
    ) -> Result<Self, Failure> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let queue = Arc::clone(&queue);
            let mut slot = Slot {
                config: config.clone(),
                access,
                connection: None,
            };
            thread::Builder::new()
                .name(format!("llm-gate-sqlite-{access:?}"))
                .spawn(move || {
                    while let Some(job) = next(&queue) {
                        slot.work(job);
                    }
                })?;
        }
        Ok(Self { jobs })
    }

    /// Runs `body` on a connection of the pool and waits for its answer.
    ///
    /// # Cancel safety
    ///
    /// Once handed over the body runs to its end, whether somebody still waits or not.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.hand_over(move |slot| slot.run(body)).await?
    }

    /// Runs `body` on a thread of the pool, without its connection.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        self.hand_over(move |_| body()).await
    }

    async fn hand_over<T: Send + 'static>(
        &self,
        body: impl FnOnce(&mut Slot) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, waiting) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            // When nobody waits any more, nobody needs the answer.
            let _ = answer.send(body(slot));
        });
        self.jobs.send(job).await.map_err(|_| {
            StoreError::with_source(
                StoreErrorKind::Unavailable,
                "the storage threads have ended",
            )
        })?;
        waiting
            .await
            .map_err(|_| StoreError::with_source(StoreErrorKind::Other, "a storage call panicked"))
    }
}

/// Waits for a job; `None` when the pool is gone.
fn next(queue: &Mutex<mpsc::Receiver<Job>>) -> Option<Job> {
    // The lock is held while waiting: the others would wait for the same. Taking a job cannot panic halfway.
    queue
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .blocking_recv()
}

/// A thread's place for its connection.
struct Slot {
    config: SqliteConfig,
    access: Access,
    connection: Option<SqliteConnection>,
}

impl Slot {
    fn work(&mut self, job: Job) {
        if catch_unwind(AssertUnwindSafe(|| job(self))).is_err() {
            tracing::error!("a storage call panicked; its connection is replaced");
            self.connection = None;
        }
    }

    fn run<T>(
        &mut self,
        body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let result = self.connection().and_then(body).map_err(StoreError::from);
        // What a failure did to the connection is not known, so the next call gets a new one. What is
        // no failure but an answer did nothing to it.
        if matches!(&result, Err(error) if !error.kind().is_answer()) {
            self.connection = None;
        }
        result
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, Failure> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => Ok(empty.insert(connect(&self.config, self.access)?)),
        }
    }
}

/// Opens the database, which must be there.
pub(crate) fn connect(config: &SqliteConfig, access: Access) -> Result<SqliteConnection, Failure> {
    // SQLite would make an empty database where ours was taken away.
    std::fs::metadata(&config.path)?;
    let mut connection = SqliteConnection::establish(&url(&config.path)?)?;
    connection.batch_execute(&format!(
        "PRAGMA busy_timeout = {};
         PRAGMA foreign_keys = ON;
         PRAGMA synchronous = FULL;
         PRAGMA query_only = {};",
        config.busy_timeout.as_millis(),
        i32::from(access == Access::Read),
    ))?;
    Ok(connection)
}

/// Spells a path so that SQLite takes it for a path, whatever it begins with.
fn url(path: &Path) -> Result<String, Failure> {
    std::path::absolute(path)?
        .into_os_string()
        .into_string()
        .map_err(|_| std::io::Error::other("the path of the database is not UTF-8").into())
}
