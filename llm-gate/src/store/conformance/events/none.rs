//! What leaves no event, and what no event tells.

use super::{Trail, listed, service, someone};
use crate::identity::{InviteId, KeyId, ProjectId, Role, SessionId, Subject, UserId};
use crate::store::conformance::support::{
    account, admin, conflict, done, hash, invite, key, later, own, project, reader, refresh,
    session, shared, ticket, tokens, user,
};
use crate::store::{
    EventQuery, Identity, KeyChange, KeyName, LimitChange, NewKeySecret, NewProject, NewService,
    NewTicket, Price, ProjectRole, Rates, Store, Tariff, TicketPurpose, TokenHash, User,
    UserChange,
};

fn secret(public_id: &str) -> NewKeySecret {
    NewKeySecret {
        public_id: public_id.to_owned(),
        hash: hash(0xab),
        overlap_until: later(50),
        judged: None,
        author: someone(1),
    }
}

fn identity() -> Identity {
    Identity {
        issuer: "https://a".to_owned(),
        subject: "1".to_owned(),
    }
}

/// What is asked for and is so already is no news.
pub async fn what_changes_nothing_leaves_no_event<S: Store>(store: S) {
    let (ada, bob) = (
        reader(&store, "ada@example.org").await,
        user(&store, "bob").await,
    );
    let common = shared(&store, &ada, &bob).await;
    let laptop = done(store.create_key(key(&ada, "laptop")).await);
    let gone = done(store.create_key(key(&ada, "gone")).await);
    done(store.revoke_key(own(&gone), someone(0)).await);
    done(
        store
            .link_identity(ada.id, identity(), None, someone(0))
            .await,
    );
    let withdrawn = invite("eve@example.org", None, hash(1));
    done(store.create_invite(withdrawn.clone()).await);
    done(store.revoke_invite(None, withdrawn.id, someone(0)).await);
    let verify = ticket(&ada, TicketPurpose::VerifyEmail, hash(2));
    done(store.create_ticket(verify).await);
    let limit = LimitChange::total_tokens(Subject::User(ada.id), Some(tokens(10_000)));
    let price = |price| Price {
        model: "model".to_owned(),
        tariff: Tariff {
            price,
            ..Tariff::default()
        },
    };
    done(
        store
            .set_price(price(Some(Rates::even(5))), someone(0))
            .await,
    );
    let mut trail = Trail::begin(&store).await;
    let same = UserChange {
        email: Some(ada.email.clone()),
        email_verified: Some(true),
        username: Some(ada.username.clone()),
        name: Some(ada.name.clone()),
        role: Some(ada.role),
        disabled: Some(false),
    };
    done(store.change_user(ada.id, same, someone(1)).await);
    done(
        store
            .change_user(ada.id, UserChange::default(), someone(1))
            .await,
    );
    trail.nothing("an account as it was").await;
    done(store.verify_email(hash(2), someone(1)).await);
    trail.nothing("an address that was confirmed before").await;
    done(
        store
            .link_identity(ada.id, identity(), None, someone(1))
            .await,
    );
    trail.nothing("an identity that it had").await;
    done(
        store
            .rename_project(common.id, common.name, someone(1))
            .await,
    );
    trail.nothing("a name that it had").await;
    done(
        store
            .set_member(common.id, bob.id, ProjectRole::Member, someone(1))
            .await,
    );
    trail.nothing("a role that he had").await;
    done(store.revoke_invite(None, withdrawn.id, someone(1)).await);
    trail.nothing("an invite that was withdrawn").await;
    let same = KeyChange {
        name: Some(laptop.name.clone()),
        grants: Some(laptop.grants.clone()),
        expires_at: Some(laptop.expires_at),
        judged: None,
    };
    done(store.change_key(own(&laptop), same, someone(1)).await);
    done(store.revoke_key(own(&gone), someone(1)).await);
    trail.nothing("a key as it was").await;
    done(store.change_limit(limit).await);
    let none = LimitChange::total_tokens(Subject::User(bob.id), None);
    done(store.change_limit(none.clone()).await);
    trail.left().await;
    done(store.change_limit(none).await);
    trail.nothing("no limit where there was none").await;
    done(
        store
            .set_price(price(Some(Rates::even(5))), someone(1))
            .await,
    );
    trail.nothing("the same price").await;
    done(store.set_price(price(None), someone(1)).await);
    trail.left().await;
    done(store.set_price(price(None), someone(1)).await);
    trail.nothing("no price where there was none").await;
}

