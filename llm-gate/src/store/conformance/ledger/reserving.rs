//! Limits and holds.

use crate::identity::{ProjectId, Subject, UserId};
use crate::store::conformance::support::{
    balances, denied, done, granted, reserve, settle, settled, somebody, stands, tokens,
    try_settle, with_limit,
};
use crate::store::{DenialReason, LedgerStore, Outcome, Standing, Totals};
use crate::tokens::Tokens;

/// A counter comes into being when it is needed.
pub async fn a_subject_never_heard_of_stands_at_zero<S: LedgerStore>(store: S) {
    let standing = done(store.standing(somebody()).await);
    assert_eq!(
        standing,
        Standing::default(),
        "nothing used, no limit, not frozen"
    );
    assert_eq!(
        done(store.totals().await),
        Totals::default(),
        "and the books are empty"
    );
}

/// The answer is the standing under the new limit.
pub async fn a_limit_is_set_changed_and_removed<S: LedgerStore>(store: S) {
    let subject = somebody();
    for limit in [
        Some(tokens(100)),
        Some(Tokens::ZERO),
        None,
        Some(tokens(7)),
        None,
    ] {
        let answered = done(store.set_limit(subject, limit).await);
        assert_eq!(answered.limit, limit, "the answer shows it");
        assert_eq!(
            done(store.standing(subject).await),
            answered,
            "and so does the next look"
        );
    }
    done(store.set_limit(subject, Some(tokens(5))).await);
    granted(&store, &reserve(&[subject], 3)).await;
    let answered = done(store.set_limit(subject, Some(tokens(50))).await);
    assert_eq!(answered.reserved, tokens(3), "a limit changes no balance");
}

/// Lowering a limit never raises it, whatever else has changed it meanwhile.
pub async fn a_limit_is_lowered_but_not_raised<S: LedgerStore>(store: S) {
    let subject = Subject::User(UserId::new());
    let lower = async |amount| {
        let lowered = store
            .lower_limit(subject, Tokens::new(amount))
            .await
            .expect("a store at hand");
        lowered.map(|standing| standing.limit)
    };
    assert_eq!(
        lower(50).await,
        Some(Some(Tokens::new(50))),
        "no limit is above every limit"
    );
    assert_eq!(lower(51).await, None, "that would raise it");
    assert_eq!(
        lower(50).await,
        Some(Some(Tokens::new(50))),
        "the same is not higher"
    );
    assert_eq!(lower(7).await, Some(Some(Tokens::new(7))), "lower");
    let standing = store.standing(subject).await.expect("a store at hand");
    assert_eq!(
        standing.limit,
        Some(Tokens::new(7)),
        "what was refused changed nothing"
    );
}

/// Each counter holds the whole.
pub async fn a_hold_is_taken_from_every_subject<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 50).await);
    let free = somebody();
    let grant = granted(&store, &reserve(&[wide, free, tight], 30)).await;
    assert_eq!(grant.hold, tokens(30), "what was asked for");
    assert_eq!(
        grant.standing.remaining(),
        Some(tokens(20)),
        "and how the tightest stands after it"
    );
    for subject in [wide, free, tight] {
        stands(&store, subject, (0, 30, 0)).await;
    }
    balances(&store).await;
}

/// One counter without room keeps all others untouched, wherever it stands in the list.
pub async fn a_hold_is_taken_from_all_or_none<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 10).await);
    for subjects in [[wide, tight], [tight, wide]] {
        denied(&store, &reserve(&subjects, 11)).await;
        stands(&store, wide, (0, 0, 0)).await;
        stands(&store, tight, (0, 0, 0)).await;
    }
}

/// The client is told whose limit it was.
pub async fn a_denial_names_the_counter_that_refused<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 10).await);
    granted(&store, &reserve(&[wide, tight], 4)).await;
    let denial = denied(&store, &reserve(&[wide, tight], 7)).await;
    assert_eq!(denial.counter.subject, tight, "the tight one refused");
    assert_eq!(denial.reason, DenialReason::Exhausted, "for want of tokens");
    assert_eq!(
        denial.standing.remaining(),
        Some(tokens(6)),
        "and this is what it has left"
    );
}

/// What was refused cannot be settled, is not in the totals, and may be asked for again.
pub async fn a_denial_leaves_nothing_behind<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let refused = reserve(&[subject], 11);
    denied(&store, &refused).await;
    assert_eq!(
        done(store.totals().await),
        Totals::default(),
        "no trace in the books"
    );
    assert_eq!(
        try_settle(&store, &settle(refused.id, 5)).await,
        Outcome::Unknown,
        "nothing to settle"
    );
    done(store.set_limit(subject, Some(tokens(11))).await);
    granted(&store, &refused).await;
}

