//! What accounts and sessions leave.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Trail, became_member, service, someone, sorted, to_value};
use crate::identity::Role;
use crate::store::conformance::support::{
    account, admin, done, hash, later, project, reader, refresh, session, ticket, user,
};
use crate::store::{
    Action, Actor, Author, Identity, NewTicket, NewUser, Refresh, Rotation, Store, TicketPurpose,
    User, UserChange,
};

/// Makes an account in [`someone`]'s name.
async fn made<S: Store>(store: &S, name: &str) -> User {
    let new = NewUser {
        author: someone(0),
        token_limit: None,
        ..account(None, Some(name))
    };
    done(store.create_user(new).await)
}

/// Made, changed, disabled, enabled, deleted.
pub async fn an_account_leaves_events<S: Store>(store: S) {
    admin(&store, "root").await;
    let mut trail = Trail::begin(&store).await;
    let ada = made(&store, "ada").await;
    let (event, beside) = trail
        .first(0, Action::UserCreated, ("user", &ada.id), None)
        .await;
    became_member(&beside, 0, ada.id, ada.personal_project, "owner");
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&ada)),
        "all of it is new"
    );
    let change = UserChange {
        name: Some(Some("Ada L.".to_owned())),
        role: Some(Role::Admin),
        ..UserChange::default()
    };
    done(store.change_user(ada.id, change, someone(1)).await);
    let event = trail
        .one(1, Action::UserChanged, ("user", &ada.id), None)
        .await;
    assert_eq!(
        event.before,
        json!({"name": null, "role": "user"}),
        "what was different"
    );
    assert_eq!(
        event.after,
        json!({"name": "Ada L.", "role": "admin"}),
        "and nothing else"
    );
    for (moment, disabled) in [(2, true), (3, false)] {
        done(
            store
                .set_user_disabled(ada.id, disabled, someone(moment))
                .await,
        );
        let event = trail
            .one(moment, Action::UserChanged, ("user", &ada.id), None)
            .await;
        assert_eq!(event.before, json!({"disabled": !disabled}), "the one way");
        assert_eq!(event.after, json!({"disabled": disabled}), "and the other");
    }
    let last = done(store.user(ada.id).await);
    done(store.delete_user(ada.id, someone(4)).await);
    let left = trail.left().await;
    let event = left
        .iter()
        .find(|event| event.action == Action::UserDeleted);
    let event = event.expect("the deletion is told");
    assert_eq!(event.target.id, ada.id.to_string(), "of this account");
    assert_eq!(event.author, someone(4), "by whom");
    let facts = (event.before.clone(), event.after.clone());
    assert_eq!(
        facts,
        (to_value(&last), Value::Null),
        "what there is no more"
    );
}

/// Those of a service concern its project.
pub async fn a_service_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    let mut trail = Trail::begin(&store).await;
    let robot = service(&store, project).await;
    let target = ("user", &robot.id as &dyn ToString);
    let (event, beside) = trail
        .first(0, Action::UserCreated, target, Some(project))
        .await;
    became_member(&beside, 0, robot.id, project, "member");
    assert_eq!(event.after, to_value(&robot), "all of it is new");
    done(store.set_user_disabled(robot.id, true, someone(1)).await);
    let event = trail
        .one(1, Action::UserChanged, target, Some(project))
        .await;
    assert_eq!(event.after, json!({"disabled": true}), "what is different");
}

/// That there is another one, and nothing of either.
pub async fn a_password_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let mut trail = Trail::begin(&store).await;
    done(
        store
            .set_password(ada.id, "second".to_owned(), None, someone(1))
            .await,
    );
    let event = trail
        .one(1, Action::PasswordChanged, ("user", &ada.id), None)
        .await;
    assert_eq!(
        (event.before, event.after),
        (Value::Null, Value::Null),
        "no more than that"
    );
    let replaced = store.replace_password_hash(ada.id, "second".into(), "third".into());
    assert!(done(replaced.await), "it was the old one");
    trail.nothing("it is the same password").await;
}

