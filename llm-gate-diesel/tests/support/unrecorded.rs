//! Changes whose event cannot be written: none of them is made, in no part.

use std::collections::BTreeMap;
use std::pin::Pin;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{InviteId, ProjectId, RequestId, Role, SessionId, Subject, UserId};
use llm_gate::store::{
    Action, Author, Ending, Event, Identity, KeyChange, KeyName, LimitChange, NewInvite,
    NewKeySecret, NewProject, NewService, NewTicket, NewUser, Operation, Price, ProjectRole, Rates,
    Refresh, Settle, Source, Store, StoreError, Target, Tariff, TicketPurpose, TokenHash,
    UsageReset, User, UserChange,
};
use llm_gate::tokens::{Tokens, Usage};

use super::{account, author, granted, key, reserve, session, settle};

/// What there is to be changed.
pub struct World {
    /// Registered with an address that nobody has confirmed.
    ada: User,
    /// Has a password, an identity, a project, and something of everything.
    bob: User,
    /// Has confirmed an address, and is invited.
    cat: User,
    /// Registered with an address that nobody has confirmed, and has let others in.
    eve: User,
    project: ProjectId,
    key: KeyName,
    session: SessionId,
    invite: InviteId,
    /// Leads into the project and into bob's own.
    shared: InviteId,
    call: RequestId,
}

fn moment(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

const fn secret(number: u8) -> TokenHash {
    TokenHash([number; 32])
}

fn identity(subject: &str) -> Identity {
    Identity {
        issuer: "https://a".to_owned(),
        subject: subject.to_owned(),
    }
}

fn invite(project: ProjectId, token: u8) -> NewInvite {
    NewInvite {
        id: InviteId::new(),
        hash: secret(token),
        email: "cat@example.org".to_owned(),
        role: Role::User,
        projects: BTreeMap::from([(project, ProjectRole::Member)]),
        expires_at: moment(9),
        author: author(),
    }
}

fn service(project: ProjectId) -> NewService {
    NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project,
        author: author(),
    }
}

fn refresh(old: u8, new: u8, at: i64) -> Refresh {
    Refresh {
        old: secret(old),
        new: secret(new),
        author: Author::system(moment(at)),
        idle_until: moment(9),
        grace: std::time::Duration::from_micros(2),
    }
}

async fn person(store: &impl Store, name: &str, confirmed: bool) -> User {
    let new = NewUser {
        email: Some(format!("{name}@example.org")),
        email_verified: confirmed,
        ..account(name)
    };
    store.create_user(new).await.unwrap()
}

/// The ticket of a letter that somebody asked for.
fn letter(user: &User, purpose: TicketPurpose, token: u8) -> NewTicket {
    NewTicket {
        hash: secret(token),
        purpose,
        user: user.id,
        email: user.email.clone(),
        asked: true,
        author: author(),
        expires_at: moment(9),
    }
}

async fn mail(store: &impl Store, user: &User, purpose: TicketPurpose, token: u8) {
    let ticket = letter(user, purpose, token);
    store.create_ticket(ticket).await.unwrap();
}

