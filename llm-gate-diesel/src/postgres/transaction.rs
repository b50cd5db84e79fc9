//! Transactions that are repeated where the database asks for it.

use std::thread;
use std::time::Duration;

use diesel::connection::{Connection as _, SimpleConnection as _};
use diesel::result::Error as DieselError;
use uuid::Uuid;

use super::Connection;
use super::connect::{AUDIT, SNAPSHOT};
use crate::error::Failure;

/// How often a transaction is tried that lost to others.
const ATTEMPTS: u32 = 8;
/// What the first pause is at most. Each is at most twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(4);

/// Runs `body` in a transaction. A deadlock or a lost race repeats it.
///
/// `READ COMMITTED`: bodies take the locks they need and read after that.
pub(super) fn write<T>(
    connection: &mut Connection,
    body: impl Fn(&mut Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut limit = PAUSE;
    for _ in 1..ATTEMPTS {
        match once(connection, &body) {
            Err(failure) if failure.is_lost_race() => {
                tracing::debug!("a transaction lost to others and is repeated");
                // On a thread that may wait; the pause keeps those who met from meeting again.
                thread::sleep(limit.mul_f64(fraction()));
                limit *= 2;
            }
            result => return result,
        }
    }
    once(connection, &body)
}

/// Runs `body` over one unchanging state of the database.
pub(super) fn snapshot<T>(
    connection: &mut Connection,
    body: impl Fn(&mut Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    once(connection, &|connection: &mut Connection| {
        connection.batch_execute(SNAPSHOT)?;
        body(connection)
    })
}

/// Runs `body`, which reads whole tables for as long as it takes, over one unchanging state of the database.
pub(super) fn audit<T>(
    connection: &mut Connection,
    body: impl Fn(&mut Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    snapshot(connection, |connection: &mut Connection| {
        connection.batch_execute(AUDIT)?;
        body(connection)
    })
}

/// Keeps what went wrong first: where the connection is lost, rolling back fails too and would hide it.
fn once<T>(
    connection: &mut Connection,
    body: &impl Fn(&mut Connection) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut cause = None;
    let result = connection.transaction(|connection| {
        body(connection).map_err(|failure| {
            cause = Some(failure);
            DieselError::RollbackTransaction
        })
    });
    result.map_err(|error| cause.unwrap_or_else(|| error.into()))
}

/// Returns something between 0 and 1, as evenly as a pause needs it.
fn fraction() -> f64 {
    f64::from(Uuid::new_v4().as_bytes()[0]) / 255.0
}