/// What is refused has not happened, and is not told as if it had.
pub async fn what_fails_leaves_no_event<S: Store>(store: S) {
    let root = admin(&store, "root").await;
    let (ada, bob) = (
        reader(&store, "ada@example.org").await,
        user(&store, "bob").await,
    );
    let common = shared(&store, &ada, &bob).await.id;
    let laptop = done(store.create_key(key(&ada, "laptop")).await);
    done(
        store
            .link_identity(bob.id, identity(), None, someone(0))
            .await,
    );
    let one = session(&ada, hash(1));
    done(store.create_session(one.clone()).await);
    done(
        store
            .create_invite(invite("eve@example.org", None, hash(2)))
            .await,
    );
    let reset = ticket(&ada, TicketPurpose::ResetPassword, hash(3));
    done(store.create_ticket(reset).await);
    let mut trail = Trail::begin(&store).await;

    conflict(store.create_user(account(None, Some("bob"))).await, "taken");
    let mut unwelcome = account(Some("ada@example.com"), None);
    unwelcome.invite = Some(hash(2));
    conflict(store.create_user(unwelcome).await, "not invited");
    let nowhere = NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project: ProjectId::new(),
        author: someone(1),
    };
    done(store.create_service(nowhere).await);
    let taken = UserChange {
        username: Some(Some("bob".to_owned())),
        ..UserChange::default()
    };
    conflict(
        store.change_user(ada.id, taken.clone(), someone(1)).await,
        "taken",
    );
    done(store.change_user(UserId::new(), taken, someone(1)).await);
    let demoted = UserChange {
        role: Some(Role::User),
        ..UserChange::default()
    };
    done(store.change_user(root.id, demoted, someone(1)).await);
    done(store.delete_user(root.id, someone(1)).await);
    done(store.delete_user(ada.id, someone(1)).await);
    done(store.delete_user(UserId::new(), someone(1)).await);
    done(
        store
            .set_password(UserId::new(), "second".into(), None, someone(1))
            .await,
    );
    conflict(
        store
            .link_identity(ada.id, identity(), None, someone(1))
            .await,
        "bob's",
    );
    done(store.unlink_identity(ada.id, identity(), someone(1)).await);
    done(store.verify_email(hash(3), someone(1)).await);
    done(
        store
            .reset_password(hash(3), "second".into(), someone(100))
            .await,
    );
    trail.nothing("accounts are as they were").await;

    conflict(store.create_session(session(&bob, hash(1))).await, "taken");
    done(store.rotate_session(refresh(1, 2, 100, 200)).await);
    done(store.rotate_session(refresh(9, 2, 1, 200)).await);
    done(store.revoke_session(hash(9), someone(1)).await);
    done(store.end_session(bob.id, one.id, someone(1)).await);
    done(
        store
            .end_session(ada.id, SessionId::new(), someone(1))
            .await,
    );
    done(store.end_sessions(ada.id, Some(one.id), someone(1)).await);
    trail.nothing("sessions are as they were").await;

    let ownerless = NewProject {
        id: ProjectId::new(),
        name: "nobody's".to_owned(),
        owner: UserId::new(),
        author: someone(1),
    };
    done(store.create_project(ownerless).await);
    done(
        store
            .rename_project(ProjectId::new(), "new".into(), someone(1))
            .await,
    );
    done(
        store
            .archive_project(ada.personal_project, someone(1))
            .await,
    );
    done(
        store
            .set_member(common, ada.id, ProjectRole::Member, someone(1))
            .await,
    );
    done(
        store
            .set_member(common, UserId::new(), ProjectRole::Member, someone(1))
            .await,
    );
    done(store.remove_member(common, ada.id, someone(1)).await);
    done(
        store
            .create_invite(invite("a@example.org", Some(ProjectId::new()), hash(4)))
            .await,
    );
    done(store.accept_invite(hash(2), ada.id, someone(1)).await);
    done(store.revoke_invite(None, InviteId::new(), someone(1)).await);
    trail.nothing("projects are as they were").await;

    conflict(store.create_key(key(&bob, "laptop")).await, "taken");
    let foreign = KeyName {
        owner: Some(bob.id),
        ..own(&laptop)
    };
    let change = KeyChange {
        name: Some("mine".to_owned()),
        ..KeyChange::default()
    };
    done(store.change_key(foreign, change, someone(1)).await);
    done(store.rotate_key(foreign, secret("new")).await);
    done(store.revoke_key(foreign, someone(1)).await);
    let unknown = KeyName {
        id: KeyId::new(),
        ..own(&laptop)
    };
    done(store.revoke_key(unknown, someone(1)).await);
    trail.nothing("keys are as they were").await;

    let raised = store
        .lower_limit(Subject::User(ada.id), tokens(20_000))
        .await;
    assert_eq!(done(raised), None, "that would raise it");
    trail.nothing("limits are as they were").await;
}

