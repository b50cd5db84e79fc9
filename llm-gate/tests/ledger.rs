//! The ledger over a store that has to be waited for, and that fails.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::{Charge, ExtendError, Ledger, Request, Reservation, ReserveError};
use llm_gate::store::{
    CallInfo, Ending, LedgerStore, MemoryStore, Operation, Outcome, StoreError, StoreErrorKind,
    StoreFuture,
};
use llm_gate::tokens::{Tokens, Usage};
use tokio::sync::watch;
use tokio::time::Instant;

/// What the store does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Well,
    /// Nothing happens.
    Away,
    /// It happens, and the acknowledgement is lost.
    Unheard,
    /// It happens, and one answer too few comes back.
    Miscounts,
}

/// A store in memory behind a queue, with moods.
struct Moody {
    inner: MemoryStore,
    mood: Mutex<Mood>,
    /// No batch that has one of these succeeds.
    poisoned: Mutex<HashSet<RequestId>>,
    open: watch::Sender<bool>,
    /// The sizes of the batches that were tried.
    batches: Mutex<Vec<usize>>,
    arrived: watch::Sender<usize>,
}

impl Moody {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            mood: Mutex::new(Mood::Well),
            poisoned: Mutex::default(),
            open: watch::Sender::new(true),
            batches: Mutex::default(),
            arrived: watch::Sender::new(0),
        })
    }

    fn mood(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    fn block(&self) {
        self.open.send_replace(false);
    }

    fn release(&self) {
        self.open.send_replace(true);
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("no panic").clone()
    }

    /// Waits until that many batches were tried.
    async fn tried(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let waited = arrived.wait_for(|&tried| tried >= count).await;
        waited.expect("the store is there");
    }

    fn decide(&self, batch: &[Operation]) -> Result<Vec<Outcome>, StoreError> {
        let mood = *self.mood.lock().expect("no panic");
        let poisoned = self.poisoned.lock().expect("no panic");
        if batch
            .iter()
            .any(|operation| poisoned.contains(&operation.id()))
        {
            return Err(StoreError::with_source(StoreErrorKind::Other, "poisoned"));
        }
        if mood == Mood::Away {
            return Err(StoreError::new(StoreErrorKind::Unavailable));
        }
        let mut outcomes: Vec<Outcome> = batch
            .iter()
            .map(|operation| self.inner.apply_now(operation).expect("in memory"))
            .collect();
        match mood {
            Mood::Unheard => Err(StoreError::new(StoreErrorKind::Unavailable)),
            Mood::Miscounts => {
                outcomes.pop();
                Ok(outcomes)
            }
            Mood::Well | Mood::Away => Ok(outcomes),
        }
    }
}

impl LedgerStore for Moody {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        Box::pin(async move {
            self.batches.lock().expect("no panic").push(batch.len());
            self.arrived.send_modify(|tried| *tried += 1);
            let mut open = self.open.subscribe();
            open.wait_for(|&open| open)
                .await
                .expect("the store is there");
            self.decide(&batch)
        })
    }

    llm_gate::pass_on_ledger!(inner);
}

const LIMIT: u64 = 1000;

struct Desk {
    store: Arc<Moody>,
    ledger: Ledger,
    user: UserId,
}

impl Desk {
    async fn new() -> Self {
        Self::with_slots(64).await
    }

    async fn with_slots(slots: usize) -> Self {
        let store = Moody::new();
        let user = UserId::new();
        let limit = Some(Tokens::new(LIMIT));
        let set = store.set_limit(Subject::User(user), limit).await;
        set.expect("in memory");
        let ledger = Ledger::builder().slots(slots).spawn(store.clone());
        Self {
            store,
            ledger,
            user,
        }
    }

    fn request(&self, hold: u64) -> Request {
        Request {
            id: RequestId::new(),
            subjects: vec![Subject::User(self.user)],
            hold: Tokens::new(hold).into(),
            least: Tokens::new(hold),
            call: CallInfo::new(self.user, ProjectId::new(), "chat", "tiny"),
        }
    }

    async fn reserve(&self, hold: u64) -> Result<Reservation, ReserveError> {
        self.ledger.reserve(self.request(hold)).await
    }

    /// What is used, and what is held.
    async fn standing(&self) -> (u64, u64) {
        let standing = self.store.standing(Subject::User(self.user)).await;
        let standing = standing.expect("in memory");
        (standing.used.get(), standing.reserved.get())
    }

