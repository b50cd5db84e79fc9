use thiserror::Error;

use crate::store::{Denial, StoreError};

/// Why no hold was taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// It does not fit, or its key or user is frozen.
    #[error("the hold was denied on {}", .0.subject)]
    Denied(Denial),
    /// Too many requests are under way.
    #[error("too many requests are under way")]
    Full,
    /// The store cannot answer.
    #[error("the books cannot be reached")]
    Unavailable(#[source] StoreError),
}
