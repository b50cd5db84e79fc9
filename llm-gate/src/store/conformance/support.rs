//! What the rules are written with.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::identity::{
    InviteId, KeyGrants, KeyId, ProjectId, RequestId, Role, SessionId, Subject, UserId,
};
use crate::store::{
    Actor, ApiKey, Author, CallInfo, Denial, Ending, Extend, Grant, KeyName, LedgerStore,
    NewApiKey, NewInvite, NewProject, NewSession, NewTicket, NewUser, Operation, Outcome, Project,
    ProjectRole, ProjectStore, Refresh, Reserve, Rotation, SessionStore, Settle, Settlement,
    StoreError, StoreErrorKind, TicketPurpose, TokenHash, User, UserStore,
};
use crate::tokens::{Tokens, Usage};

/// The moment that a rule begins at: 2026-01-01 00:00 UTC.
pub(super) const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

/// Some microseconds after the start.
pub(super) const fn later(micros: i64) -> Timestamp {
    Timestamp::from_micros(START.as_micros() + micros)
}

/// Somebody who changes something some microseconds after the start.
pub(super) const fn at(micros: i64) -> Author {
    Author::new(Actor::Operator, later(micros))
}

pub(super) const fn tokens(amount: u64) -> Tokens {
    Tokens::new(amount)
}

/// A subject that no store has heard of.
pub(super) fn somebody() -> Subject {
    Subject::User(UserId::new())
}

/// A hold that is wanted as it is.
pub(super) fn reserve(subjects: &[Subject], hold: u64) -> Reserve {
    Reserve {
        id: RequestId::new(),
        at: START,
        subjects: subjects.to_vec(),
        hold: tokens(hold).into(),
        least: tokens(hold),
        call: CallInfo::new(UserId::new(), ProjectId::new(), "chat", "model").stream(true),
        owner: None,
    }
}

/// A settlement with an upstream's figures.
pub(super) fn settle(id: RequestId, charge: u64) -> Settle {
    let usage = Usage {
        prompt: charge,
        ..Usage::default()
    };
    Settle {
        charge: tokens(charge),
        ..Settle::upstream(id, later(1), usage)
    }
}

pub(super) fn extend(id: RequestId, version: u32, hold: u64) -> Extend {
    Extend {
        id,
        version,
        hold: tokens(hold).into(),
    }
}

pub(super) fn void(id: RequestId) -> Settle {
    Settle::void(id, later(1), Ending::Refused)
}

/// Takes the answer of a call that has no reason to fail.
#[track_caller]
pub(super) fn done<T>(answer: Result<T, StoreError>) -> T {
    match answer {
        Ok(value) => value,
        Err(error) => panic!(
            "the store failed: {error}: {:?}",
            std::error::Error::source(&error)
        ),
    }
}

#[track_caller]
pub(super) fn conflict<T>(answer: Result<T, StoreError>, reason: &str) {
    let kind = answer.err().map(|error| error.kind());
    assert_eq!(kind, Some(StoreErrorKind::Conflict), "{reason}");
}

/// Checks that who asks was let in by what has ended.
#[track_caller]
pub(super) fn stale<T>(answer: Result<T, StoreError>, reason: &str) {
    let kind = answer.err().map(|error| error.kind());
    assert_eq!(kind, Some(StoreErrorKind::Stale), "{reason}");
}

pub(super) async fn apply<S: LedgerStore>(store: &S, batch: Vec<Operation>) -> Vec<Outcome> {
    let asked = batch.len();
    let outcomes = done(store.apply(batch).await);
    assert_eq!(outcomes.len(), asked, "every operation has an outcome");
    outcomes
}

async fn one<S: LedgerStore>(store: &S, operation: Operation) -> Outcome {
    apply(store, vec![operation])
        .await
        .pop()
        .expect("one outcome, as was just checked")
}

