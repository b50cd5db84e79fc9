//! The rules of [`ProjectStore`]. Projects come into being with their users, so they ask for
//! [`UserStore`] too.

use super::rules;
use super::support::{START, done, user};
use crate::identity::{ProjectId, UserId};
use crate::store::{ProjectRole, ProjectStore, UserStore};

rules!(__projects_rules where S: UserStore | ProjectStore;
    a_user_owns_its_personal_project,
    a_foreign_project_is_none,
    nobody_has_no_projects,
);

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
