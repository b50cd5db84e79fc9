//! Login sessions.

use std::sync::Arc;

use crate::store::conformance::support::{START, conflict, done, hash, later, race, session, user};
use crate::store::{CredentialStore, Rotation, Session, UserStore};

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