    /// Waits until everything is written, and returns what is used. Nothing is held then.
    async fn close(&self) -> u64 {
        self.ledger.drain().await;
        let totals = self.store.totals().await.expect("in memory");
        assert!(totals.balance(), "{totals:?}");
        assert_eq!(
            (totals.pending, totals.counters_reserved),
            (0, 0),
            "no hold is left"
        );
        self.standing().await.0
    }
}

fn charge(tokens: u64) -> Charge {
    let usage = Usage {
        prompt: tokens,
        ..Usage::default()
    };
    Charge::upstream(usage, Ending::Complete, 200)
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_committed_before_it_is_handed_out() {
    let desk = Desk::new().await;
    desk.store.block();
    let mut reserving = desk.ledger.reserve(desk.request(40));
    desk.store.tried(1).await;
    assert!(
        (&mut reserving).now_or_never().is_none(),
        "only the commit grants"
    );
    desk.store.release();
    let reservation = reserving.await.expect("it fits");
    assert_eq!(desk.standing().await, (0, 40));
    assert_eq!(
        (reservation.granted().get(), desk.ledger.under_way()),
        (40, 1)
    );
    reservation.settle(charge(28));
    assert_eq!(desk.close().await, 28);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_denied_and_leaves_nothing() {
    let desk = Desk::new().await;
    let denied = desk.reserve(LIMIT + 1).await;
    assert!(matches!(denied, Err(ReserveError::Denied(_))));
    assert_eq!(desk.ledger.under_way(), 0, "its slot is free at once");
    assert_eq!(desk.store.batches(), [1], "there is nothing to give back");
    assert_eq!(desk.close().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_grants_nothing() {
    for mood in [Mood::Away, Mood::Unheard] {
        let desk = Desk::new().await;
        desk.store.mood(mood);
        let refused = desk.reserve(40).await;
        assert!(
            matches!(refused, Err(ReserveError::Unavailable(_))),
            "{mood:?}"
        );
        desk.store.mood(Mood::Well);
        assert_eq!(
            desk.close().await,
            0,
            "{mood:?}: a hold nobody got is given back"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_settlement_waits_for_the_store_and_happens_once() {
    for mood in [Mood::Away, Mood::Unheard, Mood::Miscounts] {
        let desk = Desk::new().await;
        let first = desk.reserve(40).await.expect("it fits");
        let second = desk.reserve(50).await.expect("it fits");
        let before = desk.store.batches().len();
        desk.store.mood(mood);
        first.settle(charge(28));
        drop(second);
        desk.store.tried(before + 5).await;
        assert_eq!(
            desk.ledger.under_way(),
            2,
            "{mood:?}: not written, not done"
        );
        desk.store.mood(Mood::Well);
        assert_eq!(
            desk.close().await,
            28,
            "{mood:?}: charged once, however often it was sent"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_answers_grants_nothing() {
    let desk = Desk::new().await;
    desk.store.mood(Mood::Miscounts);
    desk.store.block();
    let calls: Vec<_> = (0..3)
        .map(|_| desk.ledger.reserve(desk.request(10)))
        .collect();
    desk.store.release();
    for call in calls {
        assert!(
            matches!(call.await, Err(ReserveError::Unavailable(_))),
            "whose answer is missing?"
        );
    }
    desk.store.mood(Mood::Well);
    assert_eq!(desk.close().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_operation_does_not_hold_up_the_others() {
    let desk = Desk::new().await;
    let bad = desk.reserve(10).await.expect("it fits");
    let good = desk.reserve(20).await.expect("it fits");
    let bad_id = bad.id();
    desk.store.poisoned.lock().expect("no panic").insert(bad_id);
    let before = desk.store.batches().len();
    desk.store.block();
    bad.settle(charge(7));
    good.settle(charge(8));
    let late = desk.ledger.reserve(desk.request(30));
    desk.store.release();
    let late = late.await.expect("granted although a settlement fails");
    assert_eq!(desk.standing().await, (8, 40), "the good one is settled");
    late.settle(charge(9));
    desk.store.tried(before + 6).await;

    // From now on the bad one is tried alone: batches stay batches.
    desk.store.block();
    let before = desk.store.batches().len();
    let blocked = desk.ledger.reserve(desk.request(1));
    desk.store.tried(before + 1).await;
    let calls: Vec<_> = (0..8)
        .map(|_| desk.ledger.reserve(desk.request(1)))
        .collect();
    desk.store.release();
    drop(blocked.await.expect("granted"));
    for call in calls {
        drop(call.await.expect("granted"));
    }
    let batches = desk.store.batches().split_off(before);
    assert!(
        batches.contains(&9),
        "the eight, and what the first one gives back when it is answered: {batches:?}"
    );

    desk.store.poisoned.lock().expect("no panic").clear();
    assert_eq!(desk.close().await, 24, "and in the end it is settled too");
}

#[tokio::test(start_paused = true)]
async fn a_poisoned_reserve_is_refused_alone() {
    let desk = Desk::new().await;
    desk.store.block();
    let first = desk.ledger.reserve(desk.request(1));
    desk.store.tried(1).await;
    let bad = desk.request(10);
    desk.store.poisoned.lock().expect("no panic").insert(bad.id);
    let bad = desk.ledger.reserve(bad);
    let good = desk.ledger.reserve(desk.request(20));
    desk.store.release();
    assert!(matches!(bad.await, Err(ReserveError::Unavailable(_))));
    let (first, good) = (first.await.expect("granted"), good.await.expect("granted"));
    assert_eq!(desk.standing().await, (0, 21));
    drop((first, good));
    desk.store.poisoned.lock().expect("no panic").clear();
    assert_eq!(desk.close().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_gives_back_what_it_did_not_get() {
    // Before the writer has it, while the store has it, and when the answer is there.
    let desk = Desk::new().await;
    drop(desk.ledger.reserve(desk.request(40)));
    assert_eq!(desk.close().await, 0, "dropped at once");

    let desk = Desk::new().await;
    desk.store.block();
    let reserving = desk.ledger.reserve(desk.request(40));
    desk.store.tried(1).await;
    drop(reserving);
    desk.store.release();
    assert_eq!(desk.close().await, 0, "dropped while it is committed");
    assert_eq!(desk.store.batches(), [1, 1], "a reserve and its void");

    let desk = Desk::new().await;
    let reserving = desk.ledger.reserve(desk.request(40));
    while desk.standing().await.1 == 0 {
        tokio::task::yield_now().await;
    }
    drop(reserving);
    assert_eq!(desk.close().await, 0, "dropped with the answer in it");
}

#[tokio::test(start_paused = true)]
async fn an_extension_is_committed_before_it_is_granted() {
    let desk = Desk::new().await;
    let mut reservation = desk.reserve(40).await.expect("it fits");
    desk.store.block();
    let mut extending = reservation.extend(Tokens::new(90));
    desk.store.tried(2).await;
    assert!(
        (&mut extending).now_or_never().is_none(),
        "only the commit grants"
    );
    desk.store.release();
    let grant = extending.await.expect("it fits");
    assert_eq!((grant.hold.get(), desk.standing().await), (90, (0, 90)));
    let denied = reservation.extend(Tokens::new(LIMIT + 1)).await;
    assert!(matches!(denied, Err(ExtendError::Denied(_))), "{denied:?}");
    assert_eq!(desk.standing().await, (0, 90), "as it was");
    reservation.settle(charge(88));
    assert_eq!(desk.close().await, 88);
}

#[tokio::test(start_paused = true)]
async fn a_settlement_does_not_overtake_the_extension_before_it() {
    for dropped in [false, true] {
        let desk = Desk::new().await;
        let mut reservation = desk.reserve(40).await.expect("it fits");
        desk.store.block();
        let extending = reservation.extend(Tokens::new(90));
        let again = reservation.extend(Tokens::new(120));
        reservation.settle(charge(70));
        let kept = (!dropped).then_some((extending, again));
        desk.store.release();
        if let Some((extending, again)) = kept {
            assert_eq!(extending.await.expect("it fits").hold.get(), 90);
            assert_eq!(again.await.expect("it fits").hold.get(), 120);
        }
        assert_eq!(desk.close().await, 70);
        let total: usize = desk.store.batches().iter().sum();
        assert_eq!(total, 4, "each once, waited for or not");
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_without_an_answer_is_given_up_and_does_no_harm() {
    let desk = Desk::new().await;
    let mut reservation = desk.reserve(40).await.expect("it fits");
    desk.store.block();
    let start = Instant::now();
    let refused = reservation.extend(Tokens::new(500)).await;
    assert!(
        matches!(refused, Err(ExtendError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    // It is committed after all, and overtaken.
    let next = reservation.extend(Tokens::new(60));
    desk.store.release();
    assert_eq!(next.await.expect("it fits").hold.get(), 60);
    assert_eq!(desk.standing().await, (0, 60), "the newest prevails");
    reservation.settle(charge(60));
    assert_eq!(desk.close().await, 60);
}

#[tokio::test(start_paused = true)]
async fn an_extension_is_not_owed() {
    for mood in [Mood::Away, Mood::Unheard, Mood::Miscounts] {
        let desk = Desk::new().await;
        let mut reservation = desk.reserve(40).await.expect("it fits");
        desk.store.mood(mood);
        let refused = reservation.extend(Tokens::new(90)).await;
        assert!(
            matches!(refused, Err(ExtendError::Unavailable(_))),
            "{mood:?}: {refused:?}"
        );
        desk.store.mood(Mood::Well);
        let held = desk.standing().await.1;
        let happened = if mood == Mood::Away { 40 } else { 90 };
        assert_eq!(held, happened, "{mood:?}: tried once");
        let grant = reservation.extend(Tokens::new(70)).await.expect("it fits");
        assert_eq!((grant.hold.get(), desk.standing().await), (70, (0, 70)));
        reservation.settle(charge(70));
        assert_eq!(desk.close().await, 70, "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_into_one_batch() {
    let desk = Desk::new().await;
    desk.store.block();
    let first = desk.ledger.reserve(desk.request(1));
    desk.store.tried(1).await;
    let more: Vec<_> = (0..40)
        .map(|_| desk.ledger.reserve(desk.request(1)))
        .collect();
    desk.store.release();
    let mut held = vec![first.await.expect("it fits")];
    for reserving in more {
        held.push(reserving.await.expect("it fits"));
    }
    assert_eq!(
        desk.store.batches(),
        [1, 40],
        "one transaction for all that waited"
    );
    for reservation in held {
        reservation.settle(charge(1));
    }
    assert_eq!(desk.close().await, 41);
    assert_eq!(desk.store.batches(), [1, 40, 41]);
}

#[tokio::test(start_paused = true)]
async fn operations_keep_their_order() {
    let desk = Desk::new().await;
    desk.store.block();
    let first = desk.ledger.reserve(desk.request(1));
    desk.store.tried(1).await;
    let all = desk.ledger.reserve(desk.request(LIMIT - 1));
    let late = desk.ledger.reserve(desk.request(1));
    desk.store.release();
    let all = all.await.expect("first come");
    assert!(
        matches!(late.await, Err(ReserveError::Denied(_))),
        "first served"
    );
    drop((first, all));
    assert_eq!(desk.close().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_when_the_settlement_is_committed() {
    let desk = Desk::with_slots(2).await;
    let first = desk.reserve(10).await.expect("it fits");
    let second = desk.reserve(10).await.expect("it fits");
    assert!(matches!(desk.reserve(10).await, Err(ReserveError::Full)));
    desk.store.block();
    let tried = desk.store.batches().len();
    first.settle(charge(5));
    desk.store.tried(tried + 1).await;
    assert!(
        matches!(desk.reserve(10).await, Err(ReserveError::Full)),
        "not written yet"
    );
    desk.store.release();
    while desk.ledger.under_way() == 2 {
        tokio::task::yield_now().await;
    }
    drop(desk.reserve(10).await.expect("a slot is free"));
    drop(second);
    assert_eq!(desk.close().await, 5);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_all_and_grants_no_more() {
    let desk = Desk::new().await;
    let open = desk.reserve(10).await.expect("it fits");
    let mut draining = Box::pin(desk.ledger.drain());
    assert!((&mut draining).now_or_never().is_none(), "one is under way");
    assert!(
        matches!(desk.reserve(10).await, Err(ReserveError::Full)),
        "nothing new meanwhile"
    );
    open.settle(charge(5));
    draining.await;
    assert_eq!(desk.standing().await, (5, 0));
    assert!(
        matches!(desk.reserve(10).await, Err(ReserveError::Full)),
        "nor afterwards"
    );
    desk.ledger.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_leaves_nothing_behind() {
    let desk = Desk::new().await;
    let reservation = desk.reserve(10).await.expect("it fits");
    desk.store.mood(Mood::Away);
    reservation.settle(charge(5));
    let Desk {
        store,
        ledger,
        user,
    } = desk;
    drop(ledger);
    let (tried, start) = (store.batches().len(), Instant::now());
    store.tried(tried + 20).await;
    assert!(
        start.elapsed() > Duration::from_secs(5),
        "nobody can ask any more, and still the store is not stormed"
    );
    store.mood(Mood::Well);
    let used = || async {
        let standing = store
            .standing(Subject::User(user))
            .await
            .expect("in memory");
        standing.used.get()
    };
    while used().await == 0 {
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(used().await, 5, "written without a handle");
}

#[tokio::test(start_paused = true)]
async fn the_store_is_not_stormed_while_it_is_away() {
    let desk = Desk::new().await;
    let open = desk.reserve(10).await.expect("it fits");
    desk.store.mood(Mood::Away);
    open.settle(charge(5));
    let (tried, start) = (desk.store.batches().len(), Instant::now());
    desk.store.tried(tried + 10).await;
    assert!(start.elapsed() > Duration::from_secs(2), "pauses grow");
    assert!(
        start.elapsed() < Duration::from_secs(15),
        "to no more than a second"
    );
    desk.store.mood(Mood::Well);
    assert_eq!(desk.close().await, 5);
}

#[test]
fn dropping_after_the_runtime_is_gone_does_not_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (desk, reservation, reserving) = runtime.block_on(async {
        let desk = Desk::new().await;
        let reservation = desk.reserve(10).await.expect("it fits");
        desk.store.block();
        let reserving = desk.ledger.reserve(desk.request(10));
        desk.store.tried(2).await;
        (desk, reservation, reserving)
    });
    drop(runtime);
    reservation.settle(charge(1));
    drop(reserving);
    let late = desk.ledger.reserve(desk.request(10)).now_or_never();
    assert!(
        matches!(late, Some(Err(ReserveError::Unavailable(_)))),
        "the writer is gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_fails_the_books_balance() {
    let desk = Arc::new(Desk::with_slots(1000).await);
    let served = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..32_u64)
        .map(|caller| {
            let (desk, served) = (desk.clone(), served.clone());
            tokio::spawn(async move {
                for turn in 0..20_u64 {
                    let mut reserving = Box::pin(desk.ledger.reserve(desk.request(20)));
                    if (caller + turn) % 5 == 0 {
                        // Leaves while the store decides, or just after.
                        let left = (&mut reserving).now_or_never();
                        tokio::task::yield_now().await;
                        drop(left);
                        continue;
                    }
                    if let Ok(reservation) = reserving.await
                        && turn % 3 != 0
                    {
                        served.fetch_add(1, Ordering::Relaxed);
                        reservation.settle(charge(1));
                    }
                }
            })
        })
        .collect();
    let weather = tokio::spawn({
        let desk = desk.clone();
        async move {
            for turn in 0..200 {
                let moods = [
                    Mood::Well,
                    Mood::Unheard,
                    Mood::Well,
                    Mood::Away,
                    Mood::Miscounts,
                ];
                desk.store.mood(moods[turn % moods.len()]);
                tokio::task::yield_now().await;
            }
            desk.store.mood(Mood::Well);
        }
    });
    for caller in callers {
        caller.await.expect("no panic");
    }
    weather.await.expect("no panic");
    let used = desk.close().await;
    assert_eq!(
        used,
        served.load(Ordering::Relaxed) as u64,
        "every settlement once, nothing else"
    );
}

#[tokio::test]
async fn a_request_id_is_good_for_one_reservation() {
    let desk = Desk::new().await;
    // In place, and through the writer.
    let in_place = Arc::new(MemoryStore::new());
    for (ledger, store) in [
        (
            Ledger::spawn(in_place.clone()),
            in_place as Arc<dyn LedgerStore>,
        ),
        (desk.ledger.clone(), desk.store.clone() as _),
    ] {
        let request = desk.request(40);
        let first = ledger
            .reserve(request.clone())
            .await
            .expect("there is room");
        let again = ledger.reserve(request.clone()).await;
        assert!(matches!(again, Err(ReserveError::Repeated)), "{again:?}");
        let standing = store
            .standing(Subject::User(desk.user))
            .await
            .expect("in memory");
        assert_eq!(
            standing.reserved.get(),
            40,
            "the hold is the first one's, and stays"
        );
        drop(first);
        let later = ledger.reserve(request).await;
        assert!(
            matches!(later, Err(ReserveError::Repeated)),
            "nothing is served on a spent id"
        );
        ledger.drain().await;
        let totals = store.totals().await.expect("in memory");
        assert_eq!((totals.pending, totals.settled), (0, 0));
    }
}
