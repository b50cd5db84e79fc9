use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, SessionId, Subject, UserId};
use crate::store::{
    ApiKey, ApiKeyRecord, CredentialStore, NewApiKey, NewSession, Rotation, Session, StoreError,
    StoreErrorKind, StoreFuture, TokenHash,
};

use super::{MemoryStore, People, ready};

/// A family of refresh tokens.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) user: UserId,
    pub(super) ends_at: Timestamp,
    pub(super) revoked: bool,
}

/// One refresh token of a family.
#[derive(Debug)]
pub(super) struct RefreshToken {
    family: SessionId,
    idle_until: Timestamp,
    spent: bool,
}

impl People {
    fn rotate(
        &mut self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> Result<Rotation, StoreError> {
        let taken = self.tokens.contains_key(&new);
        let Some(token) = self.tokens.get_mut(&old) else {
            return Ok(Rotation::Refused);
        };
        let id = token.family;
        let Some(family) = self.sessions.get_mut(&id) else {
            return Ok(Rotation::Refused);
        };
        let disabled = self
            .users
            .get(&family.user)
            .is_some_and(|record| record.user.disabled);
        let session = Session {
            id,
            user: family.user,
        };
        if family.revoked || disabled {
            return Ok(Rotation::Refused);
        }
        if token.spent {
            family.revoked = true;
            return Ok(Rotation::Reused(session));
        }
        if at >= token.idle_until || at >= family.ends_at {
            return Ok(Rotation::Refused);
        }
        if taken {
            return Err(StoreError::new(StoreErrorKind::Conflict));
        }
        token.spent = true;
        let next = RefreshToken {
            family: id,
            idle_until: idle_until.min(family.ends_at),
            spent: false,
        };
        self.tokens.insert(new, next);
        Ok(Rotation::Rotated(session))
    }
}

impl CredentialStore for MemoryStore {
    fn create_key(&self, new: NewApiKey) -> StoreFuture<'_, ApiKey> {
        let answer = self.people().and_then(|mut people| {
            if people
                .keys
                .values()
                .any(|record| record.key.id == new.id || record.key.public_id == new.public_id)
            {
                return Err(StoreError::new(StoreErrorKind::Conflict));
            }
            let Some(owner) = people.users.get(&new.user) else {
                return Err(StoreError::with_source(
                    StoreErrorKind::Other,
                    "a key needs a user",
                ));
            };
            let record = ApiKeyRecord {
                role: owner.user.role,
                user_disabled: owner.user.disabled,
                hash: new.hash,
                key: ApiKey {
                    id: new.id,
                    public_id: new.public_id,
                    name: new.name,
                    user: new.user,
                    project: new.project,
                    created_at: new.created_at,
                    expires_at: new.expires_at,
                    last_used_at: None,
                    revoked_at: None,
                    clamps: new.clamps,
                },
            };
            let key = record.key.clone();
            people.keys.insert(key.id, record);
            Ok(key)
        });
        ready(answer)
    }

    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        ready(self.people().map(|people| {
            let record = people
                .keys
                .values()
                .find(|record| record.key.public_id == public_id)?;
            let owner = &people.users.get(&record.key.user)?.user;
            Some(ApiKeyRecord {
                role: owner.role,
                user_disabled: owner.disabled,
                ..record.clone()
            })
        }))
    }

    fn keys(&self, project: ProjectId, user: UserId, limit: u32) -> StoreFuture<'_, Vec<ApiKey>> {
        ready(self.people().map(|people| {
            let mut keys: Vec<ApiKey> = people
                .keys
                .values()
                .map(|record| record.key.clone())
                .filter(|key| key.project == project && key.user == user)
                .collect();
            keys.sort_by_key(|key| std::cmp::Reverse(key.id));
            keys.truncate(limit as usize);
            keys
        }))
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        user: UserId,
        key: KeyId,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        let answer = self.people().and_then(|mut people| {
            let record = people
                .keys
                .get_mut(&key)
                .filter(|record| record.key.project == project && record.key.user == user);
            let Some(record) = record else {
                return Ok(None);
            };
            record.key.revoked_at.get_or_insert(at);
            self.books()?.set_frozen(Subject::Key(key), true);
            Ok(Some(record.key.clone()))
        });
        ready(answer)
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        ready(self.people().map(|mut people| {
            if let Some(record) = people.keys.get_mut(&key) {
                record.key.last_used_at = record.key.last_used_at.max(Some(at));
            }
        }))
    }

    fn create_session(&self, new: NewSession) -> StoreFuture<'_, ()> {
        ready(self.people().and_then(|mut people| {
            if people.sessions.contains_key(&new.id) || people.tokens.contains_key(&new.token) {
                return Err(StoreError::new(StoreErrorKind::Conflict));
            }
            people.sessions.insert(
                new.id,
                Family {
                    user: new.user,
                    ends_at: new.ends_at,
                    revoked: false,
                },
            );
            people.tokens.insert(
                new.token,
                RefreshToken {
                    family: new.id,
                    idle_until: new.idle_until.min(new.ends_at),
                    spent: false,
                },
            );
            Ok(())
        }))
    }

    fn rotate_session(
        &self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> StoreFuture<'_, Rotation> {
        ready(
            self.people()
                .and_then(|mut people| people.rotate(old, new, at, idle_until)),
        )
    }

    fn revoke_session(&self, token: TokenHash, _at: Timestamp) -> StoreFuture<'_, bool> {
        ready(self.people().map(|mut people| {
            let Some(family) = people.tokens.get(&token).map(|token| token.family) else {
                return false;
            };
            people
                .sessions
                .get_mut(&family)
                .is_some_and(|family| !std::mem::replace(&mut family.revoked, true))
        }))
    }
}
