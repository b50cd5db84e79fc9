//! The hot statements and how PostgreSQL runs them, pinned: a change of either is to be seen in review.
//!
//! They are read back from the server: what stands here has been prepared once and is kept by its connection.

use std::num::NonZeroUsize;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{Integer, Text};
use llm_gate::identity::Subject;
use llm_gate::store::{CredentialStore, Extend, LedgerStore, Operation, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::{look_ups, reserve, settle};
use crate::watch::Outside;

const PINNED: &str = include_str!("plans.txt");

/// Ten thousand more of each, so that there is something to plan.
const FILL: &str = "
    CREATE FUNCTION id(n bigint) RETURNS bytea LANGUAGE sql AS $$ SELECT decode(lpad(to_hex(n), 32, '0'), 'hex') $$;
    INSERT INTO projects SELECT id(n), 'p', 0 FROM generate_series(1, 10000) n;
    INSERT INTO users
        SELECT id(n), 'person', NULL, FALSE, 'u' || n, NULL, '', 'user', FALSE, id(n), 0 FROM generate_series(1, 10000) n;
    INSERT INTO logins SELECT 'u' || n, id(n) FROM generate_series(1, 10000) n;
    INSERT INTO identities SELECT 'issuer', 'u' || n, id(n), 0 FROM generate_series(1, 10000) n;
    INSERT INTO tickets SELECT id(n) || id(n), 'verify_email', id(n), '', 0, 9 FROM generate_series(1, 10000) n;
    INSERT INTO project_members SELECT id(n), id(n), 'owner', 0 FROM generate_series(1, 10000) n;
    INSERT INTO invites
        SELECT id(n), id(n) || id(n), '', 'user', 0, NULL, 9 FROM generate_series(1, 10000) n;
    INSERT INTO invite_projects SELECT id(n), id(n), 'member' FROM generate_series(1, 10000) n;
    INSERT INTO api_keys
        SELECT id(n), 'k' || n, id(n) || id(n), 'p' || n, id(n) || id(n), 9, '', id(n), id(n), '[]', NULL, NULL, FALSE, 0
        FROM generate_series(1, 10000) n;
    INSERT INTO sessions SELECT id(n), id(n), 0, 0, 9, 9, NULL, NULL, FALSE FROM generate_series(1, 10000) n;
    INSERT INTO refresh_tokens SELECT id(n) || id(n), id(n), 0, 9 FROM generate_series(1, 10000) n;
    INSERT INTO events
        SELECT id(n), 0, 'user', id(n), NULL, NULL, NULL, 'user.created', 'user', 'u' || n, id(n) FROM generate_series(1, 10000) n;
    INSERT INTO limits SELECT id(n), 'user', '', 'tokens', 'total', 'UTC', 9 FROM generate_series(1, 10000) n;
    INSERT INTO counters (subject_id, subject_kind, model, unit, window_kind, window_start, used, reserved, overage, frozen)
        SELECT id(n), 'user', '', 'tokens', 'total', 0, 0, 0, 0, FALSE FROM generate_series(1, 10000) n;
    INSERT INTO reservations
        (id, user_id, project_id, route, model, stream, hold, hold_prompt, hold_completion, state, created_at)
        SELECT id(n), id(n), id(n), 'chat', 'model', FALSE, 0, 0, 0, 'void', 0 FROM generate_series(1, 10000) n;
    INSERT INTO reservation_counters SELECT r.id, c.id, 0, 0 FROM reservations r JOIN counters c ON c.subject_id = r.id;
    DROP FUNCTION id;
    ANALYZE;";

#[derive(QueryableByName)]
struct Prepared {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Integer)]
    parameters: i32,
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text, column_name = "QUERY PLAN")]
    step: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hot_statements_and_their_plans_are_the_pinned_ones() {
    let config = postgres::config().await.connections(NonZeroUsize::MIN);
    let preparing = PgStore::open(config.clone()).await.unwrap();
    let there = look_ups::prepare(&preparing).await;

    let outside = Outside::of(&config).await;
    outside.run(FILL).await;

    let store = PgStore::open(config).await.unwrap();
    let subject = Subject::User(there.user.id);
    let hold = reserve(subject, 10);
    store.key_by_public_id("public".to_owned()).await.unwrap();
    store.user_by_login("ada".to_owned()).await.unwrap();
    for _ in 0..2 {
        let batch = vec![Operation::Reserve(hold.clone())];
        store.apply(batch).await.unwrap();
    }
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

    let text = store.on_connection(|connection| {
        // Parameters are left open.
        connection
            .batch_execute("SET plan_cache_mode = force_generic_plan")
            .unwrap();
        let prepared = diesel::sql_query(
            "SELECT name, statement, cardinality(parameter_types) AS parameters \
             FROM pg_prepared_statements WHERE statement !~ 'pg_prepared_statements|version[(]|server_version|current_setting|migrations' \
             ORDER BY prepare_time",
        )
        .load::<Prepared>(connection)
        .unwrap();
        let mut text = String::new();
        for Prepared { name, statement, parameters } in prepared {
            let open = vec!["NULL"; parameters.try_into().unwrap()].join(", ");
            let explain = format!("EXPLAIN (COSTS OFF) EXECUTE {name} ({open})");
            text.push_str(statement.trim_end());
            text.push('\n');
            for Step { step } in diesel::sql_query(explain).load(connection).unwrap() {
                assert!(!step.contains("Seq Scan"), "reads a whole table: {step} in {statement}");
                text.push_str("    ");
                text.push_str(step.trim_end());
                text.push('\n');
            }
        }
        text
    });
    let text = text.await.unwrap();
    if std::env::var_os("LLM_GATE_PRINT_PLANS").is_some() {
        println!("{text}");
    }
    assert_eq!(
        text, PINNED,
        "tests/postgres/plans.txt is what was reviewed"
    );
}
