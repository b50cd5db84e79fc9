//! What the tests of this crate are written with.
#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "every test file includes it and uses a part of it"
)]

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Role, Subject, UserId};
use llm_gate::store::{
    CallInfo, Ending, LedgerStore, NewUser, Operation, Outcome, Reserve, Settle, Source,
};
use llm_gate::tokens::{Tokens, Usage};

pub fn reserve(subject: Subject, hold: u64) -> Reserve {
    Reserve {
        id: RequestId::new(),
        at: Timestamp::from_micros(1),
        subjects: vec![subject],
        hold: Tokens::new(hold),
        least: Tokens::new(hold),
        call: CallInfo {
            user: UserId::new(),
            project: ProjectId::new(),
            route: "chat".into(),
            model: "model".to_owned(),
            stream: false,
        },
    }
}

pub fn settle(id: RequestId, charge: u64) -> Operation {
    Operation::Settle(Settle {
        id,
        at: Timestamp::from_micros(2),
        charge: Tokens::new(charge),
        usage: Usage::default(),
        source: Source::Upstream,
        ending: Ending::Complete,
        status: 200,
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
        password_hash: "hash".to_owned(),
        role: Role::User,
        personal_project: ProjectId::new(),
        personal_project_name: "personal".to_owned(),
        token_limit: None,
        created_at: Timestamp::from_micros(1),
    }
}
