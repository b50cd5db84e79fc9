//! The journal through its public face: what comes back, from whom, and what is refused.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Barrier, Mutex};

use llm_gate::identity::RequestId;
use llm_gate::ledger::Charge;
use llm_gate::ledger::journal::{
    Adopted, BootId, ClaimError, Entry, Journal, JournalError, Leftover, Options, Slot, State,
};
use llm_gate::store::{Ending, Source};
use llm_gate::tokens::{Tokens, Usage};
use static_assertions::assert_impl_all;
use tempfile::TempDir;

const TODAY: BootId = BootId::from_bytes([1; 16]);
const YESTERDAY: BootId = BootId::from_bytes([2; 16]);

assert_impl_all!(Journal: Clone, Send, Sync);
assert_impl_all!(Slot: Send, Sync);
assert_impl_all!(Adopted: Send, Sync);

fn options() -> Options {
    Options::new().slots(4).owner(42).boot(TODAY)
}

fn usage(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt,
        completion,
        ..Usage::default()
    }
}

/// Puts `bytes` where an adoption finds them, in a folder of their own.
fn planted(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder of our own");
    let path = folder.path().join("journal-planted.slots");
    fs::write(&path, bytes).expect("it can be written to");
    (folder, path)
}

/// Reads a journal as it is on the disk, although its process lives.
fn snapshot(bytes: &[u8]) -> Adopted {
    let (_folder, path) = planted(bytes);
    Adopted::open(path, TODAY).expect("it is a whole journal")
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("it is there").count()
}

#[test]
fn every_state_comes_back_as_it_was_recorded() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let ids: [RequestId; 4] = std::array::from_fn(|_| RequestId::new());
    let mut slots = ids.map(|id| journal.claim(id).unwrap());
    let full = Usage {
        cached: 5,
        ..usage(11, 17)
    };
    let charge = Charge::upstream(full, Ending::ClientGone, 200);
    slots[1].record(Entry::forwarded()).unwrap();
    slots[2].record(Entry::forwarded()).unwrap();
    slots[2].record(Entry::running(usage(11, 3))).unwrap();
    slots[3].record(Entry::ended(&charge)).unwrap();
    drop((slots, journal));

    let mut adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    let file = adoption.files.pop().expect("its process is gone");
    assert_eq!((file.owner(), file.pid()), (42, std::process::id()));
    let bare = |id, state| Leftover {
        id,
        state,
        usage: Usage::default(),
        source: Source::Nothing,
        ending: None,
        status: 0,
        trusted: true,
        torn: false,
    };
    let expected = [
        bare(ids[0], State::Intent),
        bare(ids[1], State::Forwarded),
        Leftover {
            usage: usage(11, 3),
            source: Source::Upstream,
            ..bare(ids[2], State::Running)
        },
        Leftover {
            usage: full,
            source: Source::Upstream,
            ending: Some(Ending::ClientGone),
            status: 200,
            ..bare(ids[3], State::Ended)
        },
    ];
    assert_eq!(file.leftovers(), expected);
    assert_eq!(file.leftovers()[3].charge(Ending::Lost), Some(charge));
    let cut = file.leftovers()[2].charge(Ending::UpstreamCut).unwrap();
    assert_eq!(
        (cut.tokens, cut.ending),
        (Tokens::new(14), Ending::UpstreamCut)
    );
    file.settled().unwrap();
    assert_eq!(files(folder.path()), 0, "what is settled is deleted");
}

#[test]
fn a_write_torn_at_any_byte_is_the_old_record_or_the_new_one() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options().slots(1)).unwrap();
    let bytes = || fs::read(journal.path()).unwrap();
    let read = |bytes: &[u8]| {
        let adopted = snapshot(bytes);
        assert_eq!(adopted.unreadable(), []);
        let found = adopted.leftovers().first();
        found.map(|found| (found.id, found.state, found.usage, found.ending))
    };
    let compare = |before: &[u8], after: &[u8]| {
        let (old, new) = (read(before), read(after));
        assert_ne!(old, new);
        for torn in 0..=before.len() {
            let file = [&after[..torn], &before[torn..]].concat();
            let found = read(&file);
            assert!(found == old || found == new, "torn at {torn}: {found:?}");
        }
    };
    // Three requests in the one slot, an odd and an even number of records each.
    for events in 1..=3_u64 {
        let mut before = bytes();
        let mut slot = journal.claim(RequestId::new()).unwrap();
        compare(&before, &bytes());
        for event in 1..=events {
            before = bytes();
            slot.record(Entry::running(usage(1 << 39, event))).unwrap();
            compare(&before, &bytes());
        }
        before = bytes();
        let charge = Charge::upstream(usage(7, u64::MAX), Ending::Complete, 200);
        slot.record(Entry::ended(&charge)).unwrap();
        compare(&before, &bytes());
        before = bytes();
        slot.free().unwrap();
        compare(&before, &bytes());
    }
}

