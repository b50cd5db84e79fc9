//! What ends with an account, a membership or a project.

use std::sync::Arc;

use crate::identity::{ProjectId, Subject, UserId};
use crate::store::conformance::support::{
    at, balances, denied, done, granted, hash, key, later, own, project, race, reserve, settle,
    settled, shared, stands, tokens, user,
};
use crate::store::{
    ApiKey, DenialReason, NewApiKey, NewKeySecret, NewService, ProjectOutcome, Store, User,
    UserOutcome,
};

/// Makes a key of a user in a project.
async fn key_in<S: Store>(store: &S, user: &User, project: ProjectId, public_id: &str) -> ApiKey {
    let new = NewApiKey {
        project,
        ..key(user, public_id)
    };
    done(store.create_key(new).await)
}

/// Checks that a key is revoked and holds nothing more.
async fn is_dead<S: Store>(store: &S, public_id: &str, reason: &str) {
    let found = done(store.key_by_public_id(public_id.to_owned()).await);
    let found = found.expect("a revoked key is still found");
    assert_eq!(
        found.key.revoked_at,
        Some(later(5)),
        "{public_id}: {reason}"
    );
    is_frozen(store, Subject::Key(found.key.id)).await;
}

async fn is_frozen<S: Store>(store: &S, subject: Subject) {
    let denial = denied(store, &reserve(&[subject], 1)).await;
    assert_eq!(
        denial.reason,
        DenialReason::Frozen,
        "{subject} may do nothing any more"
    );
}

/// Another secret is no fresh start.
pub async fn a_rotated_key_keeps_its_counter_and_its_limit<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let made = done(store.create_key(key(&ada, "first")).await);
    let subject = Subject::Key(made.id);
    done(store.set_limit(subject, Some(tokens(100))).await);
    let hold = reserve(&[subject], 60);
    granted(&store, &hold).await;
    let secret = NewKeySecret {
        public_id: "second".to_owned(),
        hash: hash(2),
        overlap_until: later(50),
        judged: None,
        author: at(1),
    };
    done(store.rotate_key(own(&made), secret).await);
    settled(&store, &settle(hold.id, 60)).await;
    let standing = done(store.standing(subject).await);
    assert_eq!(
        standing.remaining(),
        Some(tokens(40)),
        "what was used is used"
    );
    denied(&store, &reserve(&[subject], 41)).await;
    granted(&store, &reserve(&[subject], 40)).await;
}

/// Calls in the name of a project are its members' to make.
pub async fn who_is_put_out_has_no_keys_there<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &ada, &bob).await.id;
    key_in(&store, &bob, common, "his").await;
    let hers = key_in(&store, &ada, common, "hers").await;
    let elsewhere = done(store.create_key(key(&bob, "elsewhere")).await);
    let removed = done(store.remove_member(common, bob.id, at(5)).await);
    assert!(
        matches!(removed, ProjectOutcome::Done(_)),
        "he may go: {removed:?}"
    );
    is_dead(&store, "his", "bob is no member any more").await;
    granted(&store, &reserve(&[Subject::Key(hers.id)], 1)).await;
    granted(&store, &reserve(&[Subject::Key(elsewhere.id)], 1)).await;
    granted(&store, &reserve(&[Subject::Project(common)], 1)).await;
    granted(&store, &reserve(&[Subject::User(bob.id)], 1)).await;
}

/// What is closed makes no calls, whoever has a key.
pub async fn an_archived_project_grants_nothing<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &ada, &bob).await.id;
    key_in(&store, &bob, common, "his").await;
    key_in(&store, &ada, common, "hers").await;
    let open = project(&store, &ada).await.id;
    let elsewhere = key_in(&store, &ada, open, "elsewhere").await;
    let hold = reserve(&[Subject::Project(common)], 10);
    granted(&store, &hold).await;
    done(store.archive_project(common, at(5)).await);
    for public_id in ["his", "hers"] {
        is_dead(&store, public_id, "the project is closed").await;
    }
    is_frozen(&store, Subject::Project(common)).await;
    settled(&store, &settle(hold.id, 10)).await;
    stands(&store, Subject::Project(common), (10, 0, 0)).await;
    granted(
        &store,
        &reserve(&[Subject::Key(elsewhere.id), Subject::Project(open)], 1),
    )
    .await;
    assert!(
        done(store.knows(Subject::Project(common)).await),
        "it is still known"
    );
    balances(&store).await;
}

/// Keys, personal project and the user itself, in one step.
pub async fn a_deleted_user_holds_nothing_more<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &bob, &ada).await.id;
    key_in(&store, &ada, common, "common").await;
    key_in(&store, &ada, ada.personal_project, "own").await;
    let his = key_in(&store, &bob, common, "his").await;
    let deleted = done(store.delete_user(ada.id, at(5)).await);
    assert!(
        matches!(deleted, UserOutcome::Done(_)),
        "bob owns what is left: {deleted:?}"
    );
    for public_id in ["common", "own"] {
        is_dead(&store, public_id, "its user is gone").await;
        let found = done(store.key_by_public_id(public_id.to_owned()).await);
        let disabled = found.is_some_and(|found| found.user_disabled);
        assert!(disabled, "authentication sees it with the same look-up");
    }
    is_frozen(&store, Subject::User(ada.id)).await;
    is_frozen(&store, Subject::Project(ada.personal_project)).await;
    granted(
        &store,
        &reserve(&[Subject::Key(his.id), Subject::Project(common)], 1),
    )
    .await;
}

