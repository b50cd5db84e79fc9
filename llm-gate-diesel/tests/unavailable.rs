//! A database that is locked, read-only, full or away: calls fail as unavailable, nothing is lost, and the
//! store is back as soon as the database is.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;
use llm_gate::identity::Subject;
use llm_gate::store::{LedgerStore, Operation, StoreErrorKind, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{OpenError, SqliteConfig, SqliteStore, test_db};

use support::{account, granted, is_back, limited, reserve, settle, unavailable};

/// A store whose subject has 60 of 100 held, and the file it is in.
async fn with_a_hold() -> (SqliteStore, SqliteConfig, Subject, Operation) {
    let config = test_db::config().busy_timeout(Duration::from_millis(20));
    let store = SqliteStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    let hold = reserve(subject, 60);
    assert!(granted(&store, &hold).await, "there is room");
    (store, config, subject, settle(hold.id, 25))
}

fn outside(config: &SqliteConfig) -> SqliteConnection {
    SqliteConnection::establish(config.path().to_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_locked_database_is_unavailable_until_it_is_released() {
    let (store, config, subject, settle) = with_a_hold().await;
    let mut other = outside(&config);
    other.batch_execute("BEGIN EXCLUSIVE").unwrap();
    for _ in 0..3 {
        unavailable(
            store.apply(vec![settle.clone()]).await,
            "another holds the lock",
        );
        unavailable(
            store.create_user(account("ada")).await,
            "whatever is written",
        );
    }
    let standing = store
        .standing(subject)
        .await
        .expect("reading needs no lock");
    assert_eq!(
        standing.reserved,
        Tokens::new(60),
        "and sees what was committed"
    );
    let second = SqliteStore::open(config.clone()).await;
    assert!(
        matches!(second, Err(OpenError::Unusable(_))),
        "nor can another be opened"
    );
    other.batch_execute("COMMIT").unwrap();
    is_back(&store, subject, settle).await;
    store
        .create_user(account("ada"))
        .await
        .expect("the refused account left nothing behind");
}

#[tokio::test]
async fn a_full_disk_is_unavailable_until_there_is_room() {
    let (store, _config, subject, settle) = with_a_hold().await;
    for _ in 0..3 {
        // The cap belongs to the connection, and a failed connection is replaced.
        store
            .on_writer(|connection| connection.batch_execute("PRAGMA max_page_count = 1"))
            .await
            .unwrap()
            .unwrap();
        let many = (0..2_000)
            .map(|_| Operation::Reserve(reserve(subject, 0)))
            .collect();
        unavailable(store.apply(many).await, "the disk is full");
        assert_eq!(
            store.totals().await.unwrap().pending,
            1,
            "no part of the batch was kept"
        );
    }
    is_back(&store, subject, settle).await;
}

#[tokio::test]
async fn a_read_only_database_is_unavailable_until_it_can_be_written() {
    let (store, _config, subject, settle) = with_a_hold().await;
    for _ in 0..3 {
        store
            .on_writer(|connection| connection.batch_execute("PRAGMA query_only = ON"))
            .await
            .unwrap()
            .unwrap();
        unavailable(
            store.apply(vec![settle.clone()]).await,
            "nothing can be written",
        );
    }
    is_back(&store, subject, settle).await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_unavailable_until_it_is_back() {
    let (store, config, subject, settle) = with_a_hold().await;
    let away = config.path().with_extension("away");
    // A failed statement has the connections replaced, so that they look for the file again.
    let broken =
        |connection: &mut SqliteConnection| connection.batch_execute("PRAGMA query_only = ON");
    store.on_writer(broken).await.unwrap().unwrap();
    unavailable(
        store.apply(vec![settle.clone()]).await,
        "the connection is broken",
    );
    outside(&config)
        .batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    std::fs::rename(config.path(), &away).unwrap();
    for _ in 0..3 {
        unavailable(store.apply(vec![settle.clone()]).await, "the file is away");
        assert!(!config.path().exists(), "and no empty one takes its place");
    }
    std::fs::rename(&away, config.path()).unwrap();
    is_back(&store, subject, settle).await;
}

#[tokio::test]
async fn a_folder_in_the_place_of_the_file_cannot_be_opened() {
    let config = test_db::config();
    std::fs::create_dir(config.path()).unwrap();
    let error = SqliteStore::open(config.clone())
        .await
        .expect_err("a folder is no database");
    assert!(matches!(error, OpenError::Unusable(_)), "{error:?}");
    std::fs::remove_dir(config.path()).unwrap();
    SqliteStore::open(config).await.expect("the folder is gone");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_left_alone() {
    let config = test_db::config();
    let text = "Dear diary, this is far longer than the sixteen bytes of a header.".repeat(20);
    std::fs::write(config.path(), &text).unwrap();
    SqliteStore::open(config.clone())
        .await
        .expect_err("a diary is no database");
    assert_eq!(
        std::fs::read_to_string(config.path()).unwrap(),
        text,
        "it is as it was"
    );
}

#[tokio::test]
async fn a_panic_costs_one_answer_and_no_more() {
    let (store, _config, subject, settle) = with_a_hold().await;
    let answer = store.on_writer::<()>(|_| panic!("a defect")).await;
    let kind = answer.expect_err("the call has no answer").kind();
    assert_eq!(kind, StoreErrorKind::Other, "it is a defect");
    is_back(&store, subject, settle).await;
}

#[tokio::test]
async fn the_ledger_cannot_be_rewritten() {
    let (store, config, _subject, settle) = with_a_hold().await;
    store.apply(vec![settle]).await.unwrap();
    let mut connection = outside(&config);
    for statement in ["UPDATE ledger SET charge = 0", "DELETE FROM ledger"] {
        let error = connection
            .batch_execute(statement)
            .expect_err("a trigger refuses it");
        assert!(error.to_string().contains("append only"), "{error}");
    }
    let lines = diesel::select(diesel::dsl::sql::<BigInt>(
        "(SELECT COUNT(*) FROM ledger WHERE kind = 'settle')",
    ))
    .get_result::<i64>(&mut connection)
    .unwrap();
    assert_eq!(lines, 1, "the line stands");
}

#[tokio::test]
async fn what_was_done_is_never_changed_and_never_deleted() {
    let config = test_db::config();
    let store = SqliteStore::open(config.clone()).await.unwrap();
    store.create_user(account("ada")).await.unwrap();
    let mut connection = outside(&config);
    for statement in ["UPDATE events SET actor = 'operator'", "DELETE FROM events"] {
        let error = connection
            .batch_execute(statement)
            .expect_err("a trigger refuses it");
        assert!(error.to_string().contains("append only"), "{error}");
    }
    let events = diesel::select(diesel::dsl::sql::<BigInt>("(SELECT COUNT(*) FROM events)"))
        .get_result::<i64>(&mut connection)
        .unwrap();
    assert_eq!(events, 2, "that of the account and of its project stand");
}
