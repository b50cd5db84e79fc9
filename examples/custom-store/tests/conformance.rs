//! The rules every store keeps, and what is special about a log.

use std::fs::OpenOptions;
use std::io::Write;

use llm_gate::identity::{Subject, UserId};
use llm_gate::store::LedgerStore;
use llm_gate::tokens::Tokens;
use llm_gate_custom_store::LogStore;

async fn make() -> LogStore {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The open file outlives its folder.
    LogStore::open(&folder.path().join("books.jsonl")).expect("a new log")
}

llm_gate::conformance_tests!(ledger: crate::make);

#[tokio::test]
async fn half_a_line_left_by_a_crash_is_cut_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("books.jsonl");
    let user = Subject::User(UserId::new());
    let store = LogStore::open(&path).expect("a new log");
    store
        .set_limit(user, Some(Tokens::new(7)))
        .await
        .expect("written");
    drop(store);
    let mut file = OpenOptions::new()
        .append(true)
        .open(&path)
        .expect("the log");
    file.write_all(b"{\"limit\":{\"subj").expect("written");
    drop(file);

    let store = LogStore::open(&path).expect("opens all the same");
    store
        .set_limit(user, Some(Tokens::new(8)))
        .await
        .expect("written");
    drop(store);
    let store = LogStore::open(&path).expect("whole lines only");
    assert_eq!(
        store.standing(user).await.expect("read").limit,
        Some(Tokens::new(8))
    );
}

#[test]
fn a_log_has_one_owner() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("books.jsonl");
    let first = LogStore::open(&path).expect("a new log");
    assert!(
        LogStore::open(&path).is_err(),
        "two writers would each miss what the other grants"
    );
    drop(first);
    assert!(LogStore::open(&path).is_ok());
}
