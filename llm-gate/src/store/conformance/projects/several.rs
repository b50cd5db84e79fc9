//! Who is let into several projects at once.

use std::sync::Arc;

use crate::identity::{InviteId, ProjectId, UserId};
use crate::store::conformance::support::{
    account, at, done, hash, invite, later, project, race, reader, user,
};
use crate::store::{Invite, NewInvite, NewUser, ProjectRole, ProjectStore, User, UserStore};

const EMAIL: &str = "ada@example.org";
const ROLES: [ProjectRole; 3] = [ProjectRole::Owner, ProjectRole::Admin, ProjectRole::Member];

/// Makes three projects of somebody.
async fn three<S: ProjectStore>(store: &S, owner: &User) -> [ProjectId; 3] {
    [
        project(store, owner).await.id,
        project(store, owner).await.id,
        project(store, owner).await.id,
    ]
}

/// An invite to some projects, to each with another role.
fn into(projects: &[ProjectId], token: u8) -> NewInvite {
    let places = projects.iter().copied().zip(ROLES);
    NewInvite {
        projects: places.collect(),
        ..invite(EMAIL, None, hash(token))
    }
}

async fn made<S: ProjectStore>(store: &S, projects: &[ProjectId], token: u8) -> Invite {
    let made = store.create_invite(into(projects, token)).await;
    done(made).expect("there are such projects")
}

async fn read<S: ProjectStore>(store: &S, id: InviteId) -> Invite {
    done(store.invite(id).await).expect("it is kept")
}

/// Reads the one invite to a project as those see it who manage that.
async fn seen<S: ProjectStore>(store: &S, project: ProjectId) -> Invite {
    let mut listed = done(store.invites(Some(project), None, 10).await);
    assert_eq!(listed.len(), 1, "one was made");
    listed.remove(0)
}

async fn role_in<S: ProjectStore>(
    store: &S,
    project: ProjectId,
    user: UserId,
) -> Option<ProjectRole> {
    done(store.member(project, user).await).map(|member| member.role)
}

async fn roles_in<S: ProjectStore>(
    store: &S,
    projects: &[ProjectId],
    user: UserId,
) -> Vec<Option<ProjectRole>> {
    let mut roles = Vec::new();
    for project in projects {
        roles.push(role_in(store, *project, user).await);
    }
    roles
}

fn leads_into(invite: &Invite) -> Vec<ProjectId> {
    invite.projects.keys().copied().collect()
}

/// All of it, whether there is an account or not; who may more in one of them goes on to.
pub async fn an_invite_to_several_projects_makes_a_member_of_each<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let ada = reader(&store, EMAIL).await;
    let projects = three(&store, &bob).await;
    let first = made(&store, &projects, 1).await;
    assert_eq!(first.projects, into(&projects, 1).projects, "as asked for");
    assert_eq!(read(&store, first.id).await, first, "and it is kept");
    let (owner, admin) = (ProjectRole::Owner, ProjectRole::Admin);
    done(store.set_member(projects[2], ada.id, admin, at(1)).await);
    let accepted = done(store.accept_invite(hash(1), ada.id, at(5)).await);
    assert_eq!(accepted, Some(read(&store, first.id).await), "as it is now");
    let roles = roles_in(&store, &projects, ada.id).await;
    assert_eq!(roles, [Some(owner), Some(admin), Some(admin)], "in each");

    let second = NewInvite {
        email: "eve@example.org".to_owned(),
        ..into(&projects, 2)
    };
    done(store.create_invite(second).await);
    let new = NewUser {
        invite: Some(hash(2)),
        ..account(Some("eve@example.org"), None)
    };
    let eve = done(store.create_user(new).await);
    let roles = roles_in(&store, &projects, eve.id).await;
    assert_eq!(roles, ROLES.map(Some), "who is new comes in everywhere");
}

/// It is kept as a whole or not at all.
pub async fn an_invite_is_not_made_where_one_of_its_projects_is_none<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let [one, two, closed] = three(&store, &bob).await;
    done(store.archive_project(closed, at(1)).await);
    for nowhere in [closed, ProjectId::new()] {
        let refused = store.create_invite(into(&[one, nowhere, two], 1)).await;
        assert_eq!(done(refused), None, "one of them is none");
    }
    for project in [one, two, closed] {
        let listed = done(store.invites(Some(project), None, 10).await);
        assert_eq!(listed, [], "nothing is left of it");
    }
    made(&store, &[one, two], 1).await;
}

