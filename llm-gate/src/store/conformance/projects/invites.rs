//! Who is let in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::{InviteId, ProjectId, Role};
use crate::store::conformance::support::{
    account, at, conflict, done, hash, invite, later, project, race, reader, user,
};
use crate::store::{
    Invite, NewInvite, NewUser, ProjectRole, ProjectStore, TokenHash, User, UserChange, UserStore,
};

const EMAIL: &str = "ada@example.org";

async fn found<S: ProjectStore>(store: &S, token: TokenHash) -> Invite {
    done(store.invite_by_token(token).await).expect("it is found, good or not")
}

/// An account to be made by an invite.
fn invited(token: TokenHash) -> NewUser {
    let mut new = account(Some(EMAIL), None);
    new.invite = Some(token);
    new
}

/// What was written is read back, by those who manage and by the one who has the secret.
pub async fn an_invite_is_read_as_it_was_made<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let mut new = invite(EMAIL, Some(project), hash(1));
    new.role = Role::Admin;
    let made = done(store.create_invite(new.clone()).await);
    let expected = Invite {
        id: new.id,
        email: EMAIL.to_owned(),
        role: Role::Admin,
        projects: BTreeMap::from([(project, ProjectRole::Member)]),
        created_at: later(0),
        created_by: None,
        expires_at: later(1_000),
        accepted: None,
        revoked_at: None,
    };
    assert_eq!(made, Some(expected.clone()), "it is what was asked for");
    let by_token = done(store.invite_by_token(hash(1)).await);
    assert_eq!(by_token, Some(expected.clone()), "its secret finds it");
    let listed = done(store.invites(Some(project), None, 10).await);
    assert_eq!(listed, [expected], "and it is listed");
    let other = done(store.invite_by_token(hash(2)).await);
    assert_eq!(other, None, "another secret finds nothing");
    let same = invite(EMAIL, None, hash(1));
    conflict(store.create_invite(same).await, "a secret is of one invite");
    let nowhere = invite(EMAIL, Some(ProjectId::new()), hash(3));
    assert_eq!(
        done(store.create_invite(nowhere).await),
        None,
        "there is no such project"
    );
}

/// Those who manage a project see its invites alone.
pub async fn invites_are_listed_newest_first<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let (one, two) = (
        project(&store, &bob).await.id,
        project(&store, &bob).await.id,
    );
    let mut ids: Vec<(InviteId, Option<ProjectId>)> = Vec::new();
    for (token, project) in [
        (1, Some(one)),
        (2, None),
        (3, Some(two)),
        (4, Some(one)),
        (5, Some(one)),
    ] {
        let new = invite(EMAIL, project, hash(token));
        ids.push((new.id, project));
        done(store.create_invite(new).await);
    }
    ids.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    let listed = async |project, before, limit| {
        let invites = done(store.invites(project, before, limit).await);
        let ids: Vec<InviteId> = invites.into_iter().map(|invite| invite.id).collect();
        ids
    };
    let all: Vec<InviteId> = ids.iter().map(|(id, _)| *id).collect();
    assert_eq!(listed(None, None, 10).await, all, "all, the newest first");
    assert_eq!(
        listed(None, None, 2).await,
        all[..2],
        "at most as many as asked"
    );
    assert_eq!(
        listed(None, Some(all[1]), 10).await,
        all[2..],
        "and on behind the last one"
    );
    let own = ids.iter().filter(|(_, project)| *project == Some(one));
    let own: Vec<InviteId> = own.map(|(id, _)| *id).collect();
    assert_eq!(listed(Some(one), None, 10).await, own, "those of a project");
    assert_eq!(
        listed(Some(one), Some(own[0]), 1).await,
        own[1..2],
        "in pages, too"
    );
}

/// One list has all that was ever asked for, the other what still stands or was taken up.
pub async fn a_withdrawn_invite_is_not_among_those_that_are_kept<S: UserStore + ProjectStore>(
    store: S,
) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let mut made = Vec::new();
    for (token, project) in [(1, Some(project)), (2, None), (3, None), (4, None)] {
        let new = invite(EMAIL, project, hash(token));
        made.push(done(store.create_invite(new).await).expect("made"));
    }
    made.sort_by_key(|invite| std::cmp::Reverse(invite.id));
    let withdrawn = made.remove(1);
    let withdrawn =
        done(store.revoke_invite(None, withdrawn.id, at(1)).await).expect("it was good");
    assert_eq!(
        done(store.kept_invites(None, 3).await),
        made,
        "it takes nobody's place"
    );
    assert_eq!(
        done(store.kept_invites(None, 2).await),
        made[..2],
        "in pages"
    );
    let rest = done(store.kept_invites(Some(made[1].id), 10).await);
    assert_eq!(rest, made[2..], "and on behind the last one");
    for invite in [&made[0], &withdrawn] {
        let found = done(store.invite(invite.id).await);
        assert_eq!(
            found.as_ref(),
            Some(invite),
            "each is read by its identifier"
        );
    }
    assert_eq!(
        done(store.invite(InviteId::new()).await),
        None,
        "there is no such"
    );
}

