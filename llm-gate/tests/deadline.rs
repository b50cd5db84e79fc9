//! Requests that do not end: what becomes of them at their deadline, whoever polls what.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use llm_gate::abort::Abort;
use llm_gate::call::CallLayer;
use llm_gate::identity::{Credential, Principal, ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::{Charge, ExtendError, Ledger, RecordError, Request, Reservation};
use llm_gate::meter::{MeterBody, TokenMeterLayer};
use llm_gate::proxy::VllmProxyService;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{CallInfo, Ending, LedgerStore, Settle, Source};
use llm_gate::test_util::{BodyEnd, BodyGate, EndWatch, ScriptedBody};
use llm_gate::tokens::{Tokens, Usage};
use scripted_vllm::{Answer, Config, Gate, ScriptedVllm};
use support::{Books, Gated, Slow, Upstream, answer, event, rolling, sse, upstream, usage};
use tokio::time::advance;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt, service_fn};

const LIMIT: Duration = Duration::from_secs(100);
const LONG: &str = r#","max_tokens":4000,"stream":true"#;
const PROMPT: u64 = 7;

type Streamed = Gated<MeterBody<ScriptedBody>>;

/// A gate over books that have to be waited for, with a deadline.
struct Rig {
    store: Arc<Slow>,
    ledger: Ledger,
    principal: Principal,
    aborted: Arc<AtomicUsize>,
}

impl Rig {
    async fn new() -> Self {
        let store = Arc::new(Slow::default());
        let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
        let subject = Subject::User(principal.user);
        let set = store.set_limit(subject, Some(Tokens::new(100_000))).await;
        set.expect("in memory");
        Self {
            ledger: Ledger::builder().deadline(LIMIT).spawn(store.clone()),
            store,
            principal,
            aborted: Arc::default(),
        }
    }

    fn layer(&self) -> QuotaLayer {
        QuotaLayer::new(self.ledger.clone())
    }

    async fn send(&self, upstream: Upstream) -> Response<Streamed> {
        let mut request = support::chat(LONG);
        request.extensions_mut().insert(self.principal.clone());
        let service = rolling(self.layer(), upstream);
        service.oneshot(request).await.expect("an answer")
    }

    /// Opens a stream of `count` tokens, one an event, which then has nothing to give for now. Only what is
    /// polled can end it, but for the handle.
    async fn open(&self, count: u64) -> (Streamed, EndWatch) {
        let frames: Vec<_> = (1..=count).map(token).collect();
        let body = ScriptedBody::new(frames).wait(&BodyGate::new());
        let end = body.watch();
        let response = sse(body);
        let response = self.send(self.once(response)).await;
        assert_eq!(response.status(), 200);
        (response.into_body(), end)
    }

    /// An upstream with one answer, and a handle that counts.
    fn once(&self, mut response: Response<ScriptedBody>) -> Upstream {
        let aborted = self.aborted.clone();
        let abort = Abort::new(move || {
            aborted.fetch_add(1, Ordering::Relaxed);
        });
        response.extensions_mut().insert(abort);
        let once = Arc::new(std::sync::Mutex::new(Some(response)));
        upstream(move |_| Ok(once.lock().expect("no panic").take().expect("asked once")))
    }

    fn aborted(&self) -> usize {
        self.aborted.load(Ordering::Relaxed)
    }

    /// What is used, and what is held.
    async fn standing(&self) -> (u64, u64) {
        let standing = self.store.standing(Subject::User(self.principal.user));
        let standing = standing.await.expect("in memory");
        (standing.used.get(), standing.reserved.get())
    }

    /// Waits until everything is written, and returns the one settlement there is.
    async fn settled(&self) -> Settle {
        self.ledger.drain().await;
        let totals = self.store.totals().await.expect("in memory");
        assert!(totals.balance() && totals.pending == 0, "{totals:?}");
        let settled = self.store.books.settled();
        assert_eq!(settled.len(), 1, "once");
        let (used, reserved) = self.standing().await;
        assert_eq!((used, reserved), (settled[0].charge.get(), 0));
        settled[0].clone()
    }
}

/// A chunk with the running usage.
fn token(completion: u64) -> String {
    event("x", &format!(",{}", usage(PROMPT, completion)))
}

async fn take(body: &mut Streamed, events: usize) {
    for _ in 0..events {
        let frame = body.frame().await.expect("a frame").expect("no error");
        assert!(frame.into_data().expect("data").starts_with(b"data: "));
    }
}

