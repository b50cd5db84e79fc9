//! Accounts that change and go.

use std::sync::Arc;

use crate::identity::{ProjectId, Role, UserId};
use crate::store::conformance::support::{
    START, account, admin, at, conflict, done, race, reader, user,
};
use crate::store::{MAX_SERVICES, NewService, User, UserChange, UserKind, UserOutcome, UserStore};

fn names(email: Option<&str>, username: Option<&str>) -> UserChange {
    UserChange {
        email: Some(email.map(str::to_owned)),
        username: Some(username.map(str::to_owned)),
        ..UserChange::default()
    }
}

async fn changed<S: UserStore>(store: &S, id: UserId, change: UserChange) -> User {
    match done(store.change_user(id, change, at(1)).await) {
        UserOutcome::Done(user) => user,
        other => panic!("a change that nothing forbids is done, not {other:?}"),
    }
}

/// A change, and what it does.
type Step = (UserChange, fn(&mut User));

/// What is not named stays as it was.
pub async fn an_account_is_changed_in_parts<S: UserStore>(store: S) {
    admin(&store, "root").await;
    let mut expected = reader(&store, "ada@example.org").await;
    let id = expected.id;
    let steps: [Step; 5] = [
        (
            UserChange {
                name: Some(Some("Ada L.".to_owned())),
                ..UserChange::default()
            },
            |user| user.name = Some("Ada L.".to_owned()),
        ),
        (
            UserChange {
                username: Some(Some("ada".to_owned())),
                ..UserChange::default()
            },
            |user| user.username = Some("ada".to_owned()),
        ),
        (
            UserChange {
                role: Some(Role::Admin),
                ..UserChange::default()
            },
            |user| user.role = Role::Admin,
        ),
        (
            UserChange {
                disabled: Some(true),
                ..UserChange::default()
            },
            |user| user.disabled = true,
        ),
        (
            UserChange {
                name: Some(None),
                role: Some(Role::User),
                disabled: Some(false),
                ..UserChange::default()
            },
            |user| {
                user.name = None;
                user.role = Role::User;
                user.disabled = false;
            },
        ),
    ];
    for (change, expect) in steps {
        expect(&mut expected);
        assert_eq!(
            changed(&store, id, change).await,
            expected,
            "this and no more"
        );
        assert_eq!(
            done(store.user(id).await),
            Some(expected.clone()),
            "it reads the same"
        );
    }
    let nobody = store.change_user(UserId::new(), UserChange::default(), at(1));
    assert_eq!(
        done(nobody.await),
        UserOutcome::Absent,
        "nobody cannot be changed"
    );
}

/// Whoever read the old address does not have to read the new one.
pub async fn another_address_is_unverified<S: UserStore>(store: S) {
    let id = reader(&store, "old@example.org").await.id;
    let same = changed(&store, id, names(Some("old@example.org"), None)).await;
    assert!(same.email_verified, "it is the same address");
    let other = changed(&store, id, names(Some("new@example.org"), None)).await;
    assert!(!other.email_verified, "nobody has said so of this one");
    let mut known = names(Some("third@example.org"), None);
    known.email_verified = Some(true);
    assert!(
        changed(&store, id, known).await.email_verified,
        "somebody has"
    );
    let none = changed(&store, id, names(None, Some("ada"))).await;
    assert!(!none.email_verified, "no address is nobody's");
    let flag = UserChange {
        email_verified: Some(true),
        ..UserChange::default()
    };
    let id = user(&store, "bob").await.id;
    let none = changed(&store, id, flag.clone()).await;
    assert!(!none.email_verified, "nor can be confirmed");
    changed(&store, id, names(Some("bob@example.org"), None)).await;
    assert!(
        changed(&store, id, flag).await.email_verified,
        "an address can"
    );
}

fn no_email() -> UserChange {
    UserChange {
        email: Some(None),
        ..UserChange::default()
    }
}

fn no_username() -> UserChange {
    UserChange {
        username: Some(None),
        ..UserChange::default()
    }
}

