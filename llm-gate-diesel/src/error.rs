//! What Diesel says, turned into what callers can act on. The one place where this happens.

use std::error::Error;

use diesel::result::{ConnectionError, DatabaseErrorKind, Error as DieselError};
use llm_gate::store::{StoreError, StoreErrorKind};

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The SQLite that was linked has a defect that can corrupt a database with two writers.
    #[error("SQLite {found} can corrupt the database, at least {needed} is needed")]
    TooOld {
        /// The version that was linked.
        found: String,
        /// The first version without the defect.
        needed: &'static str,
    },
    /// The configuration makes no sense.
    #[error("the configuration of the database cannot be used")]
    Config(#[source] Box<dyn Error + Send + Sync>),
    /// The database cannot be opened or is none; or not now, as the source's kind tells.
    #[error("the database cannot be opened")]
    Unusable(#[source] StoreError),
    /// The tables cannot be brought up to date.
    #[error("the database cannot be migrated")]
    Migrate(#[source] Box<dyn Error + Send + Sync>),
}

/// A failure inside a transaction. Bodies use `?` on it.
#[derive(Debug)]
pub(crate) struct Failure {
    error: StoreError,
    /// Whether the same again may succeed at once.
    #[cfg_attr(
        not(feature = "postgres"),
        expect(dead_code, reason = "SQLite has one writer")
    )]
    lost_race: bool,
}

impl Failure {
    /// Reports rows that no version of this program writes.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        Self::new(StoreErrorKind::Other, what)
    }

    /// Reports that something is taken or not to be had any more.
    pub(crate) fn conflict(what: &'static str) -> Self {
        Self::new(StoreErrorKind::Conflict, what)
    }

    /// Reports that there are as many as may be.
    pub(crate) fn full(what: &'static str) -> Self {
        Self::new(StoreErrorKind::Full, what)
    }

    /// Reports that what somebody was let in by has ended.
    pub(crate) fn stale(what: &'static str) -> Self {
        Self::new(StoreErrorKind::Stale, what)
    }

    fn new(kind: StoreErrorKind, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            error: StoreError::with_source(kind, cause),
            lost_race: false,
        }
    }
}

#[cfg(feature = "postgres")]
impl Failure {
    /// Reports that another transaction was faster, and that repeating this one is called for.
    pub(crate) fn lost_race(what: &'static str) -> Self {
        Self {
            lost_race: true,
            ..Self::new(StoreErrorKind::Unavailable, what)
        }
    }

    /// Returns whether repeating the transaction is called for.
    pub(crate) const fn is_lost_race(&self) -> bool {
        self.lost_race
    }

    /// Takes it for a state that can pass, whatever it is.
    pub(crate) fn into_passing(self) -> Self {
        Self::new(StoreErrorKind::Unavailable, StoreError::from(self))
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        let lost_race = is_lost_race(&error);
        Self {
            lost_race,
            ..Self::new(kind(&error), error)
        }
    }
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        let kind = match &error {
            ConnectionError::BadConnection(message) if !is_passing(message) => {
                StoreErrorKind::Other
            }
            ConnectionError::CouldntSetupConfiguration(error) => kind(error),
            ConnectionError::InvalidCString(_) | ConnectionError::InvalidConnectionUrl(_) => {
                StoreErrorKind::Other
            }
            _ => StoreErrorKind::Unavailable,
        };
        Self::new(kind, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(StoreErrorKind::Unavailable, error)
    }
}

#[cfg(feature = "postgres")]
impl From<diesel_async::pooled_connection::deadpool::PoolError> for Failure {
    fn from(error: diesel_async::pooled_connection::deadpool::PoolError) -> Self {
        use diesel_async::pooled_connection::PoolError as Cause;
        use diesel_async::pooled_connection::deadpool::PoolError;
        match error {
            PoolError::Backend(Cause::ConnectionError(error)) => error.into(),
            PoolError::Backend(Cause::QueryError(error)) => error.into(),
            error => Self::new(StoreErrorKind::Unavailable, error),
        }
    }
}

#[cfg(feature = "postgres")]
impl From<tokio::time::error::Elapsed> for Failure {
    fn from(error: tokio::time::error::Elapsed) -> Self {
        Self::new(StoreErrorKind::Unavailable, error)
    }
}

/// Sorts what a PostgreSQL server, or the way to it, has against a connection. Who may not connect or names no
/// database has a wrong URL; everything else can pass.
#[cfg(feature = "postgres")]
pub(crate) fn not_connected(error: tokio_postgres::Error) -> ConnectionError {
    let code = error
        .code()
        .map_or("", tokio_postgres::error::SqlState::code);
    if code.starts_with("28") || code.starts_with("3D") {
        return ConnectionError::InvalidConnectionUrl(error.to_string());
    }
    ConnectionError::CouldntSetupConfiguration(DieselError::QueryBuilderError(error.into()))
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

fn kind(error: &DieselError) -> StoreErrorKind {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => {
            StoreErrorKind::Conflict
        }
        DieselError::DatabaseError(
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::ReadOnlyTransaction
            | DatabaseErrorKind::SerializationFailure
            | DatabaseErrorKind::UnableToSendCommand,
            _,
        ) => StoreErrorKind::Unavailable,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, information)
            if is_passing(information.message()) =>
        {
            StoreErrorKind::Unavailable
        }
        // Made by `not_connected` only.
        #[cfg(feature = "postgres")]
        DieselError::QueryBuilderError(cause) if cause.is::<tokio_postgres::Error>() => {
            StoreErrorKind::Unavailable
        }
        // The connection is given up with it, the next call has a fresh one.
        DieselError::BrokenTransactionManager => StoreErrorKind::Unavailable,
        DieselError::RollbackErrorOnCommit { commit_error, .. } => kind(commit_error),
        _ => StoreErrorKind::Other,
    }
}

