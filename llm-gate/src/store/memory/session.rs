use crate::clock::Timestamp;
use crate::identity::{SessionId, UserId};
use crate::store::{
    Action, Author, Event, MAX_SESSIONS, NewSession, Refresh, Rotation, Session, SessionStore,
    StoreError, StoreErrorKind, StoreFuture, Target, TokenHash,
};

use super::MemoryStore;
use super::people::{Family, People, RefreshToken, conflict};

/// How many sessions, and how many tickets, are forgotten at once.
const PRUNED: usize = 5_000;

impl People {
    fn create_session(&mut self, new: NewSession) -> Result<(), StoreError> {
        if self.sessions.contains_key(&new.id) || self.tokens.contains_key(&new.token) {
            return Err(conflict());
        }
        if !self.accounts.contains_key(&new.user) {
            let source = "a session needs a user";
            return Err(StoreError::with_source(StoreErrorKind::Other, source));
        }
        let session = Session {
            id: new.id,
            user: new.user,
            created_at: new.author.at,
            refreshed_at: new.author.at,
            ends_at: new.ends_at,
            address: new.author.address,
            agent: new.agent,
        };
        self.end_oldest(new.user, &new.author);
        let target = Target::new("session", new.id);
        self.leave(Event::new(&new.author, Action::SessionCreated, target).made(&session));
        let family = Family {
            session,
            idle_until: new.idle_until,
            revoked_at: None,
        };
        self.sessions.insert(new.id, family);
        let token = RefreshToken {
            family: new.id,
            spent: None,
        };
        self.tokens.insert(new.token, token);
        Ok(())
    }

    /// Ends the oldest sessions of a user, so that there is room for one more.
    fn end_oldest(&mut self, user: UserId, author: &Author) {
        let families = self.sessions.values();
        let mut living: Vec<(Timestamp, SessionId)> = families
            .filter(|family| family.session.user == user && family.lives(author.at))
            .map(|family| (family.session.created_at, family.session.id))
            .collect();
        living.sort_unstable();
        let spare = living.len().saturating_sub(MAX_SESSIONS - 1);
        living.truncate(spare);
        self.end_sessions(author, |one| living.iter().any(|(_, id)| *id == one.id));
    }

    fn rotate(&mut self, refresh: &Refresh) -> Result<Rotation, StoreError> {
        let Some(token) = self.tokens.get(&refresh.old) else {
            return Ok(Rotation::Refused);
        };
        let (id, spent) = (token.family, token.spent);
        let Some(family) = self.sessions.get(&id) else {
            return Ok(Rotation::Refused);
        };
        let session = &family.session;
        if family.revoked_at.is_some() || self.enabled(session.user).is_none() {
            return Ok(Rotation::Refused);
        }
        if let Some((spent_at, heir)) = spent {
            let unused = self
                .tokens
                .get(&heir)
                .is_some_and(|heir| heir.spent.is_none());
            if heir == refresh.new && unused && refresh.author.at.since(spent_at) < refresh.grace {
                return Ok(if family.lives(refresh.author.at) {
                    Rotation::Rotated(session.clone())
                } else {
                    Rotation::Refused
                });
            }
            return Ok(Rotation::Reused(self.revoke_family(id, &refresh.author)?));
        }
        if !family.lives(refresh.author.at) {
            return Ok(Rotation::Refused);
        }
        if self.tokens.contains_key(&refresh.new) {
            return Err(conflict());
        }
        Ok(self
            .hand_over(id, refresh)
            .map_or(Rotation::Refused, Rotation::Rotated))
    }

    /// Spends the old token for the new one.
    fn hand_over(&mut self, id: SessionId, refresh: &Refresh) -> Option<Session> {
        let family = self.sessions.get_mut(&id)?;
        self.tokens.get_mut(&refresh.old)?.spent = Some((refresh.author.at, refresh.new));
        let heir = RefreshToken {
            family: id,
            spent: None,
        };
        self.tokens.insert(refresh.new, heir);
        family.idle_until = refresh.idle_until;
        family.session.refreshed_at = refresh.author.at;
        Some(family.session.clone())
    }

    /// Ends a family of which a spent token came back, whether or not it would live otherwise.
    fn revoke_family(&mut self, id: SessionId, author: &Author) -> Result<Session, StoreError> {
        let Some(family) = self.sessions.get_mut(&id) else {
            let source = "a token without a session";
            return Err(StoreError::with_source(StoreErrorKind::Other, source));
        };
        family.revoked_at = Some(author.at);
        let session = family.session.clone();
        let target = Target::new("session", id);
        let event = Event::new(author, Action::SessionReused, target);
        self.leave(event.gone(&session));
        Ok(session)
    }

    fn prune(&mut self, before: Timestamp) -> u64 {
        let ended = self.sessions.iter();
        let ended: Vec<SessionId> = ended
            .filter(|(_, family)| family.ends() < before)
            .map(|(id, _)| *id)
            .take(PRUNED)
            .collect();
        for id in &ended {
            self.sessions.remove(id);
        }
        let sessions = &self.sessions;
        self.tokens
            .retain(|_, token| sessions.contains_key(&token.family));
        let stale = self.tickets.iter();
        let stale: Vec<TokenHash> = stale
            .filter(|(_, ticket)| ticket.expires_at < before)
            .map(|(hash, _)| *hash)
            .take(PRUNED)
            .collect();
        for hash in &stale {
            self.tickets.remove(hash);
        }
        (ended.len() + stale.len()) as u64
    }
}

impl SessionStore for MemoryStore {
    fn create_session(&self, session: NewSession) -> StoreFuture<'_, ()> {
        self.write(|people| people.create_session(session))
    }

    fn rotate_session(&self, refresh: Refresh) -> StoreFuture<'_, Rotation> {
        self.write(|people| people.rotate(&refresh))
    }

    fn session(&self, id: SessionId, at: Timestamp) -> StoreFuture<'_, Option<Session>> {
        self.read(|people| {
            let family = people.sessions.get(&id)?;
            people.enabled(family.session.user)?;
            family.lives(at).then(|| family.session.clone())
        })
    }

    fn sessions(&self, user: UserId, at: Timestamp) -> StoreFuture<'_, Vec<Session>> {
        self.read(|people| {
            if people.enabled(user).is_none() {
                return Vec::new();
            }
            let newest_first = people.sessions.values().rev();
            newest_first
                .filter(|family| family.session.user == user && family.lives(at))
                .map(|family| family.session.clone())
                .collect()
        })
    }

    fn revoke_session(&self, token: TokenHash, author: Author) -> StoreFuture<'_, bool> {
        self.write(|people| {
            let Some(id) = people.tokens.get(&token).map(|token| token.family) else {
                return Ok(false);
            };
            let ended = people.end_sessions(&author, |one| one.id == id);
            Ok(ended > 0)
        })
    }

    fn end_session(&self, user: UserId, id: SessionId, author: Author) -> StoreFuture<'_, bool> {
        self.write(|people| {
            let ended = people.end_sessions(&author, |one| one.id == id && one.user == user);
            Ok(ended > 0)
        })
    }

    fn end_sessions(
        &self,
        user: UserId,
        keep: Option<SessionId>,
        author: Author,
    ) -> StoreFuture<'_, u64> {
        self.write(|people| {
            Ok(people.end_sessions(&author, |one| one.user == user && Some(one.id) != keep))
        })
    }

    fn prune(&self, before: Timestamp) -> StoreFuture<'_, u64> {
        self.write(|people| Ok(people.prune(before)))
    }
}
