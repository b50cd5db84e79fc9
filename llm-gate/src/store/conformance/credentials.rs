//! The rules of [`CredentialStore`]. Credentials belong to users, so they ask for [`UserStore`] too.

use std::sync::Arc;

use super::rules;
use super::support::{START, conflict, done, hash, key, later, race, session, user};
use crate::identity::{KeyId, Role};
use crate::store::{CredentialStore, Rotation, Session, UserStore};

rules!(__credentials_rules where S: UserStore | CredentialStore;
    a_key_is_read_as_it_was_made,
    a_public_id_is_given_once,
    a_key_tells_that_its_user_is_disabled,
    keys_are_listed_newest_first_in_their_scope,
    a_foreign_key_cannot_be_revoked,
    revoking_again_keeps_the_first_moment,
    a_use_is_noted_and_never_goes_back,
    a_refresh_token_works_once,
    of_racing_rotations_one_rotates,
    a_reused_token_ends_its_family,
    an_idle_token_is_refused,
    a_family_ends_however_often_it_rotates,
    an_unknown_token_is_refused,
    a_token_hash_is_given_once,
    revoking_a_session_ends_all_its_tokens,
    disabling_a_user_ends_its_sessions,
    a_disabled_user_rotates_no_session,
);

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

/// Rotation hands the session over to the new token.
pub async fn a_refresh_token_works_once<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = session(&ada, hash(1));
    let expected = Session {
        id: new.id,
        user: ada.id,
    };
    done(store.create_session(new).await);
    for step in 1..5 {
        let rotated = store
            .rotate_session(hash(step), hash(step + 1), later(1), later(100))
            .await;
        assert_eq!(
            done(rotated),
            Rotation::Rotated(expected.clone()),
            "a fresh token rotates"
        );
    }
}

/// Of any number of racers with one token one rotates; to the store the others are thieves.
pub async fn of_racing_rotations_one_rotates<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(255))).await);
    let store = Arc::new(store);
    let answers = race(&store, 16, |store, number| async move {
        let new = hash(u8::try_from(number).expect("few racers"));
        done(
            store
                .rotate_session(hash(255), new, later(1), later(100))
                .await,
        )
    })
    .await;
    let rotated = answers
        .iter()
        .filter(|answer| matches!(answer, Rotation::Rotated(_)))
        .count();
    let reused = answers
        .iter()
        .filter(|answer| matches!(answer, Rotation::Reused(_)))
        .count();
    assert_eq!(rotated, 1, "one rotates: {answers:?}");
    assert_eq!(
        reused, 1,
        "the second one ends the family, the rest find it ended: {answers:?}"
    );
    for number in 0..16 {
        let next = store
            .rotate_session(hash(number), hash(100 + number), later(2), later(100))
            .await;
        assert_eq!(
            done(next),
            Rotation::Refused,
            "no token of the family is left"
        );
    }
}

/// A token that comes twice was stolen, whoever comes second.
pub async fn a_reused_token_ends_its_family<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    let (new, other) = (session(&ada, hash(1)), session(&ada, hash(50)));
    let family = Session {
        id: new.id,
        user: ada.id,
    };
    done(store.create_session(new).await);
    done(store.create_session(other).await);
    done(
        store
            .rotate_session(hash(1), hash(2), later(1), later(100))
            .await,
    );
    let again = done(
        store
            .rotate_session(hash(1), hash(3), later(2), later(100))
            .await,
    );
    assert_eq!(
        again,
        Rotation::Reused(family),
        "a spent token gives the theft away"
    );
    for (token, reason) in [
        (hash(2), "the heir is dead with its family"),
        (hash(1), "and so is the spent one"),
        (hash(3), "the thief's was never in force"),
    ] {
        let next = done(
            store
                .rotate_session(token, hash(9), later(3), later(100))
                .await,
        );
        assert_eq!(next, Rotation::Refused, "{reason}");
    }
    let other = done(
        store
            .rotate_session(hash(50), hash(51), later(3), later(100))
            .await,
    );
    assert!(
        matches!(other, Rotation::Rotated(_)),
        "the user's other sessions live on"
    );
}

