//! Whose invites hold: those of somebody who may still make them.

use crate::identity::{KeyId, ProjectId, Role};
use crate::store::conformance::support::{
    account, admin, at, conflict, done, hash, invite, later, project, reader, user,
};
use crate::store::{
    Actor, Author, Invite, NewInvite, NewUser, ProjectRole, ProjectStore, User, UserChange,
    UserStore,
};

const EMAIL: &str = "eve@example.org";

fn by(maker: &User) -> Author {
    Author::new(Actor::User(maker.id), later(0))
}

/// Keeps an invite to some projects, or to the platform, that `maker` has made.
async fn made<S: ProjectStore>(
    store: &S,
    maker: &User,
    projects: impl IntoIterator<Item = (ProjectId, ProjectRole)>,
    token: u8,
) {
    let new = NewInvite {
        projects: projects.into_iter().collect(),
        author: by(maker),
        ..invite(EMAIL, None, hash(token))
    };
    done(store.create_invite(new).await).expect("there is such a project");
}

/// Checks that an invite is refused to who has an account and to who wants one.
async fn refused<S: UserStore + ProjectStore>(store: &S, eve: &User, token: u8, reason: &str) {
    let accepted = done(store.accept_invite(hash(token), eve.id, at(1)).await);
    assert_eq!(accepted, None, "{reason}");
    // Her address is free for as long as it takes to try.
    let moved = |email: &str| UserChange {
        email: Some(Some(email.to_owned())),
        email_verified: Some(true),
        ..UserChange::default()
    };
    done(
        store
            .change_user(eve.id, moved("elsewhere@example.org"), at(1))
            .await,
    );
    let new = NewUser {
        invite: Some(hash(token)),
        ..account(Some(EMAIL), None)
    };
    conflict(store.create_user(new).await, reason);
    done(store.change_user(eve.id, moved(EMAIL), at(1)).await);
    let accepted = found(store, token).await.accepted;
    assert_eq!(accepted, None, "a refusal uses nothing: {reason}");
}

async fn found<S: ProjectStore>(store: &S, token: u8) -> Invite {
    done(store.invite_by_token(hash(token)).await).expect("it is there")
}

async fn accepted<S: ProjectStore>(store: &S, eve: &User, token: u8, reason: &str) {
    let accepted = done(store.accept_invite(hash(token), eve.id, at(1)).await);
    assert!(accepted.is_some(), "{reason}");
}

/// By login or by key; the operator and the command line are nobody.
pub async fn an_invite_names_who_made_it<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    for (token, actor, maker) in [
        (1, Actor::User(bob.id), Some(bob.id)),
        (2, Actor::Key(KeyId::new(), bob.id), Some(bob.id)),
        (3, Actor::Operator, None),
        (4, Actor::System, None),
    ] {
        let mut new = invite(EMAIL, Some(bob.personal_project), hash(token));
        new.author = Author::new(actor, later(0));
        let made = done(store.create_invite(new).await).expect("there is such a project");
        assert_eq!(made.created_by, maker, "{actor:?}");
        let kept = done(store.invite(made.id).await);
        assert_eq!(kept, Some(made), "and it is kept");
    }
}

/// Who was sent away lets nobody in.
pub async fn an_invite_of_who_manages_no_more_is_not_good<S: UserStore + ProjectStore>(store: S) {
    let (bob, cat) = (user(&store, "bob").await, user(&store, "cat").await);
    let eve = reader(&store, EMAIL).await;
    let id = project(&store, &bob).await.id;
    let (admin, member) = (ProjectRole::Admin, ProjectRole::Member);
    done(store.set_member(id, cat.id, admin, at(0)).await);
    made(&store, &cat, Some((id, member)), 1).await;
    done(store.set_member(id, cat.id, member, at(0)).await);
    refused(&store, &eve, 1, "cat manages nothing now").await;
    done(store.remove_member(id, cat.id, at(0)).await);
    refused(&store, &eve, 1, "cat is no member now").await;
    done(store.set_member(id, cat.id, admin, at(0)).await);
    accepted(&store, &eve, 1, "cat may invite again").await;
}