/// By the ticket that was mailed, or together with a new password.
pub async fn an_address_leaves_events<S: Store>(store: S) {
    let make = async |email: &str| done(store.create_user(account(Some(email), None)).await);
    let (ada, bob) = (make("ada@example.org").await, make("bob@example.org").await);
    let verify = ticket(&ada, TicketPurpose::VerifyEmail, hash(1));
    let reset = ticket(&bob, TicketPurpose::ResetPassword, hash(2));
    let mut trail = Trail::begin(&store).await;
    done(store.create_ticket(verify).await);
    done(store.create_ticket(reset).await);
    trail.nothing("nobody asked for the letters").await;
    done(store.verify_email(hash(1), someone(1)).await);
    let event = trail
        .one(1, Action::EmailVerified, ("user", &ada.id), None)
        .await;
    assert_eq!(event.before, json!({"email_verified": false}), "it was not");
    assert_eq!(
        event.after,
        json!({"email_verified": true}),
        "and now it is"
    );
    done(
        store
            .reset_password(hash(2), "second".to_owned(), someone(2))
            .await,
    );
    let (password, address) = (Action::PasswordChanged, Action::EmailVerified);
    let expected = sorted([(password, &bob.id), (address, &bob.id)]);
    assert_eq!(
        trail.several(2).await,
        expected,
        "who could read the mail reads the address"
    );
}

/// Who had it sent, and to whom; nothing of what is in it.
pub async fn a_letter_leaves_an_event_where_somebody_asked_for_it<S: Store>(store: S) {
    let ada = reader(&store, "ada@example.org").await;
    let mut trail = Trail::begin(&store).await;
    let address = ada.email.as_ref();
    for (number, purpose, email, action) in [
        (
            1,
            TicketPurpose::VerifyEmail,
            address,
            Action::EmailVerificationRequested,
        ),
        (
            2,
            TicketPurpose::ResetPassword,
            address,
            Action::PasswordResetRequested,
        ),
        // Handed over by whoever asked for it.
        (
            3,
            TicketPurpose::ResetPassword,
            None,
            Action::PasswordResetRequested,
        ),
    ] {
        let (token, moment) = (hash(number), i64::from(number));
        let asked = NewTicket {
            asked: true,
            author: someone(moment),
            email: email.cloned(),
            ..ticket(&ada, purpose, token)
        };
        done(store.create_ticket(asked).await);
        let event = trail.one(moment, action, ("user", &ada.id), None).await;
        assert_eq!(
            (event.before, event.after),
            (Value::Null, Value::Null),
            "no more than that"
        );
        let kept = done(store.ticket(token, purpose, later(3)).await);
        let owner = kept.map(|ticket| ticket.user);
        assert_eq!(owner.as_ref(), Some(&ada), "what is told is there");
        let unasked = ticket(&ada, purpose, hash(number + 10));
        done(store.create_ticket(unasked).await);
        trail.nothing("nobody asked for this one").await;
    }
}

/// That it comes with an account is told beside the account.
pub async fn the_first_identity_leaves_events<S: Store>(store: S) {
    let identity = Identity {
        issuer: "https://a".to_owned(),
        subject: "1".to_owned(),
    };
    let mut trail = Trail::begin(&store).await;
    let new = NewUser {
        identity: Some(identity.clone()),
        author: someone(1),
        token_limit: None,
        ..account(None, Some("ada"))
    };
    let ada = done(store.create_user(new).await).id;
    let left = trail.left().await;
    let linked = left
        .iter()
        .find(|event| event.action == Action::IdentityLinked);
    let linked = linked.expect("it is told");
    assert_eq!(linked.author, someone(1), "by whom");
    assert_eq!(linked.target.id, ada.to_string(), "whose");
    let facts = (linked.before.clone(), linked.after.clone());
    assert_eq!(facts, (Value::Null, to_value(&identity)), "there is one");
    let told: BTreeSet<Action> = left.iter().map(|event| event.action).collect();
    let expected = [
        Action::UserCreated,
        Action::MemberAdded,
        Action::IdentityLinked,
    ];
    assert_eq!(told, BTreeSet::from(expected), "and nothing else");
    assert_eq!(left.len(), 3, "each once");
}

