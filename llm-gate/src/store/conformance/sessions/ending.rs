//! How sessions live and end.

use std::sync::Arc;

use crate::identity::SessionId;
use crate::store::conformance::support::{
    at, done, hash, later, race, reader, refresh, rotates, session, ticket, user,
};
use crate::store::{
    MAX_SESSIONS, NewSession, Rotation, SessionStore, TicketPurpose, TokenHash, User, UserStore,
};

/// Makes sessions of a user with tokens from `first` on, the newest of which comes first.
async fn sessions<S: SessionStore>(store: &S, user: &User, first: u8, count: u8) -> Vec<SessionId> {
    let mut ids = Vec::new();
    for token in first..first + count {
        let new = session(user, hash(token));
        ids.push(new.id);
        done(store.create_session(new).await);
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));
    ids
}

async fn listed<S: SessionStore>(store: &S, user: &User, micros: i64) -> Vec<SessionId> {
    let sessions = done(store.sessions(user.id, later(micros)).await);
    sessions.into_iter().map(|session| session.id).collect()
}

/// A list holds what lives of one user.
pub async fn sessions_are_listed_newest_first<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let ids = sessions(&store, &ada, 1, 3).await;
    let other = sessions(&store, &bob, 10, 1).await;
    assert_eq!(
        listed(&store, &ada, 1).await,
        ids,
        "newest first, and none of bob's"
    );
    assert_eq!(listed(&store, &bob, 1).await, other, "nor of ada's");
    done(store.end_session(ada.id, ids[1], at(2)).await);
    assert_eq!(
        listed(&store, &ada, 3).await,
        [ids[0], ids[2]],
        "what has ended is not there"
    );
}

/// A session that nobody can refresh any more has ended.
pub async fn a_session_lives_until_its_token_idles_out<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let id = sessions(&store, &ada, 1, 1).await[0];
    let lives = async |micros| done(store.session(id, later(micros)).await).is_some();
    assert!(lives(99).await, "its token works");
    assert!(!lives(100).await, "its token does not work any more");
    assert!(
        listed(&store, &ada, 100).await.is_empty(),
        "so it is not listed"
    );
    assert!(rotates(&store, refresh(1, 2, 99, 5_000)).await, "in time");
    assert!(lives(999).await, "the new token keeps it alive");
    assert!(!lives(1_000).await, "to its own end");
}

/// Logging out ends the family, by whichever of its tokens.
pub async fn revoking_a_session_ends_all_its_tokens<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    for (first, by) in [(1, 2), (11, 11)] {
        let id = sessions(&store, &ada, first, 1).await[0];
        assert!(
            rotates(&store, refresh(first, first + 1, 1, 100)).await,
            "it lives"
        );
        assert!(
            done(store.revoke_session(hash(by), at(2)).await),
            "there was a session to end"
        );
        assert_eq!(
            done(store.session(id, later(2)).await),
            None,
            "it has ended"
        );
        for token in [first, first + 1] {
            let next = done(store.rotate_session(refresh(token, 99, 3, 100)).await);
            assert_eq!(
                next,
                Rotation::Refused,
                "no token of an ended session rotates"
            );
        }
    }
}

/// One user's identifiers are of no use to another.
pub async fn a_session_is_ended_by_its_user_alone<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let ids = sessions(&store, &ada, 1, 2).await;
    assert!(
        !done(store.end_session(bob.id, ids[0], at(1)).await),
        "it is not bob's"
    );
    let unknown = store.end_session(ada.id, SessionId::new(), at(1)).await;
    assert!(!done(unknown), "there is no such session");
    assert_eq!(listed(&store, &ada, 1).await, ids, "so both live");
    assert!(
        done(store.end_session(ada.id, ids[0], at(1)).await),
        "it is ada's"
    );
    assert_eq!(
        listed(&store, &ada, 1).await,
        ids[1..],
        "the other one lives on"
    );
}

/// The session that asks is the one that may stay.
pub async fn all_sessions_but_one_are_ended<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let ids = sessions(&store, &ada, 1, 4).await;
    let other = sessions(&store, &bob, 10, 1).await;
    let ended = store.end_sessions(ada.id, Some(ids[2]), at(1)).await;
    assert_eq!(done(ended), 3, "all but that one");
    assert_eq!(listed(&store, &ada, 1).await, [ids[2]], "it lives on");
    let ended = store.end_sessions(ada.id, Some(other[0]), at(2)).await;
    assert_eq!(done(ended), 1, "another user's is none of ada's to keep");
    assert_eq!(
        done(store.end_sessions(ada.id, None, at(3)).await),
        0,
        "none is left"
    );
    assert_eq!(
        listed(&store, &bob, 4).await,
        other,
        "others are not concerned"
    );
}

/// Begins a session some microseconds after the start, which lives for 1,000 more, with a token of its own.
async fn begun<S: SessionStore>(store: &S, user: &User, token: usize, micros: i64) -> SessionId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&token.to_le_bytes());
    let new = NewSession {
        idle_until: later(micros + 1_000),
        ends_at: later(micros + 1_000),
        author: at(micros),
        ..session(user, TokenHash(bytes))
    };
    let id = new.id;
    done(store.create_session(new).await);
    id
}