/// Who manages one of them learns of no other.
pub async fn an_invite_to_several_projects_is_listed_in_each_as_one_to_that<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let projects = three(&store, &bob).await;
    let all = made(&store, &projects, 1).await;
    for (project, role) in projects.into_iter().zip(ROLES) {
        let own = all.clone().within(project, role, None);
        assert_eq!(leads_into(&own), [project], "that one alone");
        assert_eq!(seen(&store, project).await, own, "what else it is, too");
    }
    let listed = std::slice::from_ref(&all);
    assert_eq!(done(store.invites(None, None, 10).await), listed);
    assert_eq!(done(store.kept_invites(None, 10).await), listed);
    assert_eq!(
        done(store.invite_by_token(hash(1)).await),
        Some(all.clone()),
        "who has the secret sees all"
    );
    let revoked = done(store.revoke_invite(None, all.id, at(5)).await).expect("it was good");
    assert_eq!(leads_into(&revoked), projects, "it is withdrawn as a whole");
    for project in projects {
        let moment = seen(&store, project).await.revoked_at;
        assert_eq!(moment, Some(later(5)), "in each of them");
    }
}

/// Those who manage one project keep somebody out of that, and of no other.
pub async fn a_project_is_taken_out_of_an_invite_to_several<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let ada = reader(&store, EMAIL).await;
    let [one, two, three] = three(&store, &bob).await;
    let all = made(&store, &[one, two, three], 1).await;
    let own = |at| all.clone().within(two, ROLES[1], Some(later(at)));
    for moment in [5, 9] {
        let revoked = done(store.revoke_invite(Some(two), all.id, at(moment)).await);
        assert_eq!(revoked, Some(own(5)), "the first moment stands");
    }
    assert_eq!(seen(&store, two).await, own(5), "and is listed there");
    assert_eq!(leads_into(&read(&store, all.id).await), [one, three]);
    for project in [one, three] {
        let open = seen(&store, project).await.is_open(later(9));
        assert!(open, "the others are none of two's business");
    }
    let kept = done(store.kept_invites(None, 10).await).len();
    assert_eq!(kept, 1, "it is not withdrawn");

    let accepted = done(store.accept_invite(hash(1), ada.id, at(10)).await).expect("it is good");
    assert_eq!(leads_into(&accepted), [one, three], "what is left of it");
    let roles = roles_in(&store, &[one, two, three], ada.id).await;
    assert_eq!(roles, [Some(ROLES[0]), None, Some(ROLES[2])]);
    let told = seen(&store, two).await;
    assert_eq!(told, own(5), "that it was taken up is not told there");
    let again = done(store.revoke_invite(Some(two), all.id, at(11)).await);
    assert_eq!(again, Some(own(5)), "it was so already");
    for scope in [Some(one), None] {
        let late = done(store.revoke_invite(scope, all.id, at(11)).await);
        assert_eq!(late, None, "what was taken up cannot be withdrawn");
    }
}

/// It never becomes one to the platform alone, nor to nothing.
pub async fn an_invite_ends_with_the_last_of_its_projects<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let ada = reader(&store, EMAIL).await;
    let [one, two, three] = three(&store, &bob).await;
    let revoked = made(&store, &[one, two], 1).await;
    done(store.revoke_invite(Some(one), revoked.id, at(1)).await);
    done(store.revoke_invite(Some(two), revoked.id, at(2)).await);
    let archived = made(&store, &[two, three], 2).await;
    done(store.archive_project(two, at(3)).await);
    assert_eq!(leads_into(&read(&store, archived.id).await), [three]);
    done(store.archive_project(three, at(4)).await);
    for (id, last, moment) in [(revoked.id, two, 2), (archived.id, three, 4)] {
        let invite = read(&store, id).await;
        assert_eq!(leads_into(&invite), [last], "the last one is told");
        assert_eq!(invite.revoked_at, Some(later(moment)), "and it ended");
    }
    for token in [1, 2] {
        let accepted = done(store.accept_invite(hash(token), ada.id, at(5)).await);
        assert_eq!(accepted, None, "it is good for nothing");
    }
    assert_eq!(done(store.kept_invites(None, 10).await), []);
}

/// What an invite says after it was taken up is where it has led, whoever was faster.
pub async fn who_races_an_invite_to_several_projects_agrees_on_where_it_led<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let bob = user(&store, "bob").await;
    let ada = reader(&store, EMAIL).await.id;
    let [one, two, three] = three(&store, &bob).await;
    let id = made(&store, &[one, two, three], 1).await.id;
    let store = Arc::new(store);
    let counts = race(&store, 15, |store, number| async move {
        match number % 3 {
            0 => done(store.accept_invite(hash(1), ada, at(1)).await).is_some(),
            1 => done(store.revoke_invite(Some(two), id, at(1)).await).is_some(),
            _ => {
                done(store.archive_project(three, at(1)).await);
                false
            }
        }
    })
    .await;
    let counts: Vec<usize> = (0..2)
        .map(|kind| {
            counts
                .iter()
                .skip(kind)
                .step_by(3)
                .filter(|one| **one)
                .count()
        })
        .collect();
    let invite = read(&*store, id).await;
    assert_eq!(counts[0], 1, "it is taken up once");
    let out = usize::from(!invite.projects.contains_key(&two));
    assert_eq!(counts[1], 5 * out, "taken out for all, or for nobody");
    for project in [one, two, three] {
        let inside = role_in(&*store, project, ada).await;
        assert_eq!(inside, invite.projects.get(&project).copied(), "as it says");
    }
}
