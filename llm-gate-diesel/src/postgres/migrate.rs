//! Brings a database up to date.

use diesel::connection::Connection as _;
use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::RunQueryDsl as _;
use diesel::sql_types::{Bool, Text};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use llm_gate::store::{StoreError, StoreErrorKind};

use super::Connection;
use crate::error::{Failure, OpenError};
use crate::tables::Tables;

/// All migrations for PostgreSQL.
pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Takes the lock that processes which start at once wait for each other at. The number is `llm-gate` in
/// ASCII. Waiting for others may take longer than a statement of the daily work.
const ONE_AT_A_TIME: &str = "SET LOCAL statement_timeout = '10min';
     SET LOCAL lock_timeout = '5min';
     SELECT pg_advisory_xact_lock(7812742079297086565);";

/// Checks the server's settings and runs what migrations are pending, all in one transaction.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    check(connection)?;
    let mut cause = None;
    connection
        .transaction(|connection| {
            connection.batch_execute(ONE_AT_A_TIME)?;
            connection
                .run_pending_migrations(MIGRATIONS)
                .map(|done| done.len())
                .map_err(|error| {
                    cause = Some(error);
                    diesel::result::Error::RollbackTransaction
                })
        })
        .map_err(|error| cause.map_or_else(|| unusable(error), OpenError::Migrate))
        .map(|done| tracing::debug!(done, "database is up to date"))
}

/// Compares the tables with those of this program. Changes nothing.
pub(super) fn inspect(connection: &mut Connection) -> Result<Tables, OpenError> {
    check(connection)?;
    let made = diesel::select(diesel::dsl::sql::<Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    ));
    let run = if made.get_result(connection).map_err(unusable)? {
        diesel::dsl::sql::<Text>(
            "SELECT version::text FROM __diesel_schema_migrations ORDER BY version",
        )
        .load::<String>(connection)
        .map_err(unusable)?
    } else {
        Vec::new()
    };
    Tables::compare::<Pg>(&MIGRATIONS, &run)
}

fn check(connection: &mut Connection) -> Result<(), OpenError> {
    let setting = "current_setting('server_encoding') || ' ' || current_setting('lc_messages')";
    let settings: String = diesel::select(diesel::dsl::sql::<Text>(setting))
        .get_result(connection)
        .map_err(unusable)?;
    let (encoding, language) = settings.split_once(' ').unwrap_or_default();
    if encoding != "UTF8" {
        let why = format!("the encoding of the database is {encoding}, UTF8 is needed");
        return Err(OpenError::Unusable(StoreError::with_source(
            StoreErrorKind::Other,
            why,
        )));
    }
    if !["", "C", "POSIX"].contains(&language) && !language.starts_with("en") {
        tracing::warn!(
            language,
            "the server's messages are not English: a full disk or a lock that takes too long is \
             reported as a defect; allow the role to set lc_messages"
        );
    }
    Ok(())
}

fn unusable(error: diesel::result::Error) -> OpenError {
    OpenError::Unusable(Failure::from(error).into())
}
