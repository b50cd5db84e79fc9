//! The journal: what a request has used so far, where `kill -9` does not reach it.
//!
//! One file a process, one slot of 64 bytes a request under way, rewritten in place. The order that makes
//! the books exact is: intent recorded → reserve committed → [`forwarded`](Entry::forwarded) recorded →
//! sent → for each event, [`running`](Entry::running) recorded, then delivered →
//! [`ended`](Entry::ended) recorded → settle committed → slot [freed](Slot::free). Whoever finds the file
//! afterwards knows what was delivered, to within the one event that was recorded and perhaps not handed
//! over.
//!
//! Where a request is sent while its reserve is being committed, the second step moves to anywhere in front of
//! the first event: a slot that has delivered nothing may have no reservation.
//!
//! ```
//! use llm_gate::identity::RequestId;
//! use llm_gate::ledger::journal::{BootId, Entry, Journal, Options};
//! use llm_gate::store::Ending;
//! use llm_gate::tokens::{Tokens, Usage};
//!
//! # let folder = std::env::temp_dir().join(format!("llm-gate-journal-{}", uuid::Uuid::new_v4()));
//! let journal = Journal::open(&folder, Options::new()).unwrap();
//! let mut slot = journal.claim(RequestId::new()).unwrap();
//! slot.record(Entry::forwarded()).unwrap();
//! slot.record(Entry::running(Usage { prompt: 11, completion: 3, ..Usage::default() })).unwrap();
//! drop((slot, journal)); // As if the process had died here.
//!
//! let adoption = Journal::adopt(&folder, BootId::current()).unwrap();
//! for file in adoption.files {
//!     for leftover in file.leftovers() {
//!         let charge = leftover.charge(Ending::UpstreamCut).expect("no restart of the machine");
//!         assert_eq!(charge.tokens, Tokens::new(14));
//!     }
//!     file.settled().unwrap(); // When all of it is committed.
//! }
//! # std::fs::remove_dir_all(folder).unwrap();
//! ```
//!
//! # What it survives
//!
//! A write goes into the page cache, which belongs to the kernel, so it is there after any death of the
//! process. It is not there after a loss of power, which is why the header names the boot: under another
//! one no figure is [trusted](Leftover::trusted). The folder has to be on a local disk, or on a `tmpfs`
//! that outlives the process, which keeps the same promise with even steadier latency.
//!
//! A record is written on the async thread, on purpose: it copies 24 bytes into a page that is in
//! memory, about a microsecond, where handing it to another thread costs ten times that and lets an
//! event overtake its record. The blocks are allocated when the file is made. What can make a write wait is
//! the kernel holding back a process that dirties pages faster than the disk takes them, and file
//! systems that keep a page still while it is written out; a `tmpfs` has neither.
//!
//! # Layout
//!
//! Numbers are little-endian. The file is a header of 64 bytes and then the slots, so that no slot
//! crosses a page.
//!
//! | header | bytes | |
//! |---|---|---|
//! | 0 | 8 | `llmgjrnl` |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | bytes a slot, 64 |
//! | 12 | 4 | slots, 1 to 65,536 |
//! | 16 | 16 | id of the boot |
//! | 32 | 8 | epoch of the owner |
//! | 40 | 4 | process id, for the log |
//! | 44 | 16 | zero |
//! | 60 | 4 | CRC32C of the 60 bytes before |
//!
//! | slot | bytes | |
//! |---|---|---|
//! | 0 | 16 | request id |
//! | 16 | 24 | half with the even sequences |
//! | 40 | 24 | half with the odd sequences |
//!
//! | half | bytes | |
//! |---|---|---|
//! | 0 | 4 | CRC32C of the request id (zeros if free) and the 20 bytes below |
//! | 4 | 1 | sequence, one more than the other half's, modulo 256 |
//! | 5 | 1 | bits 0-3 state: 0 free, 1 intent, 2 forwarded, 3 running, 4 ended; bits 4-5 source: 0 nothing, 1 upstream, 2 estimated, 3 presumed; bits 6-7 reserved, zero |
//! | 6 | 1 | ending: 0 none, 1 complete, 2 client gone, 3 upstream cut, 4 refused, 5 lost, 6 abandoned, 7 recovered, 8 cut, 9 expired |
//! | 7 | 2 | bits 0-9 HTTP status, 0 for none; bits 10-15 reserved, zero |
//! | 9 | 5 | prompt tokens, or an estimated charge |
//! | 14 | 5 | completion tokens |
//! | 19 | 5 | cached tokens |
//!
//! Figures have 40 bits: a request is bounded by 2^40 of any unit, and what claims to be more is kept as
//! [`MAX_FIGURE`]. Reasoning tokens are part of the completion and have no room of their own; a
//! recovered request shows none. A sequence needs no more than a byte, since of two whole halves one
//! is always the direct successor of the other.
//!
//! # Why no write can mix two records
//!
//! A record rewrites the older half only. Torn anywhere, it breaks that half's check and the newer one
//! stands: the record before, whose successor was not acted on. A slot changes hands only between a free
//! record and an intent. The free half belongs to no id and lies still while one write puts the new id
//! and the intent beside it, so until that write is whole the slot reads as free, and a half of the
//! former id would be both older and of another check. From then on every half is the new id's.
//!
//! # When the disk fails
//!
//! A failed write is returned, nothing is delivered on its account, and the journal is not
//! [`healthy`](Journal::healthy): no slot can be claimed until [`probe`](Journal::probe) has written again.
//! Requests under way try on their own.

