use std::io;

use thiserror::Error;

use crate::store::{Denial, StoreError};

/// Why a hold was not changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// It does not fit, or its key or user is frozen. The hold is what it was.
    #[error("the extension was denied on {}", .0.counter)]
    Denied(Box<Denial>),
    /// The reservation has come to its end, by somebody else's word.
    #[error("the reservation has ended")]
    Ended,
    /// The store cannot answer, or did not in time. It may have happened all the same.
    #[error("the books cannot be reached")]
    Unavailable(#[source] StoreError),
}

/// Why no hold was taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// It does not fit, or its key or user is frozen.
    #[error("the hold was denied on {}", .0.counter)]
    Denied(Box<Denial>),
    /// The request id was used before, so whatever it holds belongs to another request.
    #[error("the request id was used before")]
    Repeated,
    /// Too many requests are under way.
    #[error("too many requests are under way")]
    Full,
    /// The store cannot answer.
    #[error("the books cannot be reached")]
    Unavailable(#[source] StoreError),
}

/// Why what is about to happen was not written down, so that it must not happen.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The request has come to its end, by somebody else's word.
    #[error("the request has ended")]
    Ended,
    /// The journal cannot be written.
    #[error("the journal cannot be written")]
    Journal(#[source] io::Error),
}
