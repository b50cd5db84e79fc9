//! The rules that hold between the traits: what one of them does is seen by another, in the same step.

mod addresses;
mod leaving;
mod letting_in;

use std::sync::Arc;

pub use addresses::*;
pub use leaving::*;
pub use letting_in::*;

use super::rules;
use super::support::{
    account, at, balances, conflict, denied, done, extend, extended, granted, key, own, race,
    reserve, settle, settled, stands, tokens, try_extend, try_reserve, user,
};
use crate::identity::{KeyId, ProjectId, Subject, UserId};
use crate::store::{DenialReason, KeyName, Outcome, Store};

rules!(__together_rules where S: Store;
    who_reads_an_unconfirmed_address_gets_the_account_alone,
    who_reads_an_unconfirmed_address_is_alone_in_the_project,
    who_was_handed_a_ticket_gets_the_account_as_it_is,
    what_was_begun_before_an_account_was_secured_comes_to_nothing,
    what_came_between_a_reset_and_its_commit_is_ended,
    a_revoked_key_changes_nothing_more,
    a_user_is_made_with_project_and_limit,
    a_refused_user_leaves_no_project_and_no_limit,
    revoking_a_key_freezes_its_counter,
    a_foreign_revocation_freezes_nothing,
    disabling_a_user_freezes_its_counter_and_enabling_releases_it,
    a_frozen_counter_still_settles,
    a_frozen_counter_refuses_to_hold_more,
    nothing_is_granted_after_a_revocation_was_answered,
    who_was_made_is_known,
    a_rotated_key_keeps_its_counter_and_its_limit,
    who_is_put_out_has_no_keys_there,
    an_archived_project_grants_nothing,
    a_deleted_user_holds_nothing_more,
    what_a_deleted_user_used_stays_in_the_books,
    a_deleted_service_has_no_keys,
    a_disabled_service_holds_nothing_more,
    no_key_outlives_a_membership,
    no_key_outlives_a_project,
);

/// The limit is in force with the account.
pub async fn a_user_is_made_with_project_and_limit<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let standing = done(store.standing(Subject::User(ada.id)).await);
    assert_eq!(
        standing.remaining(),
        Some(tokens(10_000)),
        "the limit it was made with"
    );
    let mut free = account(None, Some("bob"));
    free.token_limit = None;
    let bob = done(store.create_user(free).await);
    let standing = done(store.standing(Subject::User(bob.id)).await);
    assert_eq!(standing.limit, None, "or none");
    let standing = done(store.standing(Subject::Project(ada.personal_project)).await);
    assert_eq!(standing.limit, None, "the project has none of its own");
}

/// All or nothing, over all that belongs to an account.
pub async fn a_refused_user_leaves_no_project_and_no_limit<S: Store>(store: S) {
    user(&store, "taken").await;
    let refused = account(Some("free"), Some("taken"));
    conflict(
        store.create_user(refused.clone()).await,
        "one name is taken",
    );
    let standing = done(store.standing(Subject::User(refused.id)).await);
    assert_eq!(standing.limit, None, "no limit is left");
    assert!(
        done(store.projects_of(refused.id).await).is_empty(),
        "no membership"
    );
    let seen = done(store.membership(refused.personal_project, refused.id).await);
    assert_eq!(seen, None, "and no project");
}

/// A stream of a revoked key ends at its next extension, and can still give back.
pub async fn a_frozen_counter_refuses_to_hold_more<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let one = key(&ada, "one");
    let made = done(store.create_key(one.clone()).await);
    let subjects = [Subject::User(ada.id), Subject::Key(one.id)];
    let hold = reserve(&subjects, 30);
    granted(&store, &hold).await;
    done(store.revoke_key(own(&made), at(1)).await);
    let Outcome::Denied(denial) = try_extend(&store, extend(hold.id, 1, 31)).await else {
        panic!("the key is revoked")
    };
    assert_eq!(
        (denial.counter.subject, denial.reason),
        (Subject::Key(one.id), DenialReason::Frozen),
        "though there is room"
    );
    extended(&store, extend(hold.id, 2, 20)).await;
    stands(&store, Subject::User(ada.id), (0, 20, 0)).await;
    settled(&store, &settle(hold.id, 20)).await;
    stands(&store, Subject::User(ada.id), (20, 0, 0)).await;
    balances(&store).await;
}

