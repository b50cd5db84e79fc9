//! What a kill leaves under way in a server of its own: a commit that the dead has sent.

use llm_gate_diesel::test_db::postgres;
use support::in_time;
use tokio_postgres::{Client, NoTls};

use super::caller::{check, rig};

/// Lets nobody who makes a reservation commit before the lock is free, however long that takes.
const HOLD_UP: &str = "
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold_up AFTER INSERT ON reservations
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold_up();
    SELECT pg_advisory_lock(1);";

/// The server is at a commit and waits for that lock.
const COMMITTING: &str = "query = 'COMMIT' AND wait_event = 'advisory'";

/// Waits until a question about the sessions of others is answered with yes.
async fn until(outside: &Client, sessions: &str) {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND {sessions})"
    );
    let asking = async {
        while !outside
            .query_one(&sql, &[])
            .await
            .expect("an answer")
            .get::<_, bool>(0)
        {}
    };
    in_time(sessions, asking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_commit_outlives_its_process_is_given_back() {
    if !postgres::installed() {
        eprintln!("SKIPPED: no PostgreSQL on this machine (Debian: `apt install postgresql`)");
        assert!(std::env::var_os("CI").is_none(), "CI installs it");
        return;
    }
    let database = postgres::config().await;
    let (rig, server, mut callers) = rig(1, Some(&database)).await;
    let connecting = tokio_postgres::connect(database.url(), NoTls).await;
    let (outside, connection) = connecting.expect("a connection");
    tokio::spawn(connection);
    outside.batch_execute(HOLD_UP).await.expect("a trigger");

    callers[0].turn_to(&server);
    let killing = async {
        until(&outside, COMMITTING).await;
        server.kill().await;
    };
    tokio::join!(callers[0].in_vain(), killing);
    let dead = "the dead one's commit, and what the next start has to wait for";
    let starting = rig.serve();
    let releasing = async {
        until(&outside, "wait_event = 'transactionid'").await;
        let release = "SELECT pg_advisory_unlock(1)";
        outside.batch_execute(release).await.expect(dead);
    };
    let (_server, ()) = tokio::join!(starting, releasing);
    check(&rig, &mut callers, "behind the late commit").await;
}
