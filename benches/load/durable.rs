//! What durability costs: reservations a second on one hot counter beside single-row commits of the same database in
//! the same run, a record of the journal, and what a reservation adds to a request whose upstream takes its time.
//!
//! ```text
//! cargo run --release -p llm-gate-benches --bin durable
//! ```
//!
//! Wall time, since what is measured is mostly waiting for the disk. Each pair takes turns within the run; medians.
//! Reservations are compared twice: on the disk there is, and with a wait of [`FLUSH`] behind every commit of both sides,
//! to see how the two compare where commits cost more. Without PostgreSQL on the machine that half is left out, and says
//! so.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use diesel::connection::SimpleConnection;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::identity::{Credential, Principal, ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::journal::{Entry, Journal, Options};
use llm_gate::ledger::{self, Charge, Ledger};
use llm_gate::meter::TokenMeterLayer;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{CallInfo, Ending, LedgerStore, Operation, Outcome, StoreFuture};
use llm_gate::tokens::{Tokens, Usage};
use llm_gate_diesel::test_db::postgres::{self, Cluster};
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

/// Turns of each pair.
const TURNS: usize = 7;
/// How long one half of a turn takes.
const SLICE: Duration = Duration::from_millis(1500);
/// Who reserves at the same time.
const CALLERS: usize = 256;
/// How long the upstream takes to its first byte.
const FIRST_BYTE: Duration = Duration::from_millis(20);
/// Requests of each kind, where the added time is measured.
const REQUESTS: usize = 400;
/// How long is waited behind every commit, in place of a slower disk.
const FLUSH: Duration = Duration::from_millis(3);

const TABLE: &str = "CREATE TABLE bench_single (id INTEGER PRIMARY KEY, n INTEGER NOT NULL); \
                     INSERT INTO bench_single VALUES (1, 0)";
const SINGLE: &str = "UPDATE bench_single SET n = n + 1 WHERE id = 1";

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    journal()?;
    let folder = tempfile::tempdir()?;
    let config = SqliteConfig::new(folder.path().join("llm-gate.db"));
    let sqlite = SqliteStore::open(config).await?;
    sqlite
        .on_writer(|connection| connection.batch_execute(TABLE))
        .await??;
    for flush in [Duration::ZERO, FLUSH] {
        let store = Slower::wrap(Arc::new(sqlite.clone()), flush);
        let single = async || {
            let count = sqlite
                .on_writer(move |connection| singles(flush, || connection.batch_execute(SINGLE)));
            count.await.expect("the database is there")
        };
        hot("SQLite, synchronous=FULL", flush, store, single).await;
    }
    added("SQLite, synchronous=FULL", Arc::new(sqlite)).await;

    if !postgres::installed() {
        println!("PostgreSQL: not installed here, left out");
        return Ok(());
    }
    let cluster = Cluster::start(&["fsync=on", "shared_buffers=128MB"]).await;
    let config = cluster.database().await;
    let server = PgStore::open(PgConfig::new(config.url())).await?;
    server
        .on_connection(|connection| connection.batch_execute(TABLE))
        .await??;
    for flush in [Duration::ZERO, FLUSH] {
        let store = Slower::wrap(Arc::new(server.clone()), flush);
        let single = async || {
            let count = server.on_connection(move |connection| {
                singles(flush, || connection.batch_execute(SINGLE))
            });
            count.await.expect("the server is there")
        };
        hot("PostgreSQL, fsync=on", flush, store, single).await;
    }
    added("PostgreSQL, fsync=on", Arc::new(server)).await;
    Ok(())
}

/// A store whose commits take longer than those of the one within. The ledger's writer waits for each, so that nothing
/// else is committed meanwhile.
struct Slower {
    store: Arc<dyn LedgerStore>,
    flush: Duration,
}

impl Slower {
    fn wrap(store: Arc<dyn LedgerStore>, flush: Duration) -> Arc<dyn LedgerStore> {
        if flush.is_zero() {
            store
        } else {
            Arc::new(Self { store, flush })
        }
    }
}

impl LedgerStore for Slower {
    fn apply(&self, operations: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        Box::pin(async move {
            let outcomes = self.store.apply(operations).await?;
            let flush = self.flush;
            let waited = tokio::task::spawn_blocking(move || thread::sleep(flush));
            waited.await.expect("no panic");
            Ok(outcomes)
        })
    }

    llm_gate::pass_on_ledger!(store);
}

