//! The limits of a project on each model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::error::Rejection;
use llm_gate::identity::{ProjectId, Subject};
use llm_gate::store::{Author, Limit, LimitChange, LimitKey, Limits, Period, Unit, Zone};
use llm_gate::tokens::Amount;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::list::{Entry, List, limit, place};
use super::projects;
use crate::api::caller::{Admin, By};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, Path, Query, TOKENS};
use crate::api::limits::change_all;
use crate::app::App;

/// How many limits are listed unless asked for.
const SIZE: u32 = 100;
/// When to come back while the upstream's models are not known.
const RETRY: Duration = Duration::from_secs(2);
const NO_RATE: &str = "no such rate limit";
/// What stands before the name of the model.
const PREFIX: &str = "rl-";

const REQUESTS_MINUTE: (Unit, Period) = (Unit::Requests, Period::Minute);
const TOKENS_MINUTE: (Unit, Period) = (Unit::Tokens, Period::Minute);
const REQUESTS_DAY: (Unit, Period) = (Unit::Requests, Period::Day);

/// Returns the id of the limits of a project on a model.
pub(super) fn id(model: &str) -> String {
    format!("{PREFIX}{model}")
}

/// Returns what the API calls a limit, if it has it.
pub(super) fn word(unit: Unit, period: Period) -> Option<&'static str> {
    match (unit, period) {
        REQUESTS_MINUTE => Some("max_requests_per_1_minute"),
        TOKENS_MINUTE => Some("max_tokens_per_1_minute"),
        REQUESTS_DAY => Some("max_requests_per_1_day"),
        _ => None,
    }
}

/// What a project may use of a model. 9007199254740991, the largest limit there is, stands for none.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationRateLimit)]
pub(super) struct RateView {
    object: &'static str,
    id: String,
    model: String,
    #[schema(value_type = i64, minimum = 0)]
    max_requests_per_1_minute: Amount,
    #[schema(value_type = i64, minimum = 0)]
    max_tokens_per_1_minute: Amount,
    #[schema(value_type = i64, minimum = 0)]
    max_requests_per_1_day: Amount,
}

impl RateView {
    fn new(model: &str, limits: &BTreeMap<(&str, Unit, Period), Amount>) -> Self {
        let limit = |(unit, period)| {
            let limit = limits.get(&(model, unit, period));
            limit.copied().unwrap_or(Amount::MAX)
        };
        Self {
            object: "project.rate_limit",
            id: id(model),
            model: model.to_owned(),
            max_requests_per_1_minute: limit(REQUESTS_MINUTE),
            max_tokens_per_1_minute: limit(TOKENS_MINUTE),
            max_requests_per_1_day: limit(REQUESTS_DAY),
        }
    }
}

impl Entry for RateView {
    const LIST: &'static str = "OrganizationRateLimits";

    fn id(&self) -> String {
        self.id.clone()
    }
}

/// Reads the limits of a project and those for each one.
async fn limits_of(app: &App, project: Subject) -> Result<Limits, ApiError> {
    let mut limits = Limits::default();
    for subject in [project, Subject::EACH_PROJECT] {
        for limit in app.store.limits(Some(subject)).await? {
            limits.put(limit);
        }
    }
    Ok(limits)
}

/// Reads the limits in force for a project on each model that is served or limited, in the order of their names.
async fn rates(app: &App, project: ProjectId) -> Result<Vec<RateView>, ApiError> {
    let subject = Subject::Project(project);
    let limits = limits_of(app, subject).await?;
    let mut amounts = BTreeMap::new();
    for limit in limits.in_force(subject) {
        let LimitKey {
            model,
            unit,
            period,
            ..
        } = &limit.key;
        let shown = word(*unit, *period).is_some();
        if let Some(model) = model.as_deref().filter(|_| shown) {
            amounts.insert((model, *unit, *period), limit.amount);
        }
    }
    let served = app.catalog.seen().list.ok_or_else(|| {
        let words = "the models of the upstream are not known yet";
        ApiError::from(Rejection::unavailable(words, RETRY))
    })?;
    let mut models: BTreeSet<&str> = served.iter().map(|model| &*model.id).collect();
    models.extend(amounts.keys().map(|(model, _, _)| *model));
    let view = |model| RateView::new(model, &amounts);
    Ok(models.into_iter().map(view).collect())
}

/// Which limits are wanted.
pub(super) struct Wanted {
    limit: u32,
    after: Option<String>,
    before: Option<String>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationRateLimitQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            limit: limit(fields, SIZE),
            after: place(
                fields,
                "after",
                "Only entries behind the one with this `id`",
            ),
            before: place(
                fields,
                "before",
                "Only entries before the one with this `id`",
            ),
        })
    }

    fn example() -> Value {
        json!({ "limit": SIZE })
    }
}