pub(super) async fn try_reserve<S: LedgerStore>(store: &S, reserve: &Reserve) -> Outcome {
    one(store, Operation::Reserve(reserve.clone())).await
}

pub(super) async fn try_settle<S: LedgerStore>(store: &S, settle: &Settle) -> Outcome {
    one(store, Operation::Settle(settle.clone())).await
}

pub(super) async fn try_extend<S: LedgerStore>(store: &S, extend: Extend) -> Outcome {
    one(store, Operation::Extend(extend)).await
}

/// Changes a hold to what fits.
pub(super) async fn extended<S: LedgerStore>(store: &S, extend: Extend) -> Grant {
    match try_extend(store, extend).await {
        Outcome::Extended(grant) => grant,
        other => panic!("a hold that fits is granted, not {other:?}"),
    }
}

/// Reserves what fits.
pub(super) async fn granted<S: LedgerStore>(store: &S, reserve: &Reserve) -> Grant {
    match try_reserve(store, reserve).await {
        Outcome::Granted(grant) => grant,
        other => panic!("a hold that fits is granted, not {other:?}"),
    }
}

/// Reserves what does not fit.
pub(super) async fn denied<S: LedgerStore>(store: &S, reserve: &Reserve) -> Denial {
    match try_reserve(store, reserve).await {
        Outcome::Denied(denial) => *denial,
        other => panic!("a hold that does not fit is denied, not {other:?}"),
    }
}

/// Settles a reservation that is there.
pub(super) async fn settled<S: LedgerStore>(store: &S, settle: &Settle) -> Settlement {
    match try_settle(store, settle).await {
        Outcome::Settled(settlement) => settlement,
        other => panic!("a reservation can be settled, not {other:?}"),
    }
}

/// Limits a subject that nothing is known of, and returns it.
pub(super) async fn with_limit<S: LedgerStore>(store: &S, limit: u64) -> Subject {
    let subject = somebody();
    done(store.set_limit(subject, Some(tokens(limit))).await);
    subject
}

/// Checks used, reserved and overage of a subject.
pub(super) async fn stands<S: LedgerStore>(store: &S, subject: Subject, figures: (u64, u64, u64)) {
    let standing = done(store.standing(subject).await);
    let found = (
        standing.used.get(),
        standing.reserved.get(),
        standing.overage.get(),
    );
    assert_eq!(found, figures, "used, reserved and overage of {subject}");
}

pub(super) async fn balances<S: LedgerStore>(store: &S) {
    let totals = done(store.totals().await);
    assert!(
        totals.balance(),
        "counters and ledger agree at any time: {totals:?}"
    );
}

/// An account by the names given.
pub(super) fn account(email: Option<&str>, username: Option<&str>) -> NewUser {
    NewUser {
        id: UserId::new(),
        email: email.map(str::to_owned),
        email_verified: false,
        username: username.map(str::to_owned),
        name: None,
        password_hash: Some("$argon2id$first".to_owned()),
        identity: None,
        role: Role::User,
        personal_project: ProjectId::new(),
        personal_project_name: "personal".to_owned(),
        token_limit: Some(tokens(10_000)),
        invite: None,
        author: at(0),
    }
}

/// Makes an account.
pub(super) async fn user<S: UserStore>(store: &S, name: &str) -> User {
    done(store.create_user(account(None, Some(name))).await)
}

/// Makes an account by an address that is confirmed.
pub(super) async fn reader<S: UserStore>(store: &S, email: &str) -> User {
    let mut new = account(Some(email), None);
    new.email_verified = true;
    done(store.create_user(new).await)
}

/// Makes the account of an admin.
pub(super) async fn admin<S: UserStore>(store: &S, name: &str) -> User {
    let mut new = account(None, Some(name));
    new.role = Role::Admin;
    done(store.create_user(new).await)
}

