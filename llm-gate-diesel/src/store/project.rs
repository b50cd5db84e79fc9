use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Membership, ProjectStore, StoreFuture};

use super::Store;
use super::queries::projects;

impl ProjectStore for Store {
    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>> {
        self.read(move |connection| {
            projects::of_user(connection, user.into())?
                .into_iter()
                .map(|(row, role)| row.membership(&role))
                .collect()
        })
    }

    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>> {
        self.read(move |connection| {
            projects::membership(connection, project.into(), user.into())?
                .map(|(row, role)| row.membership(&role))
                .transpose()
        })
    }
}
