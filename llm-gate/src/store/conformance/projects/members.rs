//! Who belongs to a project.

use std::sync::Arc;

use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::conformance::support::{admin, at, done, later, project, race, shared, user};
use crate::store::{
    Actor, Author, Member, NewService, ProjectOutcome, ProjectRole, ProjectStore, User, UserKind,
    UserOutcome, UserStore,
};

async fn role<S: ProjectStore>(store: &S, project: ProjectId, user: &User) -> Option<ProjectRole> {
    let seen = done(store.membership(project, user.id).await);
    seen.map(|membership| membership.role)
}

async fn service<S: UserStore>(store: &S, project: ProjectId) -> User {
    let new = NewService {
        id: UserId::new(),
        name: "robot".to_owned(),
        project,
        author: at(0),
    };
    done(store.create_service(new).await).expect("there is such a project")
}

/// A member is there with its role, from then on.
pub async fn a_member_is_added_changed_and_removed<S: UserStore + ProjectStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = project(&store, &ada).await.id;
    let mut expected = Member {
        user: bob.clone(),
        role: ProjectRole::Member,
        since: later(1),
    };
    for (moment, next) in [
        (1, ProjectRole::Member),
        (2, ProjectRole::Admin),
        (3, ProjectRole::Owner),
    ] {
        expected.role = next;
        let set = done(store.set_member(project, bob.id, next, at(moment)).await);
        assert_eq!(
            set,
            ProjectOutcome::Done(expected.clone()),
            "since it became one"
        );
        assert_eq!(
            role(&store, project, &bob).await,
            Some(next),
            "it sees the project so"
        );
        let members = done(store.members(project, None, 10).await);
        assert!(members.contains(&expected), "and is listed so");
    }
    let removed = done(store.remove_member(project, bob.id, at(4)).await);
    assert_eq!(
        removed,
        ProjectOutcome::Done(expected),
        "the answer is how it was"
    );
    assert_eq!(
        role(&store, project, &bob).await,
        None,
        "it sees the project no more"
    );
    let again = done(store.remove_member(project, bob.id, at(5)).await);
    assert_eq!(again, ProjectOutcome::Absent, "it goes once");
    assert_eq!(
        done(store.members(project, None, 10).await).len(),
        1,
        "ada is left"
    );
}

/// Pages follow one another without gap or repetition.
pub async fn members_are_listed_in_pages<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    let mut ids = vec![ada.id];
    for name in ["a", "b", "c", "d"] {
        let id = user(&store, name).await.id;
        done(
            store
                .set_member(project, id, ProjectRole::Member, at(1))
                .await,
        );
        ids.push(id);
    }
    user(&store, "foreign").await;
    ids.sort_unstable();
    let listed = async |after, limit| {
        let members = done(store.members(project, after, limit).await);
        let ids: Vec<UserId> = members.into_iter().map(|member| member.user.id).collect();
        ids
    };
    assert_eq!(
        listed(None, 2).await,
        ids[..2],
        "the lowest identifiers first"
    );
    assert_eq!(
        listed(Some(ids[1]), 10).await,
        ids[2..],
        "and on behind the last one"
    );
    assert!(listed(Some(ids[4]), 10).await.is_empty(), "to the end");
    let unknown = done(store.members(ProjectId::new(), None, 10).await);
    assert!(unknown.is_empty(), "no project has no members");
}

