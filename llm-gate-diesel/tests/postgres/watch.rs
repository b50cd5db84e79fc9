//! A connection beside those of the stores.

use llm_gate_diesel::PgConfig;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, NoTls};

/// Waiting for a lock.
pub(crate) const WAITING: &str = "wait_event_type = 'Lock'";
/// In a transaction, at work or not.
pub(crate) const IN_TRANSACTION: &str = "xact_start IS NOT NULL";

pub(crate) struct Outside(Client);

impl Outside {
    pub(crate) async fn of(config: &PgConfig) -> Self {
        let connecting = tokio_postgres::connect(config.url(), NoTls).await;
        let (client, connection) = connecting.unwrap();
        tokio::spawn(async move {
            // Ends with the client, or with the server that a test takes away.
            let _ = connection.await;
        });
        Self(client)
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }

    /// Runs what is to be refused, and returns why it was.
    pub(crate) async fn refused(&self, sql: &str) -> String {
        let error = self.0.batch_execute(sql).await.expect_err(sql);
        error.as_db_error().unwrap().message().to_owned()
    }

    /// Reads one value.
    pub(crate) async fn read<T: FromSqlOwned>(&self, sql: &str) -> T {
        self.0.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Asks again and again until as many other connections as expected are in a state.
    pub(crate) async fn until(&self, expected: i64, state: &str) {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND {state}"
        );
        while self.read::<i64>(&sql).await != expected {
            // In a transaction it would be shown what it was shown before.
            self.run("SELECT pg_stat_clear_snapshot()").await;
            tokio::task::yield_now().await;
        }
    }
}
