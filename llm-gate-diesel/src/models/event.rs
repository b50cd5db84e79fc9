use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Action, Actor, Author, Event, Target};

use super::session::address;
use super::{Id, text};
use crate::error::Failure;
use crate::schema::events;

/// Something that was done. JSON's null is no text at all.
#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
pub(crate) struct EventRow {
    id: Id,
    at: i64,
    actor: String,
    actor_user: Option<Id>,
    actor_key: Option<Id>,
    address: Option<String>,
    request: Option<String>,
    action: String,
    target_kind: String,
    target_id: String,
    project_id: Option<Id>,
    before: Option<String>,
    after: Option<String>,
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        let author = &event.author;
        let (actor, user, key) = author.actor.parts();
        let json = |value: &serde_json::Value| (!value.is_null()).then(|| value.to_string());
        Self {
            id: event.id.into(),
            at: author.at.as_micros(),
            actor: actor.to_owned(),
            actor_user: user.map(Id::from),
            actor_key: key.map(Id::from),
            address: author.address.map(|address| address.to_string()),
            request: author.request.clone().map(text),
            action: event.action.as_str().to_owned(),
            target_kind: text(event.target.kind.clone()),
            target_id: text(event.target.id.clone()),
            project_id: event.project.map(Id::from),
            before: json(&event.before),
            after: json(&event.after),
        }
    }
}

impl TryFrom<EventRow> for Event {
    type Error = Failure;

    fn try_from(row: EventRow) -> Result<Self, Failure> {
        let json = |text: Option<String>| {
            let value = text.as_deref().map(serde_json::from_str).transpose();
            let value = value.map_err(|_| Failure::corrupt("an event that is no JSON"))?;
            Ok::<_, Failure>(value.unwrap_or_default())
        };
        let (user, key) = (row.actor_user.map(Id::into), row.actor_key.map(Id::into));
        let author = Author {
            actor: Actor::from_parts(&row.actor, user, key)
                .ok_or_else(|| Failure::corrupt("an event of an unknown actor"))?,
            at: Timestamp::from_micros(row.at),
            address: address(row.address.as_deref())?,
            request: row.request,
        };
        Ok(Self {
            id: row.id.into(),
            author,
            action: Action::from_word(&row.action)
                .ok_or_else(|| Failure::corrupt("an event of unknown kind"))?,
            target: Target {
                kind: row.target_kind,
                id: row.target_id,
            },
            project: row.project_id.map(Id::into),
            before: json(row.before)?,
            after: json(row.after)?,
        })
    }
}
