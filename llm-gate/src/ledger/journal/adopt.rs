use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::identity::RequestId;
use crate::ledger::Charge;
use crate::store::{Ending, Source};
use crate::tokens::{Tokens, Usage};

use super::error::JournalError;
use super::file;
use super::header::{BootId, HEADER_BYTES, Header};
use super::record::{Entry, Reading, SLOT_BYTES, State, decode};

/// How many files one adoption takes at most.
const FILES: usize = 64;

/// What a journal says about a request that is not settled, as far as its process knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The request.
    pub id: RequestId,
    /// How far it had come.
    pub state: State,
    /// The last figures recorded. An estimate stands in `prompt`; `reasoning` is always 0.
    pub usage: Usage,
    /// Where they come from; nothing before the first figure.
    pub source: Source,
    /// How it ended, `None` if it had not.
    pub ending: Option<Ending>,
    /// The HTTP status the client saw, 0 if it had not ended.
    pub status: u16,
    /// Whether the figures stand for what was delivered. Those of another boot may be older.
    pub trusted: bool,
    /// Whether a record after this one is broken. That is a write that did not come to its end, whose
    /// event was not delivered, or else a damaged file.
    pub torn: bool,
}

impl Leftover {
    pub(super) const fn new(id: RequestId, entry: &Entry, trusted: bool, torn: bool) -> Self {
        Self {
            id,
            state: entry.state,
            usage: entry.usage,
            source: entry.source,
            ending: entry.ending,
            status: entry.status,
            trusted,
            torn,
        }
    }

    /// Returns what the figures come to.
    #[must_use]
    pub const fn tokens(&self) -> Tokens {
        self.usage.total()
    }

    /// Returns the charge that the figures ask for, `cut` being the ending of a request that had none;
    /// `None` where they cannot be trusted, and the hold has to stand in for them.
    #[must_use]
    pub fn charge(&self, cut: Ending) -> Option<Charge> {
        self.trusted.then(|| Charge {
            tokens: self.tokens(),
            usage: match self.source {
                Source::Upstream => self.usage,
                Source::Nothing | Source::Estimated | Source::Presumed => Usage::default(),
            },
            source: self.source,
            ending: self.ending.unwrap_or(cut),
            status: self.status,
        })
    }
}

/// A slot of which no record can be read. Its hold is left to the grace of its owner's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which slot it is.
    pub slot: u32,
    /// What stands where the id was, if it looks like one. Nothing vouches for it: it is for the log.
    pub id: Option<RequestId>,
}

/// What [`Journal::adopt`](super::Journal::adopt) found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Adoption {
    /// The journals of dead processes that say something.
    pub files: Vec<Adopted>,
    /// The files that cannot be read, left where they are.
    pub failed: Vec<(PathBuf, JournalError)>,
    /// How many journals belong to living processes.
    pub living: usize,
    /// Whether there are more than one adoption takes.
    pub more: bool,
}

/// The journal of a dead process, locked by this one.
///
/// Dropped, it is left for the next adoption.
pub struct Adopted {
    file: File,
    path: PathBuf,
    header: Header,
    trusted: bool,
    leftovers: Vec<Leftover>,
    unreadable: Vec<Unreadable>,
}

