use std::fmt;
use std::fs;

use uuid::Uuid;

use super::error::JournalError;
use super::record::checksum;

pub(super) const HEADER_BYTES: usize = 64;
/// The most slots one file may have, 4 MiB of them.
pub(super) const MAX_SLOTS: u32 = 65_536;

const MAGIC: &[u8; 8] = b"llmgjrnl";
const VERSION: u16 = 1;
const SLOT_BYTES: u16 = super::record::SLOT_BYTES as u16;

/// Names one run of the kernel: from a start of the machine to the next.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BootId([u8; 16]);

impl BootId {
    /// Wraps an id that was made elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Asks the kernel. One that does not tell is given a fresh id each time, so that no figure is
    /// trusted that cannot be.
    #[must_use]
    pub fn current() -> Self {
        let told = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let id = told.and_then(|text| text.trim().parse::<Uuid>().ok());
        Self(*id.unwrap_or_else(Uuid::new_v4).as_bytes())
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootId({})", Uuid::from_bytes(self.0))
    }
}

/// The first bytes of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) slots: u32,
    pub(super) boot: BootId,
    pub(super) owner: u64,
    pub(super) pid: u32,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&SLOT_BYTES.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.slots.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.boot.0);
        bytes[32..40].copy_from_slice(&self.owner.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.pid.to_le_bytes());
        let check = checksum(&bytes[..60]);
        bytes[60..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, JournalError> {
        if &bytes[..8] != MAGIC {
            return Err(JournalError::Foreign);
        }
        if u32::from_le_bytes(part(bytes, 60)) != checksum(&bytes[..60]) {
            return Err(JournalError::Damaged);
        }
        let version = u16::from_le_bytes(part(bytes, 8));
        if version != VERSION {
            return Err(JournalError::Version(version));
        }
        let slots = u32::from_le_bytes(part(bytes, 12));
        if u16::from_le_bytes(part(bytes, 10)) != SLOT_BYTES || !(1..=MAX_SLOTS).contains(&slots) {
            return Err(JournalError::Damaged);
        }
        Ok(Self {
            slots,
            boot: BootId(part(bytes, 16)),
            owner: u64::from_le_bytes(part(bytes, 32)),
            pid: u32::from_le_bytes(part(bytes, 40)),
        })
    }

    /// Returns how long the file is that starts with it.
    pub(super) const fn file_bytes(&self) -> u64 {
        slot_offset(self.slots)
    }
}

/// Returns where slot `index` lies.
pub(super) const fn slot_offset(index: u32) -> u64 {
    HEADER_BYTES as u64 + index as u64 * SLOT_BYTES as u64
}

fn part<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}
