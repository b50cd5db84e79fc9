use std::fmt;

use crate::clock::Timestamp;
use crate::identity::{KeyId, ProjectId, Role, SessionId, UserId};
use crate::store::StoreFuture;

/// A 32-byte hash of a secret. Never the secret itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// An API key as its owner sees it in a list. Neither secret nor hash.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last seen at work.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Whether calls that do not fit are cut down to what is left.
    pub clamps: bool,
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
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// Whether calls that do not fit are cut down to what is left.
    pub clamps: bool,
}

/// What authentication needs to know of a key, and of the user behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeyRecord {
    /// The key.
    pub key: ApiKey,
    /// The keyed hash of the whole key.
    pub hash: TokenHash,
    /// The user's platform role.
    pub role: Role,
    /// Whether the user may do nothing any more.
    pub user_disabled: bool,
}

/// A login session to be kept: the first refresh token of a family.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The family.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
    /// The hash of the refresh token.
    pub token: TokenHash,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the refresh token stops working unless it is rotated.
    pub idle_until: Timestamp,
    /// When the whole family ends, rotated or not.
    pub ends_at: Timestamp,
}

/// A live login session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The family.
    pub id: SessionId,
    /// Whose session it is.
    pub user: UserId,
}

/// What became of an attempt to rotate a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// The old token is spent, the new one is in force.
    Rotated(Session),
    /// The token was spent before: its whole family has been revoked.
    Reused(Session),
    /// The token is unknown, revoked or too old.
    Refused,
}

/// Keeps API keys and login sessions, by hash.
pub trait CredentialStore: Send + Sync + 'static {
    /// Keeps a key.
    ///
    /// # Errors
    ///
    /// Fails with [`Conflict`](crate::store::StoreErrorKind::Conflict) when the public id is taken.
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey>;

    /// Finds a key by its public id with one indexed look-up; revoked and expired ones too.
    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>>;

    /// Lists the keys of `user` in `project`, newest first, at most `limit`.
    fn keys(&self, project: ProjectId, user: UserId, limit: u32) -> StoreFuture<'_, Vec<ApiKey>>;

    /// Revokes a key of `user` in `project`; returns it, `None` when there is none such.
    ///
    /// In the same transaction the key's counter is frozen, so that no further reservation is granted.
    /// Revoking again keeps the first moment.
    fn revoke_key(
        &self,
        project: ProjectId,
        user: UserId,
        key: KeyId,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<ApiKey>>;

    /// Notes when a key was last seen at work.
    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()>;

    /// Keeps a session.
    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()>;

    /// Replaces refresh token `old` by `new` in one atomic step: of any number of racing calls with the
    /// same `old` exactly one rotates. `idle_until` is the new token's end; it never passes the
    /// family's own.
    fn rotate_session(
        &self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> StoreFuture<'_, Rotation>;

    /// Ends the session that `token` belongs to; returns whether there was one.
    fn revoke_session(&self, token: TokenHash, at: Timestamp) -> StoreFuture<'_, bool>;
}
