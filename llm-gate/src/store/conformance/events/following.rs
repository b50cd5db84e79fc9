//! What a change takes along: each thing that ends with another leaves an event of its own.

use super::{Trail, listed, service, someone, sorted};
use crate::store::conformance::support::{
    done, hash, invite, key, later, own, project, session, shared, user,
};
use crate::store::{Action, EventQuery, Identity, NewApiKey, Store, User};

/// Sessions, keys, memberships and projects that end with it are told, each by itself.
pub async fn what_goes_with_an_account_leaves_events<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &bob, &ada).await.id;
    let one = session(&ada, hash(1));
    done(store.create_session(one.clone()).await);
    let mut trail = Trail::begin(&store).await;
    done(
        store
            .set_password(ada.id, "second".to_owned(), None, someone(1))
            .await,
    );
    let (password, revoked) = (Action::PasswordChanged, Action::SessionRevoked);
    let expected = sorted([(password, &ada.id), (revoked, &one.id)]);
    assert_eq!(
        trail.several(1).await,
        expected,
        "another password ends a session"
    );
    let two = session(&ada, hash(2));
    done(store.create_session(two.clone()).await);
    trail.left().await;
    done(store.set_user_disabled(ada.id, true, someone(2)).await);
    let expected = sorted([(Action::UserChanged, &ada.id), (revoked, &two.id)]);
    assert_eq!(trail.several(2).await, expected, "and so does disabling");
    done(store.set_user_disabled(ada.id, false, someone(3)).await);
    let three = session(&ada, hash(3));
    done(store.create_session(three.clone()).await);
    let laptop = done(store.create_key(key(&ada, "laptop")).await).id;
    let desk = NewApiKey {
        project: common,
        ..key(&ada, "desk")
    };
    let desk = done(store.create_key(desk).await).id;
    let known = Identity {
        issuer: "https://a".to_owned(),
        subject: "1".to_owned(),
    };
    done(store.link_identity(ada.id, known, None, someone(3)).await);
    trail.left().await;
    done(store.delete_user(ada.id, someone(4)).await);
    let expected = sorted([
        (revoked, &three.id),
        (Action::KeyRevoked, &laptop),
        (Action::KeyRevoked, &desk),
        (Action::MemberRemoved, &ada.id),
        (Action::MemberRemoved, &ada.id),
        (Action::ProjectArchived, &ada.personal_project),
        (Action::IdentityUnlinked, &ada.id),
        (Action::UserDeleted, &ada.id),
    ]);
    assert_eq!(
        trail.several(4).await,
        expected,
        "all that was the account's"
    );
    let query = EventQuery {
        projects: vec![common],
        from: Some(later(4)),
        ..EventQuery::default()
    };
    let read = listed(&store, query).await;
    let mut read: Vec<Action> = read.into_iter().map(|event| event.action).collect();
    read.sort_unstable();
    let told = [Action::MemberRemoved, Action::KeyRevoked];
    assert_eq!(
        read, told,
        "who owns the project reads who left, and which key went"
    );
}

/// Its keys and its open invites are told, each by itself.
pub async fn what_goes_with_a_project_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let id = project(&store, &ada).await.id;
    let wanted = |public_id| NewApiKey {
        project: id,
        ..key(&ada, public_id)
    };
    let works = done(store.create_key(wanted("works")).await);
    let revoked = done(store.create_key(wanted("revoked")).await);
    done(store.revoke_key(own(&revoked), someone(1)).await);
    let open = invite("bob@example.org", Some(id), hash(1));
    let closed = invite("eve@example.org", Some(id), hash(2));
    done(store.create_invite(open.clone()).await);
    done(store.create_invite(closed.clone()).await);
    done(store.revoke_invite(None, closed.id, someone(1)).await);
    let mut trail = Trail::begin(&store).await;
    done(store.archive_project(id, someone(2)).await);
    let expected = sorted([
        (Action::ProjectArchived, &id),
        (Action::KeyRevoked, &works.id),
        (Action::InviteRevoked, &open.id),
    ]);
    assert_eq!(
        trail.several(2).await,
        expected,
        "what had ended before has no part in it"
    );
}

/// The member's keys, and the account of a service.
pub async fn what_goes_with_a_member_leaves_events<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = shared(&store, &ada, &bob).await.id;
    let robot = service(&store, project).await;
    let make = async |user: &User, public_id: &str| {
        let new = NewApiKey {
            project,
            ..key(user, public_id)
        };
        done(store.create_key(new).await).id
    };
    let (desk, arm) = (make(&bob, "desk").await, make(&robot, "arm").await);
    done(store.create_key(key(&bob, "elsewhere")).await);
    let mut trail = Trail::begin(&store).await;
    done(store.remove_member(project, bob.id, someone(1)).await);
    let (removed, revoked) = (Action::MemberRemoved, Action::KeyRevoked);
    let expected = sorted([(removed, &bob.id), (revoked, &desk)]);
    assert_eq!(trail.several(1).await, expected, "the keys in this project");
    done(store.remove_member(project, robot.id, someone(2)).await);
    let deleted = Action::UserDeleted;
    let expected = sorted([(removed, &robot.id), (revoked, &arm), (deleted, &robot.id)]);
    assert_eq!(trail.several(2).await, expected, "and a service itself");
}
