//! API keys.

use crate::identity::{KeyId, Role};
use crate::store::conformance::support::{START, conflict, done, key, later, user};
use crate::store::{CredentialStore, UserStore};

/// What was written is read back, hash and role with it.
pub async fn a_key_is_read_as_it_was_made<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = key(&ada, "public");
    let made = done(store.create_key(new.clone()).await);
    let found = done(store.key_by_public_id("public".to_owned()).await);
    let found = found.expect("a key is found by its public part");
    assert_eq!(found.key, made, "it reads as it was answered");
    assert_eq!(
        (made.id, made.user, made.project),
        (new.id, ada.id, ada.personal_project),
        "whose it is"
    );
    assert_eq!(
        (made.created_at, made.expires_at),
        (START, Some(later(1_000))),
        "from when to when"
    );
    assert_eq!(
        (made.last_used_at, made.revoked_at),
        (None, None),
        "neither used nor revoked"
    );
    assert_eq!(found.hash, new.hash, "with the hash to check against");
    assert_eq!(
        (found.role, found.user_disabled),
        (Role::User, false),
        "and its user's rights"
    );
    let unknown = done(store.key_by_public_id("Public".to_owned()).await);
    assert_eq!(unknown, None, "no other spelling finds it");
}

/// One public part, one key.
pub async fn a_public_id_is_given_once<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    done(store.create_key(key(&ada, "public")).await);
    conflict(
        store.create_key(key(&bob, "public")).await,
        "a public part names one key",
    );
    let found = done(store.key_by_public_id("public".to_owned()).await);
    assert_eq!(
        found.map(|found| found.key.user),
        Some(ada.id),
        "the first owner keeps it"
    );
}

/// Authentication sees it with the same look-up.
pub async fn a_key_tells_that_its_user_is_disabled<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_key(key(&ada, "public")).await);
    for disabled in [true, false] {
        done(store.set_user_disabled(ada.id, disabled).await);
        let found = done(store.key_by_public_id("public".to_owned()).await);
        assert_eq!(
            found.map(|found| found.user_disabled),
            Some(disabled),
            "as the user is now"
        );
    }
}

/// A list holds the keys of one user in one project and no others.
pub async fn keys_are_listed_newest_first_in_their_scope<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let mut ids = Vec::new();
    for public_id in ["one", "two", "three"] {
        ids.push(done(store.create_key(key(&ada, public_id)).await).id);
    }
    done(store.create_key(key(&bob, "other")).await);
    ids.sort_by(|a, b| b.cmp(a));
    let list = done(store.keys(ada.personal_project, ada.id, 10).await);
    let listed: Vec<KeyId> = list.into_iter().map(|key| key.id).collect();
    assert_eq!(listed, ids, "newest first, and none of bob's");
    assert_eq!(
        done(store.keys(ada.personal_project, ada.id, 2).await).len(),
        2,
        "at most as many as asked"
    );
    assert!(
        done(store.keys(ada.personal_project, bob.id, 10).await).is_empty(),
        "bob has none in ada's project"
    );
    assert!(
        done(store.keys(bob.personal_project, ada.id, 10).await).is_empty(),
        "nor ada in bob's"
    );
}

/// Who does not own a key cannot touch it, and is told no more than that there is none.
pub async fn a_foreign_key_cannot_be_revoked<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let id = done(store.create_key(key(&ada, "public")).await).id;
    for (project, owner, id, reason) in [
        (bob.personal_project, bob.id, id, "a key of another user"),
        (
            ada.personal_project,
            bob.id,
            id,
            "a user who does not own it",
        ),
        (bob.personal_project, ada.id, id, "a project it is not in"),
        (
            ada.personal_project,
            ada.id,
            KeyId::new(),
            "a key that does not exist",
        ),
    ] {
        assert_eq!(
            done(store.revoke_key(project, owner, id, later(1)).await),
            None,
            "{reason}"
        );
    }
    let found = done(store.key_by_public_id("public".to_owned()).await);
    assert_eq!(
        found.and_then(|found| found.key.revoked_at),
        None,
        "the key still works"
    );
}

/// The moment a key was revoked is a fact.
pub async fn revoking_again_keeps_the_first_moment<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let id = done(store.create_key(key(&ada, "public")).await).id;
    for at in [later(5), later(9)] {
        let revoked = done(store.revoke_key(ada.personal_project, ada.id, id, at).await);
        let at = revoked.and_then(|key| key.revoked_at);
        assert_eq!(at, Some(later(5)), "the first moment stands");
    }
    let found = done(store.key_by_public_id("public".to_owned()).await);
    let at = found.and_then(|found| found.key.revoked_at);
    assert_eq!(
        at,
        Some(later(5)),
        "a revoked key is still found, and says so"
    );
}

/// Notes may come late and out of order.
pub async fn a_use_is_noted_and_never_goes_back<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let id = done(store.create_key(key(&ada, "public")).await).id;
    for (at, expected) in [
        (later(5), later(5)),
        (later(3), later(5)),
        (later(9), later(9)),
    ] {
        done(store.touch_key(id, at).await);
        let found = done(store.key_by_public_id("public".to_owned()).await);
        let noted = found.and_then(|found| found.key.last_used_at);
        assert_eq!(noted, Some(expected), "the latest use counts");
    }
    done(store.touch_key(KeyId::new(), later(1)).await);
}
