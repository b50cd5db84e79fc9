use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::Subject;
use llm_gate::store::{
    Actor, KeyName, Limit, LimitChange, LimitKey, ProjectRole, Standing, StoreErrorKind, Zone,
};
use serde_json::{Value, json};

use super::caller::Steward;
use super::document::NoContent;
use super::error::ApiError;
use super::fields::{Fields, ID, Input, Json, JsonOrQuery, MODEL, Page, Query, TOKENS};
use super::views::{LimitView, Limits};
use super::{projects, words};
use crate::app::App;

/// What the limits for everybody are set on.
const GENERAL: [Subject; 4] = [
    Subject::Platform,
    Subject::EACH_USER,
    Subject::EACH_PROJECT,
    Subject::EACH_KEY,
];

/// Whose limits are wanted, and which page of them.
pub(super) struct Whose {
    subject: Option<Subject>,
    page: Page<String>,
}

impl Input for Whose {
    const NAME: &'static str = "Whose";

    fn read(fields: &mut Fields) -> Option<Self> {
        let subject = subject(fields);
        let page = Page::read(fields)?;
        Some(Self { subject, page })
    }

    fn example() -> Value {
        json!({ "subject": "platform" })
    }
}

/// Lists the limits in force for a subject, with how it stands on them, page by page.
///
/// Without a subject, those that hold for all, which admins see. Others see those of themselves, of projects that they
/// manage, and of their keys.
#[utoipa::path(
    get,
    path = "/api/v1/limits",
    responses((status = 404, description = "No such user, project or key, or not one of the caller's"))
)]
pub(super) async fn list(
    State(app): State<App>,
    steward: Steward,
    Query(Whose { subject, page }): Query<Whose>,
) -> Result<Answer<Limits>, ApiError> {
    let mut limits = Vec::new();
    match subject {
        None => {
            general(&steward)?;
            for subject in GENERAL {
                limits.extend(of(&app, subject).await?);
            }
        }
        Some(subject) => {
            power(&app, &steward, subject).await?;
            limits = of(&app, subject).await?;
        }
    }
    let page = page.of_all(limits, LimitView::name);
    Ok(Answer(Limits {
        limits: page.entries,
        next_cursor: page.next,
    }))
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

/// A limit to be set.
pub(super) struct NewLimit(Limit);

impl Input for NewLimit {
    const NAME: &'static str = "NewLimit";

    fn read(fields: &mut Fields) -> Option<Self> {
        let key = key(fields);
        let zone = fields.optional(
            "zone",
            "Whose clocks days and months follow: an IANA name, UTC unless said",
            &words::ZONE,
        );
        let amount = fields.required("amount", "How much; of money in millionths", &TOKENS);
        Some(Self(Limit {
            key: key?,
            zone: zone.unwrap_or(Zone::UTC),
            amount: amount?,
            voluntary: false,
        }))
    }

    fn example() -> Value {
        json!({ "subject": "user", "unit": "tokens", "period": "month", "zone": "Europe/Berlin", "amount": 1_000_000 })
    }
}

/// Sets a limit, or changes it.
///
/// It is in force for the next reservation. Admins set any. Whoever manages a project sets those of its keys; its owners
/// set and lower those of the project, everybody those of the own account and keys, and nobody of them raises one. With
/// an API key they lower those of keys too, and raise none.
#[utoipa::path(
    put,
    path = "/api/v1/limits",
    responses(
        (status = 404, description = "No such user, project or key, or not one of the caller's"),
        (status = 409, description = "There are as many limits as one may have"),
    )
)]
pub(super) async fn set(
    State(app): State<App>,
    steward: Steward,
    Json(NewLimit(limit)): Json<NewLimit>,
) -> Result<Answer<LimitView>, ApiError> {
    let only_down = power(&app, &steward, limit.key.subject)
        .await?
        .only_down()?;
    let change = LimitChange {
        only_down,
        ..LimitChange::set(limit.clone(), steward.author())
    };
    let standings = change_all(&app, vec![change]).await?;
    let standing = standings.and_then(|mut all| all.pop());
    let standing = standing.ok_or_else(raised)?;
    let standing = Some(standing).filter(|_| is_one(limit.key.subject));
    // Whether it is voluntary depends on what was there before.
    let kept = app.store.limits(Some(limit.key.subject)).await?;
    let kept = kept.into_iter().find(|kept| kept.key == limit.key);
    let limit = kept.unwrap_or(limit);
    Ok(Answer(LimitView::new(&limit, standing.as_ref())))
}

/// Sets and removes limits, all or none; `None` where one would be raised that must not.
pub(super) async fn change_all(
    app: &App,
    changes: Vec<LimitChange>,
) -> Result<Option<Vec<Standing>>, ApiError> {
    let changed = app.store.change_limits(changes).await;
    changed.map_err(|error| match error.kind() {
        StoreErrorKind::Conflict => {
            let words = "there are as many limits as one may have";
            ApiError::new(StatusCode::CONFLICT, words)
        }
        _ => error.into(),
    })
}

/// What somebody may do with the limits of a subject.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    All,
    /// To set one where there is none, and to lower it.
    Lower,
    See,
}

impl Power {
    /// Takes what a key may not do: it would raise or remove the limits that it has itself.
    const fn with(self, key: Option<KeyName>) -> Self {
        match self {
            Self::All if key.is_some() => Self::Lower,
            other => other,
        }
    }

