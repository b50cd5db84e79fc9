//! Encrypted connections, to a server whose certificate is for `localhost` and signed by an authority of the tests.
//! Authority and certificate are good for a hundred years and for nothing else.

use std::path::Path;

use llm_gate::store::{LedgerStore, StoreErrorKind};
use llm_gate_diesel::test_db::postgres::Cluster;
use llm_gate_diesel::{OpenError, PgConfig, PgStore};

use crate::watch::Outside;

/// Starts a server that speaks TLS on a port of `127.0.0.1`; returns it and the end of a URL.
async fn start() -> (Cluster, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let port_setting = format!("port={port}");
    let cluster = Cluster::start(&["listen_addresses='127.0.0.1'", &port_setting]).await;
    cluster.keep("server.crt", include_str!("tls/server.pem"));
    cluster.keep("server.key", include_str!("tls/server.key"));
    let config = cluster.database().await;
    let outside = Outside::of(&config).await;
    outside.run("ALTER SYSTEM SET ssl = on").await;
    outside.run("SELECT pg_reload_conf()").await;
    while Outside::of(&config).await.read::<String>("SHOW ssl").await != "on" {}
    let (_, database) = config.url().rsplit_once('/').unwrap();
    let (database, _) = database.split_once('?').unwrap_or((database, ""));
    let end = format!("{port}/{database}");
    (cluster, end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_encrypted_and_the_server_who_it_says() {
    let (_cluster, end) = start().await;
    let roots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/tls/ca.pem");
    let config = |host: &str, mode: &str| {
        PgConfig::new(format!("postgres://postgres@{host}:{end}?sslmode={mode}"))
    };
    for mode in ["require", "verify-full"] {
        let config = config("localhost", mode).root_certificates(&roots);
        let store = PgStore::open(config).await.expect("an authority we know");
        assert!(store.totals().await.unwrap().balance());
        let encrypted = store.on_connection(|connection| {
            use diesel::RunQueryDsl;
            let sql = "(SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())";
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Bool>(sql))
                .get_result::<bool>(connection)
                .unwrap()
        });
        assert!(encrypted.await.unwrap(), "{mode} encrypts");
    }
    for (wrong, reason) in [
        (
            config("localhost", "require"),
            "an authority that nobody knows",
        ),
        (
            config("127.0.0.1", "require").root_certificates(&roots),
            "a certificate for another name",
        ),
    ] {
        let error = PgStore::open(wrong).await.expect_err(reason);
        assert!(
            matches!(&error, OpenError::Unusable(error)
                if error.kind() == StoreErrorKind::Unavailable),
            "{reason}: {error:?}"
        );
    }
    PgStore::open(config("localhost", "disable"))
        .await
        .expect("without TLS where that is said");
}