/// Linked and unlinked.
pub async fn an_identity_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let identity = Identity {
        issuer: "https://a".to_owned(),
        subject: "1".to_owned(),
    };
    let mut trail = Trail::begin(&store).await;
    done(
        store
            .link_identity(ada.id, identity.clone(), None, someone(1))
            .await,
    );
    let event = trail
        .one(1, Action::IdentityLinked, ("user", &ada.id), None)
        .await;
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&identity)),
        "there is one"
    );
    done(
        store
            .unlink_identity(ada.id, identity.clone(), someone(2))
            .await,
    );
    let event = trail
        .one(2, Action::IdentityUnlinked, ("user", &ada.id), None)
        .await;
    assert_eq!(
        (event.before, event.after),
        (to_value(&identity), Value::Null),
        "there was one"
    );
}

/// Beginnings and ends, one each; what lies between is no news.
pub async fn a_session_leaves_events<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let make = async |token| {
        let mut new = session(&ada, hash(token));
        new.author = someone(0);
        let id = new.id;
        done(store.create_session(new).await);
        id
    };
    let mut trail = Trail::begin(&store).await;
    let id = make(1).await;
    let event = trail
        .one(0, Action::SessionCreated, ("session", &id), None)
        .await;
    let kept = done(store.session(id, later(0)).await).expect("it lives");
    assert_eq!(
        (event.before, event.after),
        (Value::Null, to_value(&kept)),
        "all of it is new"
    );
    done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    trail.nothing("a rotation is neither").await;
    let kept = done(store.session(id, later(1)).await).expect("it lives");
    done(store.revoke_session(hash(2), someone(2)).await);
    let event = trail
        .one(2, Action::SessionRevoked, ("session", &id), None)
        .await;
    assert_eq!(
        (event.before, event.after),
        (to_value(&kept), Value::Null),
        "it is over"
    );
    let id = make(3).await;
    trail.left().await;
    done(store.end_session(ada.id, id, someone(3)).await);
    trail
        .one(3, Action::SessionRevoked, ("session", &id), None)
        .await;
    let (one, two, three) = (make(4).await, make(5).await, make(6).await);
    trail.left().await;
    done(store.end_sessions(ada.id, Some(two), someone(4)).await);
    let revoked = Action::SessionRevoked;
    let expected = sorted([(revoked, &one), (revoked, &three)]);
    assert_eq!(trail.several(4).await, expected, "one for each that ended");
    done(store.prune(later(5_000)).await);
    trail.nothing("what is forgotten had ended before").await;
}

/// From where the token came is what there is to go by.
pub async fn a_theft_is_told_with_who_brought_the_token<S: Store>(store: S) {
    let ada = user(&store, "ada").await;
    let new = session(&ada, hash(1));
    let id = new.id;
    done(store.create_session(new).await);
    done(store.rotate_session(refresh(1, 2, 1, 100)).await);
    let mut trail = Trail::begin(&store).await;
    let replay = Refresh {
        author: Author {
            actor: Actor::Anonymous,
            ..someone(50)
        },
        ..refresh(1, 2, 50, 100)
    };
    let again = done(store.rotate_session(replay.clone()).await);
    assert!(matches!(again, Rotation::Reused(_)), "it is long spent");
    let left = trail.left().await;
    assert_eq!(left.len(), 1, "one event: {left:?}");
    assert_eq!(left[0].action, Action::SessionReused, "why it ended");
    assert_eq!(
        left[0].author, replay.author,
        "who has ended it, and from where"
    );
    assert_eq!(left[0].target.id, id.to_string(), "this one");
    done(store.rotate_session(refresh(1, 2, 51, 100)).await);
    trail.nothing("it ends once").await;
}
