//! Processes that own reservations, and what becomes of those whose owner is not heard of any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::{Charge, Leases, Ledger, Request, Reservation, ReserveError};
use llm_gate::store::{
    Author, CallInfo, Ending, LedgerStore, Limit, LimitChange, MemoryStore, Operation, Outcome,
    OwnerId, Price, Standing, StoreError, StoreErrorKind, StoreFuture, Totals, UsageReset,
};
use llm_gate::test_util::ManualClock;
use llm_gate::tokens::{Tokens, Usage};

/// A connection to books in memory that others use too; it can be cut.
struct Wire {
    books: Arc<MemoryStore>,
    cut: AtomicBool,
    /// A request that the store cannot take.
    poisoned: Mutex<Option<RequestId>>,
}

impl Wire {
    fn new(books: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self {
            books: books.clone(),
            cut: AtomicBool::new(false),
            poisoned: Mutex::default(),
        })
    }
}

macro_rules! over_the_wire {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $argument: $type)*) -> StoreFuture<'_, $answer> {
            if self.cut.load(Ordering::SeqCst) {
                return Box::pin(async { Err(StoreError::new(StoreErrorKind::Unavailable)) });
            }
            self.books.$name($($argument),*)
        }
    )*};
}

impl LedgerStore for Wire {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        let poisoned = *self.poisoned.lock().expect("no panic");
        let kind = if self.cut.load(Ordering::SeqCst) {
            StoreErrorKind::Unavailable
        } else if batch
            .iter()
            .any(|operation| Some(operation.id()) == poisoned)
        {
            StoreErrorKind::Other
        } else {
            return self.books.apply(batch);
        };
        Box::pin(async move { Err(StoreError::new(kind)) })
    }

    over_the_wire! {
        standing(subject: Subject) -> Standing;
        standings(subject: Subject, at: Timestamp) -> Vec<(Limit, Standing)>;
        change_limits(changes: Vec<LimitChange>) -> Option<Vec<Standing>>;
        reset_usage(reset: UsageReset) -> Standing;
        limits(subject: Option<Subject>) -> Vec<Limit>;
        set_price(price: Price, author: Author) -> Price;
        prices() -> Vec<Price>;
        totals() -> Totals;
        enlist(at: Timestamp, lease: Duration) -> OwnerId;
        renew(owner: OwnerId, at: Timestamp, lease: Duration) -> bool;
        orphans(at: Timestamp, grace: Duration, count: usize) -> Vec<RequestId>;
    }
}

/// Some processes on the same books, with clocks that agree.
struct World {
    books: Arc<MemoryStore>,
    clock: ManualClock,
    user: UserId,
}

struct Process {
    wire: Arc<Wire>,
    ledger: Ledger,
}

impl World {
    async fn new() -> Self {
        let world = Self {
            books: Arc::new(MemoryStore::new()),
            clock: ManualClock::new(),
            user: UserId::new(),
        };
        let limit = Some(Tokens::new(1_000));
        let set = world.books.set_limit(world.subject(), limit).await;
        set.expect("in memory");
        world
    }

    fn subject(&self) -> Subject {
        Subject::User(self.user)
    }

    async fn process(&self) -> Process {
        let wire = Wire::new(&self.books);
        let ledger = Ledger::builder().clock(self.clock.clone());
        let ledger = ledger.spawn(wire.clone());
        ledger
            .enlist(Leases::default())
            .await
            .expect("the wire is whole");
        Process { wire, ledger }
    }

    /// Lets time go by, with everything that happens in it.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            tokio::time::advance(Duration::from_secs(1)).await;
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Used, reserved and overage.
    async fn stands(&self) -> (u64, u64, u64) {
        let standing = self.books.standing(self.subject()).await;
        let standing = standing.expect("in memory");
        let totals = self.books.totals().await.expect("in memory");
        assert!(
            totals.balance(),
            "the books balance at any time: {totals:?}"
        );
        (
            standing.used.get(),
            standing.reserved.get(),
            standing.overage.get(),
        )
    }

    async fn reserve(&self, process: &Process, hold: u64) -> Result<Reservation, ReserveError> {
        let request = Request {
            id: RequestId::new(),
            subjects: vec![self.subject()],
            hold: Tokens::new(hold).into(),
            least: Tokens::new(hold),
            call: CallInfo::new(self.user, ProjectId::new(), "chat", "tiny").stream(true),
        };
        process.ledger.reserve(request).await
    }
}

impl Process {
    fn cut(&self, cut: bool) {
        self.wire.cut.store(cut, Ordering::SeqCst);
    }
}

