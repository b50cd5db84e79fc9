//! One record of a slot as bytes: the table stands in the module page.

use crc::{CRC_32_ISCSI, Crc, Table};
use uuid::Uuid;

use crate::identity::RequestId;
use crate::ledger::Charge;
use crate::store::{Ending, Source};
use crate::tokens::{Tokens, Usage};

/// The largest figure a record holds, 2^40 - 1. Larger ones are kept as this, so it reads "at least".
pub const MAX_FIGURE: u64 = (1 << 40) - 1;

pub(super) const SLOT_BYTES: usize = 64;
pub(super) const ID_BYTES: usize = 16;
pub(super) const HALF_BYTES: usize = 24;

const STATE_MASK: u8 = 0x0f;
const SOURCE_SHIFT: u32 = 4;
const SOURCE_MASK: u8 = 0x03;
const STATUS_MASK: u16 = 0x03ff;

static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// How far a request had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// It is about to be reserved. Nothing was sent.
    Intent,
    /// It is about to be sent. Its reserve is committed, or being committed; nothing was delivered.
    Forwarded,
    /// It is being delivered, up to the figures recorded with it.
    Running,
    /// It has ended with these figures, and its settle may not be committed yet.
    Ended,
}

impl State {
    const fn code(self) -> u8 {
        match self {
            Self::Intent => 1,
            Self::Forwarded => 2,
            Self::Running => 3,
            Self::Ended => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Intent),
            2 => Some(Self::Forwarded),
            3 => Some(Self::Running),
            4 => Some(Self::Ended),
            _ => None,
        }
    }
}

/// What a slot is told about its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub(super) state: State,
    pub(super) usage: Usage,
    pub(super) source: Source,
    pub(super) ending: Option<Ending>,
    pub(super) status: u16,
}

impl Entry {
    pub(super) const INTENT: Self = Self::bare(State::Intent);

    /// The request is about to be sent: its reserve is committed, or is waited for before anything is delivered.
    #[must_use]
    pub const fn forwarded() -> Self {
        Self::bare(State::Forwarded)
    }

    /// The upstream reported `usage`, and the event that goes with it is about to be delivered.
    ///
    /// Figures above [`MAX_FIGURE`] are kept as [`MAX_FIGURE`]; `reasoning` is not kept.
    #[must_use]
    pub fn running(usage: Usage) -> Self {
        Self {
            usage: kept(usage),
            source: Source::Upstream,
            ..Self::bare(State::Running)
        }
    }

    /// The upstream reports nothing, and what is about to be delivered is charged at most `tokens`.
    #[must_use]
    pub fn estimated(tokens: Tokens) -> Self {
        Self {
            usage: estimate(tokens),
            source: Source::Estimated,
            ..Self::bare(State::Running)
        }
    }

    /// The request has ended, and `charge` is about to be settled.
    ///
    /// Of an estimated charge the tokens are kept, of any other the figures; the tokens are their sum.
    #[must_use]
    pub fn ended(charge: &Charge) -> Self {
        Self {
            state: State::Ended,
            usage: match charge.source {
                Source::Nothing | Source::Presumed => Usage::default(),
                Source::Upstream => kept(charge.usage),
                Source::Estimated => estimate(charge.tokens),
            },
            source: charge.source,
            ending: Some(charge.ending),
            status: if charge.status > STATUS_MASK {
                0
            } else {
                charge.status
            },
        }
    }

    /// Returns how far the request has come.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    const fn bare(state: State) -> Self {
        Self {
            state,
            usage: Usage {
                prompt: 0,
                completion: 0,
                cached: 0,
                reasoning: 0,
            },
            source: Source::Nothing,
            ending: None,
            status: 0,
        }
    }
}

fn kept(usage: Usage) -> Usage {
    Usage {
        prompt: usage.prompt.min(MAX_FIGURE),
        completion: usage.completion.min(MAX_FIGURE),
        cached: usage.cached.min(MAX_FIGURE),
        reasoning: 0,
    }
}

fn estimate(tokens: Tokens) -> Usage {
    Usage {
        prompt: tokens.get().min(MAX_FIGURE),
        ..Usage::default()
    }
}

/// What the newer record of a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Free,
    Taken {
        id: RequestId,
        entry: Entry,
        /// The other half is broken, so a newer record may have been there.
        torn: bool,
    },
    Unreadable {
        id: Option<RequestId>,
    },
}

/// What one half says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// A record with its sequence, `None` for free.
    Whole(u8, Option<Entry>),
    /// Torn or damaged.
    Broken,
    /// Whole, and of a meaning unknown here.
    Foreign,
}

/// Returns where in its slot the half with that sequence lies: even ones first, odd ones second.
pub(super) const fn half_offset(sequence: u8) -> usize {
    ID_BYTES + (sequence & 1) as usize * HALF_BYTES
}

/// Writes one half. A free one belongs to no id, so that it stays whole while the next id is written.
pub(super) fn encode(id: RequestId, sequence: u8, entry: Option<&Entry>) -> [u8; HALF_BYTES] {
    let mut half = [0; HALF_BYTES];
    half[4] = sequence;
    if let Some(entry) = entry {
        half[5] = entry.state.code() | source_code(entry.source) << SOURCE_SHIFT;
        half[6] = entry.ending.map_or(0, ending_code);
        half[7..9].copy_from_slice(&(entry.status & STATUS_MASK).to_le_bytes());
        put(&mut half[9..14], entry.usage.prompt);
        put(&mut half[14..19], entry.usage.completion);
        put(&mut half[19..24], entry.usage.cached);
    }
    let check = check(entry.map(|_| id.as_uuid()), &half);
    half[..4].copy_from_slice(&check.to_le_bytes());
    half
}

