use std::io;

use thiserror::Error;

/// Why a journal cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JournalError {
    /// A living process holds it.
    #[error("the journal is held by a living process")]
    Locked,
    /// It is not a journal.
    #[error("the file is not a journal")]
    Foreign,
    /// It is a journal of another version.
    #[error("the journal has version {0}, which this program does not read")]
    Version(u16),
    /// Its header is damaged.
    #[error("the header of the journal is damaged")]
    Damaged,
    /// It is not as long as its header says.
    #[error("the journal is {found} bytes long instead of {expected}")]
    Length {
        /// How long it should be.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// It cannot be read or written.
    #[error("the journal cannot be read or written")]
    Io(#[from] io::Error),
}

/// Why no slot is to be had. The request is answered with 503 and nothing is sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// Every slot is taken.
    #[error("every slot of the journal is taken")]
    Full,
    /// A write failed, and no [`probe`](super::Journal::probe) has succeeded since.
    #[error("the journal cannot be written for now")]
    Unhealthy,
    /// The write of the intent failed.
    #[error("the intent could not be written")]
    Write(#[source] io::Error),
}