/// Persons and services have lists of their own.
pub async fn members_are_listed_by_kind<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    let mut services = Vec::new();
    for _ in 0..3 {
        services.push(service(&store, project).await.id);
    }
    services.sort_unstable();
    let listed = async |kind, after, limit| {
        let members = done(store.members_of_kind(project, kind, after, limit).await);
        let ids: Vec<UserId> = members.into_iter().map(|member| member.user.id).collect();
        ids
    };
    assert_eq!(
        listed(UserKind::Person, None, 10).await,
        [ada.id],
        "persons"
    );
    let service = UserKind::Service;
    assert_eq!(listed(service, None, 10).await, services, "services");
    assert_eq!(
        listed(service, None, 2).await,
        services[..2],
        "at most as many as asked"
    );
    assert_eq!(
        listed(service, Some(services[0]), 10).await,
        services[1..],
        "and on behind the last one"
    );
    let one = done(store.member(project, services[0]).await).expect("a member");
    assert_eq!(
        (one.user.id, one.user.kind, one.role),
        (services[0], service, ProjectRole::Member),
        "one by itself"
    );
    assert_eq!(
        done(store.member(project, UserId::new()).await),
        None,
        "a stranger"
    );
    let elsewhere = done(store.member(ProjectId::new(), ada.id).await);
    assert_eq!(elsewhere, None, "nor where there is no project");
}

/// What is not there cannot be put together.
pub async fn nobody_is_no_member<S: UserStore + ProjectStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = project(&store, &ada).await.id;
    done(store.delete_user(bob.id, at(1)).await);
    for (project, user, reason) in [
        (project, UserId::new(), "a user that is not there"),
        (project, bob.id, "a user that was deleted"),
        (ProjectId::new(), ada.id, "a project that is not there"),
        (bob.personal_project, ada.id, "a project that was archived"),
    ] {
        let set = done(
            store
                .set_member(project, user, ProjectRole::Member, at(2))
                .await,
        );
        assert_eq!(set, ProjectOutcome::Absent, "{reason}");
        let removed = done(store.remove_member(project, user, at(2)).await);
        assert_eq!(removed, ProjectOutcome::Absent, "{reason}");
    }
}

/// Somebody has to be able to close it.
pub async fn the_last_owner_stays<S: UserStore + ProjectStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let project = shared(&store, &ada, &bob).await.id;
    done(
        store
            .set_member(project, bob.id, ProjectRole::Admin, at(1))
            .await,
    );
    let demoted = done(
        store
            .set_member(project, ada.id, ProjectRole::Admin, at(2))
            .await,
    );
    assert_eq!(demoted, ProjectOutcome::LastOwner, "an admin is no owner");
    let removed = done(store.remove_member(project, ada.id, at(2)).await);
    assert_eq!(removed, ProjectOutcome::LastOwner, "nor may she leave");
    assert_eq!(
        role(&store, project, &ada).await,
        Some(ProjectRole::Owner),
        "it is as it was"
    );
    let same = done(
        store
            .set_member(project, ada.id, ProjectRole::Owner, at(2))
            .await,
    );
    assert!(
        matches!(same, ProjectOutcome::Done(_)),
        "she may stay owner: {same:?}"
    );
    done(
        store
            .set_member(project, bob.id, ProjectRole::Owner, at(3))
            .await,
    );
    let demoted = done(
        store
            .set_member(project, ada.id, ProjectRole::Member, at(4))
            .await,
    );
    assert!(
        matches!(demoted, ProjectOutcome::Done(_)),
        "now there is another: {demoted:?}"
    );
    let removed = done(store.remove_member(project, bob.id, at(5)).await);
    assert_eq!(
        removed,
        ProjectOutcome::LastOwner,
        "who has to stay in turn"
    );
}

/// Owners who leave at the same moment leave one behind.
pub async fn of_racing_owners_one_is_left<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    let mut owners = vec![ada];
    for name in ["b", "c", "d"] {
        let other = user(&store, name).await;
        done(
            store
                .set_member(project, other.id, ProjectRole::Owner, at(1))
                .await,
        );
        owners.push(other);
    }
    let store = Arc::new(store);
    let outcomes = race(&store, 4, |store, number| {
        let id = owners[number].id;
        async move {
            match number % 2 {
                0 => done(store.remove_member(project, id, at(2)).await),
                _ => {
                    let role = ProjectRole::Member;
                    done(store.set_member(project, id, role, at(2)).await)
                }
            }
        }
    })
    .await;
    let stayed = outcomes
        .iter()
        .filter(|one| **one == ProjectOutcome::LastOwner);
    assert_eq!(stayed.count(), 1, "all but one went: {outcomes:?}");
    let members = done(store.members(project, None, 10).await);
    let owners = members
        .iter()
        .filter(|member| member.role == ProjectRole::Owner);
    assert_eq!(owners.count(), 1, "and that one still owns it");
}

