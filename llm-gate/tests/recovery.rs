//! What becomes of requests whose process ended in the middle of them.

use std::path::Path;
use std::sync::Arc;

use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::journal::{BootId, Entry, Journal, Options};
use llm_gate::ledger::{Charge, Ledger, Request, Reservation};
use llm_gate::store::{AuditStore, CallInfo, Ending, LedgerStore, MemoryStore, Standing};
use llm_gate::tokens::{Tokens, Usage};
use tempfile::TempDir;

/// Books that outlive the ledgers over them, and the folder of their journals.
struct Rig {
    store: Arc<MemoryStore>,
    folder: TempDir,
    user: UserId,
}

const TODAY: BootId = BootId::from_bytes([1; 16]);
const TOMORROW: BootId = BootId::from_bytes([2; 16]);

impl Rig {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            folder: tempfile::tempdir().expect("a folder can be made"),
            user: UserId::new(),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn request(&self) -> Request {
        Request {
            id: RequestId::new(),
            subjects: vec![Subject::User(self.user)],
            hold: Tokens::new(100).into(),
            least: Tokens::new(100),
            call: CallInfo::new(self.user, ProjectId::new(), "chat", "tiny").stream(true),
        }
    }

    fn ledger(&self) -> (Ledger, Journal) {
        let journal = Journal::open(self.path(), Options::new().boot(TODAY)).expect("a journal");
        let ledger = Ledger::builder()
            .journal(journal.clone())
            .spawn(self.store.clone());
        (ledger, journal)
    }

    /// Lets a process reserve, work and die: what it held in memory is gone, what it wrote is not.
    async fn dies(&self, work: impl FnOnce(&mut Reservation)) {
        let request = self.request();
        let (ledger, journal) = self.ledger();
        let mut reservation = ledger
            .reserve(request.clone())
            .await
            .expect("there is room");
        work(&mut reservation);
        // A reservation that is dropped settles; the dead do not. So its slot is written as it stood by a
        // journal of another process, over a row that is still pending.
        drop(reservation);
        drop((ledger, journal));
    }

    /// Recovers under `boot`.
    async fn recover(&self, boot: BootId) -> llm_gate::ledger::Recovery {
        let (ledger, _journal) = self.ledger();
        let adoption = Journal::adopt(self.path(), boot).expect("readable");
        ledger.recover(adoption).await.expect("a store in memory")
    }

    async fn standing(&self) -> Standing {
        self.store
            .standing(Subject::User(self.user))
            .await
            .expect("in memory")
    }

    /// Leaves a pending reservation and a slot that says `entries` of it.
    async fn leave(&self, entries: &[Entry]) -> RequestId {
        let request = self.request();
        let books = Ledger::spawn(self.store.clone());
        let reservation = books.reserve(request.clone()).await.expect("there is room");
        // Never dropped: its process is dead.
        std::mem::forget(reservation);
        let journal = Journal::open(self.path(), Options::new().boot(TODAY)).expect("a journal");
        let mut slot = journal.claim(request.id).expect("a slot");
        for entry in entries {
            slot.record(*entry).expect("written");
        }
        drop((slot, journal));
        request.id
    }
}

fn usage(completion: u64) -> Usage {
    Usage {
        prompt: 10,
        completion,
        ..Usage::default()
    }
}

#[tokio::test]
async fn what_was_delivered_is_charged_and_the_rest_given_back() {
    let rig = Rig::new();
    let forwarded = Entry::forwarded();
    for (entries, charge) in [
        (&[][..], 0),
        (&[forwarded], 0),
        (&[forwarded, Entry::running(usage(1))], 11),
        (
            &[
                forwarded,
                Entry::running(usage(1)),
                Entry::running(usage(2)),
            ],
            12,
        ),
        (&[forwarded, Entry::estimated(Tokens::new(40))], 40),
        (
            &[
                forwarded,
                Entry::running(usage(2)),
                Entry::ended(&Charge::upstream(usage(3), Ending::Complete, 200)),
            ],
            13,
        ),
        (
            &[
                forwarded,
                Entry::ended(&Charge::nothing(Ending::Refused, 400)),
            ],
            0,
        ),
    ] {
        let before = rig.standing().await.used.get();
        let id = rig.leave(entries).await;
        assert_eq!(rig.standing().await.reserved.get(), 100, "held meanwhile");
        let done = rig.recover(TODAY).await;
        assert_eq!((done.settled, done.presumed, done.unreadable), (1, 0, 0));
        let standing = rig.standing().await;
        assert_eq!(standing.used.get() - before, charge, "{entries:?}");
        assert_eq!(standing.reserved, Tokens::ZERO, "nothing stays held");
        let record = rig.store.call(id).await.expect("in memory");
        let served = record.expect("it is on record").served;
        assert_eq!(served, None, "bytes and times went with the process");
        assert_eq!(rig.recover(TODAY).await.settled, 0, "once");
    }
    assert!(rig.store.totals().await.expect("in memory").balance());
}