/// Somebody who logs in day after day keeps no more than so many, whichever clients forget theirs.
pub async fn one_session_too_many_ends_the_oldest<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    // The oldest by time, and not by identifier.
    let second = begun(&store, &ada, 1, 1).await;
    let first = begun(&store, &ada, 2, 0).await;
    for token in 2..MAX_SESSIONS {
        begun(&store, &ada, token + 1, 2).await;
    }
    let all = listed(&store, &ada, 2).await;
    assert_eq!(all.len(), MAX_SESSIONS, "so many live");
    let others = begun(&store, &bob, 1_000, 3).await;
    assert_eq!(listed(&store, &ada, 3).await, all, "bob's are his own");

    let next = begun(&store, &ada, 1_001, 4).await;
    let now = listed(&store, &ada, 4).await;
    assert_eq!(now.len(), MAX_SESSIONS, "there are no more than that");
    assert!(now.contains(&next), "the new one lives");
    assert!(!now.contains(&first), "the oldest has ended");
    assert!(now.contains(&second), "and no other");
    let mut token = [0; 32];
    token[0] = 2;
    let mut back = refresh(0, 9, 5, 100);
    back.old = TokenHash(token);
    let rotated = done(store.rotate_session(back).await);
    assert_eq!(rotated, Rotation::Refused, "nobody goes on with it");
    assert_eq!(listed(&store, &bob, 4).await, [others], "nor is bob's gone");
}

/// Only those that live are counted.
pub async fn what_has_ended_takes_no_room<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let first = begun(&store, &ada, 0, 0).await;
    for token in 1..MAX_SESSIONS {
        begun(&store, &ada, token, 1).await;
    }
    let last = begun(&store, &ada, MAX_SESSIONS, 2).await;
    let now = listed(&store, &ada, 2).await;
    assert!(!now.contains(&first), "there was no room for it");
    assert!(
        done(store.end_session(ada.id, last, at(3)).await),
        "it lived"
    );
    begun(&store, &ada, MAX_SESSIONS + 1, 4).await;
    let later = listed(&store, &ada, 4).await;
    let kept = now.iter().filter(|id| **id != last);
    assert!(
        kept.clone().all(|id| later.contains(id)),
        "nobody had to go"
    );
    let idle = begun(&store, &ada, MAX_SESSIONS + 2, 1_500).await;
    assert_eq!(
        listed(&store, &ada, 1_500).await,
        [idle],
        "all others idled out"
    );
}

/// No more than allowed holds against racers, who are all let in.
pub async fn of_racing_sessions_no_more_than_allowed_live<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    for token in 0..MAX_SESSIONS - 1 {
        begun(&store, &ada, token, 0).await;
    }
    let (store, of) = (Arc::new(store), ada.clone());
    let made = race(&Arc::clone(&store), 8, move |store, number| {
        let of = of.clone();
        async move { begun(&*store, &of, 1_000 + number, 1).await }
    })
    .await;
    let now = listed(&*store, &ada, 1).await;
    assert_eq!(now.len(), MAX_SESSIONS, "each counted the others");
    assert!(
        made.iter().all(|id| now.contains(id)),
        "the oldest have ended"
    );
}

/// Whoever comes second is told that there was nothing to do.
pub async fn an_ended_session_ends_once<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let id = sessions(&store, &ada, 1, 1).await[0];
    assert!(
        done(store.revoke_session(hash(1), at(1)).await),
        "there was one"
    );
    assert!(
        !done(store.revoke_session(hash(1), at(2)).await),
        "by its token"
    );
    assert!(
        !done(store.end_session(ada.id, id, at(2)).await),
        "by its identifier"
    );
    assert_eq!(
        done(store.end_sessions(ada.id, None, at(2)).await),
        0,
        "with all others"
    );
}

/// Enabling the user again brings none of them back.
pub async fn disabling_a_user_ends_its_sessions<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    sessions(&store, &ada, 1, 2).await;
    let other = sessions(&store, &bob, 3, 1).await;
    done(store.set_user_disabled(ada.id, true, at(1)).await);
    assert!(listed(&store, &ada, 1).await.is_empty(), "they have ended");
    done(store.set_user_disabled(ada.id, false, at(2)).await);
    assert!(listed(&store, &ada, 2).await.is_empty(), "for good");
    for token in [1, 2] {
        let next = done(store.rotate_session(refresh(token, 9, 3, 100)).await);
        assert_eq!(
            next,
            Rotation::Refused,
            "the session ended with the disabling"
        );
    }
    assert_eq!(
        listed(&store, &bob, 3).await,
        other,
        "others are not concerned"
    );
}