async fn world(store: &impl Store) -> World {
    let (ada, bob) = (
        person(store, "ada", false).await,
        person(store, "bob", true).await,
    );
    let (cat, eve) = (
        person(store, "cat", true).await,
        person(store, "eve", false).await,
    );
    let project = ProjectId::new();
    let new = NewProject {
        id: project,
        name: "shared".to_owned(),
        owner: bob.id,
        author: author(),
    };
    store.create_project(new).await.unwrap();
    let member = ProjectRole::Member;
    for (project, user) in [(project, ada.id), (eve.personal_project, ada.id)] {
        let set = store.set_member(project, user, member, author());
        set.await.unwrap();
    }
    let robot = store.create_service(service(eve.personal_project)).await;
    robot.unwrap();
    let made = store.create_key(key(&bob, "bob's")).await.unwrap();
    for owner in [&ada, &eve] {
        let name = owner.username.clone().unwrap();
        store.create_key(key(owner, &name)).await.unwrap();
    }
    store
        .link_identity(bob.id, identity("1"), None, author())
        .await
        .unwrap();
    mail(store, &ada, TicketPurpose::VerifyEmail, 1).await;
    mail(store, &eve, TicketPurpose::ResetPassword, 2).await;
    store.create_invite(invite(project, 3)).await.unwrap();
    let withdrawn = invite(project, 4);
    store.create_invite(withdrawn.clone()).await.unwrap();
    let mut shared = invite(project, 7);
    shared
        .projects
        .insert(bob.personal_project, ProjectRole::Member);
    store.create_invite(shared.clone()).await.unwrap();
    let own = invite(eve.personal_project, 5);
    store.create_invite(own).await.unwrap();
    let mut new = invite(project, 6);
    new.email = "fay@example.org".to_owned();
    store.create_invite(new).await.unwrap();
    let first = session(&bob, secret(10));
    store.create_session(first.clone()).await.unwrap();
    for (owner, token) in [(&ada, 11), (&ada, 12), (&bob, 13), (&eve, 14)] {
        let new = session(owner, secret(token));
        store.create_session(new).await.unwrap();
    }
    store.rotate_session(refresh(12, 15, 2)).await.unwrap();
    let subject = Subject::User(bob.id);
    let (used, lost) = (reserve(subject, 40), reserve(subject, 40));
    for hold in [&used, &lost] {
        assert!(granted(store, hold).await, "there is no limit");
    }
    let presumed = Settle {
        source: Source::Presumed,
        ending: Ending::Expired,
        ..Settle::upstream(lost.id, moment(2), Usage::default())
    };
    let ends = vec![settle(used.id, 40), Operation::Settle(presumed)];
    store.apply(ends).await.unwrap();
    World {
        key: KeyName {
            project: bob.personal_project,
            owner: Some(bob.id),
            id: made.id,
        },
        session: first.id,
        invite: withdrawn.id,
        shared: shared.id,
        call: lost.id,
        ada,
        bob,
        cat,
        eve,
        project,
    }
}

