use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, ProjectId, Subject, UserId};
use llm_gate::store::{
    ApiKey, ApiKeyRecord, CredentialStore, NewApiKey, NewSession, Rotation, Session, StoreFuture,
    TokenHash,
};

use super::queries::{keys, sessions};
use super::{Connection, Store, ledger};
use crate::error::Failure;
use crate::models::{ApiKeyRow, Hash, RefreshTokenRow, SessionRow, text};

/// Spends `old` and puts `new` in its place.
fn rotate(
    connection: &mut Connection,
    old: TokenHash,
    new: TokenHash,
    at: Timestamp,
    idle_until: Timestamp,
) -> Result<Rotation, Failure> {
    let Some((token, session, disabled)) = sessions::by_token(connection, Hash(old))? else {
        return Ok(Rotation::Refused);
    };
    if session.revoked || disabled {
        return Ok(Rotation::Refused);
    }
    if token.spent_at.is_some() {
        return reused(connection, &session);
    }
    let at = at.as_micros();
    if at >= token.idle_until || at >= session.ends_at {
        return Ok(Rotation::Refused);
    }
    // Where two rotate at once, both may have read it as unspent; the statement lets one of them spend it.
    if sessions::spend(connection, token.hash, at)? == 0 {
        return reused(connection, &session);
    }
    let next = RefreshTokenRow {
        hash: Hash(new),
        session_id: session.id,
        created_at: at,
        idle_until: idle_until.as_micros().min(session.ends_at),
        spent_at: None,
    };
    sessions::insert_token(connection, &next)?;
    Ok(Rotation::Rotated(Session::from(&session)))
}

/// Ends the session of a token that was spent before.
fn reused(connection: &mut Connection, session: &SessionRow) -> Result<Rotation, Failure> {
    if sessions::revoke(connection, session.id)? == 0 {
        return Ok(Rotation::Refused);
    }
    Ok(Rotation::Reused(Session::from(session)))
}

impl CredentialStore for Store {
    fn create_key(&self, key: NewApiKey) -> StoreFuture<'_, ApiKey> {
        self.write(move |connection| {
            let subject = Subject::Key(key.id);
            let row = ApiKeyRow::from(key.clone());
            keys::insert(connection, &row)?;
            ledger::make(connection, subject)?;
            Ok(row.into())
        })
    }

    fn key_by_public_id(&self, public_id: String) -> StoreFuture<'_, Option<ApiKeyRecord>> {
        self.read(move |connection| {
            keys::by_public_id(connection, &text(public_id.clone()))?
                .map(|(row, role, disabled)| row.record(&role, disabled))
                .transpose()
        })
    }

    fn keys(&self, project: ProjectId, user: UserId, limit: u32) -> StoreFuture<'_, Vec<ApiKey>> {
        self.read(move |connection| {
            let rows = keys::of_owner(connection, project.into(), user.into(), limit)?;
            Ok(rows.into_iter().map(ApiKey::from).collect())
        })
    }

    fn revoke_key(
        &self,
        project: ProjectId,
        user: UserId,
        key: KeyId,
        at: Timestamp,
    ) -> StoreFuture<'_, Option<ApiKey>> {
        self.write(move |connection| {
            let (project, user, id) = (project.into(), user.into(), key.into());
            keys::revoke(connection, project, user, id, at.as_micros())?;
            let Some(row) = keys::one_of_owner(connection, project, user, id)? else {
                return Ok(None);
            };
            ledger::freeze(connection, Subject::Key(key), true)?;
            Ok(Some(row.into()))
        })
    }

    fn touch_key(&self, key: KeyId, at: Timestamp) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            keys::touch(connection, key.into(), at.as_micros())?;
            Ok(())
        })
    }

    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()> {
        self.write(move |connection| {
            let row = SessionRow::from(&session);
            let token = RefreshTokenRow {
                hash: Hash(session.token),
                session_id: row.id,
                created_at: row.created_at,
                idle_until: session.idle_until.as_micros().min(row.ends_at),
                spent_at: None,
            };
            sessions::insert(connection, &row)?;
            sessions::insert_token(connection, &token)?;
            Ok(())
        })
    }

    fn rotate_session(
        &self,
        old: TokenHash,
        new: TokenHash,
        at: Timestamp,
        idle_until: Timestamp,
    ) -> StoreFuture<'_, Rotation> {
        self.write(move |connection| rotate(connection, old, new, at, idle_until))
    }

    fn revoke_session(&self, token: TokenHash, _at: Timestamp) -> StoreFuture<'_, bool> {
        self.write(move |connection| {
            let Some((_, session, _)) = sessions::by_token(connection, Hash(token))? else {
                return Ok(false);
            };
            Ok(sessions::revoke(connection, session.id)? == 1)
        })
    }
}