#[test]
fn a_slot_is_used_again_only_after_it_was_freed() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options().slots(2)).unwrap();
    let first = journal.claim(RequestId::new()).unwrap();
    let second = journal.claim(RequestId::new()).unwrap();
    assert!(matches!(
        journal.claim(RequestId::new()),
        Err(ClaimError::Full)
    ));
    second.free().unwrap();
    // Long enough for the sequence to come round.
    for round in 0..300 {
        let id = RequestId::new();
        let mut slot = journal.claim(id).unwrap();
        slot.record(Entry::running(usage(round, 1))).unwrap();
        let adopted = snapshot(&fs::read(journal.path()).unwrap());
        let found: Vec<_> = adopted.leftovers().iter().map(|found| found.id).collect();
        assert_eq!(found, [first.id(), id]);
        slot.free().unwrap();
    }
    first.free().unwrap();
    assert_eq!(journal.vacant(), 2);
}

#[test]
fn a_request_does_not_return_to_an_earlier_state() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let mut slot = journal.claim(RequestId::new()).unwrap();
    let charge = Charge::upstream(usage(1, 2), Ending::Complete, 200);
    slot.record(Entry::ended(&charge)).unwrap();
    let error = slot.record(Entry::running(usage(1, 3))).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(journal.healthy(), "nothing is wrong with the disk");
    assert_eq!(slot.state(), State::Ended);
}

#[test]
fn under_another_boot_no_figure_is_trusted() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options().boot(YESTERDAY)).unwrap();
    let mut slot = journal.claim(RequestId::new()).unwrap();
    slot.record(Entry::running(usage(1, 2))).unwrap();
    drop((slot, journal));
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    let [found] = adoption.files[0].leftovers() else {
        panic!("one request was under way")
    };
    assert!(!found.trusted);
    assert_eq!(found.charge(Ending::Lost), None);
}

#[test]
fn the_journal_of_a_living_process_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let slot = journal.claim(RequestId::new()).unwrap();
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    assert_eq!((adoption.files.len(), adoption.living), (0, 1));
    assert!(matches!(
        Adopted::open(journal.path(), TODAY),
        Err(JournalError::Locked)
    ));
    let other = Journal::open(folder.path(), options()).unwrap();
    assert_ne!(other.path(), journal.path(), "each process has its own");

    drop(journal);
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    assert_eq!(adoption.living, 2, "a guard keeps the lock");
    drop(slot);
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    assert_eq!((adoption.files.len(), adoption.living), (1, 1));
    let second = Journal::adopt(folder.path(), TODAY).unwrap();
    assert_eq!(second.files.len(), 0, "adopted by one at a time");
}

#[test]
fn a_journal_with_nothing_to_say_is_deleted() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let bytes = fs::read(journal.path()).unwrap();
    journal.claim(RequestId::new()).unwrap().free().unwrap();
    drop(journal);
    assert_eq!(files(folder.path()), 0, "by its own process at its end");

    fs::write(folder.path().join("journal-a.slots"), bytes).unwrap();
    fs::write(folder.path().join("journal-b.new"), "unfin").unwrap();
    fs::write(folder.path().join("other.slots"), "not ours").unwrap();
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    assert_eq!((adoption.files.len(), adoption.failed.len()), (0, 0));
    assert_eq!(files(folder.path()), 1, "by whoever adopts it");
    let nowhere = Journal::adopt(folder.path().join("nowhere"), TODAY).unwrap();
    assert!(nowhere.files.is_empty());
}

#[test]
fn an_adopted_journal_that_is_dropped_is_found_again() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let slot = journal.claim(RequestId::new()).unwrap();
    drop((slot, journal));
    for _ in 0..2 {
        let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
        assert_eq!(adoption.files[0].leftovers().len(), 1);
    }
    let mut adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    let aside = adoption.files.pop().unwrap().set_aside().unwrap();
    assert!(aside.exists());
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    assert!(
        adoption.files.is_empty(),
        "what is set aside is not adopted"
    );
}

#[test]
fn a_guard_dropped_by_a_panic_loses_no_charge() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options().slots(1)).unwrap();
    let id = RequestId::new();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut slot = journal.claim(id).unwrap();
        slot.record(Entry::running(usage(3, 4))).unwrap();
        panic!("in the middle of a stream");
    }));
    panicked.unwrap_err();
    assert!(
        matches!(journal.claim(RequestId::new()), Err(ClaimError::Full)),
        "the slot is still taken"
    );
    let adopted = snapshot(&fs::read(journal.path()).unwrap());
    assert_eq!(adopted.leftovers()[0].tokens(), Tokens::new(7));

    let mut abandoned = journal.abandoned();
    assert!(journal.abandoned().is_empty(), "handed over once");
    let slot = abandoned.pop().unwrap();
    assert_eq!(slot.leftover(), adopted.leftovers()[0]);
    slot.free().unwrap();
    journal.claim(RequestId::new()).unwrap().free().unwrap();
}