/// What SQLite says for BUSY, LOCKED, READONLY, FULL, IOERR, CANTOPEN, PROTOCOL, NOMEM and INTERRUPT, with
/// all their extended codes. Diesel does not pass on the codes of these.
#[cfg(feature = "sqlite")]
const PASSING: [&str; 11] = [
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "attempt to write a readonly database",
    "database or disk is full",
    "disk I/O error",
    "unable to open database",
    "unable to open a temporary database file",
    "locking protocol",
    "out of memory",
    "interrupted",
];

/// What PostgreSQL says for the codes 40P01, 53…, 55P03, 57… and 58030. Neither does diesel-async pass on
/// these codes; the connections ask for messages in English.
#[cfg(feature = "postgres")]
const PASSING_ON_POSTGRES: [&str; 14] = [
    "deadlock detected",
    "could not extend file",
    "could not write to file",
    "could not write block",
    "could not fsync file",
    "could not resize shared memory segment",
    "out of memory",
    "out of shared memory",
    "remaining connection slots are reserved",
    "sorry, too many clients already",
    "too many connections for",
    "canceling statement due to",
    "terminating connection",
    "the database system is",
];

/// Returns whether a message speaks of a state that can pass by itself.
fn is_passing(message: &str) -> bool {
    let starts_with = |known: &&str| message.starts_with(known);
    #[cfg(feature = "sqlite")]
    if PASSING.iter().any(starts_with) {
        return true;
    }
    #[cfg(feature = "postgres")]
    if PASSING_ON_POSTGRES.iter().any(starts_with) || message.ends_with("No space left on device") {
        return true;
    }
    false
}

/// Returns whether a transaction was chosen to give way to others.
fn is_lost_race(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            information.message() == "deadlock detected"
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(message: &str) -> StoreErrorKind {
        kind(&DieselError::DatabaseError(
            DatabaseErrorKind::Unknown,
            Box::new(message.to_owned()),
        ))
    }

    #[test]
    fn a_state_that_can_pass_is_unavailable() {
        let mut known: Vec<&str> = Vec::new();
        #[cfg(feature = "sqlite")]
        known.extend(PASSING);
        #[cfg(feature = "postgres")]
        known.extend(PASSING_ON_POSTGRES);
        #[cfg(feature = "postgres")]
        known.extend([
            "could not extend file \"base/5/16402\": No space left on device",
            "could not write to log file: No space left on device",
            "terminating connection due to administrator command",
            "canceling statement due to lock timeout",
            "canceling statement due to statement timeout",
            "the database system is starting up",
        ]);
        for message in known {
            assert_eq!(unknown(message), StoreErrorKind::Unavailable, "{message}");
        }
    }

    #[test]
    fn a_lost_race_is_repeated_and_nothing_else_is() {
        let races = |kind, message: &str| {
            is_lost_race(&DieselError::DatabaseError(
                kind,
                Box::new(message.to_owned()),
            ))
        };
        assert!(races(DatabaseErrorKind::SerializationFailure, ""));
        assert!(races(DatabaseErrorKind::Unknown, "deadlock detected"));
        for message in ["canceling statement due to lock timeout", "syntax error"] {
            assert!(!races(DatabaseErrorKind::Unknown, message), "{message}");
        }
        // It may have been committed: that is for the caller to find out.
        assert!(!races(
            DatabaseErrorKind::UnableToSendCommand,
            "connection closed"
        ));
    }

    #[test]
    fn a_defect_stays_a_defect() {
        for message in [
            "no such table: users",
            "file is not a database",
            "database disk image is malformed",
            "the ledger is append only",
            "datatype mismatch: database is locked",
        ] {
            assert_eq!(unknown(message), StoreErrorKind::Other, "{message}");
        }
        assert_eq!(kind(&DieselError::NotFound), StoreErrorKind::Other);
    }

    #[test]
    fn a_failed_commit_counts_for_what_failed_it() {
        let error = DieselError::RollbackErrorOnCommit {
            rollback_error: Box::new(DieselError::RollbackTransaction),
            commit_error: Box::new(DieselError::DatabaseError(
                DatabaseErrorKind::Unknown,
                Box::new("disk I/O error".to_owned()),
            )),
        };
        assert_eq!(kind(&error), StoreErrorKind::Unavailable);
    }

    #[test]
    fn a_lost_connection_is_unavailable_and_a_taken_name_a_conflict() {
        let of = |kind_| kind(&DieselError::DatabaseError(kind_, Box::new(String::new())));
        assert_eq!(
            of(DatabaseErrorKind::ClosedConnection),
            StoreErrorKind::Unavailable
        );
        assert_eq!(
            of(DatabaseErrorKind::UniqueViolation),
            StoreErrorKind::Conflict
        );
        assert_eq!(
            of(DatabaseErrorKind::ForeignKeyViolation),
            StoreErrorKind::Other
        );
        assert_eq!(
            kind(&DieselError::BrokenTransactionManager),
            StoreErrorKind::Unavailable
        );
    }

    #[cfg(feature = "sqlite")]
    #[test]
    fn a_file_that_cannot_be_opened_is_unavailable() {
        let failure = |message: &str| {
            StoreError::from(Failure::from(ConnectionError::BadConnection(
                message.to_owned(),
            )))
        };
        assert_eq!(
            failure("unable to open database file").kind(),
            StoreErrorKind::Unavailable
        );
        assert_eq!(
            failure("file is not a database").kind(),
            StoreErrorKind::Other
        );
    }
}
