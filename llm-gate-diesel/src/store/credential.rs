use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, Subject, UserId};
use llm_gate::store::{
    Action, ApiKey, ApiKeyRecord, Author, CredentialStore, Event, Judged, KeyChange, KeyName,
    NewApiKey, NewKeySecret, StoreFuture, TOUCH_EVERY, Target,
};

use super::queries::{keys, members};
use super::{Connection, Store, event, ledger, people};
use crate::error::Failure;
use crate::models::{ApiKeyRow, ChangedKey, Hash, Id, text};

fn create(connection: &mut Connection, new: &NewApiKey) -> Result<ApiKey, Failure> {
    people::lock(connection, &new.author)?;
    let (project, user) = (new.project.into(), new.user.into());
    if members::membership(connection, project, user)?.is_none() {
        return Err(Failure::conflict("the user is no member of the project"));
    }
    if let Some(most) = new.at_most
        && keys::valid(connection, project, user)? >= i64::from(most)
    {
        return Err(Failure::full(
            "the user has as many keys in the project as may be",
        ));
    }
    let row = ApiKeyRow::new(new)?;
    never_before(connection, &row.public_id)?;
    keys::insert(connection, &row)?;
    ledger::make(connection, Subject::Key(new.id))?;
    let key = ApiKey::try_from(row)?;
    let event = Event::new(&new.author, Action::KeyCreated, Target::new("key", key.id));
    event::leave(connection, &[event.of(Some(key.project)).made(&key)])?;
    Ok(key)
}

/// Refuses the public part of a secret that has been replaced and may work still. That of one in use is unique.
fn never_before(connection: &mut Connection, public_id: &str) -> Result<(), Failure> {
    match keys::by_previous_public_id(connection, public_id)? {
        Some(_) => Err(Failure::conflict("the public part of a key is taken")),
        None => Ok(()),
    }
}

fn find(connection: &mut Connection, public_id: &str) -> Result<Option<ApiKeyRecord>, Failure> {
    let mut found = keys::by_public_id(connection, public_id)?;
    if found.is_none() {
        found = keys::by_previous_public_id(connection, public_id)?;
    }
    found
        .map(|(row, role, disabled)| row.record(public_id, &role, disabled))
        .transpose()
}

fn read(connection: &mut Connection, name: KeyName) -> Result<Option<ApiKey>, Failure> {
    let (project, owner) = (name.project.into(), name.owner.map(Id::from));
    let row = keys::one(connection, project, owner, name.id.into())?;
    row.map(ApiKey::try_from).transpose()
}

/// Reads a key that is not revoked, and keeps others from changing it.
fn take(
    connection: &mut Connection,
    name: KeyName,
    author: &Author,
) -> Result<Option<ApiKey>, Failure> {
    people::lock(connection, author)?;
    Ok(read(connection, name)?.filter(|key| key.revoked_at.is_none()))
}

/// Refuses to change a key that is not any more what was judged.
fn still(key: &ApiKey, judged: Option<&Judged>) -> Result<(), Failure> {
    if judged.is_none_or(|judged| judged.holds(key)) {
        Ok(())
    } else {
        Err(Failure::conflict("the key was changed meanwhile"))
    }
}

fn change(
    connection: &mut Connection,
    name: KeyName,
    change: &KeyChange,
    author: &Author,
) -> Result<Option<ApiKey>, Failure> {
    let Some(before) = take(connection, name, author)? else {
        return Ok(None);
    };
    still(&before, change.judged.as_ref())?;
    let mut after = before.clone();
    if let Some(name) = &change.name {
        after.name = text(name.clone());
    }
    if let Some(grants) = &change.grants {
        after.grants = grants.clone();
    }
    after.expires_at = change.expires_at.unwrap_or(after.expires_at);
    if before != after {
        keys::change(connection, after.id.into(), &ChangedKey::try_from(&after)?)?;
        tell(connection, Action::KeyChanged, &before, &after, author)?;
    }
    Ok(Some(after))
}

fn rotate(
    connection: &mut Connection,
    name: KeyName,
    secret: &NewKeySecret,
) -> Result<Option<ApiKey>, Failure> {
    let Some(before) = take(connection, name, &secret.author)? else {
        return Ok(None);
    };
    still(&before, secret.judged.as_ref())?;
    never_before(connection, &secret.public_id)?;
    if before.public_id == secret.public_id {
        return Err(Failure::conflict("the public part of a key is its own"));
    }
    let replacement = (secret.public_id.as_str(), Hash(secret.hash));
    let overlap = secret.overlap_until.as_micros();
    keys::rotate(connection, name.id.into(), replacement, overlap)?;
    let after = ApiKey {
        public_id: secret.public_id.clone(),
        overlap_until: Some(secret.overlap_until),
        ..before.clone()
    };
    tell(
        connection,
        Action::KeyRotated,
        &before,
        &after,
        &secret.author,
    )?;
    Ok(Some(after))
}

fn tell(
    connection: &mut Connection,
    action: Action,
    before: &ApiKey,
    after: &ApiKey,
    author: &Author,
) -> Result<(), Failure> {
    let event = Event::new(author, action, Target::new("key", after.id));
    let event = event.of(Some(after.project)).change(before, after);
    event::leave(connection, &[event])
}

fn revoke(
    connection: &mut Connection,
    name: KeyName,
    author: &Author,
) -> Result<Option<ApiKey>, Failure> {
    people::lock(connection, author)?;
    if read(connection, name)?.is_none() {
        return Ok(None);
    }
    let rows = keys::revoke(connection, name.id.into(), author.at.as_micros())?;
    people::revoked(connection, rows, author)?;
    read(connection, name)
}

impl CredentialStore for Store {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey> {
        self.write(move |connection| create(connection, &key))
    }

    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.read(move |connection| find(connection, &text(public_id.clone())))
    }

    fn keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(move |connection| {
            let (owner, before) = (owner.map(Id::from), before.map(Id::from));
            keys::before(connection, project.into(), owner, before, false, limit)?
                .into_iter()
                .map(ApiKey::try_from)
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
        self.read(move |connection| {
            let (owner, before) = (owner.map(Id::from), before.map(Id::from));
            keys::before(connection, project.into(), owner, before, true, limit)?
                .into_iter()
                .map(ApiKey::try_from)
                .collect()
        })
    }

    fn owned_keys(
        &self,
        owner: UserId,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(move |connection| {
            keys::owned(connection, owner.into(), before.map(Id::from), limit)?
                .into_iter()
                .map(ApiKey::try_from)
                .collect()
        })
    }

    fn key_of_member(&self, id: KeyId, member: UserId) -> StoreFuture<'_, Option<ApiKey>> {
        self.read(move |connection| {
            let row = keys::of_member(connection, id.into(), member.into())?;
            row.map(ApiKey::try_from).transpose()
        })
    }

    fn key(&self, name: KeyName) -> StoreFuture<'_, Option<ApiKey>> {
        self.read(move |connection| read(connection, name))
    }

    fn change_key(
        &self,
        name: KeyName,
        change: KeyChange,
        author: Author,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(move |connection| self::change(connection, name, &change, &author))
    }

    fn rotate_key(&self, name: KeyName, secret: NewKeySecret) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(move |connection| rotate(connection, name, &secret))
    }

    fn revoke_key(&self, name: KeyName, author: Author) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(move |connection| revoke(connection, name, &author))
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            let at = at.as_micros();
            let since = at.saturating_sub_unsigned(TOUCH_EVERY.as_secs() * 1_000_000);
            keys::touch(connection, key.into(), at, since)?;
            Ok(())
        })
    }
}