/// Who has an account and the secret becomes a member, once.
pub async fn an_invite_makes_a_member<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let ada = reader(&store, EMAIL).await;
    let new = invite(EMAIL, Some(project), hash(1));
    let made = done(store.create_invite(new).await).expect("there is such a project");
    let accepted = done(store.accept_invite(hash(1), ada.id, at(5)).await);
    let expected = Invite {
        accepted: Some((later(5), ada.id)),
        ..made
    };
    assert_eq!(
        accepted,
        Some(expected.clone()),
        "taken up, when and by whom"
    );
    assert_eq!(found(&store, hash(1)).await, expected, "and it stays so");
    let seen = done(store.membership(project, ada.id).await).map(|seen| seen.role);
    assert_eq!(seen, Some(ProjectRole::Member), "she is a member");
    let again = done(store.accept_invite(hash(1), ada.id, at(6)).await);
    assert_eq!(again, None, "it is good once");
    done(store.remove_member(project, ada.id, at(7)).await);
    let back = done(store.accept_invite(hash(1), ada.id, at(8)).await);
    assert_eq!(back, None, "nor does it bring back who was put out");
}

/// A secret that was passed on is good for nothing.
pub async fn an_invite_is_for_its_address_alone<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    done(
        store
            .create_invite(invite(EMAIL, Some(project), hash(1)))
            .await,
    );
    let eve = reader(&store, "eve@example.org").await;
    let nameless = user(&store, "nameless").await;
    let unconfirmed = done(store.create_user(account(Some(EMAIL), None)).await);
    for (user, reason) in [
        (&eve, "eve has another address"),
        (&nameless, "no address is not this one"),
        (&unconfirmed, "nobody knows that it is hers"),
    ] {
        let accepted = done(store.accept_invite(hash(1), user.id, at(1)).await);
        assert_eq!(accepted, None, "{reason}");
        let seen = done(store.membership(project, user.id).await);
        assert_eq!(seen, None, "so nobody came in: {reason}");
    }
    assert_eq!(
        found(&store, hash(1)).await.accepted,
        None,
        "a refusal uses nothing"
    );
    let confirmed = UserChange {
        email_verified: Some(true),
        ..UserChange::default()
    };
    done(store.change_user(unconfirmed.id, confirmed, at(2)).await);
    let accepted = done(store.accept_invite(hash(1), unconfirmed.id, at(3)).await);
    assert!(accepted.is_some(), "now it is known");
}

/// The end is the first moment at which it is refused.
pub async fn an_invite_is_good_until_it_ends<S: UserStore + ProjectStore>(store: S) {
    let ada = reader(&store, EMAIL).await;
    done(store.create_invite(invite(EMAIL, None, hash(1))).await);
    let late = done(store.accept_invite(hash(1), ada.id, at(1_000)).await);
    assert_eq!(late, None, "its time is up");
    assert!(
        !found(&store, hash(1)).await.is_open(later(1_000)),
        "and it says so"
    );
    let just = done(store.accept_invite(hash(1), ada.id, at(999)).await);
    assert!(just.is_some(), "before that it is good");
}

/// Withdrawn is withdrawn, and the first moment stands.
pub async fn a_withdrawn_invite_is_not_good<S: UserStore + ProjectStore>(store: S) {
    let ada = reader(&store, EMAIL).await;
    let id = done(store.create_invite(invite(EMAIL, None, hash(1))).await)
        .expect("made")
        .id;
    for moment in [5, 9] {
        let revoked = done(store.revoke_invite(None, id, at(moment)).await);
        let moment = revoked.and_then(|invite| invite.revoked_at);
        assert_eq!(moment, Some(later(5)), "the first moment stands");
    }
    let accepted = done(store.accept_invite(hash(1), ada.id, at(10)).await);
    assert_eq!(accepted, None, "it is withdrawn");
    let other = done(store.create_invite(invite(EMAIL, None, hash(2))).await)
        .expect("made")
        .id;
    done(store.accept_invite(hash(2), ada.id, at(10)).await);
    let late = done(store.revoke_invite(None, other, at(11)).await);
    assert_eq!(late, None, "what was taken up cannot be withdrawn");
    let unknown = done(store.revoke_invite(None, InviteId::new(), at(11)).await);
    assert_eq!(unknown, None, "nor what is not there");
}

