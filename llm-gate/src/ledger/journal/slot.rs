use std::fmt;
use std::io;
use std::sync::Arc;

use crate::identity::RequestId;

use super::Shared;
use super::adopt::Leftover;
use super::header::slot_offset;
use super::record::{Entry, State, encode, half_offset};

/// Where a slot lies and the sequence of its last record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) sequence: u8,
}

/// The slot of one request, from its intent to its settle.
///
/// # Dropping
///
/// A guard that is dropped, by a panic as a rule, frees nothing: only a committed settle may. The record
/// stays as it is, the slot stays taken, and [`Journal::abandoned`](super::Journal::abandoned) hands it to
/// whoever settles in its place. If nobody does, the next process adopts it.
#[must_use = "dropped, it stays taken"]
pub struct Slot {
    journal: Arc<Shared>,
    kept: Kept,
    freed: bool,
}

/// What is known of a slot in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) place: Place,
    pub(super) id: RequestId,
    pub(super) entry: Entry,
}

impl Slot {
    pub(super) const fn new(journal: Arc<Shared>, kept: Kept) -> Self {
        Self {
            journal,
            kept,
            freed: false,
        }
    }

    /// Returns the request it is for.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.kept.id
    }

    /// Returns what was recorded last.
    #[must_use]
    pub const fn entry(&self) -> &Entry {
        &self.kept.entry
    }

    /// Returns what an adoption would find here.
    #[must_use]
    pub const fn leftover(&self) -> Leftover {
        Leftover::new(self.kept.id, &self.kept.entry, true, false)
    }

    /// Records `entry` by one write of 24 bytes. What it says may be done once this has returned `Ok`.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written: the caller must not send or deliver what the entry stands
    /// for. The record before it is still whole, the slot can be written again, and the journal is not
    /// [`healthy`](super::Journal::healthy) until it is probed. Fails with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput), and writes nothing, when `entry` would take the
    /// request back to an earlier state.
    pub fn record(&mut self, entry: Entry) -> io::Result<()> {
        if entry.state < self.kept.entry.state {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a request does not return to an earlier state",
            ));
        }
        self.write(Some(&entry))?;
        self.kept.entry = entry;
        Ok(())
    }

    /// Frees the slot, now that its settle is committed, or that there is nothing to settle.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written. The slot is then freed by the next successful
    /// [`Journal::probe`](super::Journal::probe); adopted before that, its request is settled once more,
    /// which changes nothing.
    pub fn free(mut self) -> io::Result<()> {
        let written = self.write(None);
        self.freed = true;
        let mut pools = self.journal.pools();
        match written {
            Ok(()) => pools.free.push(self.kept.place),
            Err(_) => pools.unfreed.push(self.kept.place),
        }
        drop(pools);
        written
    }

    /// Returns how far the request has come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.kept.entry.state
    }

    fn write(&mut self, entry: Option<&Entry>) -> io::Result<()> {
        self.journal
            .write_half(&mut self.kept.place, self.kept.id, entry)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.freed {
            self.journal.pools().abandoned.push(self.kept);
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Writes the next half of a slot. A failed write may be repeated: it is the same half again, and
    /// the other one is never touched before this one is whole.
    pub(super) fn write_half(
        &self,
        place: &mut Place,
        id: RequestId,
        entry: Option<&Entry>,
    ) -> io::Result<()> {
        let next = place.sequence.wrapping_add(1);
        let at = slot_offset(place.index) + half_offset(next) as u64;
        self.write(&encode(id, next, entry), at)?;
        place.sequence = next;
        Ok(())
    }
}
