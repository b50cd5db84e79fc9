use thiserror::Error;

use crate::store::{Denial, StoreError};

/// Why no hold was taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReserveError {
    /// It does not fit, or its key or user is frozen.
    #[error("the hold was denied on {}", .0.subject)]
    Denied(Denial),
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