/// The end of a token is the first moment at which it is refused.
pub async fn an_idle_token_is_refused<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    let late = done(
        store
            .rotate_session(hash(1), hash(2), later(100), later(200))
            .await,
    );
    assert_eq!(late, Rotation::Refused, "its time is up");
    let just = done(
        store
            .rotate_session(hash(1), hash(2), later(99), later(150))
            .await,
    );
    assert!(
        matches!(just, Rotation::Rotated(_)),
        "a refusal spends nothing"
    );
    let late = done(
        store
            .rotate_session(hash(2), hash(3), later(150), later(250))
            .await,
    );
    assert_eq!(
        late,
        Rotation::Refused,
        "the new token's end is the one it was given"
    );
}

/// The absolute end holds for every heir.
pub async fn a_family_ends_however_often_it_rotates<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    let early = done(
        store
            .rotate_session(hash(1), hash(2), later(50), later(5_000))
            .await,
    );
    assert!(matches!(early, Rotation::Rotated(_)), "it lives");
    let late = done(
        store
            .rotate_session(hash(2), hash(3), later(1_000), later(5_000))
            .await,
    );
    assert_eq!(late, Rotation::Refused, "no heir outlives its family");
    let mut long = session(&ada, hash(10));
    long.idle_until = later(9_000);
    done(store.create_session(long).await);
    let late = done(
        store
            .rotate_session(hash(10), hash(11), later(1_000), later(9_000))
            .await,
    );
    assert_eq!(late, Rotation::Refused, "nor does the first");
}

/// There is no error in a token nobody knows.
pub async fn an_unknown_token_is_refused<S: UserStore + CredentialStore>(store: S) {
    let unknown = store
        .rotate_session(hash(1), hash(2), START, later(100))
        .await;
    assert_eq!(done(unknown), Rotation::Refused, "it belongs to no session");
    assert!(
        !done(store.revoke_session(hash(1), START).await),
        "so there is none to end"
    );
}

/// Two sessions never share a token.
pub async fn a_token_hash_is_given_once<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let first = session(&ada, hash(1));
    let expected = Session {
        id: first.id,
        user: ada.id,
    };
    done(store.create_session(first).await);
    conflict(
        store.create_session(session(&bob, hash(1))).await,
        "a token belongs to one session",
    );
    let rotated = done(
        store
            .rotate_session(hash(1), hash(2), later(1), later(100))
            .await,
    );
    assert_eq!(
        rotated,
        Rotation::Rotated(expected),
        "the first session keeps it"
    );
}

/// Logging out ends the family, by whichever of its tokens.
pub async fn revoking_a_session_ends_all_its_tokens<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    done(
        store
            .rotate_session(hash(1), hash(2), later(1), later(100))
            .await,
    );
    assert!(
        done(store.revoke_session(hash(2), later(2)).await),
        "there was a session to end"
    );
    assert!(
        !done(store.revoke_session(hash(2), later(3)).await),
        "it ends once"
    );
    for token in [hash(1), hash(2)] {
        let next = done(
            store
                .rotate_session(token, hash(9), later(3), later(100))
                .await,
        );
        assert_eq!(
            next,
            Rotation::Refused,
            "no token of an ended session rotates"
        );
    }
}

/// Enabling the user again brings none of them back.
pub async fn disabling_a_user_ends_its_sessions<S: UserStore + CredentialStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    done(store.create_session(session(&ada, hash(1))).await);
    done(store.create_session(session(&ada, hash(2))).await);
    done(store.create_session(session(&bob, hash(3))).await);
    done(store.set_user_disabled(ada.id, true).await);
    done(store.set_user_disabled(ada.id, false).await);
    for token in [hash(1), hash(2)] {
        let next = done(
            store
                .rotate_session(token, hash(9), later(1), later(100))
                .await,
        );
        assert_eq!(
            next,
            Rotation::Refused,
            "the session ended with the disabling"
        );
    }
    let other = done(
        store
            .rotate_session(hash(3), hash(4), later(1), later(100))
            .await,
    );
    assert!(
        matches!(other, Rotation::Rotated(_)),
        "others are not concerned"
    );
}

/// A login that raced with the disabling gets no further either.
pub async fn a_disabled_user_rotates_no_session<S: UserStore + CredentialStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.set_user_disabled(ada.id, true).await);
    done(store.create_session(session(&ada, hash(1))).await);
    let next = done(
        store
            .rotate_session(hash(1), hash(2), later(1), later(100))
            .await,
    );
    assert_eq!(next, Rotation::Refused, "a disabled user may do nothing");
}
