//! Secrets that were mailed or are handed over, to be used once.

use std::sync::Arc;

use crate::store::conformance::support::{
    account, at, conflict, done, hash, later, race, reader, ticket, user,
};
use crate::store::{NewTicket, Ticket, TicketPurpose, User, UserChange, UserStore};

const VERIFY: TicketPurpose = TicketPurpose::VerifyEmail;
const RESET: TicketPurpose = TicketPurpose::ResetPassword;

/// Makes an account with an address that nobody has confirmed.
async fn stranger<S: UserStore>(store: &S, email: &str) -> User {
    done(store.create_user(account(Some(email), None)).await)
}

/// A ticket for a new password that somebody hands over.
fn handed(user: &User, number: u8) -> NewTicket {
    NewTicket {
        email: None,
        ..ticket(user, RESET, hash(number))
    }
}

async fn is_good<S: UserStore>(store: &S, number: u8, purpose: TicketPurpose) -> bool {
    done(store.ticket(hash(number), purpose, later(1)).await).is_some()
}

async fn password<S: UserStore>(store: &S, login: &str) -> Option<String> {
    let found = done(store.user_by_login(login.to_owned()).await);
    found.and_then(|found| found.hash)
}

/// Who has the ticket has read what came to the address.
pub async fn an_address_is_confirmed_by_its_ticket<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    let read = done(store.ticket(hash(1), VERIFY, later(1)).await);
    let expected = Ticket {
        user: ada.clone(),
        mailed: true,
    };
    assert_eq!(read, Some(expected), "reading does not use it");
    let expected = User {
        email_verified: true,
        ..ada.clone()
    };
    let used = done(store.verify_email(hash(1), at(1)).await);
    assert_eq!(
        used,
        Some(expected.clone()),
        "the account is answered as it is now"
    );
    assert_eq!(
        done(store.user(ada.id).await),
        Some(expected),
        "and stays so"
    );
    let unknown = done(store.verify_email(hash(2), at(1)).await);
    assert_eq!(unknown, None, "another secret is good for nothing");
}

/// Who may confirm an address may not set a password.
pub async fn a_ticket_is_good_for_its_purpose_alone<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    assert!(!is_good(&store, 1, RESET).await, "it is for the address");
    assert!(!is_good(&store, 2, VERIFY).await, "it is for the password");
    let reset = store.reset_password(hash(1), "stolen".to_owned(), at(1));
    assert_eq!(done(reset.await), None, "the one does not do the other's");
    assert_eq!(
        done(store.verify_email(hash(2), at(1)).await),
        None,
        "nor the other way"
    );
    let now = password(&store, "ada@example.org").await;
    assert_eq!(
        now.as_deref(),
        Some("$argon2id$first"),
        "the password is as it was"
    );
    assert!(is_good(&store, 1, VERIFY).await, "a refusal uses nothing");
    assert!(is_good(&store, 2, RESET).await, "of either");
}

/// The end is the first moment at which it is refused.
pub async fn a_ticket_is_good_until_it_ends<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    for (number, purpose) in [(1, VERIFY), (2, RESET)] {
        let late = done(store.ticket(hash(number), purpose, later(100)).await);
        assert_eq!(late, None, "its time is up");
    }
    assert_eq!(
        done(store.verify_email(hash(1), at(100)).await),
        None,
        "for use, too"
    );
    let reset = store.reset_password(hash(2), "second".to_owned(), at(100));
    assert_eq!(done(reset.await), None, "of either");
    assert!(
        done(store.verify_email(hash(1), at(99)).await).is_some(),
        "before that it is good"
    );
}

/// What was mailed to one address says nothing of another.
pub async fn a_ticket_for_another_address_is_not_good<S: UserStore>(store: S) {
    let ada = stranger(&store, "old@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    let change = UserChange {
        email: Some(Some("new@example.org".to_owned())),
        ..UserChange::default()
    };
    done(store.change_user(ada.id, change, at(1)).await);
    assert!(
        !is_good(&store, 1, VERIFY).await,
        "the address has changed meanwhile"
    );
    assert_eq!(
        done(store.verify_email(hash(1), at(2)).await),
        None,
        "so it confirms nothing"
    );
    let reset = store.reset_password(hash(2), "stolen".to_owned(), at(2));
    assert_eq!(
        done(reset.await),
        None,
        "nor does who reads the old one set a password"
    );
    let now = done(store.user(ada.id).await).map(|user| user.email_verified);
    assert_eq!(now, Some(false), "nobody has confirmed the new one");
}

