//! Refresh tokens.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::SessionId;
use crate::store::conformance::support::{
    START, at, conflict, done, hash, later, race, refresh, rotates, session, user,
};
use crate::store::{Refresh, Rotation, Session, SessionStore, UserStore};

/// What the user sees of a login is what was known of it.
pub async fn a_session_is_read_as_it_was_made<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let mut new = session(&ada, hash(1));
    new.author.address = Some("2001:db8::7".parse().expect("an address"));
    done(store.create_session(new.clone()).await);
    let expected = Session {
        id: new.id,
        user: ada.id,
        created_at: START,
        refreshed_at: START,
        ends_at: later(1_000),
        address: new.author.address,
        agent: new.agent,
    };
    let found = done(store.session(new.id, later(1)).await);
    assert_eq!(found.as_ref(), Some(&expected), "alone");
    let listed = done(store.sessions(ada.id, later(1)).await);
    assert_eq!(listed, [expected], "and in the list");
    let unknown = done(store.session(SessionId::new(), later(1)).await);
    assert_eq!(unknown, None, "no other identifier finds it");
}

/// Rotation hands the session over to the new token.
pub async fn a_refresh_token_works_once<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = session(&ada, hash(1));
    done(store.create_session(new.clone()).await);
    for step in 1..5 {
        let rotation = store.rotate_session(refresh(step, step + 1, i64::from(step), 100));
        let Rotation::Rotated(session) = done(rotation.await) else {
            panic!("a fresh token rotates");
        };
        assert_eq!(
            (session.id, session.user),
            (new.id, ada.id),
            "the session stays"
        );
        assert_eq!(
            session.refreshed_at,
            later(i64::from(step)),
            "and says when it was refreshed"
        );
        assert_eq!(session.created_at, START, "and when it was made");
        let found = done(store.session(new.id, later(10)).await);
        assert_eq!(found, Some(session), "it reads as it was answered");
    }
}

/// Tabs that refresh at the same moment all go on with one token: there is one child, and nobody is a thief.
pub async fn racing_refreshes_get_one_token<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = session(&ada, hash(1));
    let id = new.id;
    done(store.create_session(new).await);
    let store = Arc::new(store);
    let answers = race(&store, 16, |store, _| async move {
        done(store.rotate_session(refresh(1, 2, 1, 100)).await)
    })
    .await;
    for answer in answers {
        let Rotation::Rotated(session) = answer else {
            panic!("every racer goes on, none with {answer:?}");
        };
        assert_eq!(session.id, id, "in the one session");
    }
    let living = done(store.sessions(ada.id, later(2)).await).len();
    assert_eq!(living, 1, "which lives");
    assert!(
        rotates(&*store, refresh(2, 3, 3, 100)).await,
        "the child works"
    );
    let again = done(store.rotate_session(refresh(1, 2, 4, 100)).await);
    assert!(
        matches!(again, Rotation::Reused(_)),
        "and once it was used, no racer gets it any more: {again:?}"
    );
}

/// A lost answer is asked for again: the same token, the same heir.
pub async fn a_token_that_comes_again_within_the_grace_gets_the_same_one<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    let first = done(store.rotate_session(refresh(1, 2, 1, 50)).await);
    assert!(matches!(first, Rotation::Rotated(_)), "the first time");
    let again = done(store.rotate_session(refresh(1, 2, 10, 90)).await);
    assert_eq!(
        again, first,
        "and in the last moment of the grace, nothing has changed"
    );
    assert!(
        !rotates(&store, refresh(2, 3, 50, 150)).await,
        "coming again gives the heir no longer life"
    );
    assert!(
        rotates(&store, refresh(2, 3, 49, 150)).await,
        "nor a shorter one"
    );
}

async fn is_reused<S: UserStore + SessionStore>(store: &S, again: Refresh, reason: &str) {
    let moment = again.author.at;
    let id = match done(store.rotate_session(again).await) {
        Rotation::Reused(session) => session.id,
        other => panic!("{reason} gives the theft away, not {other:?}"),
    };
    let dead = done(store.session(id, moment).await);
    assert_eq!(dead, None, "the session has ended");
    for token in 1..5 {
        let next = done(store.rotate_session(refresh(token, 9, 12, 100)).await);
        assert_eq!(
            next,
            Rotation::Refused,
            "no token of the family works, nor tells more"
        );
    }
    assert!(
        rotates(store, refresh(50, 51, 13, 100)).await,
        "the user's other sessions live on"
    );
}

