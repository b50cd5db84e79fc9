//! Transactions that report what went wrong first.

use diesel::connection::Connection;
use diesel::result::Error as DieselError;
use diesel::sqlite::SqliteConnection;

use crate::error::Failure;

/// Runs `body` under the write lock, which is taken before anything is read, and commits.
///
/// SQLite ends a transaction by itself when the disk is full or fails; Diesel's roll-back then fails too
/// and would hide the cause. So the cause is put aside first.
pub(crate) fn write<T>(
    connection: &mut SqliteConnection,
    body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut cause = None;
    let result = connection.immediate_transaction(|connection| {
        body(connection).map_err(|failure| put(&mut cause, failure))
    });
    finish(result, cause)
}

/// Runs `body` over one unchanging state of the database.
pub(crate) fn read<T>(
    connection: &mut SqliteConnection,
    body: impl FnOnce(&mut SqliteConnection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut cause = None;
    let result = connection
        .transaction(|connection| body(connection).map_err(|failure| put(&mut cause, failure)));
    finish(result, cause)
}

fn put(cause: &mut Option<Failure>, failure: Failure) -> DieselError {
    *cause = Some(failure);
    DieselError::RollbackTransaction
}

fn finish<T>(result: Result<T, DieselError>, cause: Option<Failure>) -> Result<T, Failure> {
    result.map_err(|error| cause.unwrap_or_else(|| error.into()))
}