/// Somebody without any could never log in again.
pub async fn the_last_name_of_a_person_stays<S: UserStore>(store: S) {
    let new = account(Some("ada@example.org"), Some("ada"));
    let ada = done(store.create_user(new).await);
    let both = names(None, None);
    let refused = done(store.change_user(ada.id, both, at(1)).await);
    assert_eq!(refused, UserOutcome::LastName, "both at once");
    assert_eq!(
        done(store.user(ada.id).await),
        Some(ada.clone()),
        "nothing is changed"
    );
    changed(&store, ada.id, no_email()).await;
    let refused = done(store.change_user(ada.id, no_username(), at(1)).await);
    assert_eq!(refused, UserOutcome::LastName, "one after the other");
    changed(&store, ada.id, names(Some("ada@example.org"), None)).await;
    let refused = done(store.change_user(ada.id, no_email(), at(1)).await);
    assert_eq!(refused, UserOutcome::LastName, "or the other way");
    let nameless = done(store.create_user(account(None, None)).await).id;
    let called = UserChange {
        name: Some(Some("Eve".to_owned())),
        ..UserChange::default()
    };
    changed(&store, nameless, called).await;
}

/// One of two who each leave the other's name finds that it is gone.
pub async fn of_racing_changes_one_name_is_left<S: UserStore>(store: S) {
    let new = account(Some("ada@example.org"), Some("ada"));
    let id = done(store.create_user(new).await).id;
    let store = Arc::new(store);
    let changes = race(&store, 8, |store, number| async move {
        let change = if number % 2 == 0 {
            no_email()
        } else {
            no_username()
        };
        done(store.change_user(id, change, at(1)).await) == UserOutcome::LastName
    })
    .await;
    let refused = changes.into_iter().filter(|refused| *refused).count();
    assert_eq!(refused, 4, "all of one kind");
    let now = done(store.user(id).await);
    assert!(now.is_some_and(|user| user.is_named()), "a name is left");
}

/// A login names one account, also after a change.
pub async fn a_name_of_another_account_is_not_taken_over<S: UserStore>(store: S) {
    done(store.create_user(account(Some("one"), Some("two"))).await);
    let mine = done(
        store
            .create_user(account(Some("three"), Some("four")))
            .await,
    );
    for (email, username, reason) in [
        (Some("one"), Some("four"), "an address by an address"),
        (Some("two"), Some("four"), "a user name by an address"),
        (Some("three"), Some("one"), "an address by a user name"),
        (Some("three"), Some("two"), "a user name by a user name"),
        (Some("five"), Some("two"), "one of two names is enough"),
    ] {
        conflict(
            store
                .change_user(mine.id, names(email, username), at(1))
                .await,
            reason,
        );
        assert_eq!(
            done(store.user(mine.id).await),
            Some(mine.clone()),
            "nothing has changed"
        );
    }
    assert!(
        done(store.user_by_login("five".to_owned()).await).is_none(),
        "the free one of two names stays free"
    );
    let swapped = changed(&store, mine.id, names(Some("four"), Some("three"))).await;
    assert_eq!(
        swapped.email.as_deref(),
        Some("four"),
        "its own names are its own"
    );
}

/// A name belongs to whoever has it now.
pub async fn names_that_were_given_up_are_free<S: UserStore>(store: S) {
    let id = done(store.create_user(account(Some("one"), Some("two"))).await).id;
    changed(&store, id, names(None, Some("three"))).await;
    for name in ["one", "two"] {
        let found = done(store.user_by_login(name.to_owned()).await);
        assert!(found.is_none(), "{name} logs nobody in any more");
    }
    let found = done(store.user_by_login("three".to_owned()).await);
    assert_eq!(
        found.map(|found| found.user.id),
        Some(id),
        "the new name does"
    );
    let other = done(store.create_user(account(Some("two"), Some("one"))).await).id;
    let found = done(store.user_by_login("one".to_owned()).await);
    assert_eq!(
        found.map(|found| found.user.id),
        Some(other),
        "and then somebody else"
    );
}