fn used(completion: u64) -> Charge {
    let usage = Usage {
        completion,
        ..Usage::default()
    };
    Charge::upstream(usage, Ending::Complete, 200)
}

#[tokio::test(start_paused = true)]
async fn as_long_as_a_process_is_heard_of_its_holds_are_left_alone() {
    let world = World::new().await;
    let (one, _other) = (world.process().await, world.process().await);
    let held = world.reserve(&one, 100).await.expect("there is room");
    world.pass(600).await;
    assert_eq!(world.stands().await, (0, 100, 0));
    held.settle(used(7));
    world.pass(1).await;
    assert_eq!(world.stands().await, (7, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_silent_process_holds_is_presumed_by_another_after_the_grace() {
    let world = World::new().await;
    let (silent, _other) = (world.process().await, world.process().await);
    let held = world.reserve(&silent, 100).await.expect("there is room");
    silent.cut(true);
    // It was heard of last at the start.
    world.pass(44).await;
    assert_eq!(
        world.stands().await,
        (0, 100, 0),
        "not before the lease and the grace"
    );
    world.pass(7).await;
    assert_eq!(world.stands().await, (100, 0, 0), "and then at once");
    // Nobody knows better, so it stays.
    world.pass(100).await;
    assert_eq!(world.stands().await, (100, 0, 0));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn without_a_lease_nothing_is_reserved() {
    let world = World::new().await;
    let process = world.process().await;
    process.cut(true);
    world.pass(14).await;
    process.cut(false);
    world
        .reserve(&process, 1)
        .await
        .expect("its lease has not run out");
    process.cut(true);
    world.pass(16).await;
    // The wire is whole again, but nobody has said so yet.
    process.cut(false);
    let refused = world.reserve(&process, 1).await;
    assert!(
        matches!(refused, Err(ReserveError::Unavailable(_))),
        "others may take it for dead"
    );
    world.pass(5).await;
    world
        .reserve(&process, 1)
        .await
        .expect("the lease is renewed");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_comes_back_corrects_what_was_presumed() {
    let world = World::new().await;
    let (lost, _other) = (world.process().await, world.process().await);
    let mut held = world.reserve(&lost, 100).await.expect("there is room");
    lost.cut(true);
    world.pass(60).await;
    assert_eq!(world.stands().await, (100, 0, 0));
    lost.cut(false);
    world.pass(5).await;
    let more = held.extend(Tokens::new(200)).await;
    assert!(more.is_err(), "what was presumed does not grow");
    held.settle(used(42));
    world.pass(2).await;
    assert_eq!(world.stands().await, (42, 0, 0), "charged what it used");
    let again = world.reserve(&lost, 50).await.expect("under a new lease");
    world.pass(600).await;
    assert_eq!(
        world.stands().await,
        (42, 50, 0),
        "which is renewed like the first"
    );
    drop(again);
}

#[tokio::test(start_paused = true)]
async fn many_that_look_after_one_presume_it_once() {
    let world = World::new().await;
    let dead = world.process().await;
    let held: Vec<Reservation> = {
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(world.reserve(&dead, 10).await.expect("there is room"));
        }
        held
    };
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(world.process().await);
    }
    dead.cut(true);
    world.pass(60).await;
    assert_eq!(world.stands().await, (80, 0, 0));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_settled_does_not_keep_the_others_from_being() {
    let world = World::new().await;
    let (dead, other) = (world.process().await, world.process().await);
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(world.reserve(&dead, 10).await.expect("there is room"));
    }
    *other.wire.poisoned.lock().expect("no panic") = Some(held[0].id());
    dead.cut(true);
    world.pass(60).await;
    assert_eq!(world.stands().await, (20, 10, 0), "the two that can be");
    *other.wire.poisoned.lock().expect("no panic") = None;
    world.pass(10).await;
    assert_eq!(
        world.stands().await,
        (30, 0, 0),
        "and the third as soon as it can"
    );
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_was_never_enlisted_owns_nothing() {
    let world = World::new().await;
    let ledger = Ledger::builder().clock(world.clock.clone());
    let wire = Wire::new(&world.books);
    let process = Process {
        ledger: ledger.spawn(wire),
        wire: Wire::new(&world.books),
    };
    let _other = world.process().await;
    let held = world.reserve(&process, 100).await.expect("there is room");
    world.pass(600).await;
    assert_eq!(
        world.stands().await,
        (0, 100, 0),
        "nobody settles it for it"
    );
    drop(held);
}