/// Commits one row after another for a slice, and returns how many a second.
fn singles(flush: Duration, mut commit: impl FnMut() -> diesel::QueryResult<()>) -> f64 {
    let start = Instant::now();
    let mut commits = 0_u32;
    while start.elapsed() < SLICE {
        commit().expect("a commit");
        if !flush.is_zero() {
            thread::sleep(flush);
        }
        commits += 1;
    }
    f64::from(commits) / start.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// One user in the books, and requests of it.
#[derive(Clone)]
struct Books {
    ledger: Ledger,
    user: UserId,
    project: ProjectId,
}

impl Books {
    async fn new(store: Arc<dyn LedgerStore>) -> Self {
        let user = UserId::new();
        let set = store.set_limit(Subject::User(user), Some(Tokens::new(1 << 50)));
        set.await.expect("a limit is set");
        Self {
            ledger: Ledger::builder().slots(1 << 16).spawn(store),
            user,
            project: ProjectId::new(),
        }
    }

    /// Takes a hold from the one counter there is, and settles it without waiting for that.
    async fn request(&self) {
        let request = ledger::Request {
            id: RequestId::new(),
            subjects: vec![Subject::User(self.user)],
            hold: Tokens::new(300).into(),
            least: Tokens::new(300),
            call: CallInfo::new(self.user, self.project, "chat", "tiny"),
        };
        let usage = Usage {
            prompt: 11,
            completion: 17,
            ..Usage::default()
        };
        let reservation = self.ledger.reserve(request).await.expect("it fits");
        reservation.settle(Charge::upstream(usage, Ending::Complete, 200));
    }

    /// Lets all callers reserve for a slice, and returns how many reservations were committed a second.
    async fn slice(&self) -> f64 {
        let stop = Arc::new(AtomicBool::new(false));
        let done = Arc::new(AtomicU64::new(0));
        let start = Instant::now();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (books, stop, done) = (self.clone(), stop.clone(), done.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        books.request().await;
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        tokio::time::sleep(SLICE).await;
        let (count, took) = (done.load(Ordering::Relaxed), start.elapsed());
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.expect("no panic");
        }
        // What is left to settle is no matter of the other half.
        while self.ledger.under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        count as f64 / took.as_secs_f64()
    }
}

/// Compares reservations on one counter with single-row commits.
async fn hot(
    name: &str,
    flush: Duration,
    store: Arc<dyn LedgerStore>,
    single: impl AsyncFn() -> f64,
) {
    let books = Books::new(store.clone()).await;
    books.slice().await;
    let (mut one, mut many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (rate, reserves) = (single().await, books.slice().await);
        one.push(rate);
        many.push(reserves);
        ratios.push(reserves / rate);
    }
    let totals = store.totals().await.expect("the database is there");
    assert!(totals.balance(), "the books balance: {totals:?}");
    let slower = if flush.is_zero() {
        String::new()
    } else {
        format!(", {flush:?} added to each commit")
    };
    println!(
        "{name}{slower}: {:.0} single-row commits/s, {:.0} reservations/s from {CALLERS} callers on one counter: {:.1} times",
        median(one),
        median(many),
        median(ratios)
    );
}

/// Measures a record of the journal, on the disk and in memory.
fn journal() -> Result<(), Failure> {
    const RECORDS: u64 = 200_000;
    let disk = tempfile::tempdir()?;
    let journal = Journal::open(disk.path(), Options::new())?;
    let mut slot = journal.claim(RequestId::new())?;
    let mut nanos = Vec::new();
    for turn in 0..TURNS as u64 {
        let start = Instant::now();
        for event in 0..RECORDS {
            let usage = Usage {
                prompt: 11,
                completion: turn * RECORDS + event,
                ..Usage::default()
            };
            slot.record(Entry::running(usage))?;
        }
        nanos.push(start.elapsed().as_nanos() as f64 / RECORDS as f64);
    }
    slot.free()?;
    println!("journal: {:.0} ns an event", median(nanos));
    Ok(())
}

/// Measures what a reservation adds to the time of a request to its first byte.
async fn added(name: &str, store: Arc<dyn LedgerStore>) {
    let user = UserId::new();
    let set = store.set_limit(Subject::User(user), Some(Tokens::new(1 << 50)));
    set.await.expect("a limit is set");
    let project = ProjectId::new();
    let ledger = Ledger::spawn(store);
    let models = || Models::any(Model::new("").context_length(4096));
    let upstream = || service_fn(|_: Request<Full<Bytes>>| first_byte());
    let bare = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(TokenMeterLayer::new())
        .service(upstream());
    let gated = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(QuotaLayer::new(ledger.clone()))
        .layer(TokenMeterLayer::new())
        .service(upstream());
    let waiting = ServiceBuilder::new()
        .layer(CallLayer::new(models()))
        .layer(QuotaLayer::new(ledger).overlap(false))
        .layer(TokenMeterLayer::new())
        .service(upstream());
    let request = || {
        let body =
            r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
        Request::post("/v1/chat/completions")
            .header("content-type", "application/json")
            .extension(Principal::new(user, project, Credential::Session))
            .body(Full::<Bytes>::from(body))
            .expect("a request")
    };
    let (mut without, mut with, mut waited) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..REQUESTS * 3 {
        // Each comes behind each of the others, whose settlements may still be under way.
        match (turn + turn / 3) % 3 {
            0 => without.push(timed(bare.clone(), request()).await),
            1 => with.push(timed(gated.clone(), request()).await),
            _ => waited.push(timed(waiting.clone(), request()).await),
        }
    }
    let (without, with, waited) = (median(without), median(with), median(waited));
    println!(
        "{name}: a reservation adds {:.0} µs to a request at the median ({:.0} µs where its commit is waited for), \
         with an upstream that takes {FIRST_BYTE:?}",
        with - without,
        waited - without
    );
}

/// An upstream that answers after its time. A thread waits, since timers of the runtime are coarse.
async fn first_byte() -> Result<Response<Full<Bytes>>, Infallible> {
    let waited = tokio::task::spawn_blocking(|| thread::sleep(FIRST_BYTE));
    waited.await.expect("no panic");
    let answer = r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":5}}"#;
    let response = Response::builder()
        .header("content-type", "application/json")
        .body(Full::from(answer))
        .expect("a response");
    Ok(response)
}

/// Returns the microseconds until the answer is there as a whole, in a task of the runtime as a server's connections
/// are: there whoever is woken runs when the task waits, and not in its place.
async fn timed<S, B>(service: S, request: Request<Full<Bytes>>) -> f64
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Send + 'static,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug + Send,
{
    let request = tokio::spawn(async move {
        let start = Instant::now();
        let answer = service.oneshot(request).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        assert_eq!(answer.status(), 200, "served");
        answer.into_body().collect().await.expect("a whole answer");
        start.elapsed().as_nanos() as f64 / 1000.0
    });
    request.await.expect("no panic")
}