/// Lists what a project may use of each model.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/rate_limits",
    responses(
        (status = 404, description = "No such project, or it is archived"),
        (status = 503, description = "The models or the store are not known yet"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Path(project): Path<String>,
    Query(Wanted {
        limit,
        after,
        before,
    }): Query<Wanted>,
) -> Result<Answer<List<RateView>>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let mut found = rates(&app, project).await?;
    found.retain(|rate| {
        after.as_ref().is_none_or(|after| rate.id > *after)
            && before.as_ref().is_none_or(|before| rate.id < *before)
    });
    let limit = limit as usize;
    let has_more = found.len() > limit;
    // Whoever reads back wants what is next to where it was.
    if before.is_some() && after.is_none() {
        found.drain(..found.len().saturating_sub(limit));
    }
    found.truncate(limit);
    Ok(Answer(List::new(found, has_more)))
}

/// What of the limits is to be different.
pub(super) struct Changes {
    wanted: [(Unit, Period, Option<Amount>); 3],
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationRateLimitChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        let mut wanted = |name, about, (unit, period)| {
            let amount = fields.optional(name, about, &TOKENS);
            (unit, period, amount)
        };
        let wanted = [
            wanted(
                "max_requests_per_1_minute",
                "How many requests a minute; the largest number for no limit",
                REQUESTS_MINUTE,
            ),
            wanted(
                "max_tokens_per_1_minute",
                "How many tokens a minute; the largest number for no limit",
                TOKENS_MINUTE,
            ),
            wanted(
                "max_requests_per_1_day",
                "How many requests a day, of the zone that the limit has, UTC where there is none; the largest \
                 number for no limit",
                REQUESTS_DAY,
            ),
        ];
        Some(Self { wanted })
    }

    fn example() -> Value {
        json!({ "max_requests_per_1_minute": 60 })
    }
}

/// Changes what a project may use of a model. It is in force for the next reservation.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}",
    params(("rate_limit_id" = String, Path, description = "`rl-` and the name of the model")),
    responses(
        (status = 404, description = "No such project, or a model that is neither served nor limited"),
        (status = 409, description = "The project has as many limits as it may"),
        (status = 503, description = "The models or the store are not known yet"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path((project, id)): Path<(String, String)>,
    Json(Changes { wanted }): Json<Changes>,
) -> Result<Answer<RateView>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let named = async || {
        let mut rates = rates(&app, project).await?.into_iter();
        Ok::<_, ApiError>(rates.find(|rate| rate.id == id))
    };
    let known = named().await?.ok_or_else(|| ApiError::not_found(NO_RATE))?;
    let model = known.model;
    let subject = Subject::Project(project);
    let limits = limits_of(&app, subject).await?;
    let change = |(unit, period, amount): (Unit, Period, Option<Amount>)| {
        let key = LimitKey {
            subject,
            model: Some(model.as_str().into()),
            unit,
            period,
        };
        changed(key, amount?, &limits, author.clone())
    };
    let changes = wanted.into_iter().filter_map(change).collect();
    change_all(&app, changes).await?;
    // A model that is not served is not listed when its last limit is gone.
    let rate = named().await?;
    let rate = rate.unwrap_or_else(|| RateView::new(&model, &BTreeMap::new()));
    Ok(Answer(rate))
}

/// Makes the change that sets a limit, or removes it where it would be none; no change where there is none. What holds for
/// each project is lifted by one of its own that is as good as none.
///
/// Its day goes on by the clocks that it has begun by.
fn changed(key: LimitKey, amount: Amount, limits: &Limits, author: Author) -> Option<LimitChange> {
    let subject = key.subject;
    let each = subject.each().map(|subject| LimitKey {
        subject,
        ..key.clone()
    });
    let each = each.is_some_and(|key| limits.get(&key).is_some());
    if amount == Amount::MAX && !each {
        limits.get(&key)?;
        return Some(LimitChange::remove(key, author));
    }
    let same = |limit: &&Limit| {
        let LimitKey { unit, period, .. } = limit.key;
        (unit, period, &limit.key.model) == (key.unit, key.period, &key.model)
    };
    let in_force = limits.in_force(subject).find(same);
    let zone = in_force.map_or(Zone::UTC, |limit| limit.zone.clone());
    let limit = Limit {
        key,
        zone,
        amount,
        voluntary: false,
    };
    Some(LimitChange::set(limit, author))
}
