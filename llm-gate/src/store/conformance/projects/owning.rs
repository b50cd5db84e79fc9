//! Projects, and who sees them.

use crate::identity::{ProjectId, UserId};
use crate::store::conformance::support::{START, at, conflict, done, later, project, shared, user};
use crate::store::{
    NewProject, Project, ProjectOutcome, ProjectRole, ProjectStore, UserOutcome, UserStore,
};

/// The personal project is there with the account, and the user owns it.
pub async fn a_user_owns_its_personal_project<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let found = done(store.projects_of(ada.id).await);
    assert_eq!(found.len(), 1, "a new user has one project");
    assert_eq!(found[0].project.id, ada.personal_project, "its own");
    assert_eq!(
        found[0].project.name, "personal",
        "with the name it was given"
    );
    assert_eq!(found[0].project.created_at, START, "as old as the account");
    assert_eq!(
        found[0].role,
        ProjectRole::Owner,
        "and may do everything in it"
    );
    let one = done(store.membership(ada.personal_project, ada.id).await);
    assert_eq!(one.as_ref(), Some(&found[0]), "alone it reads the same");
}

/// What a user may not see is not there.
pub async fn a_foreign_project_is_none<S: UserStore + ProjectStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let foreign = done(store.membership(ada.personal_project, bob.id).await);
    assert_eq!(foreign, None, "bob is no member of ada's project");
    let unknown = done(store.membership(ProjectId::new(), bob.id).await);
    assert_eq!(
        unknown, None,
        "a project that does not exist looks the same"
    );
    assert_eq!(
        done(store.projects_of(bob.id).await).len(),
        1,
        "nor is it in bob's list"
    );
}

/// There is no error in asking for nobody.
pub async fn nobody_has_no_projects<S: UserStore + ProjectStore>(store: S) {
    assert!(
        done(store.projects_of(UserId::new()).await).is_empty(),
        "nobody is no member"
    );
}

/// Its maker owns it, and nobody else sees it.
pub async fn a_project_is_read_as_it_was_made<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let new = NewProject {
        id: ProjectId::new(),
        name: "größer".to_owned(),
        owner: ada.id,
        author: at(5),
    };
    let made = done(store.create_project(new.clone()).await);
    let expected = Project {
        id: new.id,
        name: "größer".to_owned(),
        created_at: later(5),
        archived_at: None,
    };
    assert_eq!(made, Some(expected.clone()), "it is what was asked for");
    assert_eq!(
        done(store.project(new.id).await),
        Some(expected.clone()),
        "and reads so"
    );
    let seen = done(store.membership(new.id, ada.id).await).expect("ada sees it");
    assert_eq!(
        (seen.project, seen.role),
        (expected.clone(), ProjectRole::Owner),
        "and owns it"
    );
    let mut own = done(store.projects_of(ada.id).await);
    own.sort_by_key(|membership| membership.project.created_at);
    let last = own.pop().map(|membership| membership.project);
    assert_eq!((own.len(), last), (1, Some(expected)), "beside her own one");
    conflict(
        store.create_project(new.clone()).await,
        "an identifier names one project",
    );
    let ownerless = NewProject {
        id: ProjectId::new(),
        owner: UserId::new(),
        ..new
    };
    let id = ownerless.id;
    assert_eq!(
        done(store.create_project(ownerless).await),
        None,
        "nobody owns nothing"
    );
    assert_eq!(done(store.project(id).await), None, "so it is not made");
}

/// Admins of the platform see all of them, page by page.
pub async fn projects_are_listed_in_pages<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let mut ids = vec![ada.personal_project];
    for _ in 0..4 {
        ids.push(project(&store, &ada).await.id);
    }
    let closed = project(&store, &ada).await.id;
    done(store.archive_project(closed, at(1)).await);
    ids.sort_unstable();
    let listed = async |after, limit, archived| {
        let projects = done(store.projects(after, limit, archived).await);
        let ids: Vec<ProjectId> = projects.into_iter().map(|project| project.id).collect();
        ids
    };
    assert_eq!(
        listed(None, 2, false).await,
        ids[..2],
        "the lowest identifiers first"
    );
    assert_eq!(
        listed(Some(ids[1]), 10, false).await,
        ids[2..],
        "and on behind the last one"
    );
    assert!(
        listed(None, 0, false).await.is_empty(),
        "none were asked for"
    );
    ids.push(closed);
    ids.sort_unstable();
    assert_eq!(
        listed(None, 10, true).await,
        ids,
        "archived ones where they are asked for"
    );
}

