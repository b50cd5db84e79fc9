//! Accounts that are known by other providers.

use std::sync::Arc;

use crate::identity::UserId;
use crate::store::conformance::support::{account, at, conflict, done, later, race, user};
use crate::store::{Identity, Linking, MAX_IDENTITIES, Unlinking, UserStore};

fn identity(issuer: &str, subject: &str) -> Identity {
    Identity {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
    }
}

async fn find<S: UserStore>(store: &S, identity: &Identity) -> Option<UserId> {
    let found = done(store.user_by_identity(identity.clone()).await);
    found.map(|user| user.id)
}

/// One is made with the account, others come later; each is a pair.
pub async fn an_account_is_found_by_its_identities<S: UserStore>(store: S) {
    let (one, two) = (identity("https://a", "1"), identity("https://b", "2"));
    let mut new = account(Some("ada@example.org"), None);
    new.password_hash = None;
    new.identity = Some(one.clone());
    let ada = done(store.create_user(new).await);
    let found = done(store.user_by_identity(one.clone()).await);
    assert_eq!(found.as_ref(), Some(&ada), "by the first");
    assert_eq!(
        done(store.link_identity(ada.id, two.clone(), None, at(1)).await),
        Linking::Done,
        "there is such an account"
    );
    assert_eq!(
        done(store.link_identity(ada.id, two.clone(), None, at(2)).await),
        Linking::Done,
        "it has it already"
    );
    assert_eq!(find(&store, &two).await, Some(ada.id), "by the second");
    let mut listed = done(store.identities(ada.id).await);
    listed.sort_by(|one, other| one.issuer.cmp(&other.issuer));
    assert_eq!(listed, [one, two], "each once");
    for (issuer, subject) in [("https://a", "2"), ("https://b", "1"), ("https://A", "1")] {
        let other = find(&store, &identity(issuer, subject)).await;
        assert_eq!(other, None, "{subject} of {issuer} is somebody else");
    }
    let bob = user(&store, "bob").await;
    assert!(
        done(store.identities(bob.id).await).is_empty(),
        "bob has none"
    );
}

/// Who comes by a provider enters one account.
pub async fn an_identity_is_of_one_account<S: UserStore>(store: S) {
    let one = identity("https://a", "1");
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    done(store.link_identity(ada.id, one.clone(), None, at(1)).await);
    let linked = store.link_identity(bob.id, one.clone(), None, at(2)).await;
    conflict(linked, "it is ada's");
    let mut new = account(None, Some("eve"));
    new.identity = Some(one.clone());
    conflict(store.create_user(new).await, "nor is it a new account's");
    assert!(
        done(store.user_by_login("eve".to_owned()).await).is_none(),
        "which is not made"
    );
    assert_eq!(find(&store, &one).await, Some(ada.id), "it is still ada's");
    let nobody = store.link_identity(UserId::new(), identity("https://a", "2"), None, at(2));
    assert_eq!(
        done(nobody.await),
        Linking::Absent,
        "nobody cannot be found"
    );
    done(store.delete_user(ada.id, at(3)).await);
    assert_eq!(
        find(&store, &one).await,
        None,
        "a deleted account is not found by it"
    );
    assert_eq!(
        done(store.link_identity(bob.id, one, None, at(4)).await),
        Linking::Done,
        "so it is free again"
    );
}

/// What is taken away is what the account had.
pub async fn an_identity_is_taken_from_its_account_alone<S: UserStore>(store: S) {
    let one = identity("https://a", "1");
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    done(store.link_identity(ada.id, one.clone(), None, at(1)).await);
    let foreign = store.unlink_identity(bob.id, one.clone(), at(2));
    assert_eq!(
        done(foreign.await),
        Unlinking::Absent,
        "bob does not have it"
    );
    assert_eq!(find(&store, &one).await, Some(ada.id), "so ada keeps it");
    let own = || store.unlink_identity(ada.id, one.clone(), at(3));
    assert_eq!(done(own().await), Unlinking::Done, "ada has it");
    assert_eq!(done(own().await), Unlinking::Absent, "and then no more");
    assert_eq!(find(&store, &one).await, None, "it finds nobody");
}

/// A proof that comes again links nothing, whatever has become of what it linked first.
pub async fn what_was_begun_before_a_link_links_nothing_more<S: UserStore>(store: S) {
    let one = identity("https://a", "1");
    let (ada, bob) = (user(&store, "ada").await.id, user(&store, "bob").await.id);
    let link = async |id, since: i64, moment| {
        let since = Some(later(since));
        done(
            store
                .link_identity(id, one.clone(), since, at(moment))
                .await,
        )
    };
    assert_eq!(link(ada, 1, 5).await, Linking::Done, "the first time");
    assert_eq!(link(ada, 1, 6).await, Linking::Over, "while it is linked");
    done(store.unlink_identity(ada, one.clone(), at(7)).await);
    assert_eq!(link(ada, 1, 8).await, Linking::Over, "and when it is not");
    assert_eq!(find(&store, &one).await, None, "nothing is linked");
    assert_eq!(
        link(bob, 1, 8).await,
        Linking::Done,
        "others are not concerned"
    );
    done(store.unlink_identity(bob, one.clone(), at(9)).await);
    assert_eq!(
        link(ada, 5, 10).await,
        Linking::Done,
        "it was begun with the last link, not before"
    );
    assert_eq!(find(&store, &one).await, Some(ada), "so it counts");
}

