use std::io;

use crate::clock::Timestamp;
use crate::store::{Ending, Operation, Settle, Source, StoreError, StoreErrorKind};
use crate::tokens::{Tokens, Usage};

use super::journal::{Adopted, Adoption, Leftover};
use super::{Ledger, writer};

/// How many settlements go into one transaction.
const BATCH: usize = 512;

/// What a recovery has settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Requests settled with the journal's figures; those that had delivered nothing are free.
    pub settled: usize,
    /// Requests charged their whole hold, because the machine was restarted since and the journal may be
    /// older than what was delivered.
    pub presumed: usize,
    /// Slots that say nothing readable. The holds of their requests stay taken.
    pub unreadable: usize,
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
            self.settle_all(&file, &mut done).await?;
            let settled = if file.unreadable().is_empty() {
                file.settled()
            } else {
                // Kept for whoever looks into it; nothing in it is settled again.
                file.set_aside().map(drop)
            };
            settled.map_err(unmovable)?;
        }
        Ok(done)
    }

    async fn settle_all(&self, file: &Adopted, done: &mut Recovery) -> Result<(), StoreError> {
        let now = self.now();
        done.unreadable += file.unreadable().len();
        for part in file.leftovers().chunks(BATCH) {
            let batch = part.iter().map(|leftover| settlement(leftover, now));
            for outcome in self.shared.store.apply(batch.collect()).await? {
                writer::note(&outcome);
            }
            let presumed = part.iter().filter(|leftover| !leftover.trusted).count();
            done.presumed += presumed;
            done.settled += part.len() - presumed;
        }
        Ok(())
    }
}

fn settlement(leftover: &Leftover, at: Timestamp) -> Operation {
    let id = leftover.id;
    if !leftover.trusted {
        // Whatever the slot says, more may have been delivered: its last pages never reached the disk.
        return Operation::Settle(Settle {
            id,
            at,
            charge: Tokens::ZERO,
            usage: Usage::default(),
            source: Source::Presumed,
            ending: Ending::Recovered,
            status: leftover.status,
        });
    }
    Operation::Settle(match leftover.charge(Ending::Recovered) {
        Some(charge) => Settle {
            id,
            at,
            charge: charge.tokens,
            usage: charge.usage,
            source: charge.source,
            ending: charge.ending,
            status: charge.status,
        },
        None => Settle::void(id, at, Ending::Recovered),
    })
}

fn unmovable(error: io::Error) -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, error)
}
