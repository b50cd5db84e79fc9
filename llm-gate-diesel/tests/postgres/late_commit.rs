//! A reserve that is being committed while somebody settles it, as the server does for a process that was killed.

use llm_gate::store::{LedgerStore, Operation, Outcome};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::{limited, reserve, settle};
use crate::watch::Outside;

/// Lets nobody who makes a reservation commit before the lock is free.
const HOLD_UP: &str = "
    CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER hold_up AFTER INSERT ON reservations
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold_up();
    SELECT pg_advisory_lock(1)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_waits_for_the_reserve_that_is_being_committed() {
    let config = postgres::config().await;
    let (outside, observer) = (Outside::of(&config).await, Outside::of(&config).await);
    let dead = PgStore::open(config.clone()).await.unwrap();
    let store = PgStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    outside.run(HOLD_UP).await;

    let (hold, other) = (reserve(subject, 60), reserve(subject, 1));
    let reserving = vec![Operation::Reserve(hold.clone())];
    let reserving = tokio::spawn(async move { dead.apply(reserving).await });
    observer
        .until(1, "query = 'COMMIT' AND wait_event = 'advisory'")
        .await;
    let batch = vec![settle(other.id, 5), settle(hold.id, 25)];
    let settling = tokio::spawn({
        let store = store.clone();
        async move { store.apply(batch).await }
    });
    observer.until(1, "wait_event = 'transactionid'").await;
    outside.run("SELECT pg_advisory_unlock(1)").await;

    assert!(matches!(
        &reserving.await.unwrap().unwrap()[..],
        [Outcome::Granted(_)]
    ));
    let settled = settling.await.unwrap().unwrap();
    assert!(
        matches!(&settled[..], [Outcome::Unknown, Outcome::Settled(end)] if !end.repeated),
        "it was there after all, and what nobody reserves stays unknown: {settled:?}"
    );
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(25), Tokens::ZERO),
        "nothing stays held"
    );
    let totals = store.totals().await.unwrap();
    assert!(totals.balance());
    assert_eq!(
        (totals.pending, totals.settled),
        (0, 1),
        "nothing else was left"
    );
}