/// Makes a project that `owner` owns.
pub(super) async fn project<S: ProjectStore>(store: &S, owner: &User) -> Project {
    let new = NewProject {
        id: ProjectId::new(),
        name: "shared".to_owned(),
        owner: owner.id,
        author: at(0),
    };
    let made = done(store.create_project(new).await);
    made.expect("there is such a user")
}

/// Makes a project that `owner` owns and `member` belongs to.
pub(super) async fn shared<S: ProjectStore>(store: &S, owner: &User, member: &User) -> Project {
    let project = project(store, owner).await;
    let role = ProjectRole::Member;
    done(store.set_member(project.id, member.id, role, at(0)).await);
    project
}

/// An invite of an address to a project, which ends after 1,000 microseconds.
pub(super) fn invite(email: &str, project: Option<ProjectId>, token: TokenHash) -> NewInvite {
    NewInvite {
        id: InviteId::new(),
        hash: token,
        email: email.to_owned(),
        role: Role::User,
        projects: project
            .map(|project| (project, ProjectRole::Member))
            .into_iter()
            .collect(),
        expires_at: later(1_000),
        author: at(0),
    }
}

/// A ticket of `user` for the address it has, which nobody asked for and which is good for 100 microseconds.
pub(super) fn ticket(user: &User, purpose: TicketPurpose, token: TokenHash) -> NewTicket {
    NewTicket {
        hash: token,
        purpose,
        user: user.id,
        email: Some(user.email.clone().unwrap_or_default()),
        asked: false,
        author: at(0),
        expires_at: later(100),
    }
}

/// A key of `user` in its personal project.
pub(super) fn key(user: &User, public_id: &str) -> NewApiKey {
    NewApiKey {
        id: KeyId::new(),
        public_id: public_id.to_owned(),
        hash: TokenHash([7; 32]),
        name: "laptop".to_owned(),
        user: user.id,
        project: user.personal_project,
        grants: KeyGrants::default(),
        expires_at: Some(later(1_000)),
        at_most: None,
        author: at(0),
    }
}

/// Names a key as its owner does.
pub(super) const fn own(key: &ApiKey) -> KeyName {
    KeyName {
        project: key.project,
        owner: Some(key.user),
        id: key.id,
    }
}

/// The hash of a secret, told apart by a number.
pub(super) const fn hash(number: u8) -> TokenHash {
    TokenHash([number; 32])
}

/// A session of `user` that idles out after 100 and ends after 1,000 microseconds.
pub(super) fn session(user: &User, token: TokenHash) -> NewSession {
    NewSession {
        id: SessionId::new(),
        user: user.id,
        token,
        idle_until: later(100),
        ends_at: later(1_000),
        agent: Some("curl/8".to_owned()),
        author: at(0),
    }
}

/// A rotation some microseconds after the start, with a grace of 10 microseconds.
pub(super) const fn refresh(old: u8, new: u8, micros: i64, idle_until: i64) -> Refresh {
    Refresh {
        old: hash(old),
        new: hash(new),
        author: at(micros),
        idle_until: later(idle_until),
        grace: Duration::from_micros(10),
    }
}

/// Rotates a token that is in force, and returns whether that worked.
pub(super) async fn rotates<S: SessionStore>(store: &S, refresh: Refresh) -> bool {
    let rotation = done(store.rotate_session(refresh).await);
    matches!(rotation, Rotation::Rotated(_))
}

/// Runs `count` tasks that all begin at the same moment, and returns what each answered.
pub(super) async fn race<S, T, F>(
    store: &Arc<S>,
    count: usize,
    run: impl Fn(Arc<S>, usize) -> F,
) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(tokio::sync::Barrier::new(count));
    let tasks: Vec<_> = (0..count)
        .map(|number| {
            let (barrier, run) = (Arc::clone(&barrier), run(Arc::clone(store), number));
            tokio::spawn(async move {
                barrier.wait().await;
                run.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(count);
    for task in tasks {
        answers.push(task.await.expect("a racer does not panic"));
    }
    answers
}