/// What is left of it cannot be read, changed or found.
pub async fn a_deleted_account_is_none<S: UserStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let deleted = done(store.delete_user(ada.id, at(1)).await);
    assert_eq!(
        deleted,
        UserOutcome::Done(ada.clone()),
        "the answer is how it was"
    );
    assert_eq!(done(store.user(ada.id).await), None, "it cannot be read");
    assert!(
        done(store.user_by_login("ada".to_owned()).await).is_none(),
        "nor log in"
    );
    assert_eq!(done(store.users(None, 10).await), [bob], "nor is it listed");
    let change = UserChange {
        disabled: Some(false),
        ..UserChange::default()
    };
    let changed = done(store.change_user(ada.id, change, at(2)).await);
    assert_eq!(changed, UserOutcome::Absent, "nor changed");
    let set = store.set_password(ada.id, "second".into(), None, at(2));
    assert!(!done(set.await), "nor has it a password");
    let again = done(store.delete_user(ada.id, at(2)).await);
    assert_eq!(again, UserOutcome::Absent, "nor is it deleted again");
    let mut same = account(None, Some("other"));
    same.id = ada.id;
    conflict(
        store.create_user(same).await,
        "its identifier is in the books for ever",
    );
}

/// Who comes after has the name, and nothing else of it.
pub async fn the_names_of_a_deleted_account_are_free<S: UserStore>(store: S) {
    let wanted = || account(Some("ada@example.org"), Some("ada"));
    let first = done(store.create_user(wanted()).await).id;
    done(store.delete_user(first, at(1)).await);
    let second = done(store.create_user(wanted()).await).id;
    assert_ne!(first, second, "it is another account");
    for login in ["ada@example.org", "ada"] {
        let found = done(store.user_by_login(login.to_owned()).await);
        assert_eq!(
            found.map(|found| found.user.id),
            Some(second),
            "which {login} finds"
        );
    }
}

/// Somebody has to be able to let the others in again.
pub async fn an_enabled_admin_is_left<S: UserStore>(store: S) {
    let (one, two) = (admin(&store, "one").await, admin(&store, "two").await);
    user(&store, "three").await;
    let demote = UserChange {
        role: Some(Role::User),
        ..UserChange::default()
    };
    let disable = UserChange {
        disabled: Some(true),
        ..UserChange::default()
    };
    assert!(
        done(store.set_user_disabled(two.id, true, at(1)).await),
        "one is left"
    );
    for change in [demote.clone(), disable] {
        let refused = done(store.change_user(one.id, change, at(2)).await);
        assert_eq!(refused, UserOutcome::LastAdmin, "the other one is disabled");
    }
    let refused = done(store.delete_user(one.id, at(2)).await);
    assert_eq!(
        refused,
        UserOutcome::LastAdmin,
        "nor is the last one deleted"
    );
    assert_eq!(
        done(store.user(one.id).await),
        Some(one.clone()),
        "it is as it was"
    );
    let renamed = changed(&store, one.id, names(None, Some("four"))).await;
    assert_eq!(renamed.role, Role::Admin, "another change is no matter");
    assert!(
        done(store.set_user_disabled(two.id, false, at(3)).await),
        "now there are two"
    );
    assert_eq!(
        changed(&store, one.id, demote).await.role,
        Role::User,
        "so one may go"
    );
    let refused = done(store.delete_user(two.id, at(4)).await);
    assert_eq!(refused, UserOutcome::LastAdmin, "and the other one may not");
    let deleted = done(store.delete_user(one.id, at(4)).await);
    assert!(
        matches!(deleted, UserOutcome::Done(_)),
        "who is no admin may"
    );
}

