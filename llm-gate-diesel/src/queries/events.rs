use diesel::prelude::*;
use llm_gate::store::{Action, EventQuery};

use super::Connection;
use crate::models::{EventRow, Id, text};
use crate::schema::events;

/// Writes what was done.
pub(crate) fn insert(connection: &mut Connection, rows: &[EventRow]) -> QueryResult<usize> {
    diesel::insert_into(events::table)
        .values(rows)
        .execute(connection)
}

/// Returns whether something was done to a target after a moment.
pub(crate) fn is_after(
    connection: &mut Connection,
    action: &str,
    target: &str,
    at: i64,
) -> QueryResult<bool> {
    let found: Option<Id> = events::table
        .filter(events::target_id.eq(target))
        .filter(events::action.eq(action))
        .filter(events::at.gt(at))
        .select(events::id)
        .first(connection)
        .optional()?;
    Ok(found.is_some())
}

/// Lists what was done, newest first; what follows a place, oldest first.
pub(crate) fn find(
    connection: &mut Connection,
    wanted: &EventQuery,
    limit: u32,
) -> QueryResult<Vec<EventRow>> {
    let mut query = events::table
        .limit(limit.into())
        .select(EventRow::as_select())
        .into_boxed();
    query = one_of!(
        query,
        events::project_id,
        wanted.projects.iter().map(|id| Id::from(*id))
    );
    let actors = || wanted.actors.iter().map(|id| Id::from(*id));
    let keys = || wanted.keys.iter().map(|id| Id::from(*id));
    query = if wanted.actors.is_empty() || wanted.keys.is_empty() {
        let query = one_of!(query, events::actor_user, actors());
        one_of!(query, events::actor_key, keys())
    } else {
        query.filter(
            events::actor_user
                .eq_any(actors())
                .or(events::actor_key.eq_any(keys())),
        )
    };
    query = one_of!(
        query,
        events::target_id,
        wanted.targets.iter().map(|target| text(target.clone()))
    );
    let words = |actions: &[Action]| -> Vec<&'static str> {
        actions.iter().map(|action| action.as_str()).collect()
    };
    let (some, none) = (words(&wanted.in_projects), words(&wanted.beside_projects));
    if !(some.is_empty() && none.is_empty()) {
        query = query.filter(
            events::action
                .eq_any(words(&wanted.actions))
                .or(events::action
                    .eq_any(some)
                    .and(events::project_id.is_not_null()))
                .or(events::action
                    .eq_any(none)
                    .and(events::project_id.is_null())),
        );
    } else if !wanted.actions.is_empty() {
        query = query.filter(events::action.eq_any(words(&wanted.actions)));
    }
    if let Some(from) = wanted.from {
        query = query.filter(events::at.ge(from.as_micros()));
    }
    if let Some(until) = wanted.until {
        query = query.filter(events::at.lt(until.as_micros()));
    }
    if let Some(before) = wanted.before {
        query = query.filter(events::id.lt(Id::from(before)));
    }
    if let Some(after) = wanted.after {
        query = query.filter(events::id.gt(Id::from(after)));
        return query.order(events::id.asc()).load(connection);
    }
    query.order(events::id.desc()).load(connection)
}
