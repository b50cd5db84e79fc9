//! The statements of reports and how PostgreSQL runs them, pinned: each reads by the index of its scope.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use diesel::connection::{Connection, InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_types::Text;
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::reports;
use crate::watch::Outside;

const PINNED: &str = include_str!("reports.txt");

/// Calls of two hundred users in twenty projects, one in ten of a conversation: no more than are looked at for
/// statistics, so that the plans do not depend on chance.
const FILL: &str = "
    CREATE FUNCTION id(n bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(lpad(to_hex(n), 32, '0'), 'hex') $$;
    INSERT INTO reservations
        (id, user_id, project_id, session, route, model, stream, hold, hold_prompt, hold_completion, state, created_at,
        settled_at)
        SELECT id(n), id(n % 200), id(n % 20), CASE WHEN n % 10 = 0 THEN 's' || n % 7 END, 'chat', 'model', FALSE,
            0, 0, 0, 'void', n * 1000000, n * 1000000 + 1 FROM generate_series(1::bigint, 20000) n;
    DROP FUNCTION id;
    ANALYZE;";

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    step: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_read_by_the_index_of_their_scope() {
    let config = postgres::config().await.connections(NonZeroUsize::MIN);
    let store = PgStore::open(config.clone()).await.unwrap();
    Outside::of(&config).await.run(FILL).await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    let listen = move |connection: &mut _| {
        Connection::set_instrumentation(connection, move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                seen.lock().unwrap().push(query.to_string());
            }
        });
    };
    store.on_connection(listen).await.unwrap();
    reports::ask(&store).await;
    let asked = log.lock().unwrap().clone();
    let text = store.on_connection(move |connection| {
        connection
            .batch_execute(
                "SET plan_cache_mode = force_generic_plan; SET max_parallel_workers_per_gather = 0",
            )
            .unwrap();
        let mut text = String::new();
        for (number, statement) in asked.iter().enumerate() {
            let statement = statement.split(" -- binds").next().unwrap_or_default();
            // The columns of a call are those of a row.
            let Some((_, from)) = statement.split_once(" FROM \"reservations\"") else {
                continue;
            };
            text.push_str(&format!("FROM \"reservations\"{}\n", from.trim_end()));
            // Parameters are left open.
            let open = vec!["NULL"; statement.matches('$').count()].join(", ");
            connection
                .batch_execute(&format!("PREPARE report{number} AS {statement}"))
                .unwrap();
            let explain = format!("EXPLAIN (COSTS OFF) EXECUTE report{number} ({open})");
            for Step { step } in diesel::sql_query(explain).load(connection).unwrap() {
                assert!(
                    !step.contains("Seq Scan"),
                    "reads a whole table: {step} in {statement}"
                );
                text.push_str(&format!("    {}\n", step.trim_end()));
            }
        }
        text
    });
    let text = text.await.unwrap();
    assert_eq!(
        text, PINNED,
        "tests/postgres/reports.txt is what was reviewed"
    );
}