/// A login that raced with the disabling gets no further either.
pub async fn a_disabled_user_has_no_session<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    done(store.set_user_disabled(ada.id, true, at(0)).await);
    let id = sessions(&store, &ada, 1, 1).await[0];
    let next = done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    assert_eq!(next, Rotation::Refused, "a disabled user may do nothing");
    assert_eq!(
        done(store.session(id, later(1)).await),
        None,
        "nor does the session live"
    );
    assert!(
        listed(&store, &ada, 1).await.is_empty(),
        "in the list neither"
    );
}

/// What is left of an account logs nobody in.
pub async fn deleting_a_user_ends_its_sessions<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let id = sessions(&store, &ada, 1, 1).await[0];
    done(store.delete_user(ada.id, at(1)).await);
    assert_eq!(
        done(store.session(id, later(1)).await),
        None,
        "it has ended"
    );
    let next = done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    assert_eq!(next, Rotation::Refused, "and its token is good for nothing");
}

/// Whoever knew the old password is out; who set the new one stays.
pub async fn another_password_ends_the_other_sessions<S: UserStore + SessionStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let ids = sessions(&store, &ada, 1, 3).await;
    let other = sessions(&store, &bob, 10, 1).await;
    let set = store.set_password(ada.id, "second".to_owned(), Some(ids[1]), at(1));
    assert!(done(set.await), "there is such an account");
    assert_eq!(
        listed(&store, &ada, 1).await,
        [ids[1]],
        "one was to be kept"
    );
    let set = store.set_password(ada.id, "third".to_owned(), None, at(2));
    assert!(done(set.await), "again");
    assert!(
        listed(&store, &ada, 2).await.is_empty(),
        "none was to be kept"
    );
    assert_eq!(
        listed(&store, &bob, 2).await,
        other,
        "others are not concerned"
    );
}

/// A hash that is brought up to date is no change of the password.
pub async fn the_same_password_with_another_hash_ends_no_session<S>(store: S)
where
    S: UserStore + SessionStore,
{
    let ada = user(&store, "ada").await;
    let ids = sessions(&store, &ada, 1, 1).await;
    let (old, new) = ("$argon2id$first".to_owned(), "second".to_owned());
    assert!(
        done(store.replace_password_hash(ada.id, old, new).await),
        "it was the old one"
    );
    assert_eq!(listed(&store, &ada, 1).await, ids, "the session lives on");
}

/// Who lost the password does not know who has it.
pub async fn a_new_password_by_mail_ends_all_sessions<S: UserStore + SessionStore>(store: S) {
    let ada = reader(&store, "ada@example.org").await;
    sessions(&store, &ada, 1, 2).await;
    let mailed = ticket(&ada, TicketPurpose::ResetPassword, hash(80));
    done(store.create_ticket(mailed).await);
    let reset = store.reset_password(hash(80), "second".to_owned(), at(1));
    assert!(done(reset.await).is_some(), "the ticket is good");
    assert!(
        listed(&store, &ada, 1).await.is_empty(),
        "whoever logged in has to again"
    );
}

/// What is kept of a session is kept as long as its tokens could come back, and no longer than asked for.
pub async fn what_ended_is_forgotten_after_a_while<S: UserStore + SessionStore>(store: S) {
    let ada = user(&store, "ada").await;
    let long = |token| NewSession {
        idle_until: later(1_000),
        ..session(&ada, hash(token))
    };
    let kept = long(1);
    done(store.create_session(kept.clone()).await);
    done(store.create_session(long(2)).await);
    done(store.revoke_session(hash(2), at(5)).await);
    assert_eq!(
        done(store.prune(later(5)).await),
        0,
        "it has only just ended"
    );
    assert_eq!(
        done(store.prune(later(6)).await),
        1,
        "that one has ended before"
    );
    assert!(
        done(store.session(kept.id, later(6)).await).is_some(),
        "the other one lives"
    );
    assert!(
        rotates(&store, refresh(1, 3, 7, 1_000)).await,
        "and rotates"
    );
    assert_eq!(done(store.prune(later(1_000)).await), 0, "to its end");
    assert_eq!(
        done(store.prune(later(1_001)).await),
        1,
        "and then it is forgotten"
    );
    for token in [1, 2, 3] {
        let next = done(store.rotate_session(refresh(token, 9, 8, 100)).await);
        assert_eq!(next, Rotation::Refused, "with all its tokens");
    }
    done(store.create_session(long(1)).await);
}

/// A ticket that nobody used is not kept for ever.
pub async fn stale_tickets_are_forgotten<S: UserStore + SessionStore>(store: S) {
    let ada = reader(&store, "ada@example.org").await;
    let purpose = TicketPurpose::ResetPassword;
    done(store.create_ticket(ticket(&ada, purpose, hash(1))).await);
    assert_eq!(
        done(store.prune(later(100)).await),
        0,
        "it has only just stopped being good"
    );
    let good = done(store.ticket(hash(1), purpose, later(99)).await);
    assert!(good.is_some(), "so it is there");
    assert_eq!(done(store.prune(later(101)).await), 1, "it stopped before");
    let gone = done(store.ticket(hash(1), purpose, later(99)).await);
    assert_eq!(gone, None, "so it is gone");
}
