//! The hot statements and how SQLite runs them, pinned: a change of either is to be seen in review.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use diesel::connection::{Connection, InstrumentationEvent};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::sqlite::SqliteConnection;
use llm_gate::identity::Subject;
use llm_gate::store::{CredentialStore, Extend, LedgerStore, Operation, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteStore, test_db};

use support::{look_ups, reserve, settle};

const PINNED: &str = include_str!("plans.txt");

type Log = Arc<Mutex<Vec<String>>>;

/// Writes every statement of a connection into `log`.
fn listen(connection: &mut SqliteConnection, log: &Log) {
    let log = Arc::clone(log);
    connection.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            log.lock().unwrap().push(query.to_string());
        }
    });
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// Lists the steps SQLite takes for a statement.
fn plan(connection: &mut SqliteConnection, statement: &str) -> Vec<String> {
    diesel::sql_query(format!("EXPLAIN QUERY PLAN {statement}"))
        .load::<Step>(connection)
        .unwrap()
        .into_iter()
        .map(|step| step.detail)
        .collect()
}

#[tokio::test]
async fn hot_statements_and_their_plans_are_the_pinned_ones() {
    let config = test_db::config().readers(NonZeroUsize::MIN);
    let store = SqliteStore::open(config.clone()).await.unwrap();
    let there = look_ups::prepare(&store).await;

    let log = Log::default();
    let (writes, reads) = (Arc::clone(&log), Arc::clone(&log));
    store
        .on_writer(move |connection| listen(connection, &writes))
        .await
        .unwrap();
    store
        .on_reader(move |connection| listen(connection, &reads))
        .await
        .unwrap();
    let subject = Subject::User(there.user.id);
    let hold = reserve(subject, 10);
    store.key_by_public_id("public".to_owned()).await.unwrap();
    store.user_by_login("ada".to_owned()).await.unwrap();
    store
        .apply(vec![Operation::Reserve(hold.clone())])
        .await
        .unwrap();
    let extend = Extend {
        id: hold.id,
        version: 1,
        hold: Tokens::new(20).into(),
    };
    store.apply(vec![Operation::Extend(extend)]).await.unwrap();
    store.apply(vec![settle(hold.id, 5)]).await.unwrap();
    store.standing(subject).await.unwrap();
    look_ups::run(&store, &there).await;
    look_ups::rotate(&store, &there).await;
    look_ups::write(&store, &there).await;

    let mut connection = SqliteConnection::establish(config.path().to_str().unwrap()).unwrap();
    let mut seen = Vec::new();
    let mut text = String::new();
    for statement in log.lock().unwrap().iter() {
        let statement = statement.split(" -- binds").next().unwrap_or_default();
        let of_transaction = ["BEGIN", "COMMIT"]
            .iter()
            .any(|word| statement.starts_with(word));
        if of_transaction || seen.contains(&statement.to_owned()) {
            continue;
        }
        seen.push(statement.to_owned());
        text.push_str(statement);
        text.push('\n');
        for step in plan(&mut connection, statement) {
            assert!(
                !step.contains("SCAN"),
                "reads a whole table: {step} in {statement}"
            );
            assert!(
                !step.contains("TEMP B-TREE"),
                "sorts: {step} in {statement}"
            );
            text.push_str("    ");
            text.push_str(&step);
            text.push('\n');
        }
    }
    if std::env::var_os("LLM_GATE_PRINT_PLANS").is_some() {
        println!("{text}");
    }
    assert_eq!(text, PINNED, "tests/plans.txt is what was reviewed");
}
