//! What keeping the books costs: a reservation taken and settled, through `Ledger`. Wall time, because
//! what a durable store waits for is the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::{Charge, Ledger, Request};
use llm_gate::store::{CallInfo, Ending, LedgerStore, MemoryStore};
use llm_gate::tokens::{Tokens, Usage};
use llm_gate_diesel::{SqliteConfig, SqliteStore};
use tokio::runtime::Runtime;

/// How many requests go through one store in memory, which keeps every reservation.
const FRESH: u64 = 1 << 14;

/// Runs a number of requests in a number of tasks, and tells how long that took.
type Run = fn(runtime: &Runtime, tasks: u64, requests: u64) -> Duration;

/// A ledger with one user in it.
#[derive(Clone)]
struct Books {
    ledger: Ledger,
    user: UserId,
    project: ProjectId,
}

impl Books {
    async fn new(store: Arc<dyn LedgerStore>) -> Self {
        let user = UserId::new();
        store
            .set_limit(Subject::User(user), Some(Tokens::MAX))
            .await
            .expect("a limit is set");
        Self {
            ledger: Ledger::spawn(store),
            user,
            project: ProjectId::new(),
        }
    }

    /// Takes a hold and settles it. The settlement is not waited for, as nobody does.
    async fn request(&self) {
        let request = Request {
            id: RequestId::new(),
            subjects: vec![Subject::User(self.user), Subject::Project(self.project)],
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

    /// Does `requests` requests in `tasks` tasks, until all of it is committed.
    async fn requests(self, requests: u64, tasks: u64) {
        let workers: Vec<_> = (0..tasks)
            .map(|task| {
                let books = self.clone();
                let share = requests / tasks + u64::from(task < requests % tasks);
                tokio::spawn(async move {
                    for _ in 0..share {
                        books.request().await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.expect("no panic");
        }
        self.ledger.drain().await;
    }
}

fn in_memory(runtime: &Runtime, tasks: u64, requests: u64) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = requests;
    while left > 0 {
        let now = left.min(FRESH);
        total += runtime.block_on(async {
            let books = Books::new(Arc::new(MemoryStore::new())).await;
            let start = Instant::now();
            books.requests(now, tasks).await;
            start.elapsed()
        });
        left -= now;
    }
    total
}

fn in_sqlite(runtime: &Runtime, tasks: u64, requests: u64) -> Duration {
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("llm-gate.db");
        let store = SqliteStore::open(SqliteConfig::new(file)).await;
        let books = Books::new(Arc::new(store.expect("a database"))).await;
        let start = Instant::now();
        books.requests(requests, tasks).await;
        start.elapsed()
    })
}

fn store(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (name, run) in [("memory", in_memory as Run), ("sqlite", in_sqlite)] {
        let mut group = criterion.benchmark_group(format!("store/{name}"));
        group.throughput(Throughput::Elements(1));
        for tasks in [1, 64] {
            let id = BenchmarkId::from_parameter(format!("{tasks}_tasks"));
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|requests| run(&runtime, tasks, requests));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10);
    targets = store
}
criterion_main!(benches);
