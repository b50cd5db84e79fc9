//! Books that are checked on SQLite. On PostgreSQL the same is done in `postgres/audit.rs`.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use diesel::connection::SimpleConnection;
use llm_gate_diesel::{SqliteStore, test_db};

use support::audit::{self, Hands};

struct File(SqliteStore);

impl Hands for File {
    async fn run(&self, sql: String) {
        let run = self
            .0
            .on_writer(move |connection| connection.batch_execute(&sql));
        run.await.unwrap().unwrap();
    }

    async fn unlock(&self) {
        let sql = "PRAGMA foreign_keys = OFF; DROP TRIGGER ledger_is_never_changed; DROP TRIGGER ledger_is_never_shortened; \
                   CREATE TABLE saved AS SELECT * FROM ledger";
        self.run(sql.to_owned()).await;
    }

    fn bytes(&self, byte: u8, count: usize) -> String {
        format!("X'{}'", format!("{byte:02x}").repeat(count))
    }
}

macro_rules! tests {
    ($($rule:ident($($hands:ident)?);)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            let store = test_db::open().await;
            audit::$rule(store.clone() $(, $hands(store))?).await;
        }
    )+};
}

tests! {
    a_changed_line_is_named(File);
    a_line_more_or_less_is_found(File);
    a_counter_that_differs_is_named(File);
    a_request_that_differs_is_named(File);
    many_rows_are_checked_page_by_page(File);
    writing_does_not_disturb_a_check();
}
