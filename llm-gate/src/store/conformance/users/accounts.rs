//! Accounts as they are made and found.

use std::sync::Arc;

use crate::identity::{Role, UserId};
use crate::store::conformance::support::{
    START, account, at, conflict, done, hash, later, race, ticket, user,
};
use crate::store::{NewService, TicketPurpose, UserKind, UserStore};

/// What was written is read back, without the password.
pub async fn an_account_is_read_as_it_was_made<S: UserStore>(store: S) {
    let mut new = account(Some("ada@example.org"), Some("ada"));
    new.role = Role::Admin;
    new.name = Some("Ada L.".to_owned());
    new.email_verified = true;
    let made = done(store.create_user(new.clone()).await);
    assert_eq!(made.id, new.id, "the account keeps its identifier");
    assert_eq!(made.email, new.email, "and its address");
    assert!(made.email_verified, "which is known to be its own");
    assert_eq!(made.username, new.username, "and its user name");
    assert_eq!(made.name, new.name, "and what it wants to be called");
    assert_eq!(made.kind, UserKind::Person, "it is somebody who logs in");
    assert_eq!(made.role, Role::Admin, "and its role");
    assert_eq!(
        made.personal_project, new.personal_project,
        "and its project"
    );
    assert_eq!(made.created_at, START, "to the microsecond");
    assert!(!made.disabled, "a new account is enabled");
    assert_eq!(
        done(store.user(new.id).await),
        Some(made),
        "it reads as it was answered"
    );
}

/// There is no error in asking for nobody.
pub async fn an_unknown_account_is_none<S: UserStore>(store: S) {
    assert_eq!(
        done(store.user(UserId::new()).await),
        None,
        "nobody has this identifier"
    );
    assert!(
        done(store.user_by_login("nobody".to_owned()).await).is_none(),
        "nor this name"
    );
    assert!(
        !done(store.set_user_disabled(UserId::new(), true, at(1)).await),
        "nor can be disabled"
    );
}

/// Address and user name both log in; the hash comes with the account.
pub async fn a_login_finds_by_either_name<S: UserStore>(store: S) {
    let made = done(
        store
            .create_user(account(Some("ada@example.org"), Some("ada")))
            .await,
    );
    user(&store, "bob").await;
    for login in ["ada@example.org", "ada"] {
        let found = done(store.user_by_login(login.to_owned()).await);
        let found = found.unwrap_or_else(|| panic!("{login} logs in"));
        assert_eq!(found.user, made, "{login} is this account and no other");
        let hash = found.hash.as_deref();
        assert_eq!(hash, Some("$argon2id$first"), "with its hash");
    }
    assert!(
        done(store.user_by_login("Ada".to_owned()).await).is_none(),
        "names are normalised by the caller"
    );
}

/// An address cannot be somebody else's user name, or a login would be ambiguous.
pub async fn a_name_is_taken_across_both_kinds<S: UserStore>(store: S) {
    done(store.create_user(account(Some("one"), Some("two"))).await);
    for (email, username, reason) in [
        (Some("one"), None, "an address is taken by an address"),
        (None, Some("two"), "a user name is taken by a user name"),
        (None, Some("one"), "a user name is taken by an address"),
        (Some("two"), None, "an address is taken by a user name"),
        (Some("three"), Some("one"), "one of two names is enough"),
    ] {
        conflict(store.create_user(account(email, username)).await, reason);
    }
    done(
        store
            .create_user(account(Some("three"), Some("four")))
            .await,
    );
}

/// An account does not conflict with itself.
pub async fn one_account_may_use_one_name_twice<S: UserStore>(store: S) {
    done(store.create_user(account(Some("same"), Some("same"))).await);
    assert!(
        done(store.user_by_login("same".to_owned()).await).is_some(),
        "the name logs in"
    );
}

/// Identifiers are unique too.
pub async fn a_taken_identifier_is_a_conflict<S: UserStore>(store: S) {
    let first = account(None, Some("one"));
    let mut second = account(None, Some("two"));
    second.id = first.id;
    done(store.create_user(first).await);
    conflict(
        store.create_user(second).await,
        "an identifier names one account",
    );
}

/// Uniqueness holds against racers, and not only against what was read before.
pub async fn of_racing_registrations_one_wins<S: UserStore>(store: S) {
    let store = Arc::new(store);
    let made = race(&store, 16, |store, number| async move {
        let new = if number % 2 == 0 {
            account(Some("wanted"), None)
        } else {
            account(None, Some("wanted"))
        };
        store.create_user(new).await.is_ok()
    })
    .await;
    let winners = made.into_iter().filter(|made| *made).count();
    assert_eq!(winners, 1, "a name is given away once, by whichever kind");
}

