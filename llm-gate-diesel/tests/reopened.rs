//! What was answered is on the disk: a store that is opened again finds it.
#![cfg(feature = "sqlite")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use llm_gate::identity::{RequestId, Subject, UserId};
use llm_gate::store::{LedgerStore, Outcome, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteConfig, SqliteStore, test_db};

use support::{account, granted, limited, reserve, settle};

#[tokio::test]
async fn a_reservation_outlives_its_store() {
    let config = test_db::config();
    let store = SqliteStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    let user = store.create_user(account("ada")).await.unwrap();
    let hold = reserve(subject, 60);
    assert!(granted(&store, &hold).await, "there is room");
    drop(store);

    let store = SqliteStore::open(config.clone()).await.unwrap();
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        standing.reserved,
        Tokens::new(60),
        "the hold is still there"
    );
    assert_eq!(standing.limit, Some(Tokens::new(100)), "and the limit");
    assert_eq!(
        store.user(user.id).await.unwrap(),
        Some(user),
        "and the user"
    );
    assert!(granted(&store, &hold).await, "the request is known");
    assert!(
        !granted(&store, &reserve(subject, 41)).await,
        "what is held is not free"
    );
    let outcome = store.apply(vec![settle(hold.id, 25)]).await.unwrap();
    assert!(
        matches!(&outcome[..], [Outcome::Settled(end)] if !end.repeated),
        "it is settled now"
    );
    drop(store);

    let store = SqliteStore::open(config).await.unwrap();
    let outcome = store.apply(vec![settle(hold.id, 25)]).await.unwrap();
    assert!(
        matches!(&outcome[..], [Outcome::Settled(end)] if end.repeated),
        "and for ever"
    );
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(25), Tokens::ZERO),
        "once"
    );
    assert!(store.totals().await.unwrap().balance(), "the books balance");
}

/// Tells the process that is killed which file to open.
const VICTIM: &str = "LLM_GATE_TEST_VICTIM";

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let config = test_db::config();
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(VICTIM, config.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let acknowledged: Vec<RequestId> = lines
        .filter_map(|line| line.unwrap().strip_prefix("granted ")?.parse().ok())
        .take(50)
        .collect();
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(acknowledged.len(), 50, "it was killed at work");

    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(config).await.unwrap();
        let totals = store.totals().await.unwrap();
        assert!(
            totals.balance(),
            "no transaction was left half done: {totals:?}"
        );
        assert!(
            totals.pending >= 50,
            "at least what was acknowledged is there"
        );
        let batch = acknowledged.iter().map(|&id| settle(id, 1)).collect();
        for outcome in store.apply(batch).await.unwrap() {
            assert!(
                matches!(outcome, Outcome::Settled(_)),
                "an acknowledged hold is known"
            );
        }
        assert!(store.totals().await.unwrap().balance(), "the books go on");
    });
}

/// Reserves and says so, until it is killed.
#[tokio::test]
#[ignore = "started by what_was_acknowledged_survives_a_kill"]
async fn victim() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let store = SqliteStore::open(SqliteConfig::new(path)).await.unwrap();
    let subject = Subject::User(UserId::new());
    let mut out = std::io::stdout();
    loop {
        let hold = reserve(subject, 10);
        assert!(granted(&store, &hold).await, "there is no limit");
        // A line of its own: the test runner has begun one.
        if writeln!(out, "\ngranted {}", hold.id).is_err() {
            return;
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let config = test_db::config();
    let store = SqliteStore::open(config.clone()).await.unwrap();
    store.create_user(account("ada")).await.unwrap();
    for file in std::fs::read_dir(config.path().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(
            mode & 0o077,
            0,
            "password hashes are in {:?}",
            file.file_name()
        );
    }
}