/// Reads the end of a stream that was ended at its deadline.
async fn cut_off(body: &mut Streamed) {
    let frame = body.frame().await.expect("a frame").expect("no error");
    let data = frame.into_data().expect("data");
    let end = std::str::from_utf8(&data).expect("UTF-8");
    assert!(
        end.starts_with("data: ") && end.contains("the request took too long"),
        "{end}"
    );
    assert!(!end.contains("[DONE]"), "nobody takes it for whole: {end}");
    assert!(body.frame().await.is_none(), "nothing behind it");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_charged_what_it_was_delivered() {
    let rig = Rig::new().await;
    let (mut body, end) = rig.open(5).await;
    take(&mut body, 3).await;
    advance(LIMIT - Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    assert_eq!((rig.aborted(), rig.ledger.under_way()), (0, 1), "not yet");

    advance(Duration::from_millis(2)).await;
    let settled = rig.settled().await;
    assert_eq!(
        rig.aborted(),
        1,
        "the upstream is let go, though nobody polls"
    );
    assert_eq!(settled.charge.get(), PROMPT + 3, "what was delivered");
    assert_eq!(
        (settled.source, settled.ending, settled.status),
        (Source::Upstream, Ending::Cut, 200)
    );

    let served = settled.served.clone().expect("its own process knows");
    assert!(served.response_bytes > 0, "the three events");
    assert_eq!(served.first_data, Some(Duration::ZERO));
    let late = served.total.saturating_sub(LIMIT);
    assert!(
        served.total >= LIMIT && late < Duration::from_millis(2),
        "{served:?}"
    );

    cut_off(&mut body).await;
    assert_eq!(end.get(), Some(BodyEnd::Early), "of whatever has no handle");
    drop(body);
    assert_eq!(rig.settled().await, settled, "and not settled again");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_has_read_of_is_free() {
    let rig = Rig::new().await;
    let (body, end) = rig.open(5).await;
    advance(LIMIT + Duration::from_millis(1)).await;
    let settled = rig.settled().await;
    assert!(settled.is_void(), "{settled:?}");
    assert_eq!((rig.aborted(), end.get()), (1, None));
    drop(body);
    assert_eq!(rig.settled().await, settled);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_for_the_upstream_is_told() {
    let rig = Rig::new().await;
    let (mut body, end) = rig.open(2).await;
    take(&mut body, 2).await;
    let reading = tokio::spawn(async move {
        cut_off(&mut body).await;
        body
    });
    tokio::task::yield_now().await;
    advance(LIMIT + Duration::from_millis(1)).await;
    // Woken: nothing else comes here.
    drop(reading.await.expect("no panic"));
    assert_eq!(end.get(), Some(BodyEnd::Early));
    assert_eq!(rig.settled().await.charge.get(), PROMPT + 2);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_a_504() {
    let rig = Rig::new().await;
    let dropped = Arc::new(AtomicBool::new(false));
    struct Notice(Arc<AtomicBool>);
    impl Drop for Notice {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let notice = dropped.clone();
    let never = service_fn(move |_| {
        let notice = Notice(notice.clone());
        async move {
            std::future::pending::<()>().await;
            drop(notice);
            Err::<Response<ScriptedBody>, _>("never")
        }
    });
    let response = rig.send(BoxCloneSyncService::new(never)).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(dropped.load(Ordering::Relaxed), "the upstream is let go");
    let settled = rig.settled().await;
    assert!(settled.is_void(), "nothing was delivered: {settled:?}");
    assert_eq!(settled.ending, Ending::Lost);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_waits_for_its_extension_is_not_delivered() {
    let rig = Rig::new().await;
    let (mut body, end) = rig.open(1000).await;
    take(&mut body, 1).await;
    // The first usage has set the hold to the prompt and a step.
    while rig.standing().await.1 != PROMPT + 1 + 256 {
        tokio::task::yield_now().await;
    }
    advance(LIMIT - Duration::from_secs(2)).await;
    rig.store.shut(true);
    take(&mut body, 256).await;
    assert!(
        body.frame().now_or_never().is_none(),
        "only the commit grants"
    );
    let reading = tokio::spawn(async move {
        cut_off(&mut body).await;
        body
    });
    tokio::task::yield_now().await;
    advance(Duration::from_secs(3)).await;
    let body = reading.await.expect("woken");
    assert_eq!((rig.aborted(), end.get()), (1, Some(BodyEnd::Early)));
    rig.store.shut(false);
    let settled = rig.settled().await;
    assert_eq!(
        settled.charge.get(),
        PROMPT + 257,
        "not the one that waited"
    );
    drop(body);
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_needs_more_after_its_end_is_not_cut_for_want_of_room() {
    let rig = Rig::new().await;
    let (mut body, _) = rig.open(1000).await;
    take(&mut body, 1).await;
    while rig.standing().await.1 != PROMPT + 1 + 256 {
        tokio::task::yield_now().await;
    }
    // What is asked for ahead fails, so the event behind these has to ask again.
    rig.store.away.store(true, Ordering::Relaxed);
    for _ in 0..256 {
        take(&mut body, 1).await;
        tokio::task::yield_now().await;
    }
    rig.store.away.store(false, Ordering::Relaxed);
    advance(LIMIT + Duration::from_millis(1)).await;
    assert_eq!(rig.settled().await.charge.get(), PROMPT + 257);
    cut_off(&mut body).await;
}

#[tokio::test(start_paused = true)]
async fn what_costs_nothing_is_not_delivered_after_the_end_either() {
    let rig = Rig::new().await;
    let frames = ["data: {\"choices\":[]}\n\n", "data: {\"choices\":[]}\n\n"];
    for taken in 0..2 {
        let response = sse(ScriptedBody::new(frames).wait(&BodyGate::new()));
        let mut body = rig.send(rig.once(response)).await.into_body();
        take(&mut body, taken).await;
        advance(LIMIT + Duration::from_millis(1)).await;
        while rig.ledger.under_way() > 0 {
            tokio::task::yield_now().await;
        }
        cut_off(&mut body).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_that_is_not_committed_in_time_is_given_back() {
    for overlapped in [false, true] {
        let rig = Rig::new().await;
        if overlapped {
            // One request that ends, so that the room is known.
            let (body, _) = rig.open(1).await;
            drop(body);
            while rig.ledger.under_way() > 0 {
                tokio::task::yield_now().await;
            }
        }
        let before = rig.store.books.settled().len();
        rig.store.shut(true);
        let sent = Arc::new(AtomicUsize::new(0));
        let body = ScriptedBody::new([token(1)]);
        let end = body.watch();
        let answer = Arc::new(std::sync::Mutex::new(Some(sse(body))));
        let (count, once) = (sent.clone(), answer.clone());
        let make = upstream(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(once.lock().expect("no panic").take().expect("asked once"))
        });
        let mut call = Box::pin(rig.send(make));
        assert!((&mut call).now_or_never().is_none());
        advance(LIMIT + Duration::from_secs(1)).await;
        // The books still do not answer.
        assert_eq!(call.await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(sent.load(Ordering::Relaxed), usize::from(overlapped));
        if overlapped {
            assert_eq!(
                end.get(),
                Some(BodyEnd::Early),
                "nothing of it is delivered"
            );
        }
        rig.store.shut(false);
        rig.ledger.drain().await;
        assert_eq!(rig.standing().await, (0, 0), "committed, and given back");
        let settled = rig.store.books.settled();
        assert_eq!(settled.len(), before + 1, "once");
        assert!(settled[before].is_void());
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_is_charged_is_delivered_whenever_it_is_read() {
    let rig = Rig::new().await;
    let whole = format!("{{{}}}", usage(PROMPT, 5));
    let body = ScriptedBody::new([whole.clone()]);
    let response = rig.send(rig.once(answer(200, "application/json", body)));
    let response = response.await;
    assert_eq!(response.status(), 200);
    advance(LIMIT + Duration::from_millis(1)).await;
    let settled = rig.settled().await;
    assert_eq!(
        (settled.charge.get(), settled.ending),
        (PROMPT + 5, Ending::Cut),
        "as recorded before its head"
    );
    let (_, read) = support::collect(response).await;
    assert_eq!(read, whole, "paid for is paid for");
    rig.settled().await;
}

#[tokio::test(start_paused = true)]
async fn what_ends_in_time_is_left_alone() {
    let rig = Rig::new().await;
    let (mut body, _) = rig.open(5).await;
    take(&mut body, 5).await;
    drop(body);
    advance(LIMIT * 2).await;
    let settled = rig.settled().await;
    assert_eq!(settled.ending, Ending::ClientGone);
    assert_eq!(rig.aborted(), 0);
}

#[tokio::test]
async fn the_connection_to_the_upstream_is_closed_although_nobody_reads() {
    let vllm = ScriptedVllm::start(Config::default())
        .await
        .expect("a port");
    let (gate, key) = Gate::new();
    vllm.push(Answer::Lockstep { gate });
    let rig = Rig::new().await;
    let url = vllm.url().parse().expect("a URL");
    let proxy = VllmProxyService::new(llm_gate::proxy::Upstream::new(url).expect("valid"));
    let service = ServiceBuilder::new()
        .layer(CallLayer::new(support::models()).running_usage(true))
        .layer(rig.layer())
        .layer(TokenMeterLayer::new())
        .service(proxy);
    let mut request = support::chat(LONG);
    request.extensions_mut().insert(rig.principal.clone());
    let Ok(response) = service.oneshot(request).await;
    let mut body = Box::pin(response.into_body());
    key.release();
    body.frame().await.expect("a frame").expect("no error");
    // From here on nobody polls it.
    tokio::time::pause();
    advance(LIMIT + Duration::from_secs(1)).await;
    vllm.until(|counts| counts.aborted == 1 && counts.connections == 0)
        .await;
    let settled = rig.settled().await;
    assert_eq!(settled.ending, Ending::Cut);
    assert!(
        settled.charge > Tokens::ZERO,
        "the first event was delivered"
    );
    let end = body.frame().await.expect("a frame").expect("no error");
    let end = end.into_data().expect("data");
    assert!(end.starts_with(b"data: {\"error\""), "{end:?}");
    assert!(body.frame().await.is_none());
    rig.settled().await;
}

/// What one request is asked for.
fn request(user: UserId) -> Request {
    Request {
        id: RequestId::new(),
        subjects: vec![Subject::User(user)],
        hold: Tokens::new(100).into(),
        least: Tokens::new(100),
        call: CallInfo::new(user, ProjectId::new(), "chat", "tiny").stream(true),
    }
}

fn completion(tokens: u64) -> Usage {
    Usage {
        completion: tokens,
        ..Usage::default()
    }
}

/// Records figures until the deadline is faster, or settles; returns what was allowed to be delivered.
fn race(mut reservation: Reservation, events: u64) -> u64 {
    let mut delivered = 0;
    if reservation.forward().is_err() {
        return 0;
    }
    for event in 1..=events {
        match reservation.record(completion(event)) {
            Ok(()) => delivered = event,
            Err(RecordError::Ended) => return delivered,
            Err(error) => panic!("{error}"),
        }
    }
    reservation.settle(Charge::upstream(
        completion(delivered),
        Ending::Complete,
        200,
    ));
    delivered
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_settlement_and_a_deadline_that_race_one_happens() {
    let books = Arc::new(Books::default());
    let (mut complete, mut cut) = (0, 0);
    for round in 0..2000 {
        // The task has to be woken; so the deadlines meet every part of the work.
        let limit = Duration::from_micros(round % 200);
        let ledger = Ledger::builder().deadline(limit).spawn(books.clone());
        let reservation = ledger
            .reserve(request(UserId::new()))
            .await
            .expect("no limit");
        let id = reservation.id();
        let racing = tokio::task::spawn_blocking(move || race(reservation, 20_000));
        let delivered = racing.await.expect("no panic");
        ledger.drain().await;
        let settled = books.settled();
        assert_eq!(settled.len() as u64, round + 1, "each is settled once");
        let last = settled.last().expect("just now");
        assert_eq!(last.id, id);
        assert_eq!(
            last.charge.get(),
            delivered,
            "what was recorded, and no more"
        );
        match last.ending {
            Ending::Complete => complete += 1,
            _ => cut += 1,
        }
    }
    println!("{complete} were settled in time, {cut} were not");
    let totals = books.totals().await.expect("in memory");
    assert!(totals.balance() && totals.pending == 0, "{totals:?}");
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_nothing_is_recorded_or_extended() {
    let rig = Rig::new().await;
    let reservation = rig.ledger.reserve(request(rig.principal.user)).await;
    let mut reservation = reservation.expect("there is room");
    reservation.record(completion(3)).expect("in time");
    advance(LIMIT + Duration::from_millis(1)).await;
    rig.ledger.drain().await;
    assert!(reservation.has_ended());
    let recorded = reservation.record(completion(4));
    assert!(matches!(recorded, Err(RecordError::Ended)));
    let extended = reservation.extend(Tokens::new(200)).await;
    assert!(matches!(extended, Err(ExtendError::Ended)));
    let aborted = Arc::new(AtomicBool::new(false));
    let late = aborted.clone();
    let abort = Abort::new(move || late.store(true, Ordering::Relaxed));
    reservation.answered(200, Some(abort));
    assert!(
        aborted.load(Ordering::Relaxed),
        "an answer that comes too late is let go"
    );
    reservation.settle(Charge::upstream(completion(9), Ending::Complete, 200));
    assert_eq!(rig.settled().await.charge.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_tasks_of_a_ledger_end_with_it() {
    let alive = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = alive();
    let rig = Rig::new().await;
    let (body, _) = rig.open(1).await;
    drop(rig.ledger);
    assert!(alive() > before, "the request needs them");
    drop(body);
    while alive() > before {
        tokio::task::yield_now().await;
    }
}