/// Members are not left alone with a project that nobody can manage.
pub async fn the_only_owner_of_a_project_with_members_is_not_deleted<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let closed = shared(&store, &ada, &bob).await.id;
    done(store.archive_project(closed, at(1)).await);
    let mut projects = [
        shared(&store, &ada, &bob).await.id,
        shared(&store, &ada, &bob).await.id,
    ];
    projects.sort_unstable();
    let refused = done(store.delete_user(ada.id, at(2)).await);
    assert_eq!(
        refused,
        UserOutcome::LastOwner(projects[0]),
        "the first of them is told"
    );
    assert_eq!(
        done(store.user(ada.id).await),
        Some(ada.clone()),
        "nothing has changed"
    );
    assert_eq!(
        done(store.projects_of(ada.id).await).len(),
        3,
        "nor has she left anything"
    );
    for project in projects {
        done(
            store
                .set_member(project, bob.id, ProjectRole::Owner, at(3))
                .await,
        );
    }
    let deleted = done(store.delete_user(ada.id, at(4)).await);
    assert_eq!(
        deleted,
        UserOutcome::Done(ada.clone()),
        "there is another owner for each"
    );
    for project in projects {
        let members = done(store.members(project, None, 10).await);
        let left: Vec<UserId> = members.into_iter().map(|member| member.user.id).collect();
        assert_eq!(left, [bob.id], "who is left alone in it");
        assert_eq!(
            role(&store, project, &bob).await,
            Some(ProjectRole::Owner),
            "and owns it"
        );
    }
}

/// A project without anybody ends with its last member.
pub async fn a_project_that_nobody_is_left_in_is_archived<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let ada = user(&store, "ada").await;
    let alone = project(&store, &ada).await.id;
    let deleted = done(store.delete_user(ada.id, at(5)).await);
    assert!(
        matches!(deleted, UserOutcome::Done(_)),
        "nobody minds: {deleted:?}"
    );
    for id in [alone, ada.personal_project] {
        let project = done(store.project(id).await).expect("what it was can be read");
        assert_eq!(
            project.archived_at,
            Some(later(5)),
            "nobody could ever enter it again"
        );
        assert!(
            done(store.members(id, None, 10).await).is_empty(),
            "nobody is in it"
        );
    }
}

/// A service cannot be lent, and is nobody who could manage in the place of the last owner.
pub async fn a_service_is_a_member_of_its_project_alone<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let ada = user(&store, "ada").await;
    let (home, other) = (
        project(&store, &ada).await.id,
        project(&store, &ada).await.id,
    );
    let robot = service(&store, home).await;
    assert_eq!(
        role(&store, home, &robot).await,
        Some(ProjectRole::Member),
        "there it belongs"
    );
    let members = done(store.members(home, None, 10).await);
    let kinds = members
        .iter()
        .filter(|member| member.user.kind == UserKind::Service);
    assert_eq!(kinds.count(), 1, "and is listed");
    let lent = done(
        store
            .set_member(other, robot.id, ProjectRole::Member, at(1))
            .await,
    );
    assert_eq!(lent, ProjectOutcome::Absent, "and nowhere else");
    let own = done(
        store
            .set_member(ada.personal_project, robot.id, ProjectRole::Member, at(1))
            .await,
    );
    assert_eq!(own, ProjectOutcome::Absent, "nor in a personal one");
    done(
        store
            .set_member(home, robot.id, ProjectRole::Owner, at(1))
            .await,
    );
    let left = done(store.remove_member(home, ada.id, at(2)).await);
    assert_eq!(
        left,
        ProjectOutcome::LastOwner,
        "whatever it is, it cannot log in"
    );
    done(store.archive_project(other, at(3)).await);
    let late = NewService {
        id: UserId::new(),
        name: "late".to_owned(),
        project: other,
        author: at(3),
    };
    assert_eq!(
        done(store.create_service(late).await),
        None,
        "an archived project gets none"
    );
}

