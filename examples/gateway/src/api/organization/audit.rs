//! What was done, by whom, to what.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry as Known;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{EventId, KeyId, ProjectId, UserId};
use llm_gate::store::{Action, Actor, Event, EventQuery, User, UserKind};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::buckets::SECONDS;
use super::details::{self, told};
use super::list::{Entry, List, limit, place, seconds};
use super::users;
use crate::api::caller::Admin;
use crate::api::document::literal;
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, ID, Input, List as Several, Query, Text, Word};
use crate::api::people::EMAIL;
use crate::app::App;

/// How many events are listed unless asked for.
const SIZE: u32 = 20;
/// How many values a filter takes.
const MAX_VALUES: usize = 100;
/// How many types of events are asked for at once: more than there are, for scripts that name all they know.
const MAX_TYPES: usize = 256;
const SECOND: i64 = 1_000_000;

const TYPE: Word<&'static str> = Word::new(details::askable, details::known);

/// What something was done to: an identifier, or the name of a model.
const RESOURCE: Text<String> = Text::new(|text| match text.len() {
    1..=256 => Ok(text.to_owned()),
    _ => Err(Cow::Borrowed("must have 1 to 256 bytes")),
});

/// Something that was done.
#[derive(Serialize)]
pub(super) struct EventView {
    id: EventId,
    #[serde(rename = "type")]
    kind: &'static str,
    effective_at: i64,
    actor: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<Value>,
    llm_gate: Value,
    /// What the API tells of it, under its name.
    #[serde(flatten)]
    details: HashMap<&'static str, Value>,
}

impl PartialSchema for EventView {
    fn schema() -> RefOr<Schema> {
        literal(json!({
            "type": "object",
            "description": "Something that was done. What is known of it stands in a member that is called as its type.",
            "required": ["id", "type", "effective_at", "actor", "llm_gate"],
            "additionalProperties": true,
            "properties": {
                "id": { "type": "string", "format": "uuid" },
                "type": { "type": "string", "enum": details::all() },
                "effective_at": { "type": "integer", "format": "int64" },
                "actor": {
                    "type": "object",
                    "description": "A login (`session`) or an `api_key`, and the user behind it, if any.",
                    "required": ["type"],
                    "properties": {
                        "type": { "type": "string", "enum": ["session", "api_key"] },
                        "session": { "type": "object" },
                        "api_key": { "type": "object" }
                    }
                },
                "project": {
                    "type": "object",
                    "required": ["id"],
                    "properties": { "id": { "type": "string" }, "name": { "type": "string" } }
                },
                "llm_gate": {
                    "type": "object",
                    "description": "The same in the words of `GET /api/v1/audit`, with what was and what is."
                }
            }
        }))
    }
}

impl ToSchema for EventView {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("OrganizationEvent")
    }
}

impl Entry for EventView {
    const LIST: &'static str = "OrganizationEvents";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Which events are wanted.
pub(super) struct Wanted {
    limit: u32,
    query: EventQuery,
    actors: Vec<Uuid>,
    emails: Vec<String>,
    /// Whether it is something that never happens here.
    never: bool,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationEventQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = limit(fields, SIZE);
        let before = place(
            fields,
            "after",
            "Only events older than the one with this `id`",
        );
        let after = place(
            fields,
            "before",
            "Only events newer than the one with this `id`",
        );
        let mut moment = |name, about| fields.optional(name, about, &SECONDS);
        let later = |at: Timestamp| Timestamp::from_micros(at.as_micros() + SECOND);
        let from = [
            moment("effective_at[gt]", "Only events after this second").map(later),
            moment("effective_at[gte]", "Only events at or after this second"),
        ];
        let until = [
            moment("effective_at[lt]", "Only events before this second"),
            moment("effective_at[lte]", "Only events before or at this second").map(later),
        ];
        let projects = fields.several(
            "project_ids",
            "Only events that concern these projects",
            &Several::new(&ID, 1, MAX_VALUES),
        );
        let names = fields.several(
            "event_types",
            "Only events of these types; of some of them there are none here. Each unless said",
            &Several::new(&TYPE, 1, MAX_TYPES),
        );
        let actors = fields.several(
            "actor_ids",
            "Only what these users, service accounts or keys did",
            &Several::new(&ID, 1, MAX_VALUES),
        );
        let emails = fields.several(
            "actor_emails",
            "Only what the users with these addresses did",
            &Several::new(&EMAIL, 1, MAX_VALUES),
        );
        let targets = fields.several(
            "resource_ids",
            "Only what was done to these",
            &Several::new(&RESOURCE, 1, MAX_VALUES),
        );
        let tenants = fields.or(
            "tenant_only",
            "Whether to list events of a tenant of organizations, of which there are none, and not all others",
            &FLAG,
            false,
        );
        let mut query = EventQuery {
            projects: projects.into_iter().map(ProjectId::from_uuid).collect(),
            targets,
            from: from.into_iter().flatten().max(),
            until: until.into_iter().flatten().min(),
            before,
            after,
            ..EventQuery::default()
        };
        let some = details::ask(&mut query, &names);
        Some(Self {
            limit,
            query,
            actors,
            emails,
            never: tenants || !some,
        })
    }

