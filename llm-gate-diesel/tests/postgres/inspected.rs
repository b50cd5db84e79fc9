//! Looking whether a database has the tables of this program, without touching it.

use diesel::connection::SimpleConnection;
use llm_gate_diesel::test_db::postgres;
use llm_gate_diesel::{OpenError, PgConfig, PgStore, Tables};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lacks_and_what_is_too_much_is_told_and_left_as_it_is() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    let inspected = async || PgStore::inspect(config.clone()).await.unwrap();
    let change = async |statement: &'static str| {
        let changed = store.on_connection(move |connection| connection.batch_execute(statement));
        changed.await.unwrap().unwrap();
    };
    assert_eq!(inspected().await, Tables::default(), "it was opened");
    change("INSERT INTO __diesel_schema_migrations (version) VALUES ('99990101')").await;
    assert_eq!(inspected().await.unknown, ["99990101"]);
    change("DELETE FROM __diesel_schema_migrations").await;
    let none = inspected().await;
    assert!(!none.pending.is_empty() && none.unknown.is_empty());
    change("DROP TABLE __diesel_schema_migrations").await;
    assert_eq!(inspected().await, none);
    assert_eq!(inspected().await, none, "nothing was made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_an_error() {
    let nowhere = PgConfig::new("postgres://gate@127.0.0.1:9/gate");
    let refused = PgStore::inspect(nowhere).await;
    assert!(
        matches!(refused, Err(OpenError::Unusable(_))),
        "{refused:?}"
    );
}
