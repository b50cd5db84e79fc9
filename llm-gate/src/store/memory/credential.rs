use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, UserId};
use crate::store::{
    Action, ApiKey, ApiKeyRecord, Author, CredentialStore, Event, Judged, KeyChange, KeyName,
    NewApiKey, NewKeySecret, StoreError, StoreErrorKind, StoreFuture, TOUCH_EVERY, Target,
};

use super::MemoryStore;
use super::people::{Key, People, conflict};

impl People {
    fn create_key(&mut self, new: NewApiKey) -> Result<ApiKey, StoreError> {
        self.heed(&new.author)?;
        let member = self.members.contains_key(&(new.project, new.user));
        if self.keys.contains_key(&new.id)
            || self.public_ids.contains_key(&new.public_id)
            || !member
            || self.open(new.project).is_none()
        {
            return Err(conflict());
        }
        let kept = self.keys.values().map(|kept| &kept.key);
        let there = kept.filter(|key| {
            key.project == new.project && key.user == new.user && key.revoked_at.is_none()
        });
        if new
            .at_most
            .is_some_and(|most| there.count() >= most as usize)
        {
            return Err(StoreError::new(StoreErrorKind::Full));
        }
        let key = ApiKey {
            id: new.id,
            public_id: new.public_id,
            name: new.name,
            user: new.user,
            project: new.project,
            grants: new.grants,
            created_at: new.author.at,
            expires_at: new.expires_at,
            last_used_at: None,
            revoked_at: None,
            overlap_until: None,
        };
        let target = Target::new("key", key.id);
        let event = Event::new(&new.author, Action::KeyCreated, target);
        self.leave(event.of(Some(key.project)).made(&key));
        self.public_ids.insert(key.public_id.clone(), key.id);
        let kept = Key {
            key: key.clone(),
            hash: new.hash,
            before: None,
        };
        self.keys.insert(key.id, kept);
        Ok(key)
    }

    fn key_by_public_id(&self, public_id: &str) -> Option<ApiKeyRecord> {
        let Key { key, hash, before } = self.keys.get(self.public_ids.get(public_id)?)?;
        let (hash, until) = match before {
            Some((id, hash)) if id == public_id => {
                let ends = [key.overlap_until, key.expires_at];
                (*hash, ends.into_iter().flatten().min())
            }
            _ => (*hash, key.expires_at),
        };
        let owner = self.accounts.get(&key.user)?;
        Some(ApiKeyRecord {
            key: key.clone(),
            hash,
            until,
            role: owner.user.role,
            user_disabled: owner.user.disabled,
        })
    }

    fn named(&self, name: KeyName) -> Option<&Key> {
        self.keys.get(&name.id).filter(|Key { key, .. }| {
            key.project == name.project && name.owner.is_none_or(|owner| owner == key.user)
        })
    }

    /// Finds a key that is not revoked.
    fn valid(&self, name: KeyName) -> Option<KeyId> {
        let key = &self.named(name)?.key;
        key.revoked_at.is_none().then_some(key.id)
    }

    /// Returns whether a key is still what was judged.
    fn is_as(&self, id: KeyId, judged: Option<&Judged>) -> bool {
        let kept = self.keys.get(&id);
        judged.is_none_or(|judged| kept.is_some_and(|kept| judged.holds(&kept.key)))
    }

    /// Changes a key that is not revoked.
    fn change_key(
        &mut self,
        name: KeyName,
        action: Action,
        author: &Author,
        change: impl FnOnce(&mut Key),
    ) -> Option<ApiKey> {
        let kept = self.keys.get_mut(&name.id)?;
        let before = kept.key.clone();
        change(kept);
        let after = kept.key.clone();
        if before != after {
            let event = Event::new(author, action, Target::new("key", after.id));
            self.leave(event.of(Some(after.project)).change(&before, &after));
        }
        Some(after)
    }

