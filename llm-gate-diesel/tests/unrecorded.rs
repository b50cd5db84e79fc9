//! No change without its event, on SQLite. On PostgreSQL it is asked in `postgres/unrecorded.rs`.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use llm_gate_diesel::test_db;

use support::unrecorded;

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    text: String,
}

fn lines(connection: &mut SqliteConnection, sql: &str) -> Vec<String> {
    let lines: Vec<Line> = diesel::sql_query(sql).load(connection).unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

/// Reads all rows of all tables.
fn dump(connection: &mut SqliteConnection) -> String {
    let tables = "SELECT name AS text FROM sqlite_master WHERE type = 'table' ORDER BY name";
    let mut all = String::new();
    for table in lines(connection, tables) {
        let columns =
            format!("SELECT 'quote(\"' || name || '\")' AS text FROM pragma_table_info('{table}')");
        let columns = lines(connection, &columns).join(" || ',' || ");
        let rows = format!("SELECT {columns} AS text FROM \"{table}\" ORDER BY 1");
        all += &format!("{table}\n{}\n", lines(connection, &rows).join("\n"));
    }
    all
}

#[tokio::test]
async fn nothing_is_done_that_is_not_told() {
    let store = test_db::open().await;
    let read = async || store.on_reader(dump).await.unwrap();
    let allow = async |allowed| {
        let sql = if allowed {
            "DROP TRIGGER no_event"
        } else {
            "CREATE TRIGGER no_event BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no event'); END"
        };
        let done = store.on_writer(move |connection| connection.batch_execute(sql));
        done.await.unwrap().unwrap();
    };
    unrecorded::nothing_is_done_that_is_not_told(&store, read, allow).await;
}
