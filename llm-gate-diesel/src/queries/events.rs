use diesel::prelude::*;
use llm_gate::store::EventQuery;

use super::Connection;
use crate::models::{EventRow, Id, text};
use crate::schema::events;

/// Writes what was done.
pub(crate) fn insert(connection: &mut Connection, rows: &[EventRow]) -> QueryResult<usize> {
    diesel::insert_into(events::table)
        .values(rows)
        .execute(connection)
}

/// Lists what was done, newest first.
pub(crate) fn find(
    connection: &mut Connection,
    wanted: &EventQuery,
    limit: u32,
) -> QueryResult<Vec<EventRow>> {
    let mut query = events::table
        .order(events::id.desc())
        .limit(limit.into())
        .select(EventRow::as_select())
        .into_boxed();
    if let Some(project) = wanted.project {
        query = query.filter(events::project_id.eq(Id::from(project)));
    }
    if let Some(actor) = wanted.actor {
        query = query.filter(events::actor_user.eq(Id::from(actor)));
    }
    if let Some(target) = &wanted.target {
        query = query.filter(events::target_id.eq(text(target.clone())));
    }
    if !wanted.actions.is_empty() {
        let actions = wanted.actions.iter().map(|action| action.as_str());
        query = query.filter(events::action.eq_any(actions));
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
    query.load(connection)
}