#[test]
fn concurrent_claims_never_share_a_slot() {
    const THREADS: usize = 8;
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options().slots(THREADS as u32 / 2)).unwrap();
    let (held, refused) = (Mutex::new(HashSet::new()), Mutex::new(0_usize));
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for round in 0..500 {
                    let id = RequestId::new();
                    let Ok(mut slot) = journal.claim(id) else {
                        *refused.lock().unwrap() += 1;
                        continue;
                    };
                    slot.record(Entry::running(usage(round, 1))).unwrap();
                    assert!(held.lock().unwrap().insert(id));
                    slot.free().unwrap();
                }
                // Everybody keeps one at the end, as far as there are any.
                start.wait();
                if let Ok(slot) = journal.claim(RequestId::new()) {
                    held.lock().unwrap().insert(slot.id());
                    drop(slot);
                }
            });
        }
    });
    assert_eq!(journal.vacant(), 0);
    assert_eq!(journal.abandoned().len(), THREADS / 2);
    let claims = held.into_inner().unwrap().len() + refused.into_inner().unwrap();
    assert_eq!(claims, THREADS * 500 + THREADS / 2);
    let adopted = snapshot(&fs::read(journal.path()).unwrap());
    let ids: HashSet<_> = adopted.leftovers().iter().map(|found| found.id).collect();
    assert_eq!(ids.len(), THREADS / 2, "each its own slot");
}

#[test]
fn a_truncated_journal_is_refused_at_every_length() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let whole = fs::read(journal.path()).unwrap();
    for length in 0..whole.len() {
        let (_folder, path) = planted(&whole[..length]);
        let refused = Adopted::open(path, TODAY).unwrap_err();
        assert!(matches!(refused, JournalError::Length { .. }), "{refused}");
    }
    let (_folder, path) = planted(&[&whole[..], &[0]].concat());
    assert!(matches!(
        Adopted::open(path, TODAY),
        Err(JournalError::Length { .. })
    ));
}

#[test]
fn a_damaged_header_is_refused_whatever_bit_it_is() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let whole = fs::read(journal.path()).unwrap();
    let (_folder, path) = planted(&whole);
    for bit in 0..64 * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let refused = Adopted::open(&path, TODAY).unwrap_err();
        match bit / 8 {
            0..8 => assert!(matches!(refused, JournalError::Foreign), "{refused}"),
            _ => assert!(matches!(refused, JournalError::Damaged), "{refused}"),
        }
    }
}

#[test]
fn garbage_is_reported_and_left_where_it_is() {
    let (folder, path) = planted(&[0x5a; 4096]);
    fs::create_dir(folder.path().join("journal-folder.slots")).unwrap();
    let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
    let [(found, JournalError::Foreign)] = &adoption.failed[..] else {
        panic!("{adoption:?}")
    };
    assert_eq!(*found, path);
    assert!(path.exists());
}

#[test]
fn a_slot_without_a_whole_half_is_reported_with_what_may_be_its_id() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let mut slot = journal.claim(RequestId::new()).unwrap();
    slot.record(Entry::forwarded()).unwrap();
    let mut bytes = fs::read(journal.path()).unwrap();
    bytes[64 + 16 + 9] ^= 1;
    bytes[64 + 40 + 9] ^= 1;
    bytes[64 * 3..64 * 4].fill(0);
    let adopted = snapshot(&bytes);
    assert_eq!(adopted.leftovers(), []);
    let found = adopted.unreadable().iter().map(|lost| (lost.slot, lost.id));
    let found: Vec<_> = found.collect();
    assert_eq!(found, [(0, Some(slot.id())), (2, None)]);
}

#[test]
fn more_files_than_one_adoption_takes_are_left_for_the_next() {
    let folder = TempDir::new().unwrap();
    let journal = Journal::open(folder.path(), options()).unwrap();
    let slot = journal.claim(RequestId::new()).unwrap();
    let bytes = fs::read(journal.path()).unwrap();
    for number in 0..70 {
        fs::write(
            folder.path().join(format!("journal-{number}.slots")),
            &bytes,
        )
        .unwrap();
    }
    let mut adopted = 0;
    loop {
        let adoption = Journal::adopt(folder.path(), TODAY).unwrap();
        adopted += adoption.files.len();
        for file in adoption.files {
            file.settled().unwrap();
        }
        if !adoption.more {
            break;
        }
    }
    assert_eq!(adopted, 70);
    drop(slot);
}