/// A letter that was asked for is told with its ticket, or neither is there.
pub async fn a_ticket_that_is_not_kept_leaves_no_event<S: Store>(store: S) {
    let (ada, bob) = (
        reader(&store, "ada@example.org").await,
        reader(&store, "bob@example.org").await,
    );
    let robot = service(&store, ada.personal_project).await;
    done(store.delete_user(bob.id, someone(0)).await);
    let nobody = User {
        id: UserId::new(),
        ..ada.clone()
    };
    let asked = |user: &User, purpose, number| NewTicket {
        asked: true,
        author: someone(1),
        ..ticket(user, purpose, hash(number))
    };
    let mut trail = Trail::begin(&store).await;
    for purpose in [TicketPurpose::VerifyEmail, TicketPurpose::ResetPassword] {
        for (user, whose) in [
            (&bob, "deleted"),
            (&nobody, "never made"),
            (&robot, "a service's"),
        ] {
            done(store.create_ticket(asked(user, purpose, 1)).await);
            trail.nothing(whose).await;
        }
        let unasked = ticket(&ada, purpose, hash(2));
        done(store.create_ticket(unasked).await);
        conflict(
            store.create_ticket(asked(&ada, purpose, 2)).await,
            "a secret is of one ticket",
        );
        trail.nothing("refused").await;
        let used = match purpose {
            TicketPurpose::VerifyEmail => store.verify_email(hash(2), someone(2)).await,
            TicketPurpose::ResetPassword => {
                store
                    .reset_password(hash(2), "second".into(), someone(2))
                    .await
            }
        };
        assert!(done(used).is_some(), "the one before is as it was");
        trail.left().await;
    }
}

/// Neither secret nor hash, in whatever spelling.
pub async fn no_event_tells_a_secret<S: Store>(store: S) {
    let token = hash(0xab);
    let ada = reader(&store, "ada@example.org").await;
    let id = project(&store, &ada).await.id;
    let mut new = key(&ada, "first");
    new.hash = token;
    let laptop = done(store.create_key(new).await);
    done(store.rotate_key(own(&laptop), secret("second")).await);
    done(store.create_session(session(&ada, token)).await);
    let mailed = NewTicket {
        asked: true,
        ..ticket(&ada, TicketPurpose::ResetPassword, token)
    };
    done(store.create_ticket(mailed).await);
    let reset = store
        .reset_password(token, "$argon2id$second".into(), someone(1))
        .await;
    assert!(done(reset).is_some(), "the ticket is good");
    done(
        store
            .create_invite(invite("ada@example.org", Some(id), token))
            .await,
    );
    done(store.accept_invite(token, ada.id, someone(2)).await);
    let set = store.set_password(ada.id, "$argon2id$third".into(), None, someone(3));
    done(set.await);
    let deleted = store.delete_user(ada.id, someone(4)).await;
    done(deleted);
    let events = listed(&store, EventQuery::default()).await;
    assert!(events.len() > 10, "there is something to look at");
    let told = serde_json::to_string(&events).expect("what is kept can be written");
    let TokenHash(bytes) = token;
    let list = serde_json::to_string(&bytes[..4]).expect("numbers");
    for secret in [
        "argon2",
        "abababab",
        "ABABABAB",
        "q6urq6",
        list.trim_matches(['[', ']']),
    ] {
        assert!(!told.contains(secret), "{secret} is in the log: {told}");
    }
}