/// Who may not make owners now, has made none.
pub async fn an_invite_of_an_owner_is_good_while_its_maker_owns<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let (bob, cat) = (user(&store, "bob").await, user(&store, "cat").await);
    let eve = reader(&store, EMAIL).await;
    let id = project(&store, &bob).await.id;
    let (owner, admin) = (ProjectRole::Owner, ProjectRole::Admin);
    done(store.set_member(id, cat.id, owner, at(0)).await);
    made(&store, &cat, Some((id, owner)), 1).await;
    made(&store, &cat, Some((id, admin)), 2).await;
    done(store.set_member(id, cat.id, admin, at(0)).await);
    refused(&store, &eve, 1, "only owners make owners").await;
    accepted(&store, &eve, 2, "admins make admins").await;
    done(store.set_member(id, cat.id, owner, at(0)).await);
    accepted(&store, &eve, 1, "cat is one again").await;
}

/// What somebody gives is one thing: none of it comes without the rest.
pub async fn an_invite_to_several_projects_is_good_while_its_maker_may_give_all<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let (bob, cat) = (user(&store, "bob").await, user(&store, "cat").await);
    let eve = reader(&store, EMAIL).await;
    let (one, two) = (
        project(&store, &bob).await.id,
        project(&store, &bob).await.id,
    );
    let (owner, admin, member) = (ProjectRole::Owner, ProjectRole::Admin, ProjectRole::Member);
    for id in [one, two] {
        done(store.set_member(id, cat.id, owner, at(0)).await);
    }
    made(&store, &cat, [(one, member), (two, owner)], 1).await;
    made(&store, &cat, [(one, member), (two, member)], 2).await;
    done(store.set_member(two, cat.id, admin, at(0)).await);
    refused(&store, &eve, 1, "cat makes no owners of the one").await;
    done(store.remove_member(one, cat.id, at(0)).await);
    refused(&store, &eve, 1, "and manages the other no more").await;
    refused(&store, &eve, 2, "which is enough by itself").await;
    for id in [one, two] {
        let seen = done(store.membership(id, eve.id).await);
        assert_eq!(seen, None, "so eve came in nowhere");
    }
    done(
        store
            .revoke_invite(Some(one), found(&store, 2).await.id, at(0))
            .await,
    );
    accepted(&store, &eve, 2, "what is left is what cat may still give").await;
    for id in [one, two] {
        done(store.set_member(id, cat.id, owner, at(0)).await);
    }
    accepted(&store, &eve, 1, "cat may give all of it again").await;
}

/// Disabled for a while, or deleted for good.
pub async fn an_invite_of_who_may_do_nothing_is_not_good<S: UserStore + ProjectStore>(store: S) {
    let (bob, cat) = (user(&store, "bob").await, user(&store, "cat").await);
    let eve = reader(&store, EMAIL).await;
    let id = project(&store, &bob).await.id;
    let role = ProjectRole::Admin;
    done(store.set_member(id, cat.id, role, at(0)).await);
    made(&store, &cat, Some((id, role)), 1).await;
    made(&store, &cat, Some((id, role)), 2).await;
    done(store.set_user_disabled(cat.id, true, at(0)).await);
    refused(&store, &eve, 1, "cat is disabled").await;
    done(store.set_user_disabled(cat.id, false, at(0)).await);
    accepted(&store, &eve, 1, "cat is back").await;
    done(store.delete_user(cat.id, at(0)).await);
    refused(&store, &eve, 2, "cat is gone").await;
}

/// Admins invite to the platform, and to anybody's project.
pub async fn an_invite_to_the_platform_is_good_while_its_maker_is_admin<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    admin(&store, "root").await;
    let (bob, cat) = (user(&store, "bob").await, admin(&store, "cat").await);
    let eve = reader(&store, EMAIL).await;
    let id = project(&store, &bob).await.id;
    made(&store, &cat, None, 1).await;
    made(&store, &cat, Some((id, ProjectRole::Owner)), 2).await;
    let role = |role| UserChange {
        role: Some(role),
        ..UserChange::default()
    };
    done(store.change_user(cat.id, role(Role::User), at(0)).await);
    refused(&store, &eve, 1, "cat is no admin now").await;
    refused(&store, &eve, 2, "nor was ever a member there").await;
    done(
        store
            .set_member(id, cat.id, ProjectRole::Owner, at(0))
            .await,
    );
    refused(&store, &eve, 1, "owners invite to their projects alone").await;
    accepted(&store, &eve, 2, "cat may invite there for another reason").await;
    done(store.change_user(cat.id, role(Role::Admin), at(0)).await);
    accepted(&store, &eve, 1, "cat is admin again").await;
}
