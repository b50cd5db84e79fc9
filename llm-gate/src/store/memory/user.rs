use crate::identity::{ProjectId, Subject, UserId};
use crate::store::{
    LimitChange, Membership, NewUser, PasswordRecord, Project, ProjectRole, ProjectStore,
    StoreError, StoreErrorKind, StoreFuture, User, UserStore,
};

use super::{MemoryStore, People, ready};

impl People {
    fn by_login(&self, login: &str) -> Option<&PasswordRecord> {
        self.users.values().find(|record| {
            let user = &record.user;
            user.email.as_deref() == Some(login) || user.username.as_deref() == Some(login)
        })
    }

    fn memberships(&self, user: UserId) -> impl Iterator<Item = Membership> + '_ {
        self.members
            .iter()
            .filter(move |(_, member, _)| *member == user)
            .filter_map(|(project, _, role)| {
                self.projects.get(project).map(|project| Membership {
                    project: project.clone(),
                    role: *role,
                })
            })
    }
}

impl MemoryStore {
    fn insert_user(&self, new: NewUser) -> Result<User, StoreError> {
        let mut people = self.people()?;
        let taken = [&new.email, &new.username]
            .into_iter()
            .flatten()
            .any(|name| people.by_login(name).is_some());
        let known = people.users.contains_key(&new.id)
            || people.projects.contains_key(&new.personal_project);
        if taken || known {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        let user = User {
            id: new.id,
            email: new.email,
            username: new.username,
            role: new.role,
            disabled: false,
            personal_project: new.personal_project,
            created_at: new.created_at,
        };
        let project = Project {
            id: new.personal_project,
            name: new.personal_project_name,
            created_at: new.created_at,
        };
        people
            .members
            .push((project.id, user.id, ProjectRole::Owner));
        people.projects.insert(project.id, project);
        people.users.insert(
            user.id,
            PasswordRecord {
                user: user.clone(),
                hash: new.password_hash,
            },
        );
        if new.token_limit.is_some() {
            let change = LimitChange::total_tokens(Subject::User(user.id), new.token_limit);
            self.books()?.change_limit(&LimitChange {
                at: new.created_at,
                ..change
            });
        }
        Ok(user)
    }
}

impl UserStore for MemoryStore {
    fn create_user(&self, user: NewUser) -> StoreFuture<'_, User> {
        ready(self.insert_user(user))
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, Option<User>> {
        ready(
            self.people()
                .map(|people| people.users.get(&id).map(|record| record.user.clone())),
        )
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<PasswordRecord>> {
        ready(self.people().map(|people| people.by_login(&login).cloned()))
    }

    fn users(&self, after: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<User>> {
        ready(self.people().map(|people| {
            let mut users: Vec<User> = people
                .users
                .values()
                .map(|record| record.user.clone())
                .filter(|user| after.is_none_or(|after| user.id > after))
                .collect();
            users.sort_by_key(|user| user.id);
            users.truncate(limit as usize);
            users
        }))
    }

    fn replace_password_hash(&self, id: UserId, old: String, new: String) -> StoreFuture<'_, bool> {
        ready(
            self.people()
                .map(|mut people| match people.users.get_mut(&id) {
                    Some(record) if record.hash == old => {
                        record.hash = new;
                        true
                    }
                    _ => false,
                }),
        )
    }

    fn set_user_disabled(&self, id: UserId, disabled: bool) -> StoreFuture<'_, bool> {
        let answer = self.people().and_then(|mut people| {
            let Some(record) = people.users.get_mut(&id) else {
                return Ok(false);
            };
            record.user.disabled = disabled;
            if disabled {
                for family in people
                    .sessions
                    .values_mut()
                    .filter(|family| family.user == id)
                {
                    family.revoked = true;
                }
            }
            self.books()?.set_frozen(Subject::User(id), disabled);
            Ok(true)
        });
        ready(answer)
    }
}

impl ProjectStore for MemoryStore {
    fn projects_of(&self, user: UserId) -> StoreFuture<'_, Vec<Membership>> {
        ready(self.people().map(|people| {
            let mut found: Vec<Membership> = people.memberships(user).collect();
            found.sort_by_key(|membership| membership.project.id);
            found
        }))
    }

    fn membership(&self, project: ProjectId, user: UserId) -> StoreFuture<'_, Option<Membership>> {
        ready(self.people().map(|people| {
            people
                .memberships(user)
                .find(|membership| membership.project.id == project)
        }))
    }
}
