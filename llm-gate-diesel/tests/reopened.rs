//! What was answered is on the disk: a store that is opened again finds it.

mod support;

use llm_gate::store::{LedgerStore, Outcome, UserStore};
use llm_gate::tokens::Tokens;
use llm_gate_diesel::{SqliteStore, test_db};

use support::{account, granted, limited, reserve, settle};

#[tokio::test]
async fn a_reservation_outlives_its_store() {
    let config = test_db::config();
    let store = SqliteStore::open(config.clone()).await.unwrap();
    let subject = limited(&store, 100).await;
    let user = store.create_user(account("ada")).await.unwrap();
    let hold = reserve(subject, 60);
    assert!(granted(&store, &hold).await, "there is room");
    drop(store);

    let store = SqliteStore::open(config.clone()).await.unwrap();
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        standing.reserved,
        Tokens::new(60),
        "the hold is still there"
    );
    assert_eq!(standing.limit, Some(Tokens::new(100)), "and the limit");
    assert_eq!(
        store.user(user.id).await.unwrap(),
        Some(user),
        "and the user"
    );
    assert!(granted(&store, &hold).await, "the request is known");
    assert!(
        !granted(&store, &reserve(subject, 41)).await,
        "what is held is not free"
    );
    let outcome = store.apply(vec![settle(hold.id, 25)]).await.unwrap();
    assert!(
        matches!(&outcome[..], [Outcome::Settled(end)] if !end.repeated),
        "it is settled now"
    );
    drop(store);

    let store = SqliteStore::open(config).await.unwrap();
    let outcome = store.apply(vec![settle(hold.id, 25)]).await.unwrap();
    assert!(
        matches!(&outcome[..], [Outcome::Settled(end)] if end.repeated),
        "and for ever"
    );
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(25), Tokens::ZERO),
        "once"
    );
    assert!(store.totals().await.unwrap().balance(), "the books balance");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;

    let config = test_db::config();
    let store = SqliteStore::open(config.clone()).await.unwrap();
    store.create_user(account("ada")).await.unwrap();
    for file in std::fs::read_dir(config.path().parent().unwrap()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(
            mode & 0o077,
            0,
            "password hashes are in {:?}",
            file.file_name()
        );
    }
}