mod adopt;
mod error;
mod file;
mod header;
mod record;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::RequestId;

pub use adopt::{Adopted, Adoption, Leftover, Unreadable};
pub use error::{ClaimError, JournalError};
pub use header::BootId;
pub use record::{Entry, MAX_FIGURE, State};
pub use slot::Slot;

use file::Medium;
use header::{Header, MAX_SLOTS, slot_offset};
use record::encode_first;
use slot::{Kept, Place};

/// How many slots there are unless [`Options::slots`] says otherwise.
const SLOTS: u32 = 4096;

/// Configures a [`Journal`].
#[derive(Clone, Copy, Debug)]
pub struct Options {
    slots: u32,
    owner: u64,
    boot: Option<BootId>,
}

impl Options {
    /// Starts with the defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: SLOTS,
            owner: 0,
            boot: None,
        }
    }

    /// Sets how many requests may be under way. 4,096 unless set, at least 1 and at most 65,536.
    #[must_use]
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots.clamp(1, MAX_SLOTS);
        self
    }

    /// Sets the epoch of the owner, for whoever adopts the file. 0 unless set.
    #[must_use]
    pub const fn owner(mut self, owner: u64) -> Self {
        self.owner = owner;
        self
    }

    /// Sets the boot. [`BootId::current`] unless set.
    #[must_use]
    pub const fn boot(mut self, boot: BootId) -> Self {
        self.boot = Some(boot);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// The journal of this process. Clones share one file.
///
/// When the last clone and the last [`Slot`] are gone the file is unlocked, and deleted if every slot is
/// free.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    medium: Box<dyn Medium>,
    path: PathBuf,
    header: Header,
    healthy: AtomicBool,
    pools: Mutex<Pools>,
}

/// The slots without a guard. Together never more than there are slots.
struct Pools {
    free: Vec<Place>,
    /// Settled, and still to be written as free.
    unfreed: Vec<Place>,
    /// Dropped before they were freed.
    abandoned: Vec<Kept>,
}