    fn example() -> Value {
        json!({ "limit": SIZE })
    }
}

/// Lists what was done, newest first.
///
/// What the API has no word for is left out; it is in `GET /api/v1/audit`.
#[utoipa::path(get, path = "/v1/organization/audit_logs")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<List<EventView>>, ApiError> {
    let limit = wanted.limit as usize;
    let Some(query) = whose(&app, wanted).await? else {
        return Ok(Answer(List::new(Vec::new(), false)));
    };
    let back = query.after.is_some();
    let mut found = app
        .store
        .events(query, u32::try_from(limit + 1).unwrap_or(u32::MAX))
        .await?;
    let has_more = found.len() > limit;
    // The one too many is the farthest from where the list begins.
    if back {
        found.drain(..found.len().saturating_sub(limit));
    }
    found.truncate(limit);
    let (users, projects) = known(&app, &found).await?;
    // Each has a name: others were not asked for.
    let views = found
        .into_iter()
        .filter_map(|event| view(event, &users, &projects));
    Ok(Answer(List::new(views.collect(), has_more)))
}

/// Finds out whom the filters mean; `None` where that is nobody.
async fn whose(app: &App, wanted: Wanted) -> Result<Option<EventQuery>, ApiError> {
    let Wanted {
        mut query,
        actors,
        emails,
        never,
        ..
    } = wanted;
    if never {
        return Ok(None);
    }
    for id in &actors {
        let user = UserId::from_uuid(*id);
        query.actors.push(user);
        // It may be a key's, or that of a user who is gone.
        if app.store.user(user).await?.is_none() {
            query.keys.push(KeyId::from_uuid(*id));
        }
    }
    if !emails.is_empty() {
        let mut named = Vec::new();
        for email in emails {
            named.extend(users::of_address(app, email).await?.map(|user| user.id));
        }
        if !actors.is_empty() {
            named.retain(|user| query.actors.contains(user));
        }
        if named.is_empty() {
            return Ok(None);
        }
        query.actors = named;
        query.keys.clear();
    }
    Ok(Some(query))
}

type Users = HashMap<UserId, User>;
type Projects = HashMap<ProjectId, String>;

/// Reads who and what the events speak of, each once.
async fn known(app: &App, events: &[Event]) -> Result<(Users, Projects), ApiError> {
    let (mut users, mut projects) = (HashMap::new(), HashMap::new());
    for event in events {
        let (_, user, _) = event.author.actor.parts();
        for id in user.into_iter().chain(member(event)) {
            if let Known::Vacant(place) = users.entry(id) {
                place.insert(app.store.user(id).await?);
            }
        }
        if let Some(id) = event.project.filter(|id| !projects.contains_key(id)) {
            projects.insert(id, app.store.project(id).await?);
        }
    }
    let users = users.into_iter().filter_map(|(id, user)| Some((id, user?)));
    let named = |(id, project): (ProjectId, Option<_>)| {
        project.map(|project: llm_gate::store::Project| (id, project.name))
    };
    Ok((
        users.collect(),
        projects.into_iter().filter_map(named).collect(),
    ))
}

/// Returns the member who has another role, of whom the event does not say what it is.
fn member(event: &Event) -> Option<UserId> {
    let changed = event.action == Action::MemberChanged;
    changed.then(|| event.target.id.parse().ok()).flatten()
}

fn view(event: Event, users: &Users, projects: &Projects) -> Option<EventView> {
    let kind = details::name(&event)?;
    let member = member(&event).and_then(|id| users.get(&id));
    let own = details::own(&event, member.map(|user| user.kind));
    let details = details::of(&event);
    Some(EventView {
        id: event.id,
        kind,
        effective_at: seconds(event.author.at),
        actor: actor(&event, users),
        project: event
            .project
            .map(|id| told([("id", json!(id)), ("name", json!(projects.get(&id)))])),
        llm_gate: own.into(),
        details: HashMap::from([(kind, details)]),
    })
}

/// Tells who did it. Whoever is neither a user nor a key, such as the operator, has a session without a user.
fn actor(event: &Event, users: &Users) -> Value {
    let person = |id: UserId| {
        let email = users.get(&id).and_then(|user| user.email.as_deref());
        told([("id", json!(id)), ("email", json!(email))])
    };
    let session = |user: Value| {
        let address = event.author.address.map(|address| address.to_string());
        let session = told([("user", user), ("ip_address", json!(address))]);
        json!({ "type": "session", "session": session })
    };
    match event.author.actor {
        Actor::Key(key, user) => {
            let service = users.get(&user).map(|user| user.kind) == Some(UserKind::Service);
            let mut described = if service {
                json!({ "type": "service_account", "service_account": { "id": user } })
            } else {
                json!({ "type": "user", "user": person(user) })
            };
            described["id"] = json!(key);
            json!({ "type": "api_key", "api_key": described })
        }
        Actor::User(user) => session(person(user)),
        _ => session(Value::Null),
    }
}
