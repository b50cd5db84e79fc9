//! What was done.

use std::net::IpAddr;

use jiff::Timestamp as Moment;
use llm_gate::identity::{EventId, KeyId, ProjectId, UserId};
use llm_gate::store::{Action, Event};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::moment;

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    #[schema(value_type = String, format = Uuid)]
    id: EventId,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    at: Option<Moment>,
    /// `system`, `anonymous`, `operator`, `user` or `key`.
    actor: &'static str,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    actor_id: Option<UserId>,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    key_id: Option<KeyId>,
    #[schema(required, value_type = Option<String>)]
    address: Option<IpAddr>,
    #[schema(required)]
    request_id: Option<String>,
    #[schema(value_type = String)]
    action: Action,
    /// What it was done to: a kind.
    target: String,
    target_id: String,
    #[schema(required, value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    /// What was different before; null where it did not exist.
    #[schema(value_type = Option<Object>)]
    before: Value,
    /// What is different now; null where it does not exist any more.
    #[schema(value_type = Option<Object>)]
    after: Value,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        let (actor, actor_id, key_id) = event.author.actor.parts();
        Self {
            id: event.id,
            at: moment(event.author.at),
            actor,
            actor_id,
            key_id,
            address: event.author.address,
            request_id: event.author.request,
            action: event.action,
            target: event.target.kind,
            target_id: event.target.id,
            project_id: event.project,
            before: event.before,
            after: event.after,
        }
    }
}

/// A page of events, newest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct Events {
    pub(crate) events: Vec<EventView>,
    /// Where the next page begins; null on the last one.
    #[schema(required, value_type = Option<String>)]
    pub(crate) next_cursor: Option<EventId>,
}