/// One proof that comes many times at once links once.
pub async fn of_racing_links_of_one_login_one_counts<S: UserStore>(store: S) {
    let ada = user(&store, "ada").await.id;
    let store = Arc::new(store);
    let linked = race(&store, 8, |store, number| async move {
        let wanted = identity("https://a", &number.to_string());
        let linked = store.link_identity(ada, wanted, Some(later(1)), at(2));
        done(linked.await) == Linking::Done
    })
    .await;
    let first = linked.into_iter().filter(|linked| *linked).count();
    assert_eq!(first, 1, "the others find it over");
}

/// The list of them is read whole.
pub async fn an_account_has_no_more_identities_than_allowed<S: UserStore>(store: S) {
    let ada = user(&store, "ada").await.id;
    let link = async |number: usize| {
        let wanted = identity("https://a", &number.to_string());
        done(store.link_identity(ada, wanted, None, at(1)).await)
    };
    for number in 0..MAX_IDENTITIES {
        assert_eq!(link(number).await, Linking::Done, "{number}");
    }
    assert_eq!(link(MAX_IDENTITIES).await, Linking::Full, "one more");
    let bob = user(&store, "bob").await.id;
    let bobs = identity("https://a", "bob");
    done(store.link_identity(bob, bobs.clone(), None, at(1)).await);
    conflict(
        store.link_identity(ada, bobs, None, at(1)).await,
        "another's is that",
    );
    assert_eq!(link(0).await, Linking::Done, "which it has");
    done(
        store
            .unlink_identity(ada, identity("https://a", "0"), at(2))
            .await,
    );
    assert_eq!(link(MAX_IDENTITIES).await, Linking::Done, "in its place");
    assert_eq!(done(store.identities(ada).await).len(), MAX_IDENTITIES);
}

/// Uniqueness holds against racers.
pub async fn of_racing_links_one_wins<S: UserStore>(store: S) {
    let mut users = Vec::new();
    for number in 0..8 {
        users.push(user(&store, &format!("user {number}")).await.id);
    }
    let store = Arc::new(store);
    let linked = race(&store, 8, |store, number| {
        let id = users[number];
        async move {
            let wanted = identity("https://a", "1");
            store.link_identity(id, wanted, None, at(1)).await.is_ok()
        }
    })
    .await;
    let winners = linked.into_iter().filter(|linked| *linked).count();
    assert_eq!(winners, 1, "an identity is given once");
}

/// Somebody without a password enters by the last one.
pub async fn the_last_way_into_an_account_is_not_taken<S: UserStore>(store: S) {
    let (one, two) = (identity("https://a", "1"), identity("https://b", "2"));
    let mut new = account(Some("ada@example.org"), None);
    new.password_hash = None;
    new.identity = Some(one.clone());
    let ada = done(store.create_user(new).await).id;
    let unlink =
        async |identity: &Identity| done(store.unlink_identity(ada, identity.clone(), at(2)).await);
    assert_eq!(unlink(&one).await, Unlinking::LastWay, "there is no other");
    assert_eq!(
        find(&store, &one).await,
        Some(ada),
        "so it still leads there"
    );
    done(store.link_identity(ada, two.clone(), None, at(1)).await);
    assert_eq!(unlink(&one).await, Unlinking::Done, "there is another");
    assert_eq!(unlink(&two).await, Unlinking::LastWay, "which is the last");
    done(store.set_password(ada, "hash".into(), None, at(3)).await);
    assert_eq!(unlink(&two).await, Unlinking::Done, "there is a password");
    assert_eq!(find(&store, &two).await, None, "it finds nobody");
}

/// The rule holds against racers.
pub async fn of_racing_unlinks_one_way_is_left<S: UserStore>(store: S) {
    let identities: Vec<_> = (0..8)
        .map(|number| identity("https://a", &number.to_string()))
        .collect();
    let mut new = account(Some("ada@example.org"), None);
    new.password_hash = None;
    new.identity = Some(identities[0].clone());
    let ada = done(store.create_user(new).await).id;
    for identity in &identities[1..] {
        done(
            store
                .link_identity(ada, identity.clone(), None, at(1))
                .await,
        );
    }
    let store = Arc::new(store);
    let outcomes = race(&store, 8, |store, number| {
        let identity = identities[number].clone();
        async move { done(store.unlink_identity(ada, identity, at(2)).await) }
    })
    .await;
    let left = outcomes
        .into_iter()
        .filter(|outcome| *outcome == Unlinking::LastWay);
    assert_eq!(left.count(), 1, "one finds that nothing else is left");
    assert_eq!(done(store.identities(ada).await).len(), 1, "and stays");
}
