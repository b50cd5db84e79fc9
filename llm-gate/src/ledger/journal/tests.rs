use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tempfile::TempDir;

use super::file::{Medium, create};
use super::record::{
    HALF_BYTES, ID_BYTES, Reading, SLOT_BYTES, checksum, decode, encode, encode_first, encode_free,
    half_offset,
};
use super::*;
use crate::ledger::Charge;
use crate::store::{Ending, Source};
use crate::tokens::{Tokens, Usage};

fn figures(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt,
        completion,
        ..Usage::default()
    }
}

/// A slot after a first record and those of `entries`, the first one having `sequence` + 1.
fn slot_with(id: RequestId, sequence: u8, entries: &[Entry]) -> [u8; SLOT_BYTES] {
    let mut slot = encode_first(id, sequence);
    let mut sequence = sequence.wrapping_add(1);
    for entry in entries {
        sequence = sequence.wrapping_add(1);
        let at = half_offset(sequence);
        slot[at..at + HALF_BYTES].copy_from_slice(&encode(id, sequence, Some(entry)));
    }
    slot
}

fn entry_of(reading: Reading) -> Option<(RequestId, Entry)> {
    match reading {
        Reading::Taken { id, entry, .. } => Some((id, entry)),
        Reading::Free => None,
        Reading::Unreadable { .. } => panic!("a torn write left nothing to read"),
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let usage = (0..=MAX_FIGURE, 0..=MAX_FIGURE, 0..=MAX_FIGURE).prop_map(|(p, c, k)| Usage {
        cached: k,
        ..figures(p, c)
    });
    let ending = prop_oneof![
        Just(Ending::Complete),
        Just(Ending::ClientGone),
        Just(Ending::UpstreamCut),
        Just(Ending::Refused),
        Just(Ending::Lost),
        Just(Ending::Abandoned),
        Just(Ending::Cut)
    ];
    prop_oneof![
        Just(Entry::forwarded()),
        usage.clone().prop_map(Entry::running),
        (0..=MAX_FIGURE).prop_map(|tokens| Entry::estimated(Tokens::new(tokens))),
        (usage, ending, 0..=599_u16).prop_map(|(usage, ending, status)| Entry::ended(
            &Charge::upstream(usage, ending, status)
        )),
    ]
}

proptest! {
    #[test]
    fn a_record_reads_as_it_was_written(entry in entries(), sequence: u8) {
        let id = RequestId::new();
        let slot = slot_with(id, sequence, &[entry]);
        prop_assert_eq!(decode(&slot), Reading::Taken { id, entry, torn: false });
    }

    /// Not only a prefix: any bytes of the write may have arrived and the others not.
    #[test]
    fn a_torn_record_is_the_old_or_the_new_one(
        old in entries(), new in entries(), sequence: u8, arrived: u64,
    ) {
        let id = RequestId::new();
        let before = slot_with(id, sequence, &[old]);
        let after = slot_with(id, sequence, &[old, new]);
        let read = entry_of(decode(&mixed(&before, &after, arrived)));
        prop_assert!(read == Some((id, old)) || read == Some((id, new)));
    }

    #[test]
    fn a_torn_change_of_hands_is_free_or_the_new_intent(
        last in entries(), sequence: u8, arrived: u64, random: [u8; 16],
    ) {
        let (former, next) = (RequestId::new(), RequestId::from_uuid(uuid::Uuid::from_bytes(random)));
        let mut before = slot_with(former, sequence, &[last]);
        let free = sequence.wrapping_add(3);
        let at = half_offset(free);
        before[at..at + HALF_BYTES].copy_from_slice(&encode(former, free, None));
        prop_assert_eq!(decode(&before), Reading::Free);
        let read = entry_of(decode(&mixed(&before, &encode_first(next, free), arrived)));
        prop_assert!(read.is_none() || read == Some((next, Entry::INTENT)));
    }

    /// Up to five flipped bits in one half are always found. What then stands is the record before, said to
    /// be torn, or nothing at all, said to be unreadable.
    #[test]
    fn flipped_bits_are_found_or_harmless(
        old in entries(), new in entries(), sequence: u8,
        flips in prop::collection::btree_set(0..SLOT_BYTES * 8, 1..=5),
    ) {
        let id = RequestId::new();
        let mut slot = slot_with(id, sequence, &[old, new]);
        for bit in flips {
            slot[bit / 8] ^= 1 << (bit % 8);
        }
        match decode(&slot) {
            Reading::Taken { id: read, entry, torn } => {
                prop_assert_eq!(read, id);
                prop_assert!(torn, "a flip leaves one half broken");
                prop_assert!(entry == new || entry == old);
            }
            Reading::Unreadable { .. } => {}
            Reading::Free => prop_assert!(false, "a flip freed a slot"),
        }
    }

    #[test]
    fn any_bytes_at_all_are_read_without_a_panic(slot: [u8; 32], more: [u8; 32]) {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..32].copy_from_slice(&slot);
        bytes[32..].copy_from_slice(&more);
        let unreadable = matches!(decode(&bytes), Reading::Unreadable { .. });
        prop_assert!(unreadable);
    }
}