/// When the revocation is answered, the next reservation is refused.
pub async fn revoking_a_key_freezes_its_counter<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let (one, two) = (key(&ada, "one"), key(&ada, "two"));
    let made = done(store.create_key(one.clone()).await);
    done(store.create_key(two.clone()).await);
    let with = |key| {
        [
            Subject::User(ada.id),
            Subject::Project(ada.personal_project),
            Subject::Key(key),
        ]
    };
    granted(&store, &reserve(&with(one.id), 10)).await;
    done(store.revoke_key(own(&made), at(1)).await);
    let denial = denied(&store, &reserve(&with(one.id), 10)).await;
    assert_eq!(
        denial.reason,
        DenialReason::Frozen,
        "not for want of tokens"
    );
    assert_eq!(
        denial.counter.subject,
        Subject::Key(one.id),
        "the key is what stops it"
    );
    assert!(denial.standing.frozen, "and its counter says so");
    granted(&store, &reserve(&with(two.id), 10)).await;
}

/// A revocation that was refused has no effect on the books.
pub async fn a_foreign_revocation_freezes_nothing<S: Store>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let new = key(&ada, "public");
    let made = done(store.create_key(new.clone()).await);
    let foreign = KeyName {
        owner: Some(bob.id),
        ..own(&made)
    };
    done(store.revoke_key(foreign, at(1)).await);
    granted(&store, &reserve(&[Subject::Key(new.id)], 10)).await;
}

/// A disabled user holds nothing more, an enabled one again.
pub async fn disabling_a_user_freezes_its_counter_and_enabling_releases_it<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let subject = Subject::User(ada.id);
    done(store.set_user_disabled(ada.id, true, at(1)).await);
    let denial = denied(&store, &reserve(&[subject], 10)).await;
    assert_eq!(denial.reason, DenialReason::Frozen, "the user is disabled");
    let standing = done(store.standing(subject).await);
    assert!(standing.frozen, "the counter is frozen");
    assert_eq!(
        standing.limit,
        Some(tokens(10_000)),
        "and its limit as it was"
    );
    done(store.set_limit(subject, Some(tokens(20_000))).await);
    denied(&store, &reserve(&[subject], 10)).await;
    done(store.set_user_disabled(ada.id, false, at(2)).await);
    granted(&store, &reserve(&[subject], 10)).await;
}

/// What was delivered is charged, whatever happened since.
pub async fn a_frozen_counter_still_settles<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let subject = Subject::User(ada.id);
    let hold = reserve(&[subject], 100);
    granted(&store, &hold).await;
    done(store.set_user_disabled(ada.id, true, at(1)).await);
    settled(&store, &settle(hold.id, 40)).await;
    stands(&store, subject, (40, 0, 0)).await;
    assert!(
        done(store.standing(subject).await).frozen,
        "settling does not thaw"
    );
    balances(&store).await;
}

/// Racing reservations are granted before the revocation or not at all.
pub async fn nothing_is_granted_after_a_revocation_was_answered<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let new = key(&ada, "public");
    let name = own(&done(store.create_key(new.clone()).await));
    let subject = Subject::Key(new.id);
    let store = Arc::new(store);
    let granted_later = race(&store, 16, |store, number| async move {
        if number > 0 {
            try_reserve(&*store, &reserve(&[subject], 1)).await;
            return false;
        }
        done(store.revoke_key(name, at(1)).await);
        let next = try_reserve(&*store, &reserve(&[subject], 1)).await;
        matches!(next, Outcome::Granted(_))
    })
    .await;
    assert!(
        !granted_later.contains(&true),
        "an answered revocation is in force"
    );
    let standing = done(store.standing(subject).await);
    assert!(standing.frozen, "no racer thaws the counter");
    balances(&*store).await;
}

/// Whoever was made is known, in use or not; so is what stands for all.
pub async fn who_was_made_is_known<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let laptop = done(store.create_key(key(&ada, "laptop")).await);
    done(store.set_user_disabled(ada.id, true, at(1)).await);
    let known = [
        Subject::User(ada.id),
        Subject::Project(ada.personal_project),
        Subject::Key(laptop.id),
        Subject::EACH_USER,
        Subject::EACH_PROJECT,
        Subject::EACH_KEY,
        Subject::Platform,
    ];
    for subject in known {
        assert!(done(store.knows(subject).await), "{subject} is there");
    }
    let uuid = *ada.id.as_uuid();
    let unknown = [
        Subject::User(UserId::new()),
        Subject::Project(ProjectId::from_uuid(uuid)),
        Subject::Key(KeyId::from_uuid(uuid)),
    ];
    for subject in unknown {
        assert!(!done(store.knows(subject).await), "{subject} is not");
    }
}