/// Nobody asks for a lost answer as late as that.
pub async fn a_token_that_comes_after_the_grace_ends_its_family<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    done(store.create_session(session(&ada, hash(50))).await);
    assert!(rotates(&store, refresh(1, 2, 1, 100)).await, "it is fresh");
    is_reused(&store, refresh(1, 2, 11, 100), "the end of the grace").await;
}

/// Who used the heir has got the answer: somebody else has the old token.
pub async fn a_token_whose_heir_was_used_ends_its_family<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    done(store.create_session(session(&ada, hash(50))).await);
    assert!(rotates(&store, refresh(1, 2, 1, 100)).await, "it is fresh");
    assert!(
        rotates(&store, refresh(2, 3, 2, 100)).await,
        "and so is its heir"
    );
    is_reused(&store, refresh(1, 2, 3, 100), "a token from before").await;
}

/// The heir is derived from the token: another one was made by somebody who does not know how.
pub async fn a_token_that_comes_for_another_heir_ends_its_family<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    done(store.create_session(session(&ada, hash(50))).await);
    assert!(rotates(&store, refresh(1, 2, 1, 100)).await, "it is fresh");
    is_reused(&store, refresh(1, 3, 2, 100), "another heir").await;
}

/// The grace is the caller's to give.
pub async fn without_a_grace_a_token_works_once<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    let strict = Refresh {
        grace: Duration::ZERO,
        ..refresh(1, 2, 1, 100)
    };
    assert!(rotates(&store, strict.clone()).await, "it is fresh");
    let again = done(store.rotate_session(strict).await);
    assert!(
        matches!(again, Rotation::Reused(_)),
        "at the same moment: {again:?}"
    );
}

/// The end of a token is the first moment at which it is refused.
pub async fn an_idle_token_is_refused<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    let late = done(store.rotate_session(refresh(1, 2, 100, 200)).await);
    assert_eq!(late, Rotation::Refused, "its time is up");
    assert!(
        rotates(&store, refresh(1, 2, 99, 150)).await,
        "a refusal spends nothing"
    );
    let late = done(store.rotate_session(refresh(2, 3, 150, 250)).await);
    assert_eq!(
        late,
        Rotation::Refused,
        "the new token's end is the one it was given"
    );
}

/// The absolute end holds for every heir.
pub async fn a_family_ends_however_often_it_rotates<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.create_session(session(&ada, hash(1))).await);
    assert!(rotates(&store, refresh(1, 2, 50, 5_000)).await, "it lives");
    let late = done(store.rotate_session(refresh(2, 3, 1_000, 5_000)).await);
    assert_eq!(late, Rotation::Refused, "no heir outlives its family");
    let mut long = session(&ada, hash(10));
    long.idle_until = later(9_000);
    done(store.create_session(long).await);
    let late = done(store.rotate_session(refresh(10, 11, 1_000, 9_000)).await);
    assert_eq!(late, Rotation::Refused, "nor does the first");
}

/// There is no error in a token nobody knows.
pub async fn an_unknown_token_is_refused<S: UserStore + SessionStore>(store: S) {
    let unknown = done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    assert_eq!(unknown, Rotation::Refused, "it belongs to no session");
    let ended = done(store.revoke_session(hash(1), at(1)).await);
    assert!(!ended, "so there is none to end");
}

/// Two sessions never share a token.
pub async fn a_token_hash_is_given_once<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let first = session(&ada, hash(1));
    done(store.create_session(first.clone()).await);
    let second = store.create_session(session(&bob, hash(1))).await;
    conflict(second, "a token belongs to one session");
    assert!(
        done(store.sessions(bob.id, later(1)).await).is_empty(),
        "and no session is left"
    );
    let rotation = done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    let Rotation::Rotated(session) = rotation else {
        panic!("it rotates, not {rotation:?}");
    };
    assert_eq!(session.id, first.id, "the first session keeps it");
}