/// Between the least and the whole, what fits is held.
pub async fn a_hold_is_clamped_to_the_room_but_not_below_the_least<S: LedgerStore>(store: S) {
    let (wide, tight) = (with_limit(&store, 100).await, with_limit(&store, 40).await);
    let mut asked = reserve(&[wide, tight], 90);
    asked.least = tokens(41);
    denied(&store, &asked).await;
    asked.least = tokens(40);
    let grant = granted(&store, &asked).await;
    assert_eq!(grant.hold, tokens(40), "all that the tightest had left");
    stands(&store, wide, (0, 40, 0)).await;
    stands(&store, tight, (0, 40, 0)).await;
}

/// A hold may take the very last token, and not one more.
pub async fn the_last_token_can_be_spent<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 10).await;
    let grant = granted(&store, &reserve(&[subject], 10)).await;
    assert_eq!(
        grant.standing.remaining(),
        Some(Tokens::ZERO),
        "nothing is left"
    );
    denied(&store, &reserve(&[subject], 1)).await;
    granted(&store, &reserve(&[subject], 0)).await;
}

/// Unlimited is counted all the same.
pub async fn without_a_limit_nothing_is_denied<S: LedgerStore>(store: S) {
    let subject = somebody();
    let hold = reserve(&[subject], 1 << 40);
    let grant = granted(&store, &hold).await;
    assert_eq!(grant.standing.limit, None, "there is no limit to show");
    settled(&store, &settle(hold.id, 1 << 40)).await;
    stands(&store, subject, (1 << 40, 0, 0)).await;
    balances(&store).await;
}

/// A list that names a subject twice holds once on it.
pub async fn a_subject_named_twice_counts_once<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let hold = reserve(&[subject, subject], 60);
    granted(&store, &hold).await;
    stands(&store, subject, (0, 60, 0)).await;
    settled(&store, &settle(hold.id, 60)).await;
    stands(&store, subject, (60, 0, 0)).await;
    balances(&store).await;
}

/// An identifier alone is no subject.
pub async fn kinds_of_subjects_are_apart<S: LedgerStore>(store: S) {
    let user = UserId::new();
    let project = Subject::Project(ProjectId::from_uuid(*user.as_uuid()));
    let user = Subject::User(user);
    done(store.set_limit(user, Some(tokens(10))).await);
    let hold = reserve(&[project], 100);
    granted(&store, &hold).await;
    stands(&store, user, (0, 0, 0)).await;
    assert_eq!(
        done(store.standing(project).await).limit,
        None,
        "the limit is the user's"
    );
    settled(&store, &settle(hold.id, 100)).await;
    stands(&store, user, (0, 0, 0)).await;
    stands(&store, project, (100, 0, 0)).await;
}

/// A limit may be lowered below what is spent; then there is no room, and no less than none.
pub async fn a_limit_below_what_is_spent_grants_nothing<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let (spent, held) = (reserve(&[subject], 50), reserve(&[subject], 30));
    granted(&store, &spent).await;
    granted(&store, &held).await;
    settled(&store, &settle(spent.id, 50)).await;
    let standing = done(store.set_limit(subject, Some(tokens(20))).await);
    assert_eq!(standing.remaining(), Some(Tokens::ZERO), "nothing is left");
    let mut any = reserve(&[subject], 10);
    any.least = tokens(1);
    denied(&store, &any).await;
    done(store.set_limit(subject, Some(tokens(81))).await);
    assert_eq!(
        granted(&store, &any).await.hold,
        tokens(1),
        "room is what the new limit leaves"
    );
}

/// A reservation whose acknowledgement was lost is sent again.
pub async fn reserving_again_gives_the_same_grant<S: LedgerStore>(store: S) {
    let subject = with_limit(&store, 100).await;
    let mut asked = reserve(&[subject], 100);
    asked.least = tokens(1);
    granted(&store, &reserve(&[subject], 40)).await;
    let first = granted(&store, &asked).await;
    assert_eq!(first.hold, tokens(60), "clamped to the room");
    let again = granted(&store, &asked).await;
    assert_eq!(
        (again.hold, again.standing),
        (first.hold, first.standing),
        "the same grant, though there is no room any more"
    );
    assert!(again.repeated && !first.repeated, "marked as a repetition");
    stands(&store, subject, (0, 100, 0)).await;
    settled(&store, &settle(asked.id, 10)).await;
    let after = granted(&store, &asked).await;
    assert_eq!(after.hold, first.hold, "even after its end");
    stands(&store, subject, (10, 40, 0)).await;
    assert_eq!(
        done(store.totals().await).pending,
        1,
        "and nothing is held anew"
    );
    balances(&store).await;
}

/// Amounts up to 2^53 - 1 are exact.
pub async fn the_largest_amounts_are_kept<S: LedgerStore>(store: S) {
    let subject = somebody();
    let standing = done(store.set_limit(subject, Some(Tokens::MAX)).await);
    assert_eq!(standing.limit, Some(Tokens::MAX), "the largest limit");
    let hold = reserve(&[subject], Tokens::MAX.get());
    granted(&store, &hold).await;
    settled(&store, &settle(hold.id, Tokens::MAX.get() - 1)).await;
    stands(&store, subject, (Tokens::MAX.get() - 1, 0, 0)).await;
    balances(&store).await;
}
