use std::io;

use crate::clock::Timestamp;
use crate::store::{
    Ending, LedgerStore, Operation, Outcome, Settle, Source, StoreError, StoreErrorKind,
};

use super::journal::{Adopted, Adoption, Leftover, State};
use super::{Ledger, writer};

/// How many settlements go into one transaction.
const BATCH: usize = 512;

/// What a recovery has settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Requests settled with the journal's figures; those that had delivered nothing are free, whether or not
    /// their holds were ever committed.
    pub settled: usize,
    /// Requests charged their whole hold, because the machine was restarted since and the journal may be
    /// older than what was delivered.
    pub presumed: usize,
    /// Slots that say nothing readable. The holds of their requests stay taken.
    pub unreadable: usize,
    /// Requests of which something was delivered and that the store has never heard of, or that it cannot
    /// settle: the journal is of another store, or the store is defective. Their journals are set aside, not
    /// deleted.
    pub foreign: usize,
}

impl Ledger {
    /// Settles what dead processes left behind, from their journals, and deletes these. To be awaited
    /// before the first request is let in.
    ///
    /// Doing it again, or by another process at the same time, changes nothing: every request is settled
    /// once.
    ///
    /// # Errors
    ///
    /// Fails when the store cannot be written, or a settled journal not be deleted. What is not settled is
    /// still in its journal.
    ///
    /// # Cancel safety
    ///
    /// Dropped in the middle it leaves the rest for the next recovery.
    pub async fn recover(&self, adoption: Adoption) -> Result<Recovery, StoreError> {
        let mut done = Recovery::default();
        for (path, error) in &adoption.failed {
            tracing::error!(path = %path.display(), %error, "a journal cannot be read");
        }
        for file in adoption.files {
            let foreign = self.settle_all(&file, &mut done).await?;
            let settled = if file.unreadable().is_empty() && foreign == 0 {
                file.settled()
            } else {
                // Kept for whoever looks into it; nothing in it is settled again.
                file.set_aside().map(drop)
            };
            settled.map_err(unmovable)?;
        }
        Ok(done)
    }

    /// Settles what a file says; returns how many requests it could not.
    async fn settle_all(&self, file: &Adopted, done: &mut Recovery) -> Result<usize, StoreError> {
        let now = self.now();
        done.unreadable += file.unreadable().len();
        let mut foreign = 0;
        for part in file.leftovers().chunks(BATCH) {
            let batch: Vec<Operation> = part
                .iter()
                .map(|leftover| settlement(leftover, now))
                .collect();
            let outcomes = settle(&*self.shared.store, batch).await?;
            for (leftover, outcome) in part.iter().zip(outcomes) {
                match outcome {
                    Some(Outcome::Unknown) if delivered(leftover) => foreign += 1,
                    // Sent while its hold was being committed, or not even sent. Only the commit grants, so
                    // nothing of it was delivered.
                    Some(Outcome::Unknown) => done.settled += 1,
                    Some(outcome) => {
                        writer::note(&outcome, false);
                        if leftover.trusted {
                            done.settled += 1
                        } else {
                            done.presumed += 1
                        }
                    }
                    None => foreign += 1,
                }
            }
        }
        done.foreign += foreign;
        Ok(foreign)
    }
}

/// Settles a batch; where the store cannot take it, one after the other, so that one that it cannot take does not keep
/// the others from being settled, or the gate from starting. `None` is one that it cannot take.
pub(super) async fn settle(
    store: &dyn LedgerStore,
    batch: Vec<Operation>,
) -> Result<Vec<Option<Outcome>>, StoreError> {
    match store.apply(batch.clone()).await {
        Ok(outcomes) if outcomes.len() == batch.len() => {
            return Ok(outcomes.into_iter().map(Some).collect());
        }
        Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error),
        _ => {}
    }
    let mut outcomes = Vec::with_capacity(batch.len());
    for operation in batch {
        let id = operation.id();
        outcomes.push(match store.apply(vec![operation]).await {
            Ok(mut outcome) => outcome.pop(),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => return Err(error),
            Err(error) => {
                tracing::error!(%id, error = &error as &dyn std::error::Error, "a request cannot be settled");
                None
            }
        });
    }
    Ok(outcomes)
}

/// Tells whether anything of the answer was delivered, as far as its process could still write it down.
fn delivered(leftover: &Leftover) -> bool {
    match leftover.state {
        State::Intent | State::Forwarded => false,
        State::Running => true,
        State::Ended => leftover.source != Source::Nothing,
    }
}

fn settlement(leftover: &Leftover, at: Timestamp) -> Operation {
    let id = leftover.id;
    if !leftover.trusted {
        // Whatever the slot says, more may have been delivered: its last pages never reached the disk.
        return Operation::Settle(Settle {
            status: leftover.status,
            ..Settle::presumed(id, at, Ending::Recovered)
        });
    }
    Operation::Settle(match leftover.charge(Ending::Recovered) {
        // Neither bytes nor times are in the journal.
        Some(charge) => charge.settlement(id, at, None),
        None => Settle::void(id, at, Ending::Recovered),
    })
}

fn unmovable(error: io::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, error)
}
