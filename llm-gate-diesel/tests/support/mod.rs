//! What the tests of this crate are written with.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unused_imports,
    unused_macros,
    unreachable_pub,
    reason = "every test file includes it and uses a part of it"
)]

pub mod audit;
pub mod look_ups;
pub mod races;
pub mod reports;
pub mod unrecorded;

use std::sync::Arc;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{
    KeyGrants, KeyId, ProjectId, RequestId, Role, SessionId, Subject, UserId,
};
use llm_gate::store::{
    Author, CallInfo, LedgerStore, NewApiKey, NewSession, NewUser, Operation, Outcome, Reserve,
    Settle, StoreError, StoreErrorKind, TokenHash, User,
};
use llm_gate::tokens::{Tokens, Usage};
use tokio::sync::Barrier;

pub fn reserve(subject: Subject, hold: u64) -> Reserve {
    Reserve {
        id: RequestId::new(),
        at: Timestamp::from_micros(1),
        subjects: vec![subject],
        hold: Tokens::new(hold).into(),
        least: Tokens::new(hold),
        call: CallInfo::new(UserId::new(), ProjectId::new(), "chat", "model"),
        owner: None,
    }
}

pub fn settle(id: RequestId, charge: u64) -> Operation {
    Operation::Settle(Settle {
        charge: Tokens::new(charge),
        ..Settle::upstream(id, Timestamp::from_micros(2), Usage::default())
    })
}

/// Limits a new subject.
pub async fn limited<S: LedgerStore>(store: &S, limit: u64) -> Subject {
    let subject = Subject::User(UserId::new());
    store
        .set_limit(subject, Some(Tokens::new(limit)))
        .await
        .unwrap();
    subject
}

/// Reserves, and returns whether that was granted.
pub async fn granted<S: LedgerStore>(store: &S, reserve: &Reserve) -> bool {
    let outcomes = store
        .apply(vec![Operation::Reserve(reserve.clone())])
        .await
        .unwrap();
    matches!(&outcomes[..], [Outcome::Granted(_)])
}

pub fn account(name: &str) -> NewUser {
    NewUser {
        id: UserId::new(),
        email: None,
        username: Some(name.to_owned()),
        email_verified: false,
        name: None,
        password_hash: Some("hash".to_owned()),
        identity: None,
        role: Role::User,
        personal_project: ProjectId::new(),
        personal_project_name: "personal".to_owned(),
        token_limit: None,
        invite: None,
        author: author(),
    }
}

/// Who does what tests do, at their first moment.
pub fn author() -> Author {
    Author::system(Timestamp::from_micros(1))
}

/// A key of a user in its personal project.
pub fn key(user: &User, public_id: &str) -> NewApiKey {
    NewApiKey {
        id: KeyId::new(),
        public_id: public_id.to_owned(),
        hash: TokenHash([0; 32]),
        name: String::new(),
        user: user.id,
        project: user.personal_project,
        grants: KeyGrants::default(),
        expires_at: None,
        at_most: None,
        author: author(),
    }
}

/// A session of a user that lives until the ninth moment.
pub fn session(user: &User, token: TokenHash) -> NewSession {
    NewSession {
        id: SessionId::new(),
        user: user.id,
        token,
        idle_until: Timestamp::from_micros(9),
        ends_at: Timestamp::from_micros(9),
        agent: None,
        author: author(),
    }
}

/// Checks that 400 callers at once, spread over stores on one database, never get more than there is.
pub async fn share_one_budget<S>(stores: &[S])
where
    S: LedgerStore + Clone,
{
    let subject = limited(&stores[0], 1_000).await;
    let barrier = Arc::new(Barrier::new(400));
    let tasks: Vec<_> = (0..400)
        .map(|number| {
            let (store, barrier) = (stores[number % stores.len()].clone(), Arc::clone(&barrier));
            tokio::spawn(async move {
                barrier.wait().await;
                granted(&store, &reserve(subject, 10)).await
            })
        })
        .collect();
    let mut grants = 0;
    for task in tasks {
        grants += usize::from(task.await.unwrap());
    }
    assert_eq!(
        grants, 100,
        "a budget for a hundred is granted a hundred times"
    );
    for store in stores {
        let standing = store.standing(subject).await.unwrap();
        assert_eq!(standing.reserved, Tokens::new(1_000), "all see all of it");
        assert!(
            store.totals().await.unwrap().balance(),
            "and books that balance"
        );
    }
}

/// Checks that a call failed because the database was away.
#[track_caller]
pub fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>, reason: &str) {
    let error = answer.expect_err(reason);
    assert_eq!(
        error.kind(),
        StoreErrorKind::Unavailable,
        "{reason}: {error:?}"
    );
}

/// Checks that nothing was lost of a hold of 60 of 100 while the database was away, and that everything works again.
pub async fn is_back<S: LedgerStore>(store: &S, subject: Subject, settle: Operation) {
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        standing.reserved,
        Tokens::new(60),
        "the hold is still there"
    );
    store.apply(vec![settle]).await.expect("the store is back");
    let standing = store.standing(subject).await.unwrap();
    assert_eq!(
        (standing.used, standing.reserved),
        (Tokens::new(25), Tokens::ZERO),
        "settled"
    );
    assert!(
        granted(store, &reserve(subject, 75)).await,
        "the rest was given back"
    );
    assert!(store.totals().await.unwrap().balance(), "the books balance");
}
