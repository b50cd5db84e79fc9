//! Requests that are sent while their hold is being committed: what goes out before the commit, what comes
//! back, and what is left where there is none.

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::identity::{Credential, Principal, ProjectId, Subject, UserId};
use llm_gate::ledger::journal::{BootId, Journal, Options, State};
use llm_gate::ledger::{Ledger, Recovery};
use llm_gate::meter::MeterBody;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{Ending, LedgerStore};
use llm_gate::test_util::{BodyEnd, EndWatch, ScriptedBody};
use llm_gate::tokens::Tokens;
use support::{Gated, Slow, Stack, chat_body, collect, event, json, sse, stack, usage};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::util::BoxCloneSyncService;
use tower::{ServiceExt, service_fn};

const TODAY: BootId = BootId::from_bytes([1; 16]);
const CHAT: &str = r#","max_tokens":20,"stream":true"#;
const ROOMY: u64 = 100_000;

/// What is held for a request: a token a byte, and the output.
fn bound() -> u64 {
    chat_body(CHAT).len() as u64 + 20
}

/// An upstream that tells what becomes of its requests, and answers when it is let.
#[derive(Default)]
struct Probe {
    sent: AtomicUsize,
    /// How many of the calls were let go before their head.
    dropped: AtomicUsize,
    answers: watch::Sender<bool>,
    bodies: Mutex<Vec<EndWatch>>,
}

