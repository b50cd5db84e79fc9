//! Changes of who there is that meet, by several stores on one database.

use llm_gate::identity::Subject;
use llm_gate::store::{CredentialStore, LedgerStore, Operation, Outcome, UserStore};
use llm_gate_diesel::PgStore;
use llm_gate_diesel::test_db::postgres;

use crate::support::{account, author, key, reserve, settle};

async fn make() -> [PgStore; 4] {
    let config = postgres::config().await;
    let open = || async { PgStore::open(config.clone()).await.unwrap() };
    [open().await, open().await, open().await, open().await]
}

crate::support::races::race_tests!(make);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_deleted_meets_batches_and_all_are_decided() {
    let stores = make().await;
    let user = stores[0].create_user(account("ada")).await.unwrap();
    let mut subjects = vec![
        Subject::Project(user.personal_project),
        Subject::User(user.id),
    ];
    for number in 0..6 {
        let key = key(&user, &format!("key {number}"));
        subjects.push(Subject::Key(stores[0].create_key(key).await.unwrap().id));
    }
    let calls: Vec<_> = (0..3)
        .map(|task: usize| {
            let (store, subjects) = (stores[task].clone(), subjects.clone());
            tokio::spawn(async move {
                for round in 0..30 {
                    let mut hold = reserve(subjects[(task + round) % 8], 1);
                    hold.subjects.push(subjects[(task * 3 + round * 5) % 8]);
                    let end = settle(hold.id, 1);
                    let outcomes = store.apply(vec![Operation::Reserve(hold)]).await.unwrap();
                    if matches!(&outcomes[..], [Outcome::Granted(_)]) {
                        store.apply(vec![end]).await.unwrap();
                    }
                }
            })
        })
        .collect();
    stores[3].delete_user(user.id, author()).await.unwrap();
    for call in calls {
        call.await.unwrap();
    }
    for subject in subjects {
        let standing = stores[0].standing(subject).await.unwrap();
        assert!(standing.frozen, "nothing more is granted to {subject}");
    }
    let totals = stores[0].totals().await.unwrap();
    assert!(totals.balance(), "the books balance: {totals:?}");
}
