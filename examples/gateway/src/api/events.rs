//! What was done, by whom, to what.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{EventId, ProjectId, UserId};
use llm_gate::store::{Action, EventQuery};

use serde_json::{Value, json};

use super::caller::Steward;
use super::error::ApiError;
use super::fields::{Fields, ID, Input, MOMENT, Page, Query, TEXT};
use super::projects::{NO_PROJECT, place};
use super::views::{EventView, Events};
use super::words::ACTION;
use crate::app::App;

/// Which events are wanted.
pub(super) struct Wanted {
    page: Page<EventId>,
    query: EventQuery,
}

impl Input for Wanted {
    const NAME: &'static str = "EventQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let page = Page::read(fields);
        let micros = |at: jiff::Timestamp| Timestamp::from_micros(at.as_microsecond());
        let query = EventQuery {
            projects: Vec::from_iter(
                fields
                    .optional("project_id", "Only those of this project", &ID)
                    .map(ProjectId::from_uuid),
            ),
            actors: Vec::from_iter(
                fields
                    .optional(
                        "actor_id",
                        "Only what this user did, by login or by key",
                        &ID,
                    )
                    .map(UserId::from_uuid),
            ),
            targets: Vec::from_iter(fields.optional(
                "target_id",
                "Only what was done to this",
                &TEXT,
            )),
            actions: fields
                .optional("action", "Only what was done like this", &ACTION)
                .map_or_else(Vec::new, |action: Action| vec![action]),
            from: fields
                .optional("from", "Only those at or after this moment", &MOMENT)
                .map(micros),
            until: fields
                .optional("until", "Only those before this moment", &MOMENT)
                .map(micros),
            ..EventQuery::default()
        };
        Some(Self { page: page?, query })
    }

    fn example() -> Value {
        json!({"limit": 50})
    }
}

/// Lists what was done, newest first: everything for admins of the platform, that of a project for those who manage it,
/// and without a project what the caller did.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn list(
    State(app): State<App>,
    steward: Steward,
    Query(Wanted { page, mut query }): Query<Wanted>,
) -> Result<Answer<Events>, ApiError> {
    match (&steward, query.projects.first()) {
        // One that is archived, too.
        (Steward::Admin(_), Some(project)) => {
            let found = app.store.project(*project).await?;
            found.ok_or_else(|| ApiError::not_found(NO_PROJECT))?;
        }
        (Steward::Admin(_), None) => {}
        (Steward::Owner(account), Some(project)) => {
            place(&app, account, &project.to_string())
                .await?
                .managed()?;
        }
        // What others do outside of projects is for admins to see.
        (Steward::Owner(account), None) => {
            let own = account.user.id;
            if query.actors.iter().any(|actor| *actor != own) {
                return Err(ApiError::forbidden(
                    "what others did is for admins, and in a project for those who manage it",
                ));
            }
            query.actors = vec![own];
        }
    }
    query.before = page.after;
    let found = app.store.events(query, page.ask()).await?;
    let page = page.of(found, |event| event.id);
    Ok(Answer(Events {
        events: page.entries.into_iter().map(EventView::from).collect(),
        next_cursor: page.next,
    }))
}
