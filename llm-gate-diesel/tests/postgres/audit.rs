//! Books that are checked.

use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::audit::{self, Hands};
use crate::watch::Outside;

impl Hands for Outside {
    async fn run(&self, sql: String) {
        Self::run(self, &sql).await;
    }

    async fn unlock(&self) {
        let sql = "DROP TRIGGER ledger_is_never_changed ON ledger; \
                   DROP TRIGGER ledger_is_never_shortened ON ledger; \
                   CREATE TABLE saved AS SELECT * FROM ledger";
        Self::run(self, sql).await;
    }

    fn bytes(&self, byte: u8, count: usize) -> String {
        format!("decode('{}', 'hex')", format!("{byte:02x}").repeat(count))
    }
}

macro_rules! tests {
    ($($rule:ident($($hands:ident)?);)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            let config = postgres::config().await;
            let store = PgStore::open(config.clone()).await.unwrap();
            audit::$rule(store $(, $hands::of(&config).await)?).await;
        }
    )+};
}

tests! {
    a_changed_line_is_named(Outside);
    a_line_more_or_less_is_found(Outside);
    a_counter_that_differs_is_named(Outside);
    a_request_that_differs_is_named(Outside);
    many_rows_are_checked_page_by_page(Outside);
    writing_does_not_disturb_a_check();
}