/// A name is no identifier: two projects may have one.
pub async fn a_project_gets_another_name<S: UserStore + ProjectStore>(store: S) {
    let ada = user(&store, "ada").await;
    let made = project(&store, &ada).await;
    let rename = |id, name: &str| store.rename_project(id, name.to_owned(), at(1));
    let expected = Project {
        name: "personal".to_owned(),
        ..made.clone()
    };
    let renamed = done(rename(made.id, "personal").await);
    assert_eq!(
        renamed,
        ProjectOutcome::Done(expected.clone()),
        "ada has two of that name"
    );
    assert_eq!(
        done(store.project(made.id).await),
        Some(expected),
        "and it stays so"
    );
    let own = done(rename(ada.personal_project, "mine").await);
    assert!(
        matches!(own, ProjectOutcome::Done(_)),
        "the personal one, too: {own:?}"
    );
    let unknown = done(rename(ProjectId::new(), "new").await);
    assert_eq!(unknown, ProjectOutcome::Absent, "there is no such project");
    done(store.archive_project(made.id, at(2)).await);
    let late = done(rename(made.id, "late").await);
    assert_eq!(
        late,
        ProjectOutcome::Absent,
        "an archived one stays as it was"
    );
}

/// It is over for all of them, and what it was can still be read.
pub async fn an_archived_project_is_seen_by_no_member<S: UserStore + ProjectStore>(store: S) {
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let made = shared(&store, &ada, &bob).await;
    let expected = Project {
        archived_at: Some(later(7)),
        ..made.clone()
    };
    let archived = done(store.archive_project(made.id, at(7)).await);
    assert_eq!(
        archived,
        ProjectOutcome::Done(expected.clone()),
        "closed for good"
    );
    for member in [&ada, &bob] {
        let seen = done(store.membership(made.id, member.id).await);
        assert_eq!(seen, None, "no member sees it");
        let own = done(store.projects_of(member.id).await);
        assert_eq!(own.len(), 1, "the personal one is left");
    }
    assert_eq!(
        done(store.project(made.id).await),
        Some(expected),
        "admins of the platform do"
    );
    let again = done(store.archive_project(made.id, at(9)).await);
    assert_eq!(again, ProjectOutcome::Absent, "it is closed once");
    let joins = store.set_member(made.id, bob.id, ProjectRole::Admin, at(9));
    assert_eq!(
        done(joins.await),
        ProjectOutcome::Absent,
        "nobody gets another role in it"
    );
    let leaves = store.remove_member(made.id, bob.id, at(9));
    assert_eq!(done(leaves.await), ProjectOutcome::Absent, "nor is put out");
}

/// Calls that name no project are made for it, so a user always has it.
pub async fn a_personal_project_lives_as_long_as_its_user<S>(store: S)
where
    S: UserStore + ProjectStore,
{
    let (ada, bob) = (user(&store, "ada").await, user(&store, "bob").await);
    let id = ada.personal_project;
    let archived = done(store.archive_project(id, at(1)).await);
    assert_eq!(archived, ProjectOutcome::Personal, "it is ada's");
    done(
        store
            .set_member(id, bob.id, ProjectRole::Owner, at(1))
            .await,
    );
    let demoted = done(
        store
            .set_member(id, ada.id, ProjectRole::Admin, at(2))
            .await,
    );
    assert_eq!(
        demoted,
        ProjectOutcome::Personal,
        "whoever else owns it, ada does"
    );
    let removed = done(store.remove_member(id, ada.id, at(2)).await);
    assert_eq!(removed, ProjectOutcome::Personal, "and belongs to it");
    let guest = done(store.remove_member(id, bob.id, at(3)).await);
    assert!(
        matches!(guest, ProjectOutcome::Done(_)),
        "a guest may go: {guest:?}"
    );
    let deleted = done(store.delete_user(ada.id, at(4)).await);
    assert!(
        matches!(deleted, UserOutcome::Done(_)),
        "ada may go: {deleted:?}"
    );
    let project = done(store.project(id).await).expect("what it was can be read");
    assert_eq!(project.archived_at, Some(later(4)), "and it goes with her");
}
