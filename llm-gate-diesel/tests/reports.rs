//! The statements of reports and how SQLite runs them, pinned: each reads by the index of its scope.
#![cfg(feature = "sqlite")]

mod support;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use diesel::connection::{Connection, InstrumentationEvent};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use llm_gate_diesel::{SqliteStore, test_db};

const PINNED: &str = include_str!("reports.txt");

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[tokio::test]
async fn reports_read_by_the_index_of_their_scope() {
    let config = test_db::config().readers(NonZeroUsize::MIN);
    let store = SqliteStore::open(config.clone()).await.unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let listen = move |connection: &mut SqliteConnection| {
        connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                seen.lock().unwrap().push(query.to_string());
            }
        });
    };
    store.on_reader(listen).await.unwrap();
    support::reports::ask(&store).await;

    let mut connection = SqliteConnection::establish(config.path().to_str().unwrap()).unwrap();
    let mut text = String::new();
    for statement in log.lock().unwrap().iter() {
        let statement = statement.split(" -- binds").next().unwrap_or_default();
        if !statement.starts_with("SELECT") {
            continue;
        }
        // The columns of a call are those of a row.
        let (_, from) = statement.split_once(" FROM ").unwrap();
        text.push_str(&format!("FROM {from}\n"));
        let plan = diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"));
        for Step { detail } in plan.load(&mut connection).unwrap() {
            // What was added up may be put in order; calls come in that of an index.
            let sums = detail == "USE TEMP B-TREE FOR GROUP BY"
                || (statement.contains("GROUP BY") && detail == "USE TEMP B-TREE FOR ORDER BY");
            assert!(
                sums || detail.contains("INDEX"),
                "reads a whole table, or sorts calls: {detail} in {statement}"
            );
            text.push_str(&format!("    {detail}\n"));
        }
    }
    assert_eq!(text, PINNED, "tests/reports.txt is what was reviewed");
}
