//! Several stores on one file, as a command beside a running server would be.
#![cfg(feature = "sqlite")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::sync::Barrier;

use llm_gate::store::LedgerStore;
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteConfig, SqliteStore, test_db};

use support::{granted, limited, reserve, share_one_budget};

/// Tells the child processes of the last test which file to open.
const CHILD: &str = "LLM_GATE_TEST_DATABASE";

#[test]
fn threads_with_runtimes_of_their_own_share_a_store() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let store = runtime().block_on(test_db::open());
    let subject = runtime().block_on(limited(&store, 1_000));
    let barrier = Barrier::new(8);
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let runtime = runtime();
                    barrier.wait();
                    let grants = (0..50)
                        .filter(|_| runtime.block_on(granted(&store, &reserve(subject, 10))));
                    grants.count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(
        total, 100,
        "a budget for a hundred is granted a hundred times"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_stores_on_one_file_share_one_budget() {
    let config = test_db::config();
    let stores = [
        SqliteStore::open(config.clone()).await.unwrap(),
        SqliteStore::open(config).await.unwrap(),
    ];
    share_one_budget(&stores).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stores_opened_at_once_migrate_once() {
    let config = test_db::config();
    let barrier = Arc::new(tokio::sync::Barrier::new(16));
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (config, barrier) = (config.clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                SqliteStore::open(config).await
            })
        })
        .collect();
    for task in tasks {
        let store = task.await.unwrap().expect("every one of them opens");
        assert!(
            store.totals().await.unwrap().balance(),
            "and finds the tables"
        );
    }
}

#[test]
fn processes_started_at_once_migrate_once_and_share_one_budget() {
    let config = test_db::config();
    let children: Vec<_> = (0..4)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_process", "--ignored"])
                .env(CHILD, config.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success(), "a process failed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let totals = runtime.block_on(async {
        let store = SqliteStore::open(config).await.unwrap();
        store.totals().await.unwrap()
    });
    assert_eq!(totals.pending, 100, "four times 50 were asked for, 100 fit");
    assert!(totals.balance(), "and the books balance");
}

/// What each process of the test above does. The subject is the same in all of them.
#[tokio::test]
#[ignore = "started by processes_started_at_once_migrate_once_and_share_one_budget"]
async fn child_process() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let config = SqliteConfig::new(path).busy_timeout(std::time::Duration::from_secs(60));
    let store = SqliteStore::open(config).await.unwrap();
    let subject = "user";
    let subject = llm_gate::identity::Subject::from_parts(subject, uuid::Uuid::max()).unwrap();
    store
        .set_limit(subject, Some(Tokens::new(1_000)))
        .await
        .unwrap();
    for _ in 0..50 {
        granted(&store, &reserve(subject, 10)).await;
    }
}