type Doing<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;
type Step<S> = (&'static str, for<'a> fn(&'a S, &'a World) -> Doing<'a>);

/// Lists changes that can be made one after the other.
macro_rules! steps {
    ($($name:literal: |$store:ident, $world:ident| $change:expr;)+) => {
        vec![$((
            $name,
            (|$store, $world| {
                let _: &World = $world;
                Box::pin(async move { $change.await.map(drop) })
            }) as for<'a> fn(&'a S, &'a World) -> Doing<'a>,
        )),+]
    };
}

/// Each kind of change of the traits that leaves an event. The ticket of a letter that nobody asked for, the last use of a
/// key, a hash of the same password, a rotation and what is forgotten are told by none.
fn steps<S: Store>() -> Vec<Step<S>> {
    steps! {
        "note": |store, _world| {
            let target = Target::new("user", "unknown");
            store.note(Event::new(&author(), Action::LoginFailed, target))
        };
        "create_session": |store, world| store.create_session(session(&world.bob, secret(20)));
        "rotate_session": |store, _world| store.rotate_session(refresh(12, 15, 8));
        "revoke_session": |store, _world| store.revoke_session(secret(11), author());
        "end_session": |store, world| store.end_session(world.bob.id, world.session, author());
        "end_sessions": |store, world| store.end_sessions(world.bob.id, None, author());
        "create_key": |store, world| store.create_key(key(&world.bob, "second"));
        "change_key": |store, world| {
            let change = KeyChange { name: Some("other".to_owned()), ..KeyChange::default() };
            store.change_key(world.key, change, author())
        };
        "rotate_key": |store, world| {
            let secret = NewKeySecret {
                public_id: "third".to_owned(),
                hash: secret(30),
                overlap_until: moment(9),
                judged: None,
                author: author(),
            };
            store.rotate_key(world.key, secret)
        };
        "revoke_key": |store, world| store.revoke_key(world.key, author());
        "change_limit": |store, world| {
            let limit = Some(Tokens::new(100));
            store.change_limit(LimitChange::total_tokens(Subject::User(world.bob.id), limit))
        };
        "reset_usage": |store, world| {
            let subject = Subject::User(world.bob.id);
            store.reset_usage(UsageReset { subject, author: author() })
        };
        "set_price": |store, _world| {
            let tariff = Tariff { price: Some(Rates::even(1)), ..Tariff::default() };
            store.set_price(Price { model: "model".to_owned(), tariff }, author())
        };
        "refund_presumed": |store, world| store.refund_presumed(world.call, author());
        "link_identity": |store, world| {
            store.link_identity(world.bob.id, identity("2"), None, author())
        };
        "unlink_identity": |store, world| {
            store.unlink_identity(world.bob.id, identity("1"), author())
        };
        "create_ticket, to confirm an address": |store, world| {
            store.create_ticket(letter(&world.ada, TicketPurpose::VerifyEmail, 51))
        };
        "create_ticket, for a new password": |store, world| {
            store.create_ticket(letter(&world.bob, TicketPurpose::ResetPassword, 52))
        };
        "verify_email": |store, _world| store.verify_email(secret(1), author());
        "reset_password": |store, _world| {
            store.reset_password(secret(2), "second".to_owned(), author())
        };
        "change_password": |store, world| {
            let proven = Some("hash".to_owned());
            store.change_password(world.bob.id, proven, "second".to_owned(), None, author())
        };
        "set_password": |store, world| {
            store.set_password(world.bob.id, "third".to_owned(), None, author())
        };
        "create_project": |store, world| {
            store.create_project(NewProject {
                id: ProjectId::new(),
                name: "another".to_owned(),
                owner: world.bob.id,
                author: author(),
            })
        };
        "rename_project": |store, world| {
            store.rename_project(world.project, "renamed".to_owned(), author())
        };
        "set_member, another": |store, world| {
            store.set_member(world.project, world.cat.id, ProjectRole::Member, author())
        };
        "set_member, another role": |store, world| {
            store.set_member(world.project, world.ada.id, ProjectRole::Admin, author())
        };
        "remove_member": |store, world| {
            store.remove_member(world.project, world.ada.id, author())
        };
        "create_invite": |store, world| store.create_invite(invite(world.project, 41));
        "revoke_invite": |store, world| store.revoke_invite(None, world.invite, author());
        "revoke_invite, of one project": |store, world| {
            store.revoke_invite(Some(world.project), world.shared, author())
        };
        "accept_invite": |store, world| store.accept_invite(secret(3), world.cat.id, author());
        "create_user": |store, _world| {
            store.create_user(NewUser {
                identity: Some(identity("3")),
                token_limit: Some(Tokens::new(9)),
                ..account("dan")
            })
        };
        "create_user, invited": |store, _world| {
            store.create_user(NewUser {
                email: Some("fay@example.org".to_owned()),
                invite: Some(secret(6)),
                ..account("fay")
            })
        };
        "create_service": |store, world| store.create_service(service(world.project));
        "change_user": |store, world| {
            let change = UserChange { name: Some(Some("Bob".to_owned())), ..UserChange::default() };
            store.change_user(world.bob.id, change, author())
        };
        "set_user_disabled": |store, world| store.set_user_disabled(world.eve.id, true, author());
        "archive_project": |store, world| store.archive_project(world.project, author());
        "delete_user": |store, world| store.delete_user(world.ada.id, author());
    }
}

/// Does everything once while no event can be written, and once when it can again. `dump` reads all rows of all tables,
/// `allow` says whether events can be written.
pub async fn nothing_is_done_that_is_not_told<S: Store>(
    store: &S,
    dump: impl AsyncFn() -> String,
    allow: impl AsyncFn(bool),
) {
    let world = world(store).await;
    allow(false).await;
    let before = dump().await;
    for (name, change) in steps::<S>() {
        let done = change(store, &world).await;
        assert!(done.is_err(), "{name} writes an event");
        assert!(dump().await == before, "{name}: nothing else is written");
    }
    allow(true).await;
    let mut last = before;
    for (name, change) in steps::<S>() {
        change(store, &world).await.expect(name);
        let now = dump().await;
        assert!(now != last, "{name} is done when it can be told");
        last = now;
    }
}