/// It has no other project.
pub async fn a_service_that_is_put_out_is_deleted<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let project = project(&store, &ada).await.id;
    let robot = service(&store, project).await;
    let removed = done(store.remove_member(project, robot.id, at(1)).await);
    let ProjectOutcome::Done(member) = removed else {
        panic!("a service may go, not {removed:?}");
    };
    assert_eq!(member.user, robot, "the answer is how it was");
    assert_eq!(done(store.user(robot.id).await), None, "it is gone");
    assert_eq!(
        done(store.members(project, None, 10).await).len(),
        1,
        "ada is left"
    );
    let open = done(store.project(project).await).and_then(|project| project.archived_at);
    assert_eq!(open, None, "the project stays");
    let other = service(&store, project).await;
    done(store.delete_user(other.id, at(2)).await);
    assert_eq!(
        done(store.members(project, None, 10).await).len(),
        1,
        "deleted, it is out, too"
    );
    let open = done(store.project(project).await).and_then(|project| project.archived_at);
    assert_eq!(open, None, "the project is not its own to take along");
}

/// An admin of a project, let in as one, touches no owner, and nobody once it manages the project no longer.
pub async fn only_owners_touch_owners_whatever_they_were<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let (bob, root) = (user(&store, "bob").await, admin(&store, "root").await);
    let (owner, admin, member) = (ProjectRole::Owner, ProjectRole::Admin, ProjectRole::Member);
    let (ada, cat) = (user(&store, "ada").await, user(&store, "cat").await);
    let project = project(&store, &bob).await.id;
    let by = |who: &User| Author::new(Actor::User(who.id), later(2));
    let set = async |who: &User, role, author: &User| {
        done(store.set_member(project, who.id, role, by(author)).await)
    };
    let put_out = async |who: &User, author: &User| {
        done(store.remove_member(project, who.id, by(author)).await)
    };
    let works = |outcome: ProjectOutcome<Member>, reason: &str| {
        assert!(
            matches!(outcome, ProjectOutcome::Done(_)),
            "{reason}: {outcome:?}"
        );
    };
    let refused = ProjectOutcome::Refused;
    works(set(&ada, owner, &bob).await, "owners make owners");
    works(set(&ada, admin, &ada).await, "and stop being one");
    works(set(&cat, admin, &ada).await, "admins make admins");
    assert_eq!(set(&cat, owner, &ada).await, refused, "but no owners");
    works(set(&cat, owner, &bob).await, "of who is an admin");
    assert_eq!(set(&cat, member, &ada).await, refused, "nor change one");
    assert_eq!(put_out(&cat, &ada).await, refused, "nor put one out");
    works(set(&cat, member, &bob).await, "an owner does");
    works(set(&ada, member, &bob).await, "to an admin, too");
    assert_eq!(
        set(&cat, admin, &ada).await,
        refused,
        "who manages no longer"
    );
    assert_eq!(put_out(&cat, &ada).await, refused, "nor puts out");
    works(set(&ada, admin, &root).await, "admins of the platform may");
    let key = Author::new(Actor::Key(KeyId::new(), ada.id), later(2));
    let by_key = store.set_member(project, bob.id, member, key).await;
    assert_eq!(done(by_key), refused, "a key may what its user may");
    works(put_out(&cat, &cat).await, "everybody leaves");
    assert_eq!(set(&cat, owner, &cat).await, refused, "and stays outside");
    done(store.delete_user(cat.id, at(3)).await);
    assert_eq!(
        set(&ada, admin, &cat).await,
        refused,
        "nor does who is gone"
    );
    let last = done(store.set_user_disabled(ada.id, true, at(3)).await);
    assert!(last, "she is disabled");
    assert_eq!(put_out(&bob, &ada).await, refused, "so she does nothing");
    let found = done(store.member(project, bob.id).await).map(|member| member.role);
    assert_eq!(found, Some(owner), "bob is an owner all the time");
}
