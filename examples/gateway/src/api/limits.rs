use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::Subject;
use llm_gate::store::{Limit, LimitChange, LimitKey, Period, Standing, Unit, Zone};
use serde_json::{Value, json};
use uuid::Uuid;

use super::caller::Admin;
use super::error::ApiError;
use super::fields::{Fields, Json, JsonOrQuery, QueryFields};
use super::views::LimitView;
use crate::app::App;

/// What the limits for everybody are set on.
const GENERAL: [Subject; 4] = [
    Subject::Platform,
    Subject::EACH_USER,
    Subject::EACH_PROJECT,
    Subject::EACH_KEY,
];

/// Lists the limits in force for a subject, with how it stands on them; without a subject, those for all.
pub(super) async fn list(
    State(app): State<App>,
    Admin: Admin,
    QueryFields(mut fields): QueryFields,
) -> Result<Answer<Value>, ApiError> {
    let subject = subject(&mut fields);
    fields.finish()?;
    let mut limits = Vec::new();
    match subject {
        None => {
            for subject in GENERAL {
                limits.extend(of(&app, subject).await?);
            }
        }
        Some(subject) => {
            known(&app, subject).await?;
            limits = of(&app, subject).await?;
        }
    }
    Ok(Answer(json!({ "limits": limits })))
}

async fn of(app: &App, subject: Subject) -> Result<Vec<LimitView>, ApiError> {
    if is_one(subject) {
        let standings = app.store.standings(subject, app.clock.now()).await?;
        let view = |(limit, standing): (Limit, Standing)| LimitView::new(&limit, Some(&standing));
        return Ok(standings.into_iter().map(view).collect());
    }
    // What stands for each of a kind uses nothing itself.
    let limits = app.store.limits(Some(subject)).await?;
    let view = |limit: &Limit| LimitView::new(limit, None);
    Ok(limits.iter().map(view).collect())
}

/// Returns whether a subject is one, and not each of a kind.
fn is_one(subject: Subject) -> bool {
    subject.each() != Some(subject)
}

/// Sets a limit, or changes it. It is in force for the next reservation.
pub(super) async fn set(
    State(app): State<App>,
    Admin: Admin,
    Json(mut fields): Json,
) -> Result<Answer<LimitView>, ApiError> {
    let key = key(&mut fields);
    let zone = fields
        .text("zone")
        .map_or(Ok(Zone::UTC), |text| text.parse());
    let zone = zone.unwrap_or_else(|error: llm_gate::store::UnknownZone| {
        fields.refuse("zone", error.to_string());
        Zone::UTC
    });
    let amount = fields.amount("amount");
    fields.finish()?;
    let (Some(key), Some(amount)) = (key, amount) else {
        return Err(ApiError::defect(&"a field is missing that was not refused"));
    };
    known(&app, key.subject).await?;
    let limit = Limit { key, zone, amount };
    let change = LimitChange::set(limit.clone(), app.clock.now());
    let standing = app.store.change_limit(change).await?;
    let standing = standing.filter(|_| is_one(limit.key.subject));
    Ok(Answer(LimitView::new(&limit, standing.as_ref())))
}

/// Removes a limit.
pub(super) async fn remove(
    State(app): State<App>,
    Admin: Admin,
    JsonOrQuery(mut fields): JsonOrQuery,
) -> Result<StatusCode, ApiError> {
    let key = key(&mut fields);
    fields.finish()?;
    let Some(key) = key else {
        return Err(ApiError::defect(&"a field is missing that was not refused"));
    };
    known(&app, key.subject).await?;
    let set = app.store.limits(Some(key.subject)).await?;
    if !set.iter().any(|limit| limit.key == key) {
        return Err(ApiError::not_found("no such limit"));
    }
    let change = LimitChange::remove(key, app.clock.now());
    app.store.change_limit(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn known(app: &App, subject: Subject) -> Result<(), ApiError> {
    if app.store.knows(subject).await? {
        return Ok(());
    }
    Err(ApiError::not_found(match subject {
        Subject::User(_) => "no such user",
        Subject::Project(_) => "no such project",
        _ => "no such API key",
    }))
}

/// Takes what names a limit; what is wrong with it is noted.
fn key(fields: &mut Fields) -> Option<LimitKey> {
    let subject = subject(fields);
    if subject.is_none() && !fields.refused("subject") && !fields.refused("id") {
        fields.refuse("subject", "is required");
    }
    let model = fields.model("model");
    let unit = fields.word("unit", Unit::from_word, "must be tokens, requests or money");
    let period = fields.word(
        "period",
        Period::from_word,
        "must be total, month, day or minute",
    );
    Some(LimitKey {
        subject: subject?,
        model: model.map(Into::into),
        unit: unit?,
        period: period?,
    })
}

/// Takes a subject, if it is there: a kind, and which one of it.
fn subject(fields: &mut Fields) -> Option<Subject> {
    const KINDS: &str = "must be user, project, key or platform";
    let kind = fields.text("subject");
    let id = fields.text("id").map(|text| text.parse::<Uuid>());
    let id = match id {
        None => Uuid::nil(),
        Some(Ok(id)) if !id.is_nil() => id,
        Some(_) => {
            fields.refuse("id", "must be an identifier");
            return None;
        }
    };
    let Some(kind) = kind else {
        if !id.is_nil() {
            fields.refuse("subject", "is required with an id");
        }
        return None;
    };
    let subject = Subject::from_parts(&kind, id);
    if kind == "platform" && !id.is_nil() {
        fields.refuse("id", "there is one platform, without an id");
    } else if subject.is_none() {
        fields.refuse("subject", KINDS);
    }
    subject
}
