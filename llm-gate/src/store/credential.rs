use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::identity::{KeyGrants, KeyId, ProjectId, Role, UserId};
use crate::store::{Author, StoreFuture};

/// A 32-byte hash of a secret. Never the secret itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// An API key as its owner sees it in a list. Neither secret nor hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key.
    pub id: KeyId,
    /// The public part, by which it is found and recognised.
    pub public_id: String,
    /// The name its owner gave it.
    pub name: String,
    /// Whose calls it makes.
    pub user: UserId,
    /// The project its calls are made for.
    pub project: ProjectId,
    /// What it may do.
    pub grants: KeyGrants,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last seen at work.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Until when the secret before this one works, too.
    pub overlap_until: Option<Timestamp>,
}

/// An API key to be kept.
#[derive(Clone, Debug)]
pub struct NewApiKey {
    /// The key.
    pub id: KeyId,
    /// The public part, unique.
    pub public_id: String,
    /// The keyed hash of the whole key.
    pub hash: TokenHash,
    /// The name its owner gave it.
    pub name: String,
    /// Whose calls it makes.
    pub user: UserId,
    /// The project its calls are made for.
    pub project: ProjectId,
    /// What it may do.
    pub grants: KeyGrants,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// How many keys the user may have in the project, this one included, as long as they are not revoked; as many as one
    /// likes unless set.
    pub at_most: Option<u32>,
    /// Who makes it, and when.
    pub author: Author,
}

/// What of a key somebody has read who decided that it may be changed: that may be something else by the time it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// By which secret it works: of two who would replace it at once one does. While two overlap, either is the key.
    pub public_id: String,
    /// What it may do.
    pub grants: KeyGrants,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
}

impl Judged {
    /// Returns whether a key is still what was judged.
    #[must_use]
    pub fn holds(&self, key: &ApiKey) -> bool {
        self.public_id == key.public_id
            && self.grants == key.grants
            && self.expires_at == key.expires_at
    }
}

impl From<&ApiKey> for Judged {
    fn from(key: &ApiKey) -> Self {
        Self {
            public_id: key.public_id.clone(),
            grants: key.grants.clone(),
            expires_at: key.expires_at,
        }
    }
}

/// Another secret for a key that stays the same in all else: identifier, limits, usage.
#[derive(Clone, Debug)]
pub struct NewKeySecret {
    /// The new public part, unique.
    pub public_id: String,
    /// The keyed hash of the whole new key.
    pub hash: TokenHash,
    /// Until when the secret before this one works, too. The one before that works no longer.
    pub overlap_until: Timestamp,
    /// What the key has to be still; whatever it is unless set.
    pub judged: Option<Judged>,
    /// Who rotates it, and when.
    pub author: Author,
}

/// What of a key is to be changed; `None` leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// The name its owner gives it.
    pub name: Option<String>,
    /// What it may do.
    pub grants: Option<KeyGrants>,
    /// When it stops working by itself, or never.
    pub expires_at: Option<Option<Timestamp>>,
    /// What the key has to be still; whatever it is unless set.
    pub judged: Option<Judged>,
}

/// Which key is meant, by those who may see it: what is not there and what is not theirs look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyName {
    /// The project it is in.
    pub project: ProjectId,
    /// Whose it must be; `None` for those who manage everybody's keys.
    pub owner: Option<UserId>,
    /// The key.
    pub id: KeyId,
}

/// What authentication needs to know of a key, and of the user behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The key.
    pub key: ApiKey,
    /// The keyed hash of the whole key, of the secret that was asked for.
    pub hash: TokenHash,
    /// When that secret stops working: the key's own end, or the overlap's where that comes first.
    pub until: Option<Timestamp>,
    /// The user's platform role.
    pub role: Role,
    /// Whether the user may do nothing any more.
    pub user_disabled: bool,
}

/// How far apart the noted uses of a key are at least, however many processes note them.
pub const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Keeps API keys, by hash.
///
/// Every change but [`touch_key`](Self::touch_key) leaves an [`Event`](crate::store::Event) in its own transaction.
pub trait CredentialStore: Send + Sync + 'static {
    /// Keeps a key.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the public id is taken, be it by a secret that
    /// overlaps, and when the user is no member of the project (any more), or the project is archived; with
    /// [`Full`](crate::store::StoreErrorKind::Full) when the user has as many keys there as [`NewApiKey::at_most`] says.
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey>;

    /// Finds a key by the public id of its secret, or of the one before that overlaps, with one indexed look-up each;
    /// revoked and expired ones too.
    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>>;

    /// Lists the keys of a project, those of `owner` or of all, newest first, older than `before`, at most `limit`.
    fn keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>>;

    /// Lists the keys that are not revoked, as [`keys`](Self::keys) does.
    fn unrevoked_keys(
        &self,
        project: ProjectId,
        owner: Option<UserId>,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>>;

    /// Lists the keys of a user in all projects that are not revoked, newest first, older than `before`, at most `limit`.
    fn owned_keys(
        &self,
        owner: UserId,
        before: Option<KeyId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ApiKey>>;

    /// Finds a key by its identifier in the projects that somebody is a member of; revoked and expired ones too.
    fn key_of_member(&self, id: KeyId, member: UserId) -> StoreFuture<'_, Option<ApiKey>>;

    /// Reads a key.
    fn key(&self, name: KeyName) -> StoreFuture<'_, Option<ApiKey>>;

    /// Changes what a key may do; returns it, `None` when there is none such or it is revoked.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the key is not any more what was
    /// [judged](KeyChange::judged).
    fn change_key(
        &self,
        name: KeyName,
        change: KeyChange,
        author: Author,
    ) -> StoreFuture<'_, Option<ApiKey>>;

    /// Gives a key another secret; returns it, `None` when there is none such or it is revoked.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the public id is taken, and
    /// when the key is not any more what was [judged](NewKeySecret::judged).
    fn rotate_key(&self, name: KeyName, secret: NewKeySecret) -> StoreFuture<'_, Option<ApiKey>>;

    /// Revokes a key; returns it, `None` when there is none such.
    ///
    /// In the same transaction the key's counter is frozen, so that no further reservation is granted.
    /// Revoking again keeps the first moment, and leaves no other event.
    fn revoke_key(&self, name: KeyName, author: Author) -> StoreFuture<'_, Option<ApiKey>>;

    /// Notes when a key was last seen at work, unless that was less than [`TOUCH_EVERY`] after the last time noted.
    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()>;
}
