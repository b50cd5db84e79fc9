//! The look-ups that requests wait for, one after the other: for those who watch the statements.

use std::collections::BTreeMap;
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{EventId, InviteId, Role, SessionId};
use llm_gate::store::{
    Action, Author, EventQuery, Identity, KeyName, NewInvite, NewTicket, ProjectRole, Refresh,
    Store, TicketPurpose, TokenHash, User, UserKind, UserOutcome,
};

use super::{author, key, session};

/// What there is to be looked up.
pub struct There {
    pub user: User,
    key: KeyName,
    session: SessionId,
}

/// Makes what is to be looked up.
pub async fn prepare(store: &impl Store) -> There {
    let user = store.create_user(super::account("ada")).await.unwrap();
    let made = store.create_key(key(&user, "public")).await.unwrap();
    let session = session(&user, TokenHash([1; 32]));
    store.create_session(session.clone()).await.unwrap();
    There {
        key: KeyName {
            project: user.personal_project,
            owner: Some(user.id),
            id: made.id,
        },
        session: session.id,
        user,
    }
}

/// Looks everything up once.
pub async fn run(store: &impl Store, there: &There) {
    let (user, at) = (there.user.id, Timestamp::from_micros(2));
    let project = there.user.personal_project;
    // Found by the secret in use, and not by the one before.
    store.key_by_public_id("before".to_owned()).await.unwrap();
    let identity = Identity {
        issuer: "issuer".to_owned(),
        subject: "subject".to_owned(),
    };
    store.user_by_identity(identity).await.unwrap();
    store.user(user).await.unwrap();
    store.users(Some(user), 9).await.unwrap();
    store.next_password_hash("$".to_owned()).await.unwrap();
    let (hash, purpose) = (TokenHash([3; 32]), TicketPurpose::ResetPassword);
    store.ticket(hash, purpose, at).await.unwrap();
    store.session(there.session, at).await.unwrap();
    store.sessions(user, at).await.unwrap();
    store.membership(project, user).await.unwrap();
    store.projects_of(user).await.unwrap();
    store.members(project, None, 9).await.unwrap();
    let kind = UserKind::Service;
    let listed = store.members_of_kind(project, kind, Some(user), 9).await;
    listed.unwrap();
    store.member(project, user).await.unwrap();
    store.key(there.key).await.unwrap();
    store.key_of_member(there.key.id, user).await.unwrap();
    let owner = Some(user);
    store.keys(project, owner, None, 9).await.unwrap();
    let before = Some(there.key.id);
    store.keys(project, None, before, 9).await.unwrap();
    let valid = store.unrevoked_keys(project, owner, before, 9).await;
    valid.unwrap();
    store.invite_by_token(hash).await.unwrap();
    let before = Some(InviteId::new());
    store.invites(None, before, 9).await.unwrap();
    store.invites(Some(project), before, 9).await.unwrap();
    store.kept_invites(before, 9).await.unwrap();
    store.invite(InviteId::new()).await.unwrap();
    for query in [
        EventQuery {
            before: Some(EventId::new()),
            ..EventQuery::default()
        },
        EventQuery {
            projects: vec![project],
            ..EventQuery::default()
        },
        EventQuery {
            actors: vec![user],
            ..EventQuery::default()
        },
        EventQuery {
            targets: vec![user.to_string()],
            actions: vec![Action::UserCreated],
            ..EventQuery::default()
        },
    ] {
        store.events(query, 9).await.unwrap();
    }
    store.touch_key(there.key.id, at).await.unwrap();
}

/// Rotates the session, comes again with the spent token, and ends it with that.
pub async fn rotate(store: &impl Store, there: &There) {
    let at = Timestamp::from_micros(2);
    let refresh = Refresh {
        old: TokenHash([1; 32]),
        new: TokenHash([2; 32]),
        author: Author::system(at),
        idle_until: Timestamp::from_micros(9),
        grace: Duration::from_micros(5),
    };
    store.rotate_session(refresh.clone()).await.unwrap();
    store.rotate_session(refresh.clone()).await.unwrap();
    let later = Refresh {
        author: Author::system(Timestamp::from_micros(8)),
        ..refresh
    };
    store.rotate_session(later).await.unwrap();
    let ended = store.end_sessions(there.user.id, None, author()).await;
    assert_eq!(ended.unwrap(), 0, "it has ended");
}

/// Lets somebody be invited, and a ticket be mailed.
pub async fn write(store: &impl Store, there: &There) {
    let invite = NewInvite {
        id: InviteId::new(),
        hash: TokenHash([4; 32]),
        email: "ada@example.org".to_owned(),
        role: Role::User,
        projects: BTreeMap::from([(there.user.personal_project, ProjectRole::Member)]),
        expires_at: Timestamp::from_micros(9),
        author: author(),
    };
    store.create_invite(invite).await.unwrap();
    let ticket = NewTicket {
        hash: TokenHash([5; 32]),
        purpose: TicketPurpose::VerifyEmail,
        user: there.user.id,
        email: Some("ada@example.org".to_owned()),
        asked: true,
        author: author(),
        expires_at: Timestamp::from_micros(9),
    };
    store.create_ticket(ticket).await.unwrap();
    let pruned = store.prune(Timestamp::from_micros(20)).await.unwrap();
    assert!(
        pruned >= 2,
        "a session and a ticket, beside what else there is"
    );
    let deleted = store.delete_user(there.user.id, author()).await.unwrap();
    assert!(matches!(deleted, UserOutcome::Done(_)), "nobody needs ada");
}
