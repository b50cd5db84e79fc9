//! A server that is away, crashed, full of others or not to be written to: calls fail as unavailable, nothing is
//! lost, and the store is back as soon as the server is.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::{
    CallFilter, LedgerStore, Operation, Outcome, StoreErrorKind, UsageScope, UsageStore, UserStore,
};
use llm_gate_diesel::test_db::postgres::{self, Cluster};
use llm_gate_diesel::{OpenError, PgConfig, PgStore};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::support::{account, granted, is_back, limited, reserve, settle, unavailable};
use crate::watch::{Outside, WAITING};

/// A store whose subject has 60 of 100 held.
async fn with_a_hold(config: &PgConfig) -> (PgStore, Subject, Operation) {
    let store = PgStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    let hold = reserve(subject, 60);
    assert!(granted(&store, &hold).await, "there is room");
    (store, subject, settle(hold.id, 25))
}

/// What a worker was told: a hold, a settlement, or that the server is away.
#[derive(Clone, Copy, Debug)]
enum Told {
    Held(RequestId),
    Settled,
    Away,
}

const CRASHES: usize = 20;
const LONG: Duration = Duration::from_secs(600);
const HOLD: u64 = 10;
const CHARGE: u64 = 7;

/// Reserves and settles until it is told to stop; what may have been committed is asked for again, under the same id.
/// Returns what it still owes.
async fn work(
    store: PgStore,
    subject: Subject,
    stop: Arc<AtomicBool>,
    said: UnboundedSender<Told>,
) -> Option<Operation> {
    let mut owed = None;
    while !stop.load(Ordering::SeqCst) {
        let operation = owed
            .take()
            .unwrap_or_else(|| Operation::Reserve(reserve(subject, HOLD)));
        match store.apply(vec![operation.clone()]).await {
            Ok(outcomes) => match (&operation, &outcomes[..]) {
                (Operation::Reserve(hold), [Outcome::Granted(_)]) => {
                    said.send(Told::Held(hold.id)).unwrap();
                    owed = Some(settle(hold.id, CHARGE));
                }
                (Operation::Settle(_), [Outcome::Settled(end)]) => {
                    assert_eq!(end.charged.get(), CHARGE, "an acknowledged hold is there");
                    said.send(Told::Settled).unwrap();
                }
                other => panic!("{other:?}"),
            },
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error:?}");
                said.send(Told::Away).unwrap();
                owed = Some(operation);
            }
        }
    }
    owed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_acknowledged_survives_crashes_in_the_middle_of_load() {
    let cluster = Cluster::start(&[]).await;
    let config = cluster.database().await;
    let stores = [
        PgStore::open(config.clone()).await.unwrap(),
        PgStore::open(config).await.unwrap(),
    ];
    let subject = limited(&stores[0], 1_000_000).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (said, mut heard) = unbounded_channel();
    let workers: Vec<_> = (0..8)
        .map(|worker: usize| {
            let store = stores[worker % 2].clone();
            tokio::spawn(work(store, subject, Arc::clone(&stop), said.clone()))
        })
        .collect();
    let (mut held, mut settled) = (Vec::new(), 0);
    let mut note = |told| match told {
        Told::Held(id) => held.push(id),
        Told::Settled => settled += 1,
        Told::Away => {}
    };
    for _ in 0..CRASHES {
        for _ in 0..40 {
            note(heard.recv().await.unwrap());
        }
        cluster.crash();
        // Until one has noticed.
        loop {
            let told = heard.recv().await.unwrap();
            note(told);
            if matches!(told, Told::Away) {
                break;
            }
        }
        cluster.restart();
        // Until one is through again, by itself.
        loop {
            let told = heard.recv().await.unwrap();
            note(told);
            if !matches!(told, Told::Away) {
                break;
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut owed = Vec::new();
    for worker in workers {
        owed.extend(worker.await.unwrap());
    }
    while let Ok(told) = heard.try_recv() {
        note(told);
    }
    let totals = stores[0].totals().await.unwrap();
    assert!(totals.balance(), "nothing was done by halves: {totals:?}");
    assert_eq!(
        totals.counters_used,
        totals.settled * CHARGE,
        "nothing was settled twice"
    );
    assert_eq!(
        totals.counters_reserved,
        totals.pending * HOLD,
        "nor held twice"
    );
    let owes = owed.len() as u64;
    assert!(
        (settled..=settled + owes).contains(&totals.settled),
        "{settled} settlements acknowledged and at most {owes} more: {totals:?}"
    );
    let known = held.len() as u64;
    assert!(
        (known..=known + owes).contains(&(totals.settled + totals.pending)),
        "{known} holds acknowledged and at most {owes} more: {totals:?}"
    );
    // Every hold that was acknowledged can be settled, or was.
    let batch = held.iter().map(|&id| settle(id, CHARGE)).collect();
    for outcome in stores[1].apply(batch).await.unwrap() {
        assert!(
            matches!(outcome, Outcome::Settled(end) if end.charged.get() == CHARGE),
            "an acknowledged hold is there: {outcome:?}"
        );
    }
    let totals = stores[0].totals().await.unwrap();
    assert!(totals.balance(), "the books go on: {totals:?}");
    assert_eq!(totals.counters_used, totals.settled * CHARGE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_unavailable_until_it_is_back() {
    let cluster = Cluster::start(&[]).await;
    let config = cluster.database().await;
    let (store, subject, settle) = with_a_hold(&config).await;
    cluster.crash();
    for _ in 0..3 {
        unavailable(store.apply(vec![settle.clone()]).await, "nobody answers");
        unavailable(store.standing(subject).await, "whatever is asked");
    }
    let second = PgStore::open(config.clone()).await;
    assert!(
        matches!(&second, Err(OpenError::Unusable(error))
            if error.kind() == StoreErrorKind::Unavailable),
        "nor can another be opened: {second:?}"
    );
    cluster.restart();
    is_back(&store, subject, settle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_connections_cost_no_call() {
    let config = postgres::config().await;
    let (store, subject, settle) = with_a_hold(&config).await;
    let outside = Outside::of(&config).await;
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    outside.run(all).await;
    outside.until(0, "true").await;
    // It may notice only now that its connection has ended.
    let _ = store.standing(subject).await;
    is_back(&store, subject, settle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_takes_too_long_is_unavailable() {
    let config = postgres::config().await;
    for config in [
        config.clone().lock_timeout(Duration::from_millis(20)),
        // Long enough for every statement that waits for nobody, on a busy machine too.
        config.statement_timeout(Duration::from_secs(3)),
    ] {
        let (store, subject, settle) = with_a_hold(&config).await;
        let outside = Outside::of(&config).await;
        outside
            .run("BEGIN; SELECT id FROM counters FOR UPDATE")
            .await;
        for _ in 0..2 {
            unavailable(
                store.apply(vec![settle.clone()]).await,
                "another holds the lock",
            );
        }
        store
            .standing(subject)
            .await
            .expect("reading needs no lock");
        outside.run("COMMIT").await;
        is_back(&store, subject, settle).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_that_wait_keep_no_look_up_waiting() {
    let config = postgres::config().await;
    // Nothing ends by itself, however busy the machine is.
    let patient = config
        .clone()
        .connections(NonZeroUsize::new(4).unwrap())
        .connect_timeout(LONG)
        .lock_timeout(LONG)
        .statement_timeout(LONG);
    let store = PgStore::open(patient).await.unwrap();
    let user = store.create_user(account("ada")).await.unwrap().id;
    let outside = Outside::of(&config).await;
    outside
        .run("BEGIN; LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE")
        .await;
    let reports: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let filter = CallFilter::default();
                store.usage(UsageScope::All, filter).await
            })
        })
        .collect();
    outside.until(2, WAITING).await;
    for _ in 0..100 {
        let found = store.user(user).await.expect("a connection is left for it");
        assert!(found.is_some());
    }
    outside.run("COMMIT").await;
    for report in reports {
        let sum = report.await.unwrap().expect("each gets its turn");
        assert_eq!(sum.calls, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_waits_too_long_is_unavailable() {
    let config = postgres::config().await;
    // Long enough for a connection, on a busy machine too.
    let impatient = config
        .clone()
        .connections(NonZeroUsize::new(2).unwrap())
        .connect_timeout(Duration::from_secs(3))
        .lock_timeout(LONG)
        .statement_timeout(LONG);
    let store = PgStore::open(impatient).await.unwrap();
    let outside = Outside::of(&config).await;
    outside
        .run("BEGIN; LOCK TABLE reservations IN ACCESS EXCLUSIVE MODE")
        .await;
    let sum = |store: PgStore| async move {
        let filter = CallFilter::default();
        store.usage(UsageScope::All, filter).await
    };
    let first = tokio::spawn(sum(store.clone()));
    outside.until(1, WAITING).await;
    unavailable(sum(store.clone()).await, "one is before it");
    outside.run("COMMIT").await;
    first.await.unwrap().expect("the lock is free");
    sum(store).await.expect("and so is the place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_cannot_be_written_to_is_unavailable() {
    let config = postgres::config().await;
    let (store, subject, settle) = with_a_hold(&config).await;
    let set = |value: &'static str| {
        store.on_connection(move |connection| {
            let sql = format!("SET default_transaction_read_only = {value}");
            diesel::connection::SimpleConnection::batch_execute(connection, &sql)
        })
    };
    set("on").await.unwrap().unwrap();
    unavailable(
        store.apply(vec![settle.clone()]).await,
        "a standby takes no writes",
    );
    // That connection was given up.
    is_back(&store, subject, settle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_are_unavailable() {
    let cluster = Cluster::start(&["max_connections=4", "superuser_reserved_connections=0"]).await;
    let config = cluster.database().await;
    let (store, subject, settle) = with_a_hold(&config).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Outside::of(&config).await);
    }
    let second = PgStore::open(config.clone()).await;
    assert!(
        matches!(&second, Err(OpenError::Unusable(error))
            if error.kind() == StoreErrorKind::Unavailable),
        "there is no room for another: {second:?}"
    );
    drop(others);
    is_back(&store, subject, settle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_in_use_makes_others_wait_and_not_for_ever() {
    // Long enough for a connection, on a busy machine too.
    let config = postgres::config()
        .await
        .connections(NonZeroUsize::MIN)
        .connect_timeout(Duration::from_secs(5));
    let (store, subject, settle) = with_a_hold(&config).await;
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (tell, taken) = oneshot::channel();
    let holding = tokio::spawn({
        let store = store.clone();
        async move {
            let held = store.on_connection(move |_| {
                tell.send(()).unwrap();
                // Until the other end is dropped.
                held.recv().is_err()
            });
            held.await
        }
    });
    taken.await.unwrap();
    let (read, written) = tokio::join!(store.standing(subject), store.create_user(account("ada")));
    unavailable(read, "the one connection is in use");
    unavailable(written, "whatever it is wanted for");
    drop(hold);
    assert!(holding.await.unwrap().unwrap());
    is_back(&store, subject, settle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_is_no_passing_state() {
    let config = postgres::config().await;
    let url = format!("{}_of_somebody_else", config.url());
    let error = PgStore::open(PgConfig::new(url))
        .await
        .expect_err("no such database");
    assert!(
        matches!(&error, OpenError::Unusable(error) if error.kind() == StoreErrorKind::Other),
        "{error:?}"
    );
}