#[tokio::test]
async fn after_a_restart_of_the_machine_the_hold_stands_in() {
    let rig = Rig::new();
    for entries in [
        &[][..],
        &[Entry::forwarded()],
        &[Entry::forwarded(), Entry::running(usage(1))],
    ] {
        let before = rig.standing().await.used.get();
        rig.leave(entries).await;
        let done = rig.recover(TOMORROW).await;
        assert_eq!((done.settled, done.presumed), (0, 1));
        let standing = rig.standing().await;
        assert_eq!(
            standing.used.get() - before,
            100,
            "{entries:?}: the slot's last pages may never have reached the disk"
        );
        assert_eq!(standing.reserved, Tokens::ZERO);
    }
}

#[tokio::test]
async fn a_slot_without_a_reservation_charges_nobody() {
    let rig = Rig::new();
    let nothing = Entry::ended(&Charge::nothing(Ending::Abandoned, 0));
    for entries in [
        &[][..],
        &[Entry::forwarded()],
        &[Entry::forwarded(), nothing],
        &[nothing],
    ] {
        for boot in [TODAY, TOMORROW] {
            let journal = Journal::open(rig.path(), Options::new().boot(TODAY)).expect("a journal");
            let mut slot = journal.claim(RequestId::new()).expect("a slot");
            for entry in entries {
                slot.record(*entry).expect("written");
            }
            drop((slot, journal));
            let done = rig.recover(boot).await;
            assert_eq!(
                (done.settled, done.presumed, done.foreign),
                (1, 0, 0),
                "{entries:?}: only the commit grants, so nothing was delivered"
            );
            assert_eq!(rig.standing().await, Standing::default());
        }
    }
    assert_eq!(rig.store.totals().await.expect("in memory").settled, 0);
    let left = std::fs::read_dir(rig.path()).expect("the folder").count();
    assert_eq!(left, 0, "none is set aside");
}

#[tokio::test]
async fn a_request_that_ends_leaves_nothing_in_the_journal() {
    let rig = Rig::new();
    rig.dies(|reservation| {
        reservation.forward().expect("written");
        reservation.record(usage(5)).expect("written");
    })
    .await;
    let files = std::fs::read_dir(rig.path()).expect("the folder").count();
    assert_eq!(
        files, 0,
        "every slot is free, so the file goes with its process"
    );
    let (ledger, journal) = rig.ledger();
    let refused = ledger.reserve(Request {
        subjects: vec![Subject::User(rig.user)],
        ..rig.request()
    });
    drop(refused.await.expect("no limit"));
    rig.store
        .set_limit(Subject::User(rig.user), Some(Tokens::new(1)))
        .await
        .expect("in memory");
    assert!(ledger.reserve(rig.request()).await.is_err());
    assert_eq!(
        journal.vacant(),
        journal.slots(),
        "a denial keeps no slot either"
    );
}

#[tokio::test]
async fn a_full_journal_lets_nobody_in() {
    let rig = Rig::new();
    let journal = Journal::open(rig.path(), Options::new().slots(2)).expect("a journal");
    let ledger = Ledger::builder().journal(journal).spawn(rig.store.clone());
    let first = ledger.reserve(rig.request()).await.expect("a slot");
    let _second = ledger.reserve(rig.request()).await.expect("a slot");
    assert!(
        ledger.reserve(rig.request()).await.is_err(),
        "nothing could be written down"
    );
    assert_eq!(
        rig.standing().await.reserved.get(),
        200,
        "and nothing is held for it"
    );
    drop(first);
    assert!(ledger.reserve(rig.request()).await.is_ok());
}

#[tokio::test]
async fn a_journal_of_another_store_is_not_thrown_away() {
    let rig = Rig::new();
    let journal = Journal::open(rig.path(), Options::new().boot(TODAY)).expect("a journal");
    let mut slot = journal.claim(RequestId::new()).expect("a slot");
    slot.record(Entry::forwarded()).expect("written");
    slot.record(Entry::running(usage(1500))).expect("written");
    let mut ended = journal.claim(RequestId::new()).expect("a slot");
    let charge = Charge::upstream(usage(3), Ending::Complete, 200);
    ended.record(Entry::ended(&charge)).expect("written");
    drop((slot, ended, journal));
    let done = rig.recover(TODAY).await;
    assert_eq!(
        (done.settled, done.foreign),
        (0, 2),
        "it was delivered, so its hold is in some books"
    );
    let aside = std::fs::read_dir(rig.path())
        .expect("the folder")
        .filter_map(Result::ok);
    let aside = aside.filter(|file| file.file_name().to_string_lossy().ends_with(".aside"));
    assert_eq!(
        aside.count(),
        1,
        "delivered tokens are in it, and in no books here"
    );
    assert_eq!(
        rig.recover(TODAY).await.foreign,
        0,
        "and it is not looked at again"
    );
}
