use super::error::{CommandError, print};
use crate::api::document;

/// Prints the OpenAPI document.
pub(super) fn run() -> Result<(), CommandError> {
    print(format_args!("{}", document::text()), "")
}
