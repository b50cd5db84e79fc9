//! What becomes of requests that were let in by what has ended since.

use crate::identity::{ProjectId, UserId};
use crate::store::conformance::support::{
    account, at, done, hash, invite, key, later, own, reader, stale, ticket,
};
use crate::store::{
    Actor, Author, Identity, KeyChange, NewApiKey, NewProject, NewService, NewTicket, ProjectRole,
    Store, StoreError, TicketPurpose, User, UserChange,
};

/// Somebody who says when it began, as a login or a key of a user.
const fn begun(actor: Actor, micros: i64) -> Author {
    Author::new(actor, later(micros))
}

/// Makes every change in a user's name that would outlive what it was let in by, and says what became of each. Secrets
/// and names are told apart by a number.
async fn changes<S: Store>(
    store: &S,
    user: &User,
    author: &Author,
    number: u8,
) -> Vec<(&'static str, Result<(), StoreError>)> {
    let (own, name) = (user.personal_project, format!("n{number}"));
    let guest = reader(store, &format!("guest{number}@example.org")).await;
    let kept = invite("eve@example.org", Some(own), hash(100 + number));
    let kept = done(store.create_invite(kept).await).expect("there is such a project");
    let identity = Identity {
        issuer: "https://login.example".to_owned(),
        subject: name.clone(),
    };
    let issued = NewApiKey {
        author: author.clone(),
        ..key(user, &name)
    };
    let mut invited = invite("eve@example.org", Some(own), hash(200 + number));
    invited.author = author.clone();
    let service = NewService {
        id: UserId::new(),
        name: name.clone(),
        project: own,
        author: author.clone(),
    };
    let founded = NewProject {
        id: ProjectId::new(),
        name: name.clone(),
        owner: user.id,
        author: author.clone(),
    };
    let handed = NewTicket {
        email: None,
        author: author.clone(),
        ..ticket(&guest, TicketPurpose::ResetPassword, hash(50 + number))
    };
    let renamed = UserChange {
        username: Some(Some(name.clone())),
        ..UserChange::default()
    };
    let by = || author.clone();
    let role = ProjectRole::Admin;
    vec![
        ("a key", store.create_key(issued).await.map(drop)),
        (
            "a member",
            store.set_member(own, guest.id, role, by()).await.map(drop),
        ),
        (
            "a member less",
            store.remove_member(own, guest.id, by()).await.map(drop),
        ),
        ("an invite", store.create_invite(invited).await.map(drop)),
        (
            "its project less",
            store
                .revoke_invite(Some(own), kept.id, by())
                .await
                .map(drop),
        ),
        (
            "an invite less",
            store.revoke_invite(None, kept.id, by()).await.map(drop),
        ),
        ("a service", store.create_service(service).await.map(drop)),
        (
            "a login",
            store
                .link_identity(user.id, identity.clone(), None, by())
                .await
                .map(drop),
        ),
        (
            "a login less",
            store
                .unlink_identity(user.id, identity, by())
                .await
                .map(drop),
        ),
        (
            "another name",
            store.change_user(user.id, renamed, by()).await.map(drop),
        ),
        ("a ticket", store.create_ticket(handed).await),
        ("a project", store.create_project(founded).await.map(drop)),
        (
            "its name",
            store.rename_project(own, name, by()).await.map(drop),
        ),
    ]
}

/// Makes an account with an address that nobody has confirmed, and sets its password as whoever reads that address.
async fn taken_over<S: Store>(store: &S, micros: i64) -> User {
    let unconfirmed = account(Some("ada@example.org"), None);
    let ada = done(store.create_user(unconfirmed).await);
    let secret = ticket(&ada, TicketPurpose::ResetPassword, hash(1));
    done(store.create_ticket(secret).await);
    let reset = store.reset_password(hash(1), "second".to_owned(), at(micros));
    done(reset.await).expect("the ticket is good")
}

/// What a stranger has begun in the account is not done after its owner has taken it; what the owner begins is.
pub async fn what_was_begun_before_an_account_was_secured_comes_to_nothing<S: Store>(store: S) {
    let ada = taken_over(&store, 5).await;
    let before = begun(Actor::User(ada.id), 4);
    for (what, answer) in changes(&store, &ada, &before, 1).await {
        stale(answer, what);
    }
    let inside = done(store.members(ada.personal_project, None, 10).await);
    assert_eq!(inside.len(), 1, "ada alone");
    assert!(done(store.identities(ada.id).await).is_empty());
    assert!(done(store.owned_keys(ada.id, None, 10).await).is_empty());
    assert_eq!(done(store.projects_of(ada.id).await).len(), 1, "her own");
    let after = begun(Actor::User(ada.id), 6);
    for (what, answer) in changes(&store, &ada, &after, 2).await {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
    let others = reader(&store, "bea@example.org").await;
    let not_hers = begun(Actor::User(others.id), 4);
    for (what, answer) in changes(&store, &others, &not_hers, 3).await {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
}

/// Who was let in while the reset was under way may have done something by then, and does nothing more.
pub async fn what_came_between_a_reset_and_its_commit_is_ended<S: Store>(store: S) {
    let ada = taken_over(&store, 5).await;
    let between = begun(Actor::User(ada.id), 6);
    for (what, answer) in changes(&store, &ada, &between, 1).await {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
    assert!(done(store.secure_account(ada.id, at(7)).await));
    assert!(done(store.owned_keys(ada.id, None, 10).await).is_empty());
    let inside = done(store.members(ada.personal_project, None, 10).await);
    assert_eq!(inside.len(), 1, "the service is gone, too");
    for (what, answer) in changes(&store, &ada, &between, 2).await {
        stale(answer, what);
    }
    let at_once = begun(Actor::User(ada.id), 7);
    for (what, answer) in changes(&store, &ada, &at_once, 3).await {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
    let nobody = store.secure_account(UserId::new(), at(7)).await;
    assert!(!done(nobody), "there is no such account");
}

/// A key that somebody was let in by may be revoked by now, wherever else it is still remembered.
pub async fn a_revoked_key_changes_nothing_more<S: Store>(store: S) {
    let ada = reader(&store, "ada@example.org").await;
    let made = done(store.create_key(key(&ada, "laptop")).await);
    let by_key = begun(Actor::Key(made.id, ada.id), 9);
    for (what, answer) in changes(&store, &ada, &by_key, 1).await {
        assert!(answer.is_ok(), "{what}: {answer:?}");
    }
    let other = done(store.create_key(key(&ada, "other")).await);
    done(store.revoke_key(own(&made), at(5)).await);
    for (what, answer) in changes(&store, &ada, &by_key, 2).await {
        stale(answer, what);
    }
    let change = KeyChange {
        name: Some("mine".to_owned()),
        ..KeyChange::default()
    };
    let changed = store.change_key(own(&other), change, by_key.clone());
    stale(changed.await, "another key");
    stale(store.revoke_key(own(&other), by_key).await, "nor this");
}
