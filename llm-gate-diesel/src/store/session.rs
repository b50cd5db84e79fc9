use llm_gate::clock::Timestamp;
use llm_gate::identity::{SessionId, UserId};
use llm_gate::store::{
    Action, Author, Event, MAX_SESSIONS, NewSession, Refresh, Rotation, Session, SessionStore,
    StoreFuture, Target, TokenHash,
};

use super::queries::{sessions, tickets};
use super::{Connection, Store, batch, event, people};
use crate::error::Failure;
use crate::models::{Hash, RefreshTokenRow, SessionRow};

/// How many sessions, and how many tickets, are forgotten at once.
const PRUNED: i64 = 2_000;

/// How many sessions of a user live on when one more begins.
const LEFT: i64 = MAX_SESSIONS as i64 - 1;

fn create(connection: &mut Connection, new: &NewSession) -> Result<(), Failure> {
    // Of those that begin at once each counts the others.
    batch::lock_people(connection)?;
    let row = SessionRow::from(new);
    let at = row.created_at;
    let oldest = sessions::oldest(connection, row.user_id, at, LEFT)?;
    if !oldest.is_empty() {
        let rows = sessions::end_all(connection, &oldest, at)?;
        people::ended(connection, rows, &new.author)?;
    }
    let token = RefreshTokenRow {
        hash: Hash(new.token),
        session_id: row.id,
        created_at: row.created_at,
        idle_until: row.lives_until,
        spent_at: None,
        successor: None,
    };
    sessions::insert(connection, &row)?;
    sessions::insert_token(connection, &token)?;
    let session = Session::try_from(row)?;
    let target = Target::new("session", session.id);
    let event = Event::new(&new.author, Action::SessionCreated, target);
    event::leave(connection, &[event.made(&session)])
}

/// Spends the old token for the new one.
fn rotate(connection: &mut Connection, refresh: &Refresh) -> Result<Rotation, Failure> {
    let Some((token, session, disabled)) = sessions::by_token(connection, Hash(refresh.old))?
    else {
        return Ok(Rotation::Refused);
    };
    if session.revoked || disabled {
        return Ok(Rotation::Refused);
    }
    let at = refresh.author.at.as_micros();
    if token.spent_at.is_some() {
        return again(connection, refresh);
    }
    if at >= token.idle_until || at >= session.ends_at {
        return Ok(Rotation::Refused);
    }
    // Where two rotate at once, both may have read it as unspent; the statement lets one of them spend it.
    if sessions::spend(connection, token.hash, Hash(refresh.new), at)? == 0 {
        return again(connection, refresh);
    }
    let next = RefreshTokenRow {
        hash: Hash(refresh.new),
        session_id: session.id,
        created_at: at,
        idle_until: refresh.idle_until.as_micros().min(session.ends_at),
        spent_at: None,
        successor: None,
    };
    sessions::insert_token(connection, &next)?;
    // Who ended it in the meantime has ended it.
    if sessions::refresh(connection, session.id, at, next.idle_until)? == 0 {
        return Ok(Rotation::Refused);
    }
    Ok(Rotation::Rotated(Session::try_from(SessionRow {
        refreshed_at: at,
        ..session
    })?))
}

/// Answers one who comes with a spent token: as all who raced for it are answered, or with the end of the family.
///
/// It is read anew, as whoever was faster has left it.
fn again(connection: &mut Connection, refresh: &Refresh) -> Result<Rotation, Failure> {
    let found = sessions::by_token(connection, Hash(refresh.old))?;
    let Some((token, row, disabled)) = found else {
        return Ok(Rotation::Refused);
    };
    if row.revoked || disabled {
        return Ok(Rotation::Refused);
    }
    let at = refresh.author.at.as_micros();
    let of_racers =
        token
            .successor
            .zip(token.spent_at)
            .is_some_and(|(Hash(successor), spent_at)| {
                let since = refresh.author.at.since(Timestamp::from_micros(spent_at));
                successor == refresh.new && since < refresh.grace
            });
    if of_racers && sessions::is_unspent(connection, Hash(refresh.new))? {
        if at >= row.lives_until {
            return Ok(Rotation::Refused);
        }
        return Ok(Rotation::Rotated(row.try_into()?));
    }
    if sessions::revoke(connection, row.id, at.min(row.lives_until))? == 0 {
        return Ok(Rotation::Refused);
    }
    let session = Session::try_from(row)?;
    let target = Target::new("session", session.id);
    let event = Event::new(&refresh.author, Action::SessionReused, target);
    event::leave(connection, &[event.gone(&session)])?;
    Ok(Rotation::Reused(session))
}

/// Ends the session of a token.
fn revoke(connection: &mut Connection, token: TokenHash, author: &Author) -> Result<bool, Failure> {
    match sessions::by_token(connection, Hash(token))? {
        Some((_, session, _)) => {
            let (user, id) = (session.user_id.into(), session.id.into());
            end(connection, user, id, author)
        }
        None => Ok(false),
    }
}

/// Ends one session of a user.
fn end(
    connection: &mut Connection,
    user: UserId,
    id: SessionId,
    author: &Author,
) -> Result<bool, Failure> {
    let at = author.at.as_micros();
    let row = sessions::end(connection, user.into(), id.into(), at)?;
    Ok(people::ended(connection, row, author)? > 0)
}

fn prune(connection: &mut Connection, before: Timestamp) -> Result<u64, Failure> {
    let before = before.as_micros();
    let mut pruned = 0;
    let ended = sessions::ended(connection, before, PRUNED)?;
    if !ended.is_empty() {
        sessions::delete_tokens(connection, &ended)?;
        pruned += sessions::delete(connection, &ended)?;
    }
    let stale = tickets::ended(connection, before, PRUNED)?;
    if !stale.is_empty() {
        pruned += tickets::delete(connection, &stale)?;
    }
    Ok(pruned as u64)
}

impl SessionStore for Store {
    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()> {
        self.write(move |connection| create(connection, &session))
    }

    fn rotate_session(&self, refresh: Refresh) -> StoreFuture<'_, Rotation> {
        self.write(move |connection| rotate(connection, &refresh))
    }

    fn session(&self, id: SessionId, at: Timestamp) -> StoreFuture<'_, Option<Session>> {
        self.read(move |connection| {
            sessions::alive(connection, id.into(), at.as_micros())?
                .map(Session::try_from)
                .transpose()
        })
    }

    fn sessions(&self, user: UserId, at: Timestamp) -> StoreFuture<'_, Vec<Session>> {
        self.read(move |connection| {
            sessions::alive_of_user(connection, user.into(), at.as_micros())?
                .into_iter()
                .map(Session::try_from)
                .collect()
        })
    }

    fn revoke_session(&self, token: TokenHash, author: Author) -> StoreFuture<'_, bool> {
        self.write(move |connection| revoke(connection, token, &author))
    }

    fn end_session(&self, user: UserId, id: SessionId, author: Author) -> StoreFuture<'_, bool> {
        self.write(move |connection| end(connection, user, id, &author))
    }

    fn end_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, u64> {
        self.write(move |connection| people::end_sessions(connection, user, keep, &author))
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.write(move |connection| prune(connection, before))
    }
}