/// All or nothing: the free one of two names stays free.
pub async fn a_refused_account_leaves_nothing_behind<S: UserStore>(store: S) {
    user(&store, "taken").await;
    let refused = account(Some("free"), Some("taken"));
    conflict(
        store.create_user(refused.clone()).await,
        "one name is taken",
    );
    assert_eq!(
        done(store.user(refused.id).await),
        None,
        "there is no account"
    );
    assert!(
        done(store.user_by_login("free".to_owned()).await).is_none(),
        "and no login"
    );
    done(store.create_user(account(Some("free"), None)).await);
}

/// Pages follow one another without gap or repetition.
pub async fn accounts_are_listed_in_pages<S: UserStore>(store: S) {
    let mut made = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        made.push(user(&store, name).await);
    }
    made.sort_by_key(|user| user.id);
    let first = done(store.users(None, 2).await);
    assert_eq!(
        first,
        made[..2],
        "a list begins with the lowest identifiers"
    );
    let rest = done(store.users(Some(first[1].id), 10).await);
    assert_eq!(rest, made[2..], "and goes on behind the last one");
    assert!(
        done(store.users(Some(made[4].id), 10).await).is_empty(),
        "to its end"
    );
    assert!(
        done(store.users(None, 0).await).is_empty(),
        "none were asked for"
    );
}

/// Who comes by another provider has none here.
pub async fn an_account_may_have_no_password<S: UserStore>(store: S) {
    let mut new = account(None, Some("ada"));
    new.password_hash = None;
    let id = done(store.create_user(new).await).id;
    let found = done(store.user_by_login("ada".to_owned()).await).expect("the name is there");
    assert_eq!(found.hash, None, "no password will do");
    let replaced = store.replace_password_hash(id, String::new(), "second".into());
    assert!(!done(replaced.await), "nothing is not the empty hash");
    assert!(
        done(store.set_password(id, "first".into(), None, at(1)).await),
        "one can be set"
    );
    let found = done(store.user_by_login("ada".to_owned()).await).and_then(|found| found.hash);
    assert_eq!(found.as_deref(), Some("first"), "and is there");
}

/// The last one set counts.
pub async fn a_password_is_set<S: UserStore>(store: S) {
    let id = user(&store, "ada").await.id;
    let other = user(&store, "bob").await;
    assert!(
        done(store.set_password(id, "second".into(), None, at(1)).await),
        "there is such an account"
    );
    let hash = async |login: &str| {
        let found = done(store.user_by_login(login.to_owned()).await);
        found.and_then(|found| found.hash)
    };
    assert_eq!(
        hash("ada").await.as_deref(),
        Some("second"),
        "it has the new one"
    );
    assert_eq!(
        hash("bob").await.as_deref(),
        Some("$argon2id$first"),
        "nobody else has"
    );
    let nobody = store.set_password(UserId::new(), "third".into(), None, at(1));
    assert!(!done(nobody.await), "nobody has no password");
    let service = store.create_service(NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project: other.personal_project,
        author: at(1),
    });
    let service = done(service.await).expect("there is such a project");
    let set = store.set_password(service.id, "third".into(), None, at(1));
    assert!(!done(set.await), "a service does not log in");
}

async fn password<S: UserStore>(store: &S, login: &str) -> Option<String> {
    let found = done(store.user_by_login(login.to_owned()).await);
    found.and_then(|found| found.hash)
}

/// Hashing takes a while, and who has the password may have changed it meanwhile.
pub async fn a_password_is_changed_only_from_the_one_that_was_proven<S: UserStore>(store: S) {
    let id = user(&store, "ada").await.id;
    let mut without = account(None, Some("bob"));
    without.password_hash = None;
    let bob = done(store.create_user(without).await).id;
    let change = async |id, proven: Option<&str>, hash: &str| {
        let proven = proven.map(str::to_owned);
        done(
            store
                .change_password(id, proven, hash.to_owned(), None, at(1))
                .await,
        )
    };
    let first = Some("$argon2id$first");
    assert!(change(id, first, "second").await, "it holds");
    assert!(!change(id, first, "third").await, "it does not any more");
    assert!(!change(id, None, "third").await, "and there is one");
    let now = password(&store, "ada").await;
    assert_eq!(now.as_deref(), Some("second"), "a refusal changes nothing");
    assert!(!change(bob, first, "his").await, "bob has none");
    assert!(change(bob, None, "his").await, "which was proven");
    let now = password(&store, "bob").await;
    assert_eq!(now.as_deref(), Some("his"), "now he has one");
    assert!(!change(UserId::new(), None, "x").await, "nobody has none");
    done(store.delete_user(bob, at(2)).await);
    assert!(!change(bob, None, "x").await, "nor has who is gone");
}