/// Whoever makes it hands it to somebody, whom it is for whatever that account's address is.
pub async fn a_ticket_that_is_handed_over_is_good_with_any_address_or_none<S: UserStore>(store: S) {
    let eve = user(&store, "eve").await;
    done(store.create_ticket(handed(&eve, 1)).await);
    let read = done(store.ticket(hash(1), RESET, later(1)).await);
    let expected = Ticket {
        user: eve.clone(),
        mailed: false,
    };
    assert_eq!(read, Some(expected), "eve has no address");
    for address in [Some("eve@example.org"), Some("other@example.org"), None] {
        let change = UserChange {
            email: Some(address.map(str::to_owned)),
            ..UserChange::default()
        };
        done(store.change_user(eve.id, change, at(1)).await);
        assert!(is_good(&store, 1, RESET).await, "{address:?}");
    }
    let reset = store.reset_password(hash(1), "second".to_owned(), at(2));
    assert_eq!(done(reset.await), Some(eve), "the account as it is");
    let now = password(&store, "eve").await;
    assert_eq!(now.as_deref(), Some("second"), "with the new password");
    assert!(!is_good(&store, 1, RESET).await, "it was used");
}

/// Who hands it over does not say who reads the address.
pub async fn a_ticket_that_is_handed_over_confirms_no_address<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    let verify = NewTicket {
        email: None,
        ..ticket(&ada, VERIFY, hash(1))
    };
    done(store.create_ticket(verify).await);
    assert!(!is_good(&store, 1, VERIFY).await, "none is kept for that");
    assert_eq!(
        done(store.verify_email(hash(1), at(1)).await),
        None,
        "so it confirms nothing"
    );
    done(store.create_ticket(handed(&ada, 2)).await);
    assert_eq!(
        done(store.verify_email(hash(2), at(1)).await),
        None,
        "it is for the password"
    );
    let reset = store.reset_password(hash(2), "second".to_owned(), at(1));
    assert_eq!(done(reset.await), Some(ada.clone()), "as it was");
    let now = done(store.user(ada.id).await);
    assert_eq!(now, Some(ada), "nobody has confirmed the address");
}

/// Anybody can ask for a letter to somebody else, who may be about to follow the one before.
pub async fn a_new_ticket_leaves_the_last_one_good<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    for (number, purpose) in [(1, VERIFY), (2, RESET), (3, VERIFY), (4, RESET)] {
        done(
            store
                .create_ticket(ticket(&ada, purpose, hash(number)))
                .await,
        );
    }
    for (number, purpose) in [(1, VERIFY), (2, RESET), (3, VERIFY), (4, RESET)] {
        assert!(is_good(&store, number, purpose).await, "ticket {number}");
    }
    let again = ticket(&ada, RESET, hash(2));
    conflict(
        store.create_ticket(again).await,
        "a secret is of one ticket",
    );
}

/// What is done needs no other letter, and those that are left in a mailbox do nothing.
pub async fn with_one_ticket_all_of_its_purpose_are_used<S: UserStore>(store: S) {
    let (ada, bob) = (
        stranger(&store, "ada@example.org").await,
        stranger(&store, "bob@example.org").await,
    );
    for (number, purpose) in [(1, VERIFY), (2, VERIFY), (3, RESET), (4, RESET), (5, RESET)] {
        done(
            store
                .create_ticket(ticket(&ada, purpose, hash(number)))
                .await,
        );
    }
    done(store.create_ticket(ticket(&bob, VERIFY, hash(6))).await);
    done(store.create_ticket(ticket(&bob, RESET, hash(7))).await);
    done(store.create_ticket(handed(&ada, 8)).await);
    let verified = done(store.verify_email(hash(1), at(1)).await);
    assert!(verified.is_some(), "the older of the two");
    assert!(
        !is_good(&store, 2, VERIFY).await,
        "the other has nothing left to confirm"
    );
    assert!(
        is_good(&store, 3, RESET).await,
        "those of another purpose stay"
    );
    let reset = store.reset_password(hash(4), "second".to_owned(), at(1));
    assert!(done(reset.await).is_some(), "any of the four");
    for number in [3, 5, 8] {
        assert!(!is_good(&store, number, RESET).await, "ticket {number}");
    }
    assert!(is_good(&store, 6, VERIFY).await, "those of others stay");
    assert!(is_good(&store, 7, RESET).await, "of either purpose");
}