/// Bills are not deleted with those who made them.
pub async fn what_a_deleted_user_used_stays_in_the_books<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let laptop = done(store.create_key(key(&ada, "laptop")).await).id;
    let subjects = [
        Subject::User(ada.id),
        Subject::Project(ada.personal_project),
        Subject::Key(laptop),
    ];
    let (before, under_way) = (reserve(&subjects, 30), reserve(&subjects, 20));
    granted(&store, &before).await;
    granted(&store, &under_way).await;
    settled(&store, &settle(before.id, 30)).await;
    done(store.delete_user(ada.id, at(5)).await);
    settled(&store, &settle(under_way.id, 20)).await;
    for subject in subjects {
        stands(&store, subject, (50, 0, 0)).await;
        assert!(done(store.knows(subject).await), "{subject} is still known");
    }
    let call = done(store.call(before.id).await);
    assert!(call.is_some(), "the call can be read");
    balances(&store).await;
}

/// Nothing that it was is left at work.
pub async fn a_deleted_service_has_no_keys<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    for (name, put_out) in [("one", true), ("two", false)] {
        let robot = service(&store, project).await;
        let arm = key_in(&store, &robot, project, name).await;
        granted(
            &store,
            &reserve(&[Subject::User(robot.id), Subject::Key(arm.id)], 1),
        )
        .await;
        if put_out {
            done(store.remove_member(project, robot.id, at(5)).await);
        } else {
            done(store.delete_user(robot.id, at(5)).await);
        }
        is_dead(&store, name, "its service is gone").await;
        is_frozen(&store, Subject::User(robot.id)).await;
        granted(&store, &reserve(&[Subject::Project(project)], 1)).await;
    }
}

async fn service<S: Store>(store: &S, project: ProjectId) -> User {
    let new = NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project,
        author: at(0),
    };
    done(store.create_service(new).await).expect("there is such a project")
}

/// It is stopped as a person is.
pub async fn a_disabled_service_holds_nothing_more<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let robot = service(&store, ada.personal_project).await;
    key_in(&store, &robot, ada.personal_project, "arm").await;
    done(store.set_user_disabled(robot.id, true, at(1)).await);
    is_frozen(&store, Subject::User(robot.id)).await;
    let found = done(store.key_by_public_id("arm".to_owned()).await);
    assert!(
        found.is_some_and(|found| found.user_disabled),
        "its keys say so"
    );
    done(store.set_user_disabled(robot.id, false, at(2)).await);
    granted(&store, &reserve(&[Subject::User(robot.id)], 1)).await;
}

/// Makes keys of bob in a project while something else goes on, and checks that none of them works in the end.
async fn none_is_left<S, F>(store: S, end: impl Fn(Arc<S>, ProjectId, UserId) -> F, reason: &str)
where
    S: Store,
    F: Future<Output = bool> + Send + 'static,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let common = shared(&store, &ada, &bob).await.id;
    let store = Arc::new(store);
    let ended = race(&store, 16, |store, number| {
        let (end, new) = (
            (number == 0).then(|| end(Arc::clone(&store), common, bob.id)),
            NewApiKey {
                project: common,
                ..key(&bob, &number.to_string())
            },
        );
        async move {
            match end {
                Some(end) => end.await,
                None => store.create_key(new).await.is_err(),
            }
        }
    })
    .await;
    assert!(ended[0], "it ended");
    let keys = done(store.keys(common, Some(bob.id), None, 100).await);
    let refused = ended[1..].iter().filter(|refused| **refused).count();
    assert_eq!(
        keys.len() + refused,
        15,
        "each key was made before or not at all"
    );
    for key in keys {
        assert!(key.revoked_at.is_some(), "{reason}");
        is_frozen(&*store, Subject::Key(key.id)).await;
    }
}

/// A key that is made while its user is put out is revoked with the others, or not made.
pub async fn no_key_outlives_a_membership<S: Store>(store: S) {
    let end = |store: Arc<S>, project, user| async move {
        let removed = done(store.remove_member(project, user, at(5)).await);
        matches!(removed, ProjectOutcome::Done(_))
    };
    none_is_left(store, end, "bob is no member any more").await;
}

/// A key that is made while its project is closed is revoked with the others, or not made.
pub async fn no_key_outlives_a_project<S: Store>(store: S) {
    let end = |store: Arc<S>, project, _| async move {
        let archived = done(store.archive_project(project, at(5)).await);
        matches!(archived, ProjectOutcome::Done(_))
    };
    none_is_left(store, end, "the project is closed").await;
}
