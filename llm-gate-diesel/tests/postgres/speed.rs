//! How many grants a second there are with durable commits, on this machine's disk.

use std::time::{Duration, Instant};

use llm_gate::store::{LedgerStore, Operation, Outcome};
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres::Cluster;

use crate::support::{limited, reserve, settle};

const TIME: Duration = Duration::from_secs(4);

/// Applies batches of `size` grants to one counter from `writers` stores, and settles them where told to.
async fn run(cluster: &Cluster, writers: usize, size: usize, settling: bool) -> String {
    let config = cluster.database().await;
    let first = PgStore::open(config.clone()).await.unwrap();
    let subject = limited(&first, 1 << 50).await;
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..writers {
        let store = PgStore::open(config.clone()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let mut commits = 0;
            while started.elapsed() < TIME {
                let holds: Vec<_> = (0..size).map(|_| reserve(subject, 10)).collect();
                let ends: Vec<_> = holds.iter().map(|hold| settle(hold.id, 5)).collect();
                let batch = holds.into_iter().map(Operation::Reserve).collect();
                let outcomes = store.apply(batch).await.unwrap();
                assert!(matches!(outcomes[0], Outcome::Granted(_)));
                commits += 1;
                if settling {
                    store.apply(ends).await.unwrap();
                    commits += 1;
                }
            }
            commits
        }));
    }
    let mut commits = 0;
    for task in tasks {
        commits += task.await.unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    assert!(first.totals().await.unwrap().balance());
    format!(
        "{writers} writers, batches of {size}, settling {settling}: {:.0} commits/s, {:.0} operations/s",
        f64::from(commits) / took,
        f64::from(commits) * size as f64 / took
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: cargo test -p llm-gate-diesel --test postgres speed -- --ignored --nocapture"]
async fn grants_a_second_on_one_counter() {
    let cluster = Cluster::start(&["fsync=on"]).await;
    for (writers, size, settling) in [
        (1, 1, false),
        (4, 1, false),
        (1, 256, false),
        (4, 256, false),
        (1, 256, true),
        (1, 1024, false),
    ] {
        println!("{}", run(&cluster, writers, size, settling).await);
    }
}