impl Journal {
    /// Makes a journal of its own for this process in `folder`, which is made too if need be.
    ///
    /// Waits for the disk once; call it at the start, off the async threads.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be made.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<Self, JournalError> {
        let header = Header {
            slots: options.slots,
            boot: options.boot.unwrap_or_else(BootId::current),
            owner: options.owner,
            pid: process::id(),
        };
        let (file, path) = file::create(folder.as_ref(), &header)?;
        Ok(Self::over(Box::new(file), path, header))
    }

    /// Takes over the journals that dead processes left in `folder`. `boot` is the boot of today.
    ///
    /// Files of living processes are left alone, those that say nothing are deleted. Reads the disk; call
    /// it off the async threads.
    ///
    /// # Errors
    ///
    /// Fails when the folder cannot be read. One that does not exist holds nothing.
    pub fn adopt(folder: impl AsRef<Path>, boot: BootId) -> io::Result<Adoption> {
        adopt::adopt(folder.as_ref(), boot)
    }

    /// Takes a slot for `id` and records the intent to reserve, by one write of 64 bytes.
    ///
    /// # Errors
    ///
    /// Fails when every slot is taken, when the journal is not [`healthy`](Self::healthy), and when the
    /// write fails. Nothing may be reserved or sent then.
    pub fn claim(&self, id: RequestId) -> Result<Slot, ClaimError> {
        if !self.healthy() {
            return Err(ClaimError::Unhealthy);
        }
        let place = self.shared.pools().free.pop();
        let mut place = place.ok_or(ClaimError::Full)?;
        let first = encode_first(id, place.sequence);
        if let Err(error) = self.shared.write(&first, slot_offset(place.index)) {
            // What is on the disk now is unknown, so it is freed there before it is used again.
            self.shared.pools().unfreed.push(place);
            return Err(ClaimError::Write(error));
        }
        place.sequence = place.sequence.wrapping_add(1);
        let entry = Entry::INTENT;
        Ok(Slot::new(self.shared.clone(), Kept { place, id, entry }))
    }

    /// Returns the slots whose guards were dropped before they were freed, each to be settled as its
    /// [`leftover`](Slot::leftover) says and then freed.
    pub fn abandoned(&self) -> Vec<Slot> {
        let abandoned = std::mem::take(&mut self.shared.pools().abandoned);
        let guard = |kept| Slot::new(self.shared.clone(), kept);
        abandoned.into_iter().map(guard).collect()
    }

    /// Returns whether the last write succeeded, or a probe since.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.shared.healthy.load(Ordering::Relaxed)
    }

    /// Writes to the file to find out whether that works again, and frees what could not be freed.
    ///
    /// # Errors
    ///
    /// Fails when it still does not, and the journal is not [`healthy`](Self::healthy) then.
    pub fn probe(&self) -> io::Result<()> {
        // The same bytes that are there: torn, they are still the same.
        self.shared.write(&self.shared.header.encode(), 0)?;
        loop {
            let unfreed = self.shared.pools().unfreed.pop();
            let Some(mut place) = unfreed else { break };
            let nobody = RequestId::from_uuid(uuid::Uuid::nil());
            let written = self.shared.write_half(&mut place, nobody, None);
            let mut pools = self.shared.pools();
            match written {
                Ok(()) => pools.free.push(place),
                Err(error) => {
                    pools.unfreed.push(place);
                    return Err(error);
                }
            }
        }
        self.shared.healthy.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Returns how many slots can be claimed.
    #[must_use]
    pub fn vacant(&self) -> usize {
        self.shared.pools().free.len()
    }

    /// Returns how many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.shared.header.slots as usize
    }

    /// Returns where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Keeps the slots of a file that was just made.
    fn over(medium: Box<dyn Medium>, path: PathBuf, header: Header) -> Self {
        let sequence = file::FIRST_SEQUENCE;
        // The lowest on top, so that a quiet server touches few pages.
        let free = (0..header.slots).rev();
        let free = free.map(|index| Place { index, sequence }).collect();
        Self {
            shared: Arc::new(Shared {
                medium,
                path,
                header,
                healthy: AtomicBool::new(true),
                pools: Mutex::new(Pools {
                    free,
                    unfreed: Vec::new(),
                    abandoned: Vec::new(),
                }),
            }),
        }
    }
}

impl Shared {
    /// Writes, and keeps in mind when that fails.
    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.medium.write_all_at(bytes, at).inspect_err(|_| {
            self.healthy.store(false, Ordering::Relaxed);
            metrics::counter!("llm_gate_journal_failures_total").increment(1);
        })
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        // A panic while it is held leaves a list with one push or pop more or less, never a broken one.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Still locked here: whoever adopts the folder meanwhile passes it by.
        if self.pools().free.len() == self.header.slots as usize {
            let _ = file::remove(&self.path);
        }
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("path", &self.shared.path)
            .field("header", &self.shared.header)
            .field("healthy", &self.healthy())
            .field("vacant", &self.vacant())
            .finish_non_exhaustive()
    }
}