/// The bytes of `after` where a bit of `arrived` is set, the others of `before`.
fn mixed(before: &[u8; SLOT_BYTES], after: &[u8; SLOT_BYTES], arrived: u64) -> [u8; SLOT_BYTES] {
    std::array::from_fn(|at| {
        if arrived >> at & 1 == 1 {
            after[at]
        } else {
            before[at]
        }
    })
}

#[test]
fn figures_beyond_forty_bits_read_at_least() {
    let id = RequestId::new();
    let entry = Entry::running(figures(u64::MAX, 1 << 40));
    let Some((_, read)) = entry_of(decode(&slot_with(id, 0, &[entry]))) else {
        panic!("it is taken");
    };
    assert_eq!(read.usage, figures(MAX_FIGURE, MAX_FIGURE));
    assert_eq!(read, entry, "what is in memory is what is on the disk");
}

#[test]
fn a_half_of_the_former_id_is_never_read_under_the_next() {
    let (former, next) = (RequestId::new(), RequestId::new());
    let mut slot = slot_with(former, 0, &[Entry::running(figures(9, 9))]);
    slot[..ID_BYTES].copy_from_slice(next.as_uuid().as_bytes());
    assert_eq!(decode(&slot), Reading::Unreadable { id: Some(next) });
}

#[test]
fn halves_that_are_no_neighbours_are_not_preferred() {
    let id = RequestId::new();
    let mut slot = slot_with(id, 0, &[Entry::forwarded()]);
    let at = half_offset(9);
    slot[at..at + HALF_BYTES].copy_from_slice(&encode(id, 9, Some(&Entry::forwarded())));
    assert_eq!(decode(&slot), Reading::Unreadable { id: Some(id) });
}

#[test]
fn a_state_of_a_later_version_is_not_passed_over_for_an_older_record() {
    let id = RequestId::new();
    let mut slot = slot_with(id, 0, &[Entry::forwarded(), Entry::running(figures(1, 1))]);
    let half = &mut slot[half_offset(3)..][..HALF_BYTES];
    half[5] = 9;
    let covered = [id.as_uuid().as_bytes(), &half[4..]].concat();
    let check = checksum(&covered);
    half[..4].copy_from_slice(&check.to_le_bytes());
    assert_eq!(decode(&slot), Reading::Unreadable { id: Some(id) });
}

#[test]
fn a_new_slot_is_free_and_an_empty_one_is_not() {
    assert_eq!(decode(&encode_free(file::FIRST_SEQUENCE)), Reading::Free);
    let empty = decode(&[0; SLOT_BYTES]);
    assert_eq!(
        empty,
        Reading::Unreadable { id: None },
        "blocks that never reached the disk"
    );
}

/// Fails every write once `left` are done, after the first few bytes.
struct Failing {
    file: File,
    left: Arc<AtomicUsize>,
}

impl Medium for Failing {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            Medium::write_all_at(&self.file, &bytes[..bytes.len() / 8], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.left.store(left - 1, Ordering::Relaxed);
        Medium::write_all_at(&self.file, bytes, at)
    }
}

fn header(slots: u32) -> Header {
    Header {
        slots,
        boot: BootId::current(),
        owner: 7,
        pid: 1,
    }
}

fn failing(folder: &TempDir, slots: u32) -> (Journal, Arc<AtomicUsize>) {
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let (file, path) = create(folder.path(), &header(slots)).unwrap();
    let medium = Failing {
        file,
        left: left.clone(),
    };
    let journal = Journal::over(Box::new(medium), path, header(slots));
    (journal, left)
}