/// Those who manage one project withdraw none of another's, nor of the platform's.
pub async fn an_invite_is_withdrawn_in_its_project<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let (one, two) = (
        project(&store, &bob).await.id,
        project(&store, &bob).await.id,
    );
    let in_one = done(store.create_invite(invite(EMAIL, Some(one), hash(1))).await).expect("made");
    let in_none = done(store.create_invite(invite(EMAIL, None, hash(2))).await).expect("made");
    for (id, reason) in [
        (in_one.id, "it is of one"),
        (in_none.id, "it is of the platform"),
    ] {
        let foreign = done(store.revoke_invite(Some(two), id, at(1)).await);
        assert_eq!(foreign, None, "{reason}");
    }
    for token in [1, 2] {
        let open = found(&store, hash(token)).await.is_open(later(1));
        assert!(open, "a refusal changes nothing");
    }
    let own = done(store.revoke_invite(Some(one), in_one.id, at(2)).await);
    assert!(own.is_some(), "those of its own project do");
    let any = done(store.revoke_invite(None, in_none.id, at(2)).await);
    assert!(any.is_some(), "and those of the platform any");
}

/// Nobody is let into what is closed.
pub async fn an_archived_project_invites_nobody<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let ada = reader(&store, EMAIL).await;
    let closed = project(&store, &bob).await.id;
    let open = project(&store, &bob).await.id;
    done(
        store
            .create_invite(invite(EMAIL, Some(closed), hash(1)))
            .await,
    );
    done(
        store
            .create_invite(invite(EMAIL, Some(open), hash(2)))
            .await,
    );
    done(store.archive_project(closed, at(5)).await);
    assert_eq!(
        found(&store, hash(1)).await.revoked_at,
        Some(later(5)),
        "it is withdrawn with it"
    );
    let accepted = done(store.accept_invite(hash(1), ada.id, at(6)).await);
    assert_eq!(accepted, None, "so nobody takes it up");
    let late = done(
        store
            .create_invite(invite(EMAIL, Some(closed), hash(3)))
            .await,
    );
    assert_eq!(late, None, "and no other one is made");
    let other = done(store.accept_invite(hash(2), ada.id, at(6)).await);
    assert!(other.is_some(), "those of other projects are good");
}

/// Once holds against racers.
pub async fn of_racing_acceptances_one_counts<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let ada = reader(&store, EMAIL).await;
    done(
        store
            .create_invite(invite(EMAIL, Some(project), hash(1)))
            .await,
    );
    let store = Arc::new(store);
    let accepted = race(&store, 16, |store, _| async move {
        done(store.accept_invite(hash(1), ada.id, at(1)).await).is_some()
    })
    .await;
    assert_eq!(
        accepted.iter().filter(|one| **one).count(),
        1,
        "it is taken up once"
    );
    assert_eq!(
        done(store.members(project, None, 10).await).len(),
        2,
        "bob and ada"
    );
}

/// Who may more already goes on to; who may less gets what it grants.
pub async fn an_invite_never_lowers_a_role<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let ada = reader(&store, EMAIL).await;
    let (owner, admin, member) = (ProjectRole::Owner, ProjectRole::Admin, ProjectRole::Member);
    for (token, had, granted, expected) in [
        (1, member, admin, admin),
        (2, admin, member, admin),
        (3, owner, admin, owner),
        (4, admin, owner, owner),
        (5, member, member, member),
    ] {
        done(store.set_member(project, ada.id, had, at(1)).await);
        let new = NewInvite {
            projects: BTreeMap::from([(project, granted)]),
            ..invite(EMAIL, None, hash(token))
        };
        done(store.create_invite(new).await);
        let accepted = done(store.accept_invite(hash(token), ada.id, at(2)).await);
        assert!(accepted.is_some(), "it is good");
        let seen = done(store.membership(project, ada.id).await).map(|seen| seen.role);
        assert_eq!(seen, Some(expected), "{had} and {granted}");
    }
}

