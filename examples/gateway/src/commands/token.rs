use llm_gate::auth::OperatorSecret;

use super::error::{CommandError, say};

/// Makes an operator key. Nothing is kept of it: what is configured is its hash.
pub(super) fn run() -> Result<(), CommandError> {
    let key = OperatorSecret::generate();
    say!("operator key, shown this once: {}", key.expose())?;
    say!("API_TOKEN_HASH={}", key.hash())
}