/// Copies the journal as it is on the disk and reads the copy.
fn leftovers(journal: &Journal) -> Vec<Leftover> {
    let copy = TempDir::new().unwrap();
    let path = copy.path().join("journal-copy.slots");
    fs::copy(journal.path(), &path).unwrap();
    let adopted = Adopted::open(path, BootId::current()).unwrap();
    assert_eq!(adopted.unreadable(), []);
    adopted.leftovers().to_vec()
}

#[test]
fn a_failed_record_leaves_the_one_before_and_can_be_repeated() {
    let folder = TempDir::new().unwrap();
    let (journal, left) = failing(&folder, 4);
    let mut slot = journal.claim(RequestId::new()).unwrap();
    slot.record(Entry::running(figures(1, 1))).unwrap();

    left.store(0, Ordering::Relaxed);
    for _ in 0..3 {
        let error = slot.record(Entry::running(figures(1, 2))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let [found] = leftovers(&journal)[..] else {
            panic!("one request is under way")
        };
        assert_eq!((found.usage, found.torn), (figures(1, 1), true));
        assert_eq!(
            slot.leftover().usage,
            figures(1, 1),
            "not recorded, not kept"
        );
    }
    assert!(!journal.healthy());

    left.store(usize::MAX, Ordering::Relaxed);
    slot.record(Entry::running(figures(1, 3))).unwrap();
    let [found] = leftovers(&journal)[..] else {
        panic!("one request is under way")
    };
    assert_eq!((found.usage, found.torn), (figures(1, 3), false));
}

#[test]
fn after_a_failed_write_nothing_is_claimed_until_a_probe_succeeds() {
    let folder = TempDir::new().unwrap();
    let (journal, left) = failing(&folder, 1);
    left.store(0, Ordering::Relaxed);
    assert!(matches!(
        journal.claim(RequestId::new()),
        Err(ClaimError::Write(_))
    ));
    assert!(matches!(
        journal.claim(RequestId::new()),
        Err(ClaimError::Unhealthy)
    ));
    journal.probe().unwrap_err();
    assert!(!journal.healthy());
    // The header can be written, the slot still not.
    left.store(1, Ordering::Relaxed);
    journal.probe().unwrap_err();
    assert!(!journal.healthy());
    assert_eq!(
        journal.vacant(),
        0,
        "what is on the disk is unknown until it is freed"
    );

    left.store(usize::MAX, Ordering::Relaxed);
    journal.probe().unwrap();
    assert!(journal.healthy());
    assert_eq!(leftovers(&journal), []);
    let id = RequestId::new();
    let slot = journal.claim(id).expect("the only slot is free again");
    assert_eq!(leftovers(&journal)[0].id, id);
    slot.free().unwrap();
}

#[test]
fn a_slot_that_could_not_be_freed_is_freed_by_the_probe() {
    let folder = TempDir::new().unwrap();
    let (journal, left) = failing(&folder, 1);
    let mut slot = journal.claim(RequestId::new()).unwrap();
    let charge = Charge::upstream(figures(2, 3), Ending::Complete, 200);
    slot.record(Entry::ended(&charge)).unwrap();
    left.store(0, Ordering::Relaxed);
    slot.free().unwrap_err();
    assert_eq!(leftovers(&journal)[0].charge(Ending::Lost), Some(charge));
    assert_eq!(journal.vacant(), 0);

    left.store(usize::MAX, Ordering::Relaxed);
    journal.probe().unwrap();
    assert_eq!(leftovers(&journal), []);
    assert_eq!(journal.vacant(), 1);
}

#[test]
fn a_file_that_refuses_every_write_is_an_error_and_not_a_panic() {
    let folder = TempDir::new().unwrap();
    let (_, path) = create(folder.path(), &header(1)).unwrap();
    let read_only = File::open(&path).unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full");
    let media = [Some(read_only), full.ok()];
    for file in media.into_iter().flatten() {
        let journal = Journal::over(Box::new(file), path.clone(), header(1));
        assert!(matches!(
            journal.claim(RequestId::new()),
            Err(ClaimError::Write(_))
        ));
        assert!(!journal.healthy());
        journal.probe().unwrap_err();
    }
}

#[test]
fn an_estimate_comes_back_as_one() {
    let charge = Charge::estimated(Tokens::new(77), Ending::ClientGone, 200);
    let entry = Entry::ended(&charge);
    let leftover = Leftover::new(RequestId::new(), &entry, true, false);
    assert_eq!(leftover.charge(Ending::Lost), Some(charge));
    assert_eq!(leftover.source, Source::Estimated);
}
