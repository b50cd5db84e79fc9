//! What a confirmed address means for all that an account has.

use crate::identity::{Subject, UserId};
use crate::store::conformance::support::{
    account, at, denied, done, granted, hash, invite, key, project, reader, reserve, shared,
    ticket, user,
};
use crate::store::{
    Actor, Author, DenialReason, Identity, NewApiKey, NewService, NewTicket, ProjectRole, Store,
    TicketPurpose, User,
};

/// Whoever registered with an address that is somebody else's loses all of the account to its reader.
pub async fn who_reads_an_unconfirmed_address_gets_the_account_alone<S: Store>(store: S) {
    let unconfirmed = account(Some("ada@example.org"), None);
    let ada = done(store.create_user(unconfirmed).await);
    let bea = reader(&store, "bea@example.org").await;
    let mut made = Vec::new();
    for (number, user) in [&ada, &bea].into_iter().enumerate() {
        let public = format!("key{number}");
        let key = done(store.create_key(key(user, &public)).await);
        let identity = Identity {
            issuer: "https://login.example".to_owned(),
            subject: public,
        };
        done(store.link_identity(user.id, identity, None, at(1)).await);
        let secret = hash(u8::try_from(number).expect("two"));
        done(
            store
                .create_ticket(ticket(user, TicketPurpose::ResetPassword, secret))
                .await,
        );
        made.push(key.id);
    }
    for secret in [0, 1] {
        let reset = store.reset_password(hash(secret), "second".to_owned(), at(2));
        assert!(done(reset.await).is_some_and(|user| user.email_verified));
    }
    let left = async |user: &User, public: &str| {
        let key = done(store.key_by_public_id(public.to_owned()).await);
        let revoked = key.is_none_or(|found| found.key.revoked_at.is_some());
        (revoked, done(store.identities(user.id).await).len())
    };
    assert_eq!(
        left(&ada, "key0").await,
        (true, 0),
        "the address was not confirmed"
    );
    assert_eq!(
        left(&bea, "key1").await,
        (false, 1),
        "it was, so all of it is hers"
    );
    let (stopped, works) = (
        reserve(&[Subject::Key(made[0])], 1),
        reserve(&[Subject::Key(made[1])], 1),
    );
    assert_eq!(
        denied(&store, &stopped).await.reason,
        DenialReason::Frozen,
        "from this commit on"
    );
    granted(&store, &works).await;
}