/// What goes with another password stays with the one that holds.
pub async fn a_change_of_a_password_that_comes_too_late_ends_nothing<S: UserStore>(store: S) {
    let ada = done(
        store
            .create_user(account(Some("ada@example.org"), None))
            .await,
    );
    let mailed = ticket(&ada, TicketPurpose::ResetPassword, hash(1));
    done(store.create_ticket(mailed).await);
    let good = async || {
        let read = store.ticket(hash(1), TicketPurpose::ResetPassword, later(1));
        done(read.await).is_some()
    };
    let change = async |proven: &str| {
        let proven = Some(proven.to_owned());
        done(
            store
                .change_password(ada.id, proven, "second".into(), None, at(1))
                .await,
        )
    };
    assert!(!change("another").await, "it is not the one");
    assert!(good().await, "so the mail is good");
    assert!(change("$argon2id$first").await, "it is");
    assert!(!good().await, "so it is not");
}

/// Of any number who have proven the same password one sets the next.
pub async fn of_racing_changes_of_a_password_one_counts<S: UserStore>(store: S) {
    let id = user(&store, "ada").await.id;
    let store = Arc::new(store);
    let set = race(&store, 8, |store, number| async move {
        let (proven, hash) = ("$argon2id$first".to_owned(), format!("racer {number}"));
        let changed = store.change_password(id, Some(proven), hash.clone(), None, at(1));
        done(changed.await).then_some(hash)
    })
    .await;
    let set: Vec<String> = set.into_iter().flatten().collect();
    assert_eq!(set.len(), 1, "one of them: {set:?}");
    let now = password(&*store, "ada").await;
    assert_eq!(now.as_ref(), set.first(), "and that is the password");
}

/// Two concurrent changes of one password do not undo each other.
pub async fn a_password_is_replaced_only_if_unchanged<S: UserStore>(store: S) {
    let id = user(&store, "ada").await.id;
    let replace = |old: &str, new: &str| store.replace_password_hash(id, old.into(), new.into());
    assert!(
        done(replace("$argon2id$first", "second").await),
        "the hash was the old one"
    );
    assert!(
        !done(replace("$argon2id$first", "third").await),
        "it is not any more"
    );
    let found = done(store.user_by_login("ada".to_owned()).await).and_then(|record| record.hash);
    assert_eq!(
        found.as_deref(),
        Some("second"),
        "the refused change changed nothing"
    );
    let nobody = store.replace_password_hash(UserId::new(), "second".into(), "third".into());
    assert!(!done(nobody.await), "nobody has no password");
}

/// What is asked for is the next one, whatever the language of the database would put first.
pub async fn the_hashes_of_passwords_are_gone_through_by_their_bytes<S: UserStore>(store: S) {
    assert_eq!(
        done(store.next_password_hash(String::new()).await),
        None,
        "nobody is there"
    );
    // Capitals come first and signs count, which no dictionary has.
    let kinds = ["$argon2id$m=19456", "$argon2id$m=7168", "$B", "$a", "b"];
    let mut made = Vec::new();
    for (number, hash) in kinds.into_iter().rev().enumerate() {
        let mut new = account(None, Some(&format!("user{number}")));
        new.password_hash = Some(hash.to_owned());
        made.push(done(store.create_user(new).await).id);
    }
    let mut without = account(None, Some("without"));
    without.password_hash = None;
    done(store.create_user(without).await);
    let mut sorted = kinds;
    sorted.sort_unstable();
    let (mut seen, mut after) = (Vec::new(), String::new());
    while let Some(hash) = done(store.next_password_hash(after).await) {
        seen.push(hash.clone());
        after = hash;
    }
    assert_eq!(seen, sorted, "each once, in their order, and then none");
    let behind = store.next_password_hash("$argon2id$m=19456~".into()).await;
    assert_eq!(
        done(behind).as_deref(),
        Some("$argon2id$m=7168"),
        "what need be none of them"
    );
    done(store.delete_user(made[1], at(1)).await);
    let gone = store.next_password_hash("$B".into()).await;
    assert_eq!(
        done(gone).as_deref(),
        Some("$argon2id$m=19456"),
        "the hash of a deleted account is gone"
    );
}

/// The flag is kept, both ways.
pub async fn disabling_is_seen_and_undone<S: UserStore>(store: S) {
    let id = user(&store, "ada").await.id;
    for disabled in [true, true, false] {
        assert!(
            done(store.set_user_disabled(id, disabled, at(1)).await),
            "there is such an account"
        );
        let found = done(store.user(id).await).map(|user| user.disabled);
        assert_eq!(found, Some(disabled), "the account is as it was set");
    }
}