/// A link that somebody finds later in a mailbox does nothing.
pub async fn a_used_ticket_is_not_good<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    done(store.verify_email(hash(1), at(1)).await);
    assert!(!is_good(&store, 1, VERIFY).await, "it was used");
    assert_eq!(done(store.verify_email(hash(1), at(2)).await), None, "once");
    done(
        store
            .reset_password(hash(2), "second".to_owned(), at(1))
            .await,
    );
    assert!(!is_good(&store, 2, RESET).await, "it was used");
    let again = store.reset_password(hash(2), "third".to_owned(), at(2));
    assert_eq!(done(again.await), None, "once");
    let now = password(&store, "ada@example.org").await;
    assert_eq!(now.as_deref(), Some("second"), "the first use stands");
}

/// Once holds against racers.
pub async fn of_racing_uses_of_a_ticket_one_counts<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    let store = Arc::new(store);
    let verified = race(&store, 16, |store, _| async move {
        done(store.verify_email(hash(1), at(1)).await).is_some()
    })
    .await;
    assert_eq!(
        verified.iter().filter(|one| **one).count(),
        1,
        "one confirms the address"
    );
    let set = race(&store, 16, |store, number| async move {
        let wanted = format!("racer {number}");
        let reset = store.reset_password(hash(2), wanted.clone(), at(1)).await;
        done(reset).map(|_| wanted)
    })
    .await;
    let winners: Vec<String> = set.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "one sets the password: {winners:?}");
    let now = password(&*store, "ada@example.org").await;
    assert_eq!(now.as_ref(), winners.first(), "and that is the password");
}

/// The mail came to the address, so that is confirmed with it.
pub async fn a_ticket_sets_a_password<S: UserStore>(store: S) {
    let ada = stranger(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, RESET, hash(1))).await);
    let expected = User {
        email_verified: true,
        ..ada
    };
    let reset = store.reset_password(hash(1), "second".to_owned(), at(1));
    assert_eq!(
        done(reset.await),
        Some(expected),
        "the account is answered as it is now"
    );
    let now = password(&store, "ada@example.org").await;
    assert_eq!(now.as_deref(), Some("second"), "with the new password");
}

/// Who knows the password has no need of an old mail, and a thief of the mailbox gets none.
pub async fn another_password_voids_the_tickets_for_one<S: UserStore>(store: S) {
    let ada = reader(&store, "ada@example.org").await;
    done(store.create_ticket(ticket(&ada, VERIFY, hash(1))).await);
    done(store.create_ticket(ticket(&ada, RESET, hash(2))).await);
    done(store.create_ticket(handed(&ada, 3)).await);
    done(
        store
            .set_password(ada.id, "second".to_owned(), None, at(1))
            .await,
    );
    for number in [2, 3] {
        assert!(
            !is_good(&store, number, RESET).await,
            "the password was set otherwise"
        );
    }
    assert!(is_good(&store, 1, VERIFY).await, "the address was not");
}

/// Whoever may do nothing may not do this either.
pub async fn a_ticket_of_nobody_is_not_good<S: UserStore>(store: S) {
    let (ada, bob) = (
        stranger(&store, "ada@example.org").await,
        stranger(&store, "bob@example.org").await,
    );
    done(store.create_ticket(ticket(&ada, RESET, hash(1))).await);
    done(store.create_ticket(ticket(&bob, RESET, hash(2))).await);
    done(store.create_ticket(handed(&ada, 4)).await);
    done(store.create_ticket(handed(&bob, 5)).await);
    done(store.delete_user(ada.id, at(1)).await);
    for number in [1, 4] {
        assert!(
            !is_good(&store, number, RESET).await,
            "the account was deleted"
        );
    }
    stranger(&store, "ada@example.org").await;
    assert!(
        !is_good(&store, 1, RESET).await,
        "who has the address now is another"
    );
    done(store.set_user_disabled(bob.id, true, at(1)).await);
    for number in [2, 5] {
        assert!(
            !is_good(&store, number, RESET).await,
            "the account is disabled"
        );
    }
    let reset = store.reset_password(hash(2), "second".to_owned(), at(2));
    assert_eq!(done(reset.await), None, "so it sets no password");
    done(store.set_user_disabled(bob.id, false, at(3)).await);
    let without = user(&store, "eve").await;
    let mailed = NewTicket {
        email: Some("eve@example.org".to_owned()),
        ..ticket(&without, VERIFY, hash(3))
    };
    done(store.create_ticket(mailed).await);
    assert!(!is_good(&store, 3, VERIFY).await, "eve has no address");
}