/// Nobody stays inside whom the stranger has let in, and nobody comes in after; what is elsewhere is not touched.
pub async fn who_reads_an_unconfirmed_address_is_alone_in_the_project<S: Store>(store: S) {
    let bob = user(&store, "bob").await;
    let unconfirmed = account(Some("ada@example.org"), None);
    let ada = done(store.create_user(unconfirmed).await);
    let bea = reader(&store, "bea@example.org").await;
    let common = shared(&store, &bob, &ada).await.id;
    let by_ada = Author::new(Actor::User(ada.id), at(1).at);
    for (number, owner) in [(0, &ada), (10, &bea)] {
        let own = owner.personal_project;
        done(
            store
                .set_member(own, bob.id, ProjectRole::Owner, at(1))
                .await,
        );
        let new = NewService {
            id: UserId::new(),
            name: "robot".to_owned(),
            project: own,
            author: at(1),
        };
        let robot = done(store.create_service(new).await).expect("there is such a project");
        for (member, public) in [(&bob, number), (&robot, number + 1)] {
            let new = NewApiKey {
                project: own,
                ..key(member, &public.to_string())
            };
            let key = done(store.create_key(new).await);
            granted(&store, &reserve(&[Subject::Key(key.id)], 1)).await;
        }
        let new = invite("eve@example.org", Some(own), hash(number + 2));
        done(store.create_invite(new).await);
        let purpose = TicketPurpose::ResetPassword;
        done(
            store
                .create_ticket(ticket(owner, purpose, hash(number + 3)))
                .await,
        );
    }
    done(
        store
            .set_member(common, ada.id, ProjectRole::Admin, at(1))
            .await,
    );
    let mut elsewhere = invite("eve@example.org", Some(common), hash(20));
    elsewhere.author = by_ada;
    done(store.create_invite(elsewhere).await);
    let others = project(&store, &bob).await.id;
    done(
        store
            .create_invite(invite("eve@example.org", Some(others), hash(21)))
            .await,
    );
    let mut several = invite("eve@example.org", Some(others), hash(22));
    several
        .projects
        .insert(ada.personal_project, ProjectRole::Member);
    done(store.create_invite(several).await);
    for secret in [3, 13] {
        let reset = store.reset_password(hash(secret), "second".to_owned(), at(2));
        assert!(done(reset.await).is_some(), "the ticket is good");
    }

    let inside = async |of: &User| done(store.members(of.personal_project, None, 10).await).len();
    assert_eq!(inside(&ada).await, 1, "ada is alone there");
    assert_eq!(inside(&bea).await, 3, "bea has let them in herself");
    for (public, dead) in [(0, true), (1, true), (10, false), (11, false)] {
        let found = done(store.key_by_public_id(public.to_string()).await).expect("it was made");
        assert_eq!(found.key.revoked_at.is_some(), dead, "key {public}");
        let hold = reserve(&[Subject::Key(found.key.id)], 1);
        if dead {
            let denial = denied(&store, &hold).await;
            assert_eq!(denial.reason, DenialReason::Frozen, "key {public}");
        } else {
            granted(&store, &hold).await;
        }
    }
    for (token, withdrawn) in [(2, true), (20, true), (12, false), (21, false), (22, false)] {
        let found = done(store.invite_by_token(hash(token)).await).expect("it was made");
        assert_eq!(found.revoked_at.is_some(), withdrawn, "invite {token}");
        let leads = found.projects.contains_key(&ada.personal_project);
        assert_eq!(leads, token == 2, "nobody else leads into ada's: {token}");
    }
    let seen = done(store.membership(common, ada.id).await);
    assert!(seen.is_some(), "what others gave her is hers");
}

/// It says nothing of the address, so nobody has taken the account from anybody.
pub async fn who_was_handed_a_ticket_gets_the_account_as_it_is<S: Store>(store: S) {
    let bob = user(&store, "bob").await;
    let unconfirmed = account(Some("ada@example.org"), None);
    let ada = done(store.create_user(unconfirmed).await);
    let own = ada.personal_project;
    let kept = done(store.create_key(key(&ada, "laptop")).await);
    let identity = Identity {
        issuer: "https://login.example".to_owned(),
        subject: "ada".to_owned(),
    };
    done(store.link_identity(ada.id, identity, None, at(1)).await);
    let role = ProjectRole::Member;
    done(store.set_member(own, bob.id, role, at(1)).await);
    let invited = invite("eve@example.org", Some(own), hash(1));
    done(store.create_invite(invited).await);
    let handed = NewTicket {
        email: None,
        ..ticket(&ada, TicketPurpose::ResetPassword, hash(2))
    };
    done(store.create_ticket(handed).await);
    let reset = store.reset_password(hash(2), "second".to_owned(), at(2));
    assert_eq!(done(reset.await), Some(ada.clone()), "not confirmed by it");

    let found = done(store.key_by_public_id("laptop".to_owned()).await);
    assert!(found.is_some_and(|found| found.key.revoked_at.is_none()));
    granted(&store, &reserve(&[Subject::Key(kept.id)], 1)).await;
    assert_eq!(done(store.identities(ada.id).await).len(), 1, "her login");
    let inside = done(store.members(own, None, 10).await);
    assert_eq!(inside.len(), 2, "whom she has let in");
    let invited = done(store.invite_by_token(hash(1)).await);
    assert!(invited.is_some_and(|invite| invite.revoked_at.is_none()));
    let by_ada = Author::new(Actor::User(ada.id), at(1).at);
    let begun = store.create_key(NewApiKey {
        author: by_ada,
        ..key(&ada, "phone")
    });
    done(begun.await);
}