/// Who is there already gets the role, too; who has it keeps it.
pub async fn an_invite_of_an_admin_makes_one_of_who_has_an_account<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let ada = reader(&store, EMAIL).await;
    let (admin, plain) = (Role::Admin, Role::User);
    for (token, role, project, expected) in [
        (1, plain, None, plain),
        (2, admin, Some(project), admin),
        (3, plain, None, admin),
        (4, admin, None, admin),
    ] {
        let new = NewInvite {
            role,
            ..invite(EMAIL, project, hash(token))
        };
        done(store.create_invite(new).await);
        let accepted = done(store.accept_invite(hash(token), ada.id, at(2)).await);
        assert!(accepted.is_some(), "it is good");
        let expected = User {
            role: expected,
            ..ada.clone()
        };
        let found = done(store.user(ada.id).await);
        assert_eq!(found, Some(expected), "after invite {token}");
    }
    let seen = done(store.membership(project, ada.id).await).map(|seen| seen.role);
    assert_eq!(
        seen,
        Some(ProjectRole::Member),
        "what else it grants comes with it"
    );
}

/// Account, address, role and membership come in one step.
pub async fn an_invite_makes_an_account<S: UserStore + ProjectStore>(store: S) {
    let bob = user(&store, "bob").await;
    let project = project(&store, &bob).await.id;
    let mut new = invite(EMAIL, Some(project), hash(1));
    new.role = Role::Admin;
    done(store.create_invite(new).await);
    let ada = done(store.create_user(invited(hash(1))).await);
    assert_eq!(ada.role, Role::Admin, "she may what it grants");
    assert!(ada.email_verified, "she has read what came to the address");
    assert_eq!(
        done(store.user(ada.id).await),
        Some(ada.clone()),
        "it reads as it was answered"
    );
    let seen = done(store.membership(project, ada.id).await).map(|seen| seen.role);
    assert_eq!(seen, Some(ProjectRole::Member), "and is a member");
    assert_eq!(
        done(store.projects_of(ada.id).await).len(),
        2,
        "beside her own project"
    );
    let accepted = found(&store, hash(1)).await.accepted;
    assert_eq!(accepted, Some((later(0), ada.id)), "it is taken up");
}

/// Once, whatever becomes of the account.
pub async fn an_invite_makes_one_account<S: UserStore + ProjectStore>(store: S) {
    done(store.create_invite(invite(EMAIL, None, hash(1))).await);
    let store = Arc::new(store);
    let made = race(&store, 8, |store, _| async move {
        let made = store.create_user(invited(hash(1))).await;
        made.ok().map(|user| user.id)
    })
    .await;
    let made: Vec<_> = made.into_iter().flatten().collect();
    assert_eq!(made.len(), 1, "one of the racers has it");
    done(store.delete_user(made[0], at(1)).await);
    conflict(
        store.create_user(invited(hash(1))).await,
        "it is used, though the name is free",
    );
}

/// The account has the address that is confirmed by it.
pub async fn an_invite_makes_no_account_with_another_address<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    done(store.create_invite(invite(EMAIL, None, hash(1))).await);
    for (email, username) in [(Some("eve@example.org"), None), (None, Some("eve"))] {
        let mut new = account(email, username);
        new.invite = Some(hash(1));
        conflict(
            store.create_user(new).await,
            "it was mailed to somebody else",
        );
    }
    assert_eq!(
        found(&store, hash(1)).await.accepted,
        None,
        "a refusal uses nothing"
    );
}

/// Without an invite that is good there is no account by it.
pub async fn a_bad_invite_makes_no_account<S: UserStore + ProjectStore>(store: S) {
    let made = done(store.create_invite(invite(EMAIL, None, hash(1))).await).expect("made");
    done(store.revoke_invite(None, made.id, at(0)).await);
    let mut short = invite(EMAIL, None, hash(2));
    short.expires_at = later(10);
    done(store.create_invite(short).await);
    for (token, reason) in [
        (1, "it is withdrawn"),
        (2, "it is too old"),
        (3, "there is none"),
    ] {
        let mut new = invited(hash(token));
        new.author = at(10);
        let id = new.id;
        conflict(store.create_user(new).await, reason);
        assert_eq!(
            done(store.user(id).await),
            None,
            "no account is left: {reason}"
        );
    }
    done(store.create_user(account(Some(EMAIL), None)).await);
    done(
        store
            .create_invite(invite("taken@example.org", None, hash(4)))
            .await,
    );
    done(
        store
            .create_user(account(Some("taken@example.org"), None))
            .await,
    );
    let mut new = account(Some("taken@example.org"), None);
    new.invite = Some(hash(4));
    conflict(store.create_user(new).await, "the name is taken");
    assert_eq!(
        found(&store, hash(4)).await.accepted,
        None,
        "and the invite is not used up"
    );
}
