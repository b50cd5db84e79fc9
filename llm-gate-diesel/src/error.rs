//! What Diesel says, turned into what callers can act on. The one place where this happens.

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
    /// The file cannot be opened or is no database; or not now, as the source's kind tells.
    #[error("the database cannot be opened")]
    Unusable(#[source] StoreError),
    /// The tables cannot be brought up to date.
    #[error("the database cannot be migrated")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A failure inside a transaction. Bodies use `?` on it.
#[derive(Debug)]
pub(crate) struct Failure(StoreError);

impl Failure {
    /// Reports rows that no version of this program writes.
    pub(crate) fn corrupt(what: &'static str) -> Self {
        Self(StoreError::with_source(StoreErrorKind::Other, what))
    }
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        Self(StoreError::with_source(kind(&error), error))
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
        Self(StoreError::with_source(kind, error))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(StoreError::with_source(StoreErrorKind::Unavailable, error))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        failure.0
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
        // The connection is given up with it, the next call has a fresh one.
        DieselError::BrokenTransactionManager => StoreErrorKind::Unavailable,
        DieselError::RollbackErrorOnCommit { commit_error, .. } => kind(commit_error),
        _ => StoreErrorKind::Other,
    }
}

/// What SQLite says for BUSY, LOCKED, READONLY, FULL, IOERR, CANTOPEN, PROTOCOL, NOMEM and INTERRUPT, with
/// all their extended codes. Diesel does not pass on the codes of these.
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

/// Returns whether a message speaks of a state that can pass by itself.
fn is_passing(message: &str) -> bool {
    PASSING.iter().any(|known| message.starts_with(known))
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
        for message in PASSING {
            assert_eq!(unknown(message), StoreErrorKind::Unavailable, "{message}");
        }
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