/// Writes a whole slot: the free half `sequence`, and after it the first record of a new id.
pub(super) fn encode_first(id: RequestId, sequence: u8) -> [u8; SLOT_BYTES] {
    let mut slot = encode_free(sequence);
    slot[..ID_BYTES].copy_from_slice(id.as_uuid().as_bytes());
    let next = sequence.wrapping_add(1);
    let at = half_offset(next);
    slot[at..at + HALF_BYTES].copy_from_slice(&encode(id, next, Some(&Entry::INTENT)));
    slot
}

/// Writes a whole slot that is free, `sequence` being the last one.
pub(super) fn encode_free(sequence: u8) -> [u8; SLOT_BYTES] {
    let nobody = RequestId::from_uuid(Uuid::nil());
    let mut slot = [0; SLOT_BYTES];
    for sequence in [sequence.wrapping_sub(1), sequence] {
        let at = half_offset(sequence);
        slot[at..at + HALF_BYTES].copy_from_slice(&encode(nobody, sequence, None));
    }
    slot
}

/// Reads a slot.
pub(super) fn decode(slot: &[u8; SLOT_BYTES]) -> Reading {
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&slot[..ID_BYTES]);
    let id = Uuid::from_bytes(id);
    let [even, odd] = [0, 1].map(|parity| decode_half(&id, parity, slot));
    let (newest, torn) = match (even, odd) {
        (Half::Whole(a, even), Half::Whole(b, _)) if a == b.wrapping_add(1) => (even, false),
        (Half::Whole(a, _), Half::Whole(b, odd)) if b == a.wrapping_add(1) => (odd, false),
        (Half::Whole(_, entry), Half::Broken) | (Half::Broken, Half::Whole(_, entry)) => {
            (entry, true)
        }
        // Both broken, whole but no neighbours, or written by another version: none can be preferred.
        _ => {
            let ours = id.get_version_num() == 7;
            let id = ours.then(|| RequestId::from_uuid(id));
            return Reading::Unreadable { id };
        }
    };
    newest.map_or(Reading::Free, |entry| Reading::Taken {
        id: RequestId::from_uuid(id),
        entry,
        torn,
    })
}

fn decode_half(id: &Uuid, parity: u8, slot: &[u8; SLOT_BYTES]) -> Half {
    let at = half_offset(parity);
    let mut half = [0; HALF_BYTES];
    half.copy_from_slice(&slot[at..at + HALF_BYTES]);
    let [c0, c1, c2, c3, sequence, what, ending, s0, s1, ..] = half;
    let state = what & STATE_MASK;
    let whose = (state != 0).then_some(id);
    if u32::from_le_bytes([c0, c1, c2, c3]) != check(whose, &half) || sequence & 1 != parity {
        return Half::Broken;
    }
    if state == 0 {
        return Half::Whole(sequence, None);
    }
    let source = source_from_code(what >> SOURCE_SHIFT & SOURCE_MASK);
    let (Some(state), Some(source)) = (State::from_code(state), source) else {
        return Half::Foreign;
    };
    let entry = Entry {
        state,
        usage: Usage {
            prompt: take(&half[9..14]),
            completion: take(&half[14..19]),
            cached: take(&half[19..24]),
            reasoning: 0,
        },
        source,
        ending: ending_from_code(ending),
        status: u16::from_le_bytes([s0, s1]) & STATUS_MASK,
    };
    Half::Whole(sequence, Some(entry))
}

/// Checks the id, or zeros for nobody, and the half behind its check.
fn check(id: Option<&Uuid>, half: &[u8; HALF_BYTES]) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(id.map_or(&[0; ID_BYTES], |id| id.as_bytes()));
    digest.update(&half[4..]);
    digest.finalize()
}

/// Checks bytes that are not a half.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// Writes a figure, which an [`Entry`] keeps within [`MAX_FIGURE`].
fn put(bytes: &mut [u8], figure: u64) {
    bytes.copy_from_slice(&figure.to_le_bytes()[..5]);
}

fn take(bytes: &[u8]) -> u64 {
    let mut figure = [0; 8];
    figure[..5].copy_from_slice(bytes);
    u64::from_le_bytes(figure)
}

const fn source_code(source: Source) -> u8 {
    match source {
        Source::Nothing => 0,
        Source::Upstream => 1,
        Source::Estimated => 2,
        Source::Presumed => 3,
    }
}

const fn source_from_code(code: u8) -> Option<Source> {
    match code {
        0 => Some(Source::Nothing),
        1 => Some(Source::Upstream),
        2 => Some(Source::Estimated),
        3 => Some(Source::Presumed),
        _ => None,
    }
}

const fn ending_code(ending: Ending) -> u8 {
    match ending {
        Ending::Complete => 1,
        Ending::ClientGone => 2,
        Ending::UpstreamCut => 3,
        Ending::Refused => 4,
        Ending::Lost => 5,
        Ending::Abandoned => 6,
        Ending::Recovered => 7,
        Ending::Cut => 8,
        Ending::Expired => 9,
    }
}

/// Reads an ending; one of a later version is none, as the figures beside it stand all the same.
const fn ending_from_code(code: u8) -> Option<Ending> {
    match code {
        1 => Some(Ending::Complete),
        2 => Some(Ending::ClientGone),
        3 => Some(Ending::UpstreamCut),
        4 => Some(Ending::Refused),
        5 => Some(Ending::Lost),
        6 => Some(Ending::Abandoned),
        7 => Some(Ending::Recovered),
        8 => Some(Ending::Cut),
        9 => Some(Ending::Expired),
        _ => None,
    }
}