/// Tells when it is dropped.
struct Call(Arc<Probe>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl Probe {
    fn answer(&self, answers: bool) {
        self.answers.send_replace(answers);
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How the body of the last answer went.
    fn last_body(&self) -> Option<BodyEnd> {
        let bodies = self.bodies.lock().expect("no panic");
        bodies.last().expect("there was an answer").get()
    }
}

fn answered() -> ScriptedBody {
    ScriptedBody::new([
        event("a", &format!(",{}", usage(7, 1))),
        format!("data: {{\"choices\":[],{}}}\n\n", usage(7, 3)),
        "data: [DONE]\n\n".to_owned(),
    ])
}

/// A gate over books that have to be waited for, with a journal.
struct Rig {
    store: Arc<Slow>,
    ledger: Ledger,
    journal: Journal,
    _folder: TempDir,
    principal: Principal,
    probe: Arc<Probe>,
}

type Answer = Response<Gated<MeterBody<ScriptedBody>>>;

impl Rig {
    /// Opens the books, with a limit.
    async fn new(limit: u64) -> Self {
        let store = Arc::new(Slow::default());
        let principal = Principal::new(UserId::new(), ProjectId::new(), Credential::Session);
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path(), Options::new().boot(TODAY)).expect("a journal");
        let ledger = Ledger::builder()
            .journal(journal.clone())
            .spawn(store.clone());
        let rig = Self {
            store,
            ledger,
            journal,
            _folder: folder,
            principal,
            probe: Arc::default(),
        };
        rig.limit(limit).await;
        rig
    }

    /// Lets one request through, so that the room is known, and holds up the commits from then on.
    async fn known(limit: u64) -> Self {
        let rig = Self::new(limit).await;
        rig.probe.answer(true);
        assert_eq!(collect(rig.send().await).await.0, 200);
        while rig.ledger.under_way() > 0 {
            tokio::task::yield_now().await;
        }
        rig.probe.answer(false);
        rig.store.shut(true);
        rig
    }

    fn subject(&self) -> Subject {
        Subject::User(self.principal.user)
    }

    async fn limit(&self, limit: u64) {
        let set = self
            .store
            .set_limit(self.subject(), Some(Tokens::new(limit)));
        set.await.expect("in memory");
    }

    fn layer(&self) -> QuotaLayer {
        QuotaLayer::new(self.ledger.clone())
    }

    fn stack(&self, layer: QuotaLayer) -> Stack {
        let probe = self.probe.clone();
        let upstream = service_fn(move |_: Request<Full<Bytes>>| {
            let probe = probe.clone();
            probe.sent.fetch_add(1, Ordering::Relaxed);
            let call = Call(probe.clone());
            async move {
                let mut answers = probe.answers.subscribe();
                answers.wait_for(|&answers| answers).await.expect("there");
                std::mem::forget(call);
                let body = answered();
                probe.bodies.lock().expect("no panic").push(body.watch());
                Ok::<_, &'static str>(sse(body))
            }
        });
        stack(layer, BoxCloneSyncService::new(upstream))
    }

    fn request(&self, rest: &str) -> Request<Full<Bytes>> {
        let mut request = support::chat(rest);
        request.extensions_mut().insert(self.principal.clone());
        request
    }

    fn send(&self) -> impl Future<Output = Answer> + use<> {
        self.send_with(self.layer(), CHAT)
    }

    fn send_with(&self, layer: QuotaLayer, rest: &str) -> impl Future<Output = Answer> + use<> {
        let sent = self.stack(layer).oneshot(self.request(rest));
        async move { sent.await.expect("an answer") }
    }

    /// What is used, and what is held.
    async fn standing(&self) -> (u64, u64) {
        let standing = self
            .store
            .standing(self.subject())
            .await
            .expect("in memory");
        (standing.used.get(), standing.reserved.get())
    }

    /// The journal as a process would find it that is started now, this one being dead.
    fn found(&self) -> (TempDir, Vec<State>) {
        let folder = tempfile::tempdir().expect("a folder");
        let name = self.journal.path().file_name().expect("a file");
        std::fs::copy(self.journal.path(), folder.path().join(name)).expect("readable");
        let adoption = Journal::adopt(folder.path(), TODAY).expect("readable");
        let leftovers = adoption.files.iter().flat_map(|file| file.leftovers());
        let states = leftovers.map(|leftover| leftover.state).collect();
        drop(adoption);
        (folder, states)
    }

    /// Waits until everything is written; nothing is held then, and no slot is taken.
    async fn close(&self, used: u64) {
        self.store.shut(false);
        self.ledger.drain().await;
        assert_eq!(self.standing().await, (used, 0), "nothing stays held");
        assert_eq!(
            self.journal.vacant(),
            self.journal.slots(),
            "every slot is free"
        );
        let totals = self.store.totals().await.expect("in memory");
        assert!(totals.balance() && totals.pending == 0, "{totals:?}");
    }
}

async fn recover(rig: &Rig, folder: &Path) -> Recovery {
    let adoption = Journal::adopt(folder, TODAY).expect("readable");
    let ledger = Ledger::spawn(rig.store.clone());
    ledger.recover(adoption).await.expect("in memory")
}

/// What the first request of each rig was charged.
const FIRST: u64 = 10;

#[tokio::test(start_paused = true)]
async fn a_request_is_sent_while_its_hold_is_committed() {
    let rig = Rig::known(ROOMY).await;
    let mut call = Box::pin(rig.send());
    assert!((&mut call).now_or_never().is_none());
    assert_eq!(rig.probe.sent(), 2, "sent at once");
    assert_eq!(rig.standing().await, (FIRST, 0), "and nothing is held yet");
    assert_eq!(
        rig.found().1,
        [State::Forwarded],
        "it was written down before it was sent"
    );
    rig.store.shut(false);
    rig.probe.answer(true);
    let response = call.await;
    assert_eq!(rig.standing().await, (FIRST, bound()));
    let (status, body) = collect(response).await;
    assert!(status == 200 && body.ends_with("[DONE]\n\n"), "{body}");
    rig.close(2 * FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_delivered_before_the_commit() {
    let rig = Rig::known(ROOMY).await;
    rig.probe.answer(true);
    let mut call = Box::pin(rig.send());
    for _ in 0..10 {
        let head = (&mut call).now_or_never();
        assert!(head.is_none(), "not even the head");
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.probe.sent(), 2);
    assert_eq!(
        rig.probe.last_body(),
        None,
        "the answer is there, and waits"
    );
    assert_eq!(
        rig.found().1,
        [State::Forwarded],
        "nothing of it is charged"
    );
    rig.store.shut(false);
    let response = call.await;
    assert_eq!(response.headers()["x-ratelimit-limit-tokens"], "100000");
    assert_eq!(collect(response).await.0, 200);
    rig.close(2 * FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_lets_go_of_the_upstream() {
    for answers in [false, true] {
        let rig = Rig::known(ROOMY).await;
        rig.probe.answer(answers);
        let mut call = Box::pin(rig.send());
        assert!((&mut call).now_or_never().is_none());
        // Somebody else was faster.
        rig.limit(FIRST).await;
        rig.store.shut(false);
        let response = call.await;
        assert_eq!(response.status(), 429);
        if answers {
            assert_eq!(
                rig.probe.last_body(),
                Some(BodyEnd::Early),
                "the answer that was there is dropped unread"
            );
        } else {
            assert_eq!(rig.probe.dropped(), 1, "the call is dropped");
        }
        assert_eq!(response.headers()["x-ratelimit-remaining-tokens"], "0");
        let (_, body) = collect(response).await;
        assert_eq!(support::error_of(&body)["code"], "insufficient_quota");
        assert!(!body.contains("data:"), "nothing of the answer: {body}");
        assert_eq!(
            rig.journal.vacant(),
            rig.journal.slots(),
            "its slot is free"
        );

        // The next one knows better.
        rig.store.shut(true);
        let mut call = Box::pin(rig.send());
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(rig.probe.sent(), 2, "not sent before the commit");
        rig.store.shut(false);
        assert_eq!(call.await.status(), 429);
        rig.close(FIRST).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_credential_is_refused_as_ever() {
    let rig = Rig::known(ROOMY).await;
    rig.probe.answer(true);
    let mut call = Box::pin(rig.send());
    assert!((&mut call).now_or_never().is_none());
    rig.store.books.freeze(rig.subject());
    rig.store.shut(false);
    let response = call.await;
    assert_eq!(response.status(), 401);
    assert_eq!(rig.probe.last_body(), Some(BodyEnd::Early));
    rig.close(FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn books_that_fail_let_go_of_the_upstream_and_keep_nothing() {
    for answers in [false, true] {
        let rig = Rig::known(ROOMY).await;
        rig.probe.answer(answers);
        let mut call = Box::pin(rig.send());
        assert!((&mut call).now_or_never().is_none());
        rig.store.away.store(true, Ordering::Relaxed);
        rig.store.shut(false);
        let response = call.await;
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key("retry-after"));
        if answers {
            assert_eq!(rig.probe.last_body(), Some(BodyEnd::Early));
        } else {
            assert_eq!(rig.probe.dropped(), 1);
        }
        assert_eq!(rig.send().await.status(), 503);
        assert_eq!(rig.probe.sent(), 2, "the next one waits for the books");
        rig.store.away.store(false, Ordering::Relaxed);
        rig.close(FIRST).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_meanwhile_leaves_no_hold() {
    for answers in [false, true] {
        for committed in [false, true] {
            let rig = Rig::known(ROOMY).await;
            rig.probe.answer(answers);
            let mut call = Box::pin(rig.send());
            assert!((&mut call).now_or_never().is_none());
            if committed {
                // And nobody has asked for the answer since.
                rig.store.shut(false);
                while rig.standing().await.1 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            drop(call);
            if answers {
                assert_eq!(rig.probe.last_body(), Some(BodyEnd::Early));
            } else {
                assert_eq!(rig.probe.dropped(), 1, "the upstream is let go at once");
            }
            rig.close(FIRST).await;
            let settled = rig.store.books.settled();
            assert_eq!(settled.len(), 2, "the first one, and this");
            assert!(settled[1].is_void() && settled[1].ending == Ending::Abandoned);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_clear_room_the_commit_is_waited_for() {
    // Unknown; hardly enough; switched off.
    let unknown = Rig::new(ROOMY).await;
    unknown.store.shut(true);
    let tight = Rig::known(FIRST + bound() * 2).await;
    let off = Rig::known(ROOMY).await;
    for (rig, overlap, before) in [(unknown, true, 0), (tight, true, 1), (off, false, 1)] {
        rig.probe.answer(true);
        let layer = rig.layer().overlap(overlap);
        let mut call = Box::pin(rig.send_with(layer, CHAT));
        assert!((&mut call).now_or_never().is_none());
        tokio::task::yield_now().await;
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(rig.probe.sent(), before, "not sent before the commit");
        assert_eq!(rig.found().1, [State::Intent]);
        rig.store.shut(false);
        assert_eq!(collect(call.await).await.0, 200);
        rig.close((before as u64 + 1) * FIRST).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_counts_against_the_room() {
    let rig = Rig::known(FIRST + bound() + 5 * bound()).await;
    // The first left six bounds less what it was charged; a request needs two of what is left.
    let mut calls: Vec<_> = (0..6).map(|_| Box::pin(rig.send())).collect();
    for call in &mut calls {
        assert!(call.now_or_never().is_none());
    }
    assert_eq!(rig.probe.sent(), 1 + 4, "with 5, 4, 3 and 2 of them left");
    rig.probe.answer(true);
    rig.store.shut(false);
    for call in calls {
        assert_eq!(collect(call.await).await.0, 200, "all of them fit");
    }
    rig.close(7 * FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn an_overlapped_hold_is_taken_whole_or_not_at_all() {
    // Where the client leaves the output open, less would do: but the upstream has been told by now.
    let open = r#","stream":true"#;
    for (overlap, status) in [(true, 429), (false, 200)] {
        let rig = Rig::known(ROOMY).await;
        rig.probe.answer(true);
        let mut call = Box::pin(rig.send_with(rig.layer().overlap(overlap), open));
        assert!((&mut call).now_or_never().is_none());
        rig.limit(FIRST + chat_body(open).len() as u64 + 9).await;
        rig.store.shut(false);
        let response = call.await;
        let head = response.headers().clone();
        let (answered, body) = collect(response).await;
        assert_eq!(answered, status, "{body}");
        if overlap {
            assert!(body.contains("up to 4096 tokens"), "{body}");
            let code = support::error_of(&body)["code"].clone();
            assert_eq!(code, "rate_limit_exceeded", "less would do");
            assert_eq!(head["retry-after"], "1", "at once");
            assert!(!head.contains_key("x-should-retry"), "{head:?}");
        }
        // Asked again, it gets what is left.
        let again = rig.send_with(rig.layer(), open).await;
        assert!(overlap || again.status() == 429, "10 more are used");
        assert!(!overlap || again.status() == 200, "{}", again.status());
        collect(again).await;
        rig.close(2 * FIRST).await;
    }
}

#[tokio::test]
async fn books_that_decide_at_once_are_never_overlapped() {
    let rig = support::Rig::new(1000).await;
    let held = Arc::new(AtomicBool::new(false));
    let (books, subject, seen) = (rig.books.clone(), rig.subject(), held.clone());
    let make = move |_| {
        let standing = books.standing(subject).now_or_never().expect("at once");
        let reserved = standing.expect("in memory").reserved;
        seen.store(reserved > Tokens::ZERO, Ordering::Relaxed);
        Ok(json(format!("{{{}}}", usage(1, 1))))
    };
    let service = stack(rig.layer(), support::upstream(make));
    for _ in 0..3 {
        let response = service.clone().oneshot(rig.chat("")).await;
        collect(response.expect("an answer")).await;
        assert!(
            held.swap(false, Ordering::Relaxed),
            "held before it was sent"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_before_the_commit_leaves_nothing() {
    let rig = Rig::known(ROOMY).await;
    rig.probe.answer(true);
    let mut call = Box::pin(rig.send());
    assert!((&mut call).now_or_never().is_none());
    let (folder, states) = rig.found();
    assert_eq!(states, [State::Forwarded]);
    rig.store.shut(false);
    // The row is not there: nothing was committed by the dead.
    let elsewhere = Rig::new(ROOMY).await;
    let done = recover(&elsewhere, folder.path()).await;
    assert_eq!((done.settled, done.foreign), (1, 0), "{done:?}");
    assert_eq!(elsewhere.standing().await, (0, 0), "at no charge");
    let left = std::fs::read_dir(folder.path()).expect("there").count();
    assert_eq!(left, 0, "the journal is done with, not set aside");
    drop(call);
    rig.close(FIRST).await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_after_the_commit_leaves_nothing_either() {
    let rig = Rig::known(ROOMY).await;
    let call = Box::pin(rig.send());
    let mut call = call;
    assert!((&mut call).now_or_never().is_none());
    rig.store.shut(false);
    while rig.standing().await.1 == 0 {
        tokio::task::yield_now().await;
    }
    let (folder, states) = rig.found();
    assert_eq!(states, [State::Forwarded], "nothing is delivered");
    let done = recover(&rig, folder.path()).await;
    assert_eq!((done.settled, done.foreign), (1, 0));
    assert_eq!(rig.standing().await, (FIRST, 0), "held no more, and free");
    drop(call);
    rig.close(FIRST).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapped_requests_that_race_never_exceed_the_limit() {
    for _ in 0..5 {
        let limit = 20 * bound();
        let rig = Arc::new(Rig::new(limit).await);
        rig.probe.answer(true);
        let over = Arc::new(AtomicBool::new(false));
        let watcher = tokio::spawn({
            let (rig, over) = (rig.clone(), over.clone());
            async move {
                while !over.load(Ordering::Relaxed) {
                    let (used, reserved) = rig.standing().await;
                    assert!(used + reserved <= limit, "{used} + {reserved}");
                    tokio::task::yield_now().await;
                }
            }
        });
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let rig = rig.clone();
                tokio::spawn(async move {
                    let mut served = 0;
                    for _ in 0..20 {
                        let response = rig.send().await;
                        if response.status() != 200 {
                            continue;
                        }
                        let mut body = response.into_body();
                        body.frame().await.expect("a frame").expect("no error");
                        served += 8;
                        if served % 3 > 0 {
                            // Whoever leaves here has had eight, the others ten.
                            while body.frame().await.is_some() {}
                            served += 2;
                        }
                    }
                    served
                })
            })
            .collect();
        let mut served = 0;
        for caller in callers {
            served += caller.await.expect("no panic");
        }
        over.store(true, Ordering::Relaxed);
        watcher.await.expect("never above the limit");
        rig.close(served).await;
    }
}
