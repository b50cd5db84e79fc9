//! Keys that get another secret.

use std::sync::Arc;

use super::secret;
use crate::store::conformance::support::{at, conflict, done, hash, key, later, own, race, user};
use crate::store::{ApiKey, ApiKeyRecord, CredentialStore, UserStore};

async fn find<S: CredentialStore>(store: &S, public_id: &str) -> Option<ApiKeyRecord> {
    done(store.key_by_public_id(public_id.to_owned()).await)
}

/// Identifier, name, grants and end outlive a secret: limits and usage hang on the identifier.
pub async fn a_rotated_key_has_another_secret_and_stays_the_same<S>(store: S)
where
    S: UserStore + CredentialStore,
{
    let ada = user(&store, "ada").await;
    let made = done(store.create_key(key(&ada, "first")).await);
    done(store.touch_key(made.id, later(1)).await);
    let rotated = done(store.rotate_key(own(&made), secret("second", 2, 50)).await);
    let expected = ApiKey {
        public_id: "second".to_owned(),
        overlap_until: Some(later(50)),
        last_used_at: Some(later(1)),
        ..made.clone()
    };
    assert_eq!(rotated, Some(expected.clone()), "all else is as it was");
    assert_eq!(
        done(store.key(own(&made)).await),
        Some(expected.clone()),
        "and stays so"
    );
    let found = find(&store, "second")
        .await
        .expect("the new secret finds it");
    assert_eq!(found.key, expected, "as it is now");
    assert_eq!(found.hash, hash(2), "with the new hash");
    assert_eq!(found.until, made.expires_at, "until the key's own end");
}

/// Both secrets find the key, each with its own hash and its own end.
pub async fn the_secret_before_works_until_the_overlap_ends<S>(store: S)
where
    S: UserStore + CredentialStore,
{
    let ada = user(&store, "ada").await;
    let made = done(store.create_key(key(&ada, "first")).await);
    let rotated = done(store.rotate_key(own(&made), secret("second", 2, 50)).await);
    let found = find(&store, "first")
        .await
        .expect("the old secret finds it, too");
    assert_eq!(
        Some(&found.key),
        rotated.as_ref(),
        "one key, whichever secret finds it"
    );
    assert_eq!(found.hash, hash(7), "with the old hash");
    assert_eq!(found.until, Some(later(50)), "until the overlap ends");
    let name = own(&made);
    done(store.rotate_key(name, secret("third", 3, 5_000)).await);
    let found = find(&store, "second").await.expect("the overlap goes on");
    assert_eq!(found.until, made.expires_at, "no overlap outlasts the key");
    done(store.revoke_key(name, at(9)).await);
    for public_id in ["second", "third"] {
        let revoked = find(&store, public_id)
            .await
            .and_then(|found| found.key.revoked_at);
        assert_eq!(
            revoked,
            Some(later(9)),
            "{public_id} is revoked with the key"
        );
    }
}

/// There are two secrets at the most.
pub async fn a_third_secret_ends_the_first<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let name = own(&done(store.create_key(key(&ada, "first")).await));
    done(store.rotate_key(name, secret("second", 2, 50)).await);
    done(store.rotate_key(name, secret("third", 3, 50)).await);
    assert_eq!(
        find(&store, "first").await,
        None,
        "its overlap is not over, but it is gone"
    );
    for (public_id, number) in [("second", 2), ("third", 3)] {
        let found = find(&store, public_id).await.map(|found| found.hash);
        assert_eq!(found, Some(hash(number)), "{public_id} works");
    }
}

/// One public part, one key, however it came by it.
pub async fn a_key_is_not_rotated_to_a_taken_public_id<S>(store: S)
where
    S: UserStore + CredentialStore,
{
    let ada = user(&store, "ada").await;
    let name = own(&done(store.create_key(key(&ada, "mine")).await));
    let other = done(store.create_key(key(&ada, "taken")).await);
    let taken = store.rotate_key(name, secret("taken", 2, 50)).await;
    conflict(taken, "it is another key's");
    let mine = find(&store, "mine")
        .await
        .map(|found| found.key.overlap_until);
    assert_eq!(mine, Some(None), "the refused rotation changed nothing");
    let found = find(&store, "taken").await.map(|found| found.key.id);
    assert_eq!(found, Some(other.id), "its owner keeps it");
    done(store.rotate_key(own(&other), secret("new", 3, 50)).await);
    let taken = store.rotate_key(name, secret("taken", 2, 50)).await;
    conflict(taken, "and while it overlaps, too");
    conflict(
        store.create_key(key(&ada, "taken")).await,
        "nor has a new key it",
    );
}

/// What was revoked is not brought back by another secret.
pub async fn a_revoked_key_is_not_rotated<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let name = own(&done(store.create_key(key(&ada, "first")).await));
    done(store.revoke_key(name, at(1)).await);
    let rotated = done(store.rotate_key(name, secret("second", 2, 50)).await);
    assert_eq!(rotated, None, "it is revoked");
    assert_eq!(find(&store, "second").await, None, "and no secret is left");
}

/// Each rotation comes behind another: two secrets work in the end, that of the last and that of the one before it.
pub async fn of_racing_rotations_of_a_key_none_is_lost<S>(store: S)
where
    S: UserStore + CredentialStore,
{
    let ada = user(&store, "ada").await;
    let name = own(&done(store.create_key(key(&ada, "first")).await));
    let store = Arc::new(store);
    let rotated = race(&store, 8, |store, number| async move {
        let number = u8::try_from(number).expect("few racers");
        let public_id = format!("racer {number}");
        done(store.rotate_key(name, secret(&public_id, number, 50)).await).is_some()
    })
    .await;
    assert_eq!(rotated, [true; 8], "each got its secret");
    let now = done(store.key(name).await).expect("it is there");
    let mut working = Vec::new();
    for number in 0..8 {
        let found = find(&*store, &format!("racer {number}")).await;
        if let Some(found) = found {
            assert_eq!(
                found.hash,
                hash(number),
                "each public part with its own hash"
            );
            assert_eq!(found.key, now, "of the one key");
            working.push(found.until);
        }
    }
    working.sort_unstable();
    assert_eq!(
        working,
        [Some(later(50)), now.expires_at],
        "the last and the one before"
    );
    assert_eq!(find(&*store, "first").await, None, "the first is gone");
}
