//! What no trait reads back yet: the settings of the connections, and the record of a call.
#![cfg(feature = "sqlite")]

mod support;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::sqlite::SqliteConnection;
use llm_gate::identity::{KeyId, Subject};
use llm_gate::store::{LedgerStore, Operation, UserStore};
use llm_gate::tokens::Usage;
use llm_gate_diesel::test_db;

use support::{account, author, granted, limited, reserve, settle};

/// Reads one value of one row as text.
fn read(connection: &mut SqliteConnection, sql: &str) -> String {
    diesel::select(diesel::dsl::sql::<Text>(&format!("(SELECT CAST({sql})")))
        .get_result(connection)
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn pragma(connection: &mut SqliteConnection, name: &str) -> String {
    read(connection, &format!("{name} AS TEXT) FROM pragma_{name}"))
}

#[tokio::test]
async fn a_commit_is_on_the_disk_and_readers_cannot_write() {
    let store = test_db::open().await;
    let settings = ["journal_mode", "synchronous", "foreign_keys", "query_only"];
    let all =
        move |connection: &mut SqliteConnection| settings.map(|name| pragma(connection, name));
    let writer = store.on_writer(all).await.unwrap();
    assert_eq!(
        writer,
        ["wal", "2", "1", "0"],
        "the write-ahead log, and an fsync a commit"
    );
    let reader = store.on_reader(all).await.unwrap();
    assert_eq!(
        reader,
        ["wal", "2", "1", "1"],
        "a reader is held to reading"
    );
}

#[tokio::test]
async fn what_a_call_used_is_on_record() {
    let store = test_db::open().await;
    let subject = limited(&store, 100).await;
    let key = KeyId::new();
    let mut hold = reserve(subject, 60);
    hold.subjects.push(Subject::Key(key));
    assert!(granted(&store, &hold).await, "there is room");
    let Operation::Settle(mut end) = settle(hold.id, 130) else {
        panic!("a settlement")
    };
    end.usage = Usage {
        prompt: 100,
        completion: 30,
        cached: 7,
        reasoning: 3,
    };
    store.apply(vec![Operation::Settle(end)]).await.unwrap();

    let (figures, key_of, parts, lines) = store
        .on_reader(move |connection| {
            let figures = read(
                connection,
                "concat_ws(' ', state, hold, charged, overage, prompt, completion, cached, reasoning, \
                 source, ending, status, settled_at) AS TEXT) FROM reservations",
            );
            let key_of = read(connection, "lower(hex(key_id)) AS TEXT) FROM reservations");
            let sum = |table: &str| {
                format!("concat_ws(' ', count(*), sum(charge), sum(overage)) AS TEXT) FROM {table}")
            };
            let parts = read(
                connection,
                "concat_ws(' ', count(*), sum(held), sum(charged)) AS TEXT) FROM reservation_counters",
            );
            (figures, key_of, parts, read(connection, &sum("ledger WHERE kind = 'settle'")))
        })
        .await
        .unwrap();
    assert_eq!(
        figures, "settled 60 100 30 100 30 7 3 upstream complete 200 2",
        "the whole story"
    );
    assert_eq!(
        key_of,
        key.as_uuid().simple().to_string(),
        "and by which key"
    );
    assert_eq!(
        parts, "2 120 230",
        "what each counter held and was charged: 100, and 130 without a limit"
    );
    assert_eq!(lines, "2 230 30", "as the ledger has it");
    let checked = store
        .on_reader(|connection| {
            diesel::select(diesel::dsl::sql::<BigInt>(
                "(SELECT count(*) FROM pragma_foreign_key_check)",
            ))
            .get_result::<i64>(connection)
        })
        .await;
    assert_eq!(checked.unwrap().unwrap(), 0, "no row points nowhere");
}

#[tokio::test]
async fn of_who_was_deleted_no_name_and_no_password_stays() {
    let store = test_db::open().await;
    let user = store.create_user(account("ada")).await.unwrap();
    store.delete_user(user.id, author()).await.unwrap();
    let rows = store.on_reader(|connection| {
        let columns = "email, username, name, password_hash, disabled, deleted_at";
        let row = format!("concat_ws(' ', {columns}) AS TEXT) FROM users");
        let names = "count(*) AS TEXT) FROM logins";
        (read(connection, &row), read(connection, names))
    });
    let (row, names) = rows.await.unwrap();
    assert_eq!(row, "1 1", "the row is for what points to it");
    assert_eq!(names, "0", "the name is free");
}
