//! Changes that meet, by several stores on one database: what one decided by holds for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, ProjectId, Role, UserId};
use llm_gate::store::{
    Action, Author, EventQuery, KeyName, NewInvite, NewProject, NewTicket, NewUser, ProjectOutcome,
    ProjectRole, Refresh, Rotation, Store, StoreErrorKind, TicketPurpose, TokenHash, User,
    UserChange, UserOutcome,
};
use tokio::sync::Barrier;

use super::{account, author, key, session};

const RACERS: usize = 8;

/// Runs `work` as often as there are racers, at once and spread over the stores; lists what came of it.
async fn race<S, T, F>(stores: &[S], work: impl Fn(usize, S) -> F) -> Vec<T>
where
    S: Clone,
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(RACERS));
    let tasks: Vec<_> = (0..RACERS)
        .map(|number| {
            let work = work(number, stores[number % stores.len()].clone());
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                work.await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

/// Counts the events of an action.
async fn told(store: &impl Store, action: Action) -> usize {
    let query = EventQuery {
        actions: vec![action],
        ..EventQuery::default()
    };
    store.events(query, 1_000).await.unwrap().len()
}

/// Checks that of admins who all step back at once one stays, whichever way they go.
pub async fn an_admin_stays<S: Store + Clone>(stores: &[S]) {
    let mut admins = Vec::new();
    for number in 0..RACERS {
        let admin = NewUser {
            role: Role::Admin,
            ..account(&format!("admin {number}"))
        };
        admins.push(stores[0].create_user(admin).await.unwrap().id);
    }
    let outcomes = race(stores, |number, store| {
        let id = admins[number];
        async move {
            let change = |role, disabled| UserChange {
                role,
                disabled,
                ..UserChange::default()
            };
            match number % 3 {
                0 => store.delete_user(id, author()).await,
                1 => {
                    let change = change(Some(Role::User), None);
                    store.change_user(id, change, author()).await
                }
                _ => {
                    let change = change(None, Some(true));
                    store.change_user(id, change, author()).await
                }
            }
        }
    });
    let kept = outcomes.await.into_iter().map(Result::unwrap);
    let kept = kept.filter(|outcome| *outcome == UserOutcome::LastAdmin);
    assert_eq!(kept.count(), 1, "all but one may go");
}

/// Checks that of owners who all leave at once one stays, whichever way they go.
pub async fn an_owner_stays<S: Store + Clone>(stores: &[S]) {
    let (store, project) = (&stores[0], ProjectId::new());
    let mut owners = Vec::new();
    for number in 0..RACERS {
        let owner = account(&format!("owner {number}"));
        owners.push(store.create_user(owner).await.unwrap().id);
    }
    let new = NewProject {
        id: project,
        name: "shared".to_owned(),
        owner: owners[0],
        author: author(),
    };
    store.create_project(new).await.unwrap();
    for &owner in &owners[1..] {
        let role = ProjectRole::Owner;
        store
            .set_member(project, owner, role, author())
            .await
            .unwrap();
    }
    let refused = race(stores, |number, store| {
        let id = owners[number];
        async move {
            match number % 3 {
                0 => {
                    let outcome = store.delete_user(id, author()).await.unwrap();
                    outcome == UserOutcome::LastOwner(project)
                }
                1 => {
                    let outcome = store.remove_member(project, id, author()).await;
                    outcome.unwrap() == ProjectOutcome::LastOwner
                }
                _ => {
                    let role = ProjectRole::Member;
                    let outcome = store.set_member(project, id, role, author()).await;
                    outcome.unwrap() == ProjectOutcome::LastOwner
                }
            }
        }
    });
    let refused = refused.await.into_iter().filter(|refused| *refused).count();
    let members = store.members(project, None, 100).await.unwrap();
    let owners = members
        .iter()
        .filter(|member| member.role == ProjectRole::Owner);
    assert_eq!((refused, owners.count()), (1, 1), "all but one may go");
}

/// Checks that a key is no longer good than its owner is a member, whichever comes first.
pub async fn no_key_outlives_its_membership<S: Store + Clone>(stores: &[S]) {
    let store = &stores[0];
    let owner = store.create_user(account("owner")).await.unwrap();
    let member = store.create_user(account("member")).await.unwrap();
    let (project, role) = (owner.personal_project, ProjectRole::Member);
    store
        .set_member(project, member.id, role, author())
        .await
        .unwrap();
    let made = race(stores, |number, store| {
        let mut key = key(&member, &format!("key {number}"));
        key.project = project;
        let user = member.id;
        async move {
            if number == RACERS / 2 {
                store.remove_member(project, user, author()).await.unwrap();
                return None;
            }
            match store.create_key(key).await {
                Ok(key) => Some(key),
                Err(error) => {
                    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}");
                    None
                }
            }
        }
    });
    for key in made.await.into_iter().flatten() {
        let (owner, id) = (None, key.id);
        let key = store.key(KeyName { project, owner, id }).await.unwrap();
        let key = key.expect("it was made");
        assert!(key.revoked_at.is_some(), "nobody's key works");
    }
}

/// Checks that all who race with one refresh token get the same successor.
pub async fn racing_refreshes_have_one_heir<S: Store + Clone>(stores: &[S]) {
    let store = &stores[0];
    let user = store.create_user(account("ada")).await.unwrap();
    let session = session(&user, TokenHash([1; 32]));
    store.create_session(session.clone()).await.unwrap();
    let refresh = |old, new| Refresh {
        old: TokenHash([old; 32]),
        new: TokenHash([new; 32]),
        author: Author::system(Timestamp::from_micros(2)),
        idle_until: Timestamp::from_micros(9),
        grace: Duration::from_micros(5),
    };
    let rotations = race(stores, |_, store| async move {
        store.rotate_session(refresh(1, 2)).await.unwrap()
    });
    for rotation in rotations.await {
        assert!(
            matches!(&rotation, Rotation::Rotated(of) if of.id == session.id),
            "each of them goes on: {rotation:?}"
        );
    }
    let next = store.rotate_session(refresh(2, 3)).await.unwrap();
    assert!(matches!(next, Rotation::Rotated(_)), "with the successor");
    let rotations = race(stores, |_, store| async move {
        store.rotate_session(refresh(1, 2)).await.unwrap()
    });
    let mut reused = 0;
    for rotation in rotations.await {
        reused += usize::from(matches!(rotation, Rotation::Reused(_)));
    }
    assert_eq!(reused, 1, "a thief is noticed once");
    assert_eq!(
        told(store, Action::SessionReused).await,
        1,
        "and told of once"
    );
    let last = store.rotate_session(refresh(3, 4)).await.unwrap();
    assert_eq!(last, Rotation::Refused, "the family has ended");
}

async fn with_address<S: Store>(store: &S, name: &str, email: &str) -> User {
    let user = NewUser {
        email: Some(email.to_owned()),
        email_verified: true,
        ..account(name)
    };
    store.create_user(user).await.unwrap()
}

/// Checks that a ticket is used once.
pub async fn a_ticket_is_used_once<S: Store + Clone>(stores: &[S]) {
    let user = with_address(&stores[0], "ada", "ada@example.org").await;
    let ticket = NewTicket {
        hash: TokenHash([1; 32]),
        purpose: TicketPurpose::ResetPassword,
        user: user.id,
        email: Some("ada@example.org".to_owned()),
        asked: false,
        author: author(),
        expires_at: Timestamp::from_micros(9),
    };
    stores[0].create_ticket(ticket).await.unwrap();
    let used = race(stores, |number, store| async move {
        let hash = format!("hash {number}");
        let used = store.reset_password(TokenHash([1; 32]), hash.clone(), author());
        used.await.unwrap().map(|_| hash)
    });
    let used: Vec<String> = used.await.into_iter().flatten().collect();
    let record = stores[0].user_by_login("ada".to_owned()).await.unwrap();
    let hash = record.unwrap().hash.unwrap();
    assert_eq!(used, [hash], "one of them set the password");
    assert_eq!(told(&stores[0], Action::PasswordChanged).await, 1, "once");
}

/// Checks that an invite is taken up once, by a new account or by one that is there.
pub async fn an_invite_is_taken_up_once<S: Store + Clone>(stores: &[S]) {
    let store = &stores[0];
    let owner = store.create_user(account("owner")).await.unwrap();
    let project = owner.personal_project;
    let email = "ada@example.org";
    let token = TokenHash([1; 32]);
    let invite = NewInvite {
        id: InviteId::new(),
        hash: token,
        email: email.to_owned(),
        role: Role::User,
        projects: BTreeMap::from([(project, ProjectRole::Admin)]),
        expires_at: Timestamp::from_micros(9),
        author: author(),
    };
    store.create_invite(invite).await.unwrap();
    let taken = race(stores, |number, store| async move {
        let user = NewUser {
            email: Some(email.to_owned()),
            invite: Some(token),
            ..account(&format!("guest {number}"))
        };
        store.create_user(user).await.is_ok()
    });
    let taken = taken.await.into_iter().filter(|taken| *taken).count();
    assert_eq!(taken, 1, "one of them is let in");
    assert_eq!(told(store, Action::InviteAccepted).await, 1, "once");
    let members = store.members(project, None, 100).await.unwrap();
    assert_eq!(members.len(), 2, "beside the owner");
}

/// Checks that an invite to several projects has led where it says, whoever takes one of them out or closes it meanwhile.
pub async fn an_invite_has_led_where_it_says<S: Store + Clone>(stores: &[S]) {
    let store = &stores[0];
    let owner = store.create_user(account("owner")).await.unwrap();
    let ada = with_address(store, "ada", "ada@example.org").await.id;
    let projects = [(); 4].map(|()| ProjectId::new());
    for id in projects {
        let new = NewProject {
            id,
            name: "shared".to_owned(),
            owner: owner.id,
            author: author(),
        };
        store.create_project(new).await.unwrap();
    }
    let (id, token) = (InviteId::new(), TokenHash([1; 32]));
    let invite = NewInvite {
        id,
        hash: token,
        email: "ada@example.org".to_owned(),
        role: Role::User,
        projects: projects.map(|id| (id, ProjectRole::Member)).into(),
        expires_at: Timestamp::from_micros(9),
        author: author(),
    };
    store.create_invite(invite).await.unwrap();
    let done = race(stores, |number, store| {
        let [_, two, three, four] = projects;
        async move {
            let out = match number % 4 {
                0 => store.accept_invite(token, ada, author()).await.unwrap(),
                1 => {
                    store.archive_project(two, author()).await.unwrap();
                    None
                }
                2 => store
                    .revoke_invite(Some(three), id, author())
                    .await
                    .unwrap(),
                _ => store.revoke_invite(Some(four), id, author()).await.unwrap(),
            };
            out.is_some()
        }
    })
    .await;
    let invite = store.invite(id).await.unwrap().unwrap();
    let left = invite.projects.len();
    let accepted = told(store, Action::InviteAccepted).await;
    assert_eq!(accepted, 1, "it is taken up once");
    let out = told(store, Action::InviteChanged).await;
    assert_eq!(out + left, projects.len(), "what is out was told, once");
    for (number, project) in projects.into_iter().enumerate() {
        let inside = store.member(project, ada).await.unwrap().is_some();
        assert_eq!(inside, invite.projects.contains_key(&project), "{number}");
    }
    for (racer, project) in [(2, projects[2]), (3, projects[3])] {
        let out = !invite.projects.contains_key(&project);
        assert_eq!((done[racer], done[racer + 4]), (out, out), "{racer}");
    }
}

/// Checks that a name is one account's.
pub async fn a_name_is_given_once<S: Store + Clone>(stores: &[S]) {
    let made = race(stores, |_, store| async move {
        store.create_user(account("ada")).await
    });
    let mut ids: Vec<UserId> = Vec::new();
    for result in made.await {
        match result {
            Ok(user) => ids.push(user.id),
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error:?}"),
        }
    }
    let record = stores[0].user_by_login("ada".to_owned()).await.unwrap();
    assert_eq!(ids, [record.unwrap().user.id], "one of them has it");
    let told = told(&stores[0], Action::UserCreated).await;
    assert_eq!(told, 1, "of those who were refused nothing is left");
}

/// Makes the tests of a file, on stores that `$make` opens.
macro_rules! race_tests {
    ($make:path: $($name:ident),+ $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $name() {
            crate::support::races::$name(&$make().await).await;
        }
    )+};
    ($make:path) => {
        crate::support::races::race_tests! { $make:
            an_admin_stays, an_owner_stays, no_key_outlives_its_membership,
            racing_refreshes_have_one_heir, a_ticket_is_used_once, an_invite_is_taken_up_once,
            an_invite_has_led_where_it_says, a_name_is_given_once,
        }
    };
}
pub(crate) use race_tests;
