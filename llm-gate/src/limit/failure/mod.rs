//! Wrong credentials, counted by address.

mod attempt;
mod failures;
mod layer;
mod presented;

pub use attempt::{Attempt, recognised};
pub use failures::Failures;
pub use layer::{FailureLimitFuture, FailureLimitLayer, FailureLimitService};
