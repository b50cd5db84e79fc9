//! Charges that were presumed, taken back the same way by the HTTP API and by the command line.

use llm_gate::identity::RequestId;
use llm_gate::store::rules::State;
use llm_gate::store::{Author, CallRecord, Store, StoreError};

/// What became of a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refunded {
    /// It is taken back, now or before.
    Done(CallRecord),
    /// It is not presumed: it never was, or the true figures have come to light.
    NotPresumed(CallRecord),
    /// There is no such reservation.
    Unknown,
}

/// Takes a presumed charge back. Doing it again changes nothing.
///
/// # Errors
///
/// Fails when the store does.
pub async fn refund(
    store: &dyn Store,
    id: RequestId,
    author: Author,
) -> Result<Refunded, StoreError> {
    // The outcome is the same for what had been refunded, so the record is asked.
    Ok(match store.refund_presumed(id, author).await? {
        None => Refunded::Unknown,
        Some(call) if matches!(call.state, State::Refunded | State::Late(_)) => {
            Refunded::Done(call)
        }
        Some(call) => Refunded::NotPresumed(call),
    })
}