impl Adopted {
    /// Locks and reads one journal. `boot` is the boot of today.
    ///
    /// # Errors
    ///
    /// Fails with [`JournalError::Locked`] when a living process holds it, and with the other errors when
    /// it cannot be read.
    pub fn open(path: impl Into<PathBuf>, boot: BootId) -> Result<Self, JournalError> {
        let path = path.into();
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        file::lock(&file)?;
        let found = file.metadata()?;
        // Whoever adopted it in the meantime has deleted it: what is locked now has no name any more.
        let named = fs::metadata(&path)?;
        if (found.dev(), found.ino()) != (named.dev(), named.ino()) {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        let header = read_header(&file, found.len())?;
        let trusted = header.boot == boot;
        let (leftovers, unreadable) = read_slots(&file, &header, trusted)?;
        Ok(Self {
            file,
            path,
            header,
            trusted,
            leftovers,
            unreadable,
        })
    }

    /// Returns the requests to be settled.
    #[must_use]
    pub fn leftovers(&self) -> &[Leftover] {
        &self.leftovers
    }

    /// Returns the slots of which nothing can be read.
    #[must_use]
    pub fn unreadable(&self) -> &[Unreadable] {
        &self.unreadable
    }

    /// Returns whether its figures are of this boot.
    #[must_use]
    pub const fn trusted(&self) -> bool {
        self.trusted
    }

    /// Returns the epoch of its owner.
    #[must_use]
    pub const fn owner(&self) -> u64 {
        self.header.owner
    }

    /// Returns the process it belonged to, for the log.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.header.pid
    }

    /// Returns where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Deletes it, now that every leftover is settled and committed.
    ///
    /// A process that dies before this leaves all of it to the next adoption; settling twice is the
    /// same as once.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be deleted. It is then found again by the next adoption.
    pub fn settled(self) -> io::Result<()> {
        file::remove(&self.path)
    }

    /// Renames it so that it is not adopted again and can be looked into, and returns its new path.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be renamed.
    pub fn set_aside(self) -> io::Result<PathBuf> {
        let aside = self.path.with_extension(file::ASIDE);
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

impl fmt::Debug for Adopted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adopted")
            .field("path", &self.path)
            .field("header", &self.header)
            .field("trusted", &self.trusted)
            .field("leftovers", &self.leftovers.len())
            .field("unreadable", &self.unreadable.len())
            .field("file", &self.file)
            .finish()
    }
}

/// Takes over what dead processes left in `folder`.
pub(super) fn adopt(folder: &Path, boot: BootId) -> io::Result<Adoption> {
    let mut adoption = Adoption::default();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(adoption),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_file() || !file::is_named(&path) {
            continue;
        }
        if file::is_unfinished(&path) {
            file::remove_unlocked(&path);
            continue;
        }
        if adoption.files.len() == FILES {
            adoption.more = true;
            break;
        }
        match Adopted::open(path.clone(), boot) {
            Ok(adopted) if adopted.leftovers.is_empty() && adopted.unreadable.is_empty() => {
                adopted.settled()?;
            }
            Ok(adopted) => adoption.files.push(adopted),
            Err(JournalError::Locked) => adoption.living += 1,
            Err(JournalError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => adoption.failed.push((path, error)),
        }
    }
    Ok(adoption)
}

fn read_header(file: &File, found: u64) -> Result<Header, JournalError> {
    let mut bytes = [0; HEADER_BYTES];
    if found < bytes.len() as u64 {
        let expected = bytes.len() as u64;
        return Err(JournalError::Length { expected, found });
    }
    file.read_exact_at(&mut bytes, 0)?;
    let header = Header::decode(&bytes)?;
    let expected = header.file_bytes();
    if found == expected {
        Ok(header)
    } else {
        Err(JournalError::Length { expected, found })
    }
}

fn read_slots(
    file: &File,
    header: &Header,
    trusted: bool,
) -> Result<(Vec<Leftover>, Vec<Unreadable>), JournalError> {
    // At most 4 MiB, as the header was checked.
    let mut bytes = vec![0; header.slots as usize * SLOT_BYTES];
    file.read_exact_at(&mut bytes, HEADER_BYTES as u64)?;
    let (mut leftovers, mut unreadable) = (Vec::new(), Vec::new());
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    for (slot, bytes) in (0..).zip(slots) {
        match decode(bytes) {
            Reading::Free => {}
            Reading::Taken { id, entry, torn } => {
                leftovers.push(Leftover::new(id, &entry, trusted, torn));
            }
            Reading::Unreadable { id } => unreadable.push(Unreadable { slot, id }),
        }
    }
    Ok((leftovers, unreadable))
}
