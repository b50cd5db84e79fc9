//! What no trait reads back: the settings of the connections, and the record of a call.

use llm_gate::identity::{KeyId, Subject};
use llm_gate::store::{CredentialStore, LedgerStore, NewApiKey, Operation, UserStore};
use llm_gate::tokens::Usage;
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::{account, author, granted, key, limited, reserve, settle};
use crate::watch::Outside;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_on_the_disk_and_no_wait_is_for_ever() {
    let store = postgres::open().await;
    let settings = store.on_connection(|connection| {
        let names = [
            "synchronous_commit",
            "statement_timeout",
            "lock_timeout",
            "idle_in_transaction_session_timeout",
            "transaction_isolation",
            "lc_messages",
        ];
        names.map(|name| {
            use diesel::RunQueryDsl;
            let sql = format!("current_setting('{name}')");
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&sql))
                .get_result::<String>(connection)
                .unwrap()
        })
    });
    assert_eq!(
        settings.await.unwrap(),
        ["on", "10s", "5s", "10s", "read committed", "C"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_promises_less_or_more() {
    let config = postgres::config().await;
    let outside = Outside::of(&config).await;
    for (of_server, of_store) in [
        ("off", "on"),
        ("local", "on"),
        ("remote_apply", "remote_apply"),
    ] {
        let database: String = outside.read("SELECT current_database()::text").await;
        let sql = format!("ALTER DATABASE {database} SET synchronous_commit = {of_server}");
        outside.run(&sql).await;
        let store = PgStore::open(config.clone()).await.unwrap();
        let setting = store.on_connection(|connection| {
            use diesel::RunQueryDsl;
            let sql = "current_setting('synchronous_commit')";
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(sql))
                .get_result::<String>(connection)
                .unwrap()
        });
        assert_eq!(setting.await.unwrap(), of_store, "of {of_server}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_call_used_is_on_record() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    let key = KeyId::new();
    let mut hold = reserve(subject, 60);
    hold.subjects.push(Subject::Key(key));
    assert!(granted(&store, &hold).await, "there is room");
    let Operation::Settle(mut end) = settle(hold.id, 130) else {
        panic!("a settlement")
    };
    end.usage = Usage {
        prompt: 100,
        completion: 30,
        cached: 7,
        reasoning: 3,
    };
    store.apply(vec![Operation::Settle(end)]).await.unwrap();
    let outside = Outside::of(&config).await;
    let figures: String = outside
        .read(
            "SELECT concat_ws(' ', state, hold, charged, overage, prompt, completion, cached, \
             reasoning, source, ending, status, settled_at) FROM reservations",
        )
        .await;
    assert_eq!(
        figures, "settled 60 100 30 100 30 7 3 upstream complete 200 2",
        "the whole story"
    );
    let key_of: String = outside
        .read("SELECT encode(key_id, 'hex') FROM reservations")
        .await;
    assert_eq!(
        key_of,
        key.as_uuid().simple().to_string(),
        "and by which key"
    );
    let parts: String = outside
        .read("SELECT concat_ws(' ', count(*), sum(held), sum(charged)) FROM reservation_counters")
        .await;
    assert_eq!(
        parts, "2 120 230",
        "what each counter held and was charged: 100, and 130 without a limit"
    );
    let lines = "SELECT concat_ws(' ', count(*), sum(charge), sum(overage)) FROM ledger WHERE kind = 'settle'";
    let before: String = outside.read(lines).await;
    assert_eq!(before, "2 230 30", "as the ledger has it");
    for statement in [
        "UPDATE ledger SET charge = 0",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
    ] {
        let why = outside.refused(statement).await;
        assert_eq!(why, "the ledger is append only", "{statement}");
    }
    assert_eq!(
        outside.read::<String>(lines).await,
        before,
        "the lines stand"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_done_is_never_changed_and_never_deleted() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    store.create_user(account("ada")).await.unwrap();
    let outside = Outside::of(&config).await;
    let events = "SELECT concat_ws(' ', count(*), max(action)) FROM events";
    for statement in [
        "UPDATE events SET actor = 'operator'",
        "DELETE FROM events",
        "TRUNCATE events",
    ] {
        let why = outside.refused(statement).await;
        assert_eq!(why, "events are append only", "{statement}");
    }
    let left: String = outside.read(events).await;
    assert_eq!(left, "2 user.created", "the account and its project stand");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_who_was_deleted_no_name_and_no_password_stays() {
    let config = postgres::config().await;
    let store = PgStore::open(config.clone()).await.unwrap();
    let user = store.create_user(account("ada")).await.unwrap();
    store.delete_user(user.id, author()).await.unwrap();
    let outside = Outside::of(&config).await;
    let row = "SELECT concat_ws(' ', email, username, name, password_hash, disabled, deleted_at) FROM users";
    let row: String = outside.read(row).await;
    assert_eq!(row, "t 1", "the row is for what points to it");
    let names: i64 = outside.read("SELECT count(*) FROM logins").await;
    assert_eq!(names, 0, "the name is free");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_character_that_postgres_cannot_keep_is_no_defect() {
    let store = postgres::open().await;
    let subject = limited(&store, 100).await;
    let mut hold = reserve(subject, 10);
    hold.call.model = "a\0b".to_owned();
    assert!(
        granted(&store, &hold).await,
        "a model may be asked for by any name"
    );
    let found = store.user_by_login("a\0b".to_owned()).await.unwrap();
    assert!(found.is_none(), "nobody has such a name");
    let found = store.key_by_public_id("a\0b".to_owned()).await.unwrap();
    assert!(found.is_none(), "no key has such an identifier");
    let user = store.create_user(account("ada")).await.unwrap();
    let key = NewApiKey {
        name: "a\0b".to_owned(),
        ..key(&user, "public")
    };
    let key = store.create_key(key).await.unwrap();
    assert_eq!(key.name, "a\u{fffd}b", "its name is kept as far as it goes");
}