    fn rotate_key(
        &mut self,
        name: KeyName,
        secret: NewKeySecret,
    ) -> Result<Option<ApiKey>, StoreError> {
        self.heed(&secret.author)?;
        let Some(id) = self.valid(name) else {
            return Ok(None);
        };
        if self.public_ids.contains_key(&secret.public_id)
            || !self.is_as(id, secret.judged.as_ref())
        {
            return Err(conflict());
        }
        if let Some((ended, _)) = self.keys.get_mut(&id).and_then(|kept| kept.before.take()) {
            self.public_ids.remove(&ended);
        }
        self.public_ids.insert(secret.public_id.clone(), id);
        let author = &secret.author;
        Ok(self.change_key(name, Action::KeyRotated, author, |kept| {
            let public_id = std::mem::replace(&mut kept.key.public_id, secret.public_id);
            let hash = std::mem::replace(&mut kept.hash, secret.hash);
            kept.before = Some((public_id, hash));
            kept.key.overlap_until = Some(secret.overlap_until);
        }))
    }
}

impl CredentialStore for MemoryStore {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey> {
        self.write(|people| people.create_key(key))
    }

    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.read(|people| people.key_by_public_id(&public_id))
    }

    fn keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(|people| {
            let newest_first = people.keys.values().rev().map(|kept| &kept.key);
            newest_first
                .filter(|key| key.project == project)
                .filter(|key| owner.is_none_or(|owner| key.user == owner))
                .filter(|key| before.is_none_or(|before| key.id < before))
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    fn unrevoked_keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(|people| {
            let newest_first = people.keys.values().rev().map(|kept| &kept.key);
            newest_first
                .filter(|key| key.project == project && key.revoked_at.is_none())
                .filter(|key| owner.is_none_or(|owner| key.user == owner))
                .filter(|key| before.is_none_or(|before| key.id < before))
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    fn owned_keys(
        &self,
        owner: UserId,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(|people| {
            let newest_first = people.keys.values().rev().map(|kept| &kept.key);
            newest_first
                .filter(|key| key.user == owner && key.revoked_at.is_none())
                .filter(|key| before.is_none_or(|before| key.id < before))
                .take(limit as usize)
                .cloned()
                .collect()
        })
    }

    fn key_of_member(&self, id: KeyId, member: UserId) -> StoreFuture<'_, Option<ApiKey>> {
        self.read(|people| {
            let key = people.keys.get(&id).map(|kept| &kept.key)?;
            let seen = people.members.contains_key(&(key.project, member));
            seen.then(|| key.clone())
        })
    }

    fn key(&self, name: KeyName) -> StoreFuture<'_, Option<ApiKey>> {
        self.read(|people| people.named(name).map(|kept| kept.key.clone()))
    }

    fn change_key(
        &self,
        name: KeyName,
        change: KeyChange,
        author: Author,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(|people| {
            people.heed(&author)?;
            if people.valid(name).is_none() {
                return Ok(None);
            }
            if !people.is_as(name.id, change.judged.as_ref()) {
                return Err(conflict());
            }
            Ok(
                people.change_key(name, Action::KeyChanged, &author, |kept| {
                    let KeyChange {
                        name,
                        grants,
                        expires_at,
                        judged: _,
                    } = change;
                    let key = &mut kept.key;
                    key.name = name.unwrap_or_else(|| std::mem::take(&mut key.name));
                    key.expires_at = expires_at.unwrap_or(key.expires_at);
                    if let Some(grants) = grants {
                        key.grants = grants;
                    }
                }),
            )
        })
    }

    fn rotate_key(&self, name: KeyName, secret: NewKeySecret) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(|people| people.rotate_key(name, secret))
    }

    fn revoke_key(&self, name: KeyName, author: Author) -> StoreFuture<'_, Option<ApiKey>> {
        self.write_both(|people, books| {
            people.heed(&author)?;
            if people.named(name).is_none() {
                return Ok(None);
            }
            people.revoke_keys(books, &author, |key| key.id == name.id);
            Ok(people.named(name).map(|kept| kept.key.clone()))
        })
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write(|people| {
            if let Some(Key { key, .. }) = people.keys.get_mut(&key)
                && key
                    .last_used_at
                    .is_none_or(|noted| noted.after(TOUCH_EVERY) <= at)
            {
                key.last_used_at = Some(at);
            }
            Ok(())
        })
    }
}