    /// Returns whether it is for lowering only.
    fn only_down(self) -> Result<bool, ApiError> {
        match self {
            Self::All => Ok(false),
            Self::Lower => Ok(true),
            Self::See => Err(ApiError::forbidden(
                "only owners of the project may do that",
            )),
        }
    }
}

fn raised() -> ApiError {
    ApiError::forbidden("the limit can only be lowered: ask an admin")
}

/// Refuses those who are no admins what holds for everybody.
fn general(steward: &Steward) -> Result<(), ApiError> {
    match steward {
        Steward::Admin(_) => Ok(()),
        Steward::Owner(_) => Err(ApiError::forbidden(
            "only admins see and set the limits of everybody",
        )),
    }
}

/// Finds out what somebody may do with the limits of a subject. What is not the caller's looks as if it did not exist.
async fn power(app: &App, steward: &Steward, subject: Subject) -> Result<Power, ApiError> {
    let Steward::Owner(account) = steward else {
        known(app, subject).await?;
        let own = match steward.author().actor {
            Actor::Key(key, _) => Subject::Key(key) == subject,
            _ => false,
        };
        return Ok(if own { Power::Lower } else { Power::All });
    };
    if !is_one(subject) || subject == Subject::Platform {
        general(steward)?;
    }
    match subject {
        Subject::User(id) if id == account.user.id => Ok(Power::Lower),
        Subject::Project(id) => {
            let place = projects::place(app, account, &id.to_string()).await?;
            let place = place.managed()?;
            Ok(match place.membership.role {
                ProjectRole::Owner => Power::Lower,
                _ => Power::See,
            })
        }
        Subject::Key(id) => {
            let key = app.store.key_of_member(id, account.user.id).await?;
            let key = key.ok_or_else(|| unknown(subject))?;
            let membership = app.store.membership(key.project, account.user.id).await?;
            match membership {
                Some(membership) if membership.role.manages() => Ok(Power::All.with(account.key)),
                Some(_) if key.user == account.user.id => Ok(Power::Lower),
                _ => Err(unknown(subject)),
            }
        }
        _ => Err(unknown(subject)),
    }
}

/// What names a limit.
pub(super) struct LimitName(LimitKey);

impl Input for LimitName {
    const NAME: &'static str = "LimitName";

    fn read(fields: &mut Fields) -> Option<Self> {
        key(fields).map(Self)
    }

    fn example() -> Value {
        json!({ "subject": "user", "unit": "tokens", "period": "month" })
    }
}

/// Removes a limit. Whoever may only lower one may not do that.
#[utoipa::path(
    delete,
    path = "/api/v1/limits",
    responses((status = 404, description = "No such limit, user, project or key, or not one of the caller's"))
)]
pub(super) async fn remove(
    State(app): State<App>,
    steward: Steward,
    JsonOrQuery(LimitName(key)): JsonOrQuery<LimitName>,
) -> Result<NoContent, ApiError> {
    let only_down = power(&app, &steward, key.subject).await?.only_down()?;
    let set = app.store.limits(Some(key.subject)).await?;
    if !set.iter().any(|limit| limit.key == key) {
        return Err(ApiError::not_found("no such limit"));
    }
    if only_down {
        return Err(raised());
    }
    let change = LimitChange::remove(key, steward.author());
    app.store.change_limit(change).await?;
    Ok(NoContent)
}

async fn known(app: &App, subject: Subject) -> Result<(), ApiError> {
    if app.store.knows(subject).await? {
        return Ok(());
    }
    Err(unknown(subject))
}

fn unknown(subject: Subject) -> ApiError {
    ApiError::not_found(match subject {
        Subject::User(_) => "no such user",
        Subject::Project(_) => "no such project",
        _ => "no such API key",
    })
}

/// Takes what names a limit; what is wrong with it is noted.
fn key(fields: &mut Fields) -> Option<LimitKey> {
    let kind = fields.required("subject", KIND, &words::SUBJECT);
    let subject = which(fields, kind);
    let model = fields.optional("model", "The model; all together unless said", &MODEL);
    let unit = fields.required("unit", "What is counted", &words::UNIT);
    let period = fields.required("period", "For how long it counts", &words::PERIOD);
    Some(LimitKey {
        subject: subject?,
        model: model.map(Into::into),
        unit: unit?,
        period: period?,
    })
}

/// Takes a subject, if it is there: a kind, and which one of it.
fn subject(fields: &mut Fields) -> Option<Subject> {
    let kind = fields.optional("subject", KIND, &words::SUBJECT);
    which(fields, kind)
}

const KIND: &str = "Whose limit it is";

/// Takes which one of a kind is meant.
fn which(fields: &mut Fields, kind: Option<&'static str>) -> Option<Subject> {
    let id = fields.optional(
        "id",
        "Which one; each that has no limit of its own unless said",
        &ID,
    );
    let Some(kind) = kind else {
        if id.is_some() && !fields.refused("subject") {
            fields.refuse("subject", "is required with an id");
        }
        return None;
    };
    let subject = words::subject_of(kind, id);
    if subject.is_none() {
        fields.refuse("id", "there is one platform, without an id");
    }
    subject.filter(|_| !fields.refused("id"))
}
