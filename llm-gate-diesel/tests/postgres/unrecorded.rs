//! No change without its event.

use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::unrecorded;
use crate::watch::Outside;

const NO_EVENT: &str = "CREATE FUNCTION no_event() RETURNS trigger LANGUAGE plpgsql AS \
    'BEGIN RAISE EXCEPTION ''no event''; END'; \
    CREATE TRIGGER no_event BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION no_event()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_that_is_not_told() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    let outside = Outside::of(&config).await;
    let tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) \
                  FROM pg_tables WHERE schemaname = current_schema()";
    let tables: String = outside.read(tables).await;
    let read = async || {
        let mut all = String::new();
        for table in tables.split(' ') {
            let rows = format!(
                "SELECT coalesce(string_agg(one::text, E'\\n' ORDER BY one::text), '') FROM {table} AS one"
            );
            let rows: String = outside.read(&rows).await;
            all += &format!("{table}\n{rows}\n");
        }
        all
    };
    let allow = async |allowed| {
        let sql = if allowed {
            "DROP TRIGGER no_event ON events"
        } else {
            NO_EVENT
        };
        outside.run(sql).await;
    };
    unrecorded::nothing_is_done_that_is_not_told(&store, read, allow).await;
}