/// Admins who demote one another at the same moment leave one.
pub async fn of_racing_admins_one_is_left<S: UserStore>(store: S) {
    let mut admins = Vec::new();
    for name in ["one", "two", "three", "four"] {
        admins.push(admin(&store, name).await.id);
    }
    let store = Arc::new(store);
    let outcomes = race(&store, 4, |store, number| {
        let id = admins[number];
        async move {
            match number % 2 {
                0 => done(store.delete_user(id, at(1)).await),
                _ => {
                    let change = UserChange {
                        disabled: Some(true),
                        ..UserChange::default()
                    };
                    done(store.change_user(id, change, at(1)).await)
                }
            }
        }
    })
    .await;
    let left = outcomes
        .iter()
        .filter(|one| **one == UserOutcome::LastAdmin);
    assert_eq!(left.count(), 1, "all but one went: {outcomes:?}");
    let users = done(store.users(None, 10).await);
    let enabled = users.iter().filter(|user| !user.disabled).count();
    assert_eq!(enabled, 1, "and that one can still do something");
}

/// Not even where many are made at once; those of others, and those that are gone, take no room.
pub async fn a_project_has_no_more_services_than_allowed<S: UserStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let new = |project, number| NewService {
        id: UserId::new(),
        name: format!("robot {number}"),
        project,
        author: at(0),
    };
    let first = new(ada.personal_project, 0);
    done(store.create_service(first.clone()).await);
    for number in 1..MAX_SERVICES - 1 {
        done(
            store
                .create_service(new(ada.personal_project, number))
                .await,
        );
    }
    let store = Arc::new(store);
    let made = race(&store, 8, |store, number| {
        let new = new(ada.personal_project, number);
        async move { store.create_service(new).await.is_ok() }
    })
    .await;
    assert_eq!(
        made.into_iter().filter(|made| *made).count(),
        1,
        "there is room for one"
    );
    conflict(
        store.create_service(new(ada.personal_project, 0)).await,
        "and for no more",
    );
    let elsewhere = done(store.create_service(new(bob.personal_project, 0)).await);
    assert!(elsewhere.is_some(), "bob has room of his own");
    done(store.delete_user(first.id, at(1)).await);
    let next = done(store.create_service(new(ada.personal_project, 0)).await);
    assert!(next.is_some(), "one is gone");
}

/// A service has a name, a project and keys, and nothing that logs in.
pub async fn a_service_belongs_to_a_project_and_cannot_log_in<S: UserStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = |project| NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project,
        author: at(0),
    };
    let nowhere = done(store.create_service(new(ProjectId::new())).await);
    assert_eq!(nowhere, None, "there is no such project");
    let wanted = new(ada.personal_project);
    let made = done(store.create_service(wanted.clone()).await);
    let expected = User {
        id: wanted.id,
        kind: UserKind::Service,
        email: None,
        email_verified: false,
        username: None,
        name: Some("robot".to_owned()),
        role: Role::User,
        disabled: false,
        personal_project: ada.personal_project,
        created_at: START,
    };
    assert_eq!(made, Some(expected.clone()), "it is what was asked for");
    assert_eq!(
        done(store.user(wanted.id).await),
        Some(expected.clone()),
        "and reads so"
    );
    assert_eq!(done(store.users(None, 10).await), [ada], "it is no person");
    let found = done(store.user_by_login("robot".to_owned()).await);
    assert!(found.is_none(), "its name is no login");
    conflict(
        store.create_service(wanted.clone()).await,
        "an identifier names one account",
    );
    let login = done(
        store
            .change_user(wanted.id, names(None, Some("robot")), at(1))
            .await,
    );
    assert_eq!(login, UserOutcome::Absent, "nor does it get a login");
    let role = UserChange {
        role: Some(Role::Admin),
        ..UserChange::default()
    };
    let role = done(store.change_user(wanted.id, role, at(1)).await);
    assert_eq!(role, UserOutcome::Absent, "nor a role on the platform");
    let change = UserChange {
        name: Some(Some("machine".to_owned())),
        disabled: Some(true),
        ..UserChange::default()
    };
    let changed = changed(&store, wanted.id, change).await;
    assert_eq!(
        changed.name.as_deref(),
        Some("machine"),
        "it can be called something else"
    );
    assert!(changed.disabled, "and be disabled");
    let deleted = done(store.delete_user(wanted.id, at(2)).await);
    assert_eq!(deleted, UserOutcome::Done(changed), "and deleted");
    assert_eq!(done(store.user(wanted.id).await), None, "for good");
}
