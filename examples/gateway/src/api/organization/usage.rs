//! What was used, in buckets of time.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::call::Route;
use llm_gate::identity::{KeyId, ProjectId, UserId};
use llm_gate::store::{BucketQuery, BucketRow, BucketWidth};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::buckets::{
    ANY_GROUP, Buckets, GROUP, Group, Span, Tally, UNLABELED, WIDTH, ids, models,
};
use crate::api::caller::Admin;
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, Input, List, Query, Whole, Word};
use crate::app::App;

/// How many buckets of a width a page has unless asked for, and at most.
const fn sizes(width: BucketWidth) -> (usize, usize) {
    match width {
        BucketWidth::Minute => (60, 1_440),
        BucketWidth::Hour => (24, 168),
        _ => (7, 31),
    }
}

/// Which usage is wanted.
pub(super) struct Wanted {
    span: Span,
    /// How many buckets there may be, where more are asked for.
    exceeded: Option<usize>,
    users: Vec<UserId>,
    projects: Vec<ProjectId>,
    keys: Vec<KeyId>,
    models: Vec<String>,
    groups: Vec<Group>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationUsageQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        Self::told_apart(fields, &GROUP, 4)
    }

    fn example() -> Value {
        json!({ "start_time": 1_767_225_600 })
    }
}

impl Wanted {
    /// Reads it, told apart by some of so many groups.
    fn told_apart(fields: &mut Fields, group: &Word<Group>, most: usize) -> Option<Self> {
        let width = fields.optional(
            "bucket_width",
            "How long buckets are, `1d` unless said",
            &WIDTH,
        );
        let width = width.unwrap_or(BucketWidth::Day);
        let limit = fields.optional(
            "limit",
            "How many buckets the page has at most: up to 31 days, 168 hours or 1440 minutes; unless said 7, 24 or 60",
            &Whole::new(1, 1_440, |limit| usize::try_from(limit).ok()),
        );
        let (size, buckets) = sizes(width);
        let exceeded = limit.filter(|limit| *limit > buckets).map(|_| buckets);
        let span = Span::read(fields, width, limit.unwrap_or(size));
        let users = ids(
            fields,
            "user_ids",
            "Only that of these users",
            UserId::from_uuid,
        );
        let projects = ids(
            fields,
            "project_ids",
            "Only that of these projects",
            ProjectId::from_uuid,
        );
        let keys = ids(
            fields,
            "api_key_ids",
            "Only that of these keys",
            KeyId::from_uuid,
        );
        let models = models(fields, "models", "Only that of these models");
        let groups = fields.several(
            "group_by",
            "What the sums of a bucket are told apart by; by nothing unless said",
            &List::new(group, 1, most),
        );
        Some(Self {
            span: span?,
            exceeded,
            users,
            projects,
            keys,
            models,
            groups,
        })
    }

    /// Adds up what is wanted of some routes.
    async fn tally<T: Tally>(
        self,
        app: &App,
        route: impl Fn(&Route) -> bool,
    ) -> Result<Answer<Buckets<T>>, ApiError> {
        if let Some(most) = self.exceeded {
            let words = format!("must be at most {most} for buckets of this width");
            return Err(ApiError::field("limit", words));
        }
        let routes = Route::ALL.iter().copied().filter(|one| route(one));
        let mut routes: Vec<String> = routes.map(|route| route.as_str().to_owned()).collect();
        if routes.is_empty() {
            // An empty list means all; no call has this one.
            routes.push(String::new());
        }
        let narrow = |query| BucketQuery {
            users: self.users,
            projects: self.projects,
            keys: self.keys,
            models: self.models,
            routes,
            ..query
        };
        let filled = Buckets::fill(app, &self.span, &self.groups, narrow).await;
        filled.map(Answer)
    }
}

/// Calls that generate. What they are not told apart by is null.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationCompletionsUsage)]
pub(super) struct CompletionsView {
    object: &'static str,
    #[schema(minimum = 0)]
    input_tokens: u64,
    #[schema(minimum = 0)]
    output_tokens: u64,
    /// The part of the input that came out of caches.
    #[schema(minimum = 0)]
    input_cached_tokens: u64,
    #[schema(minimum = 0)]
    num_model_requests: u64,
    #[schema(value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    api_key_id: Option<KeyId>,
    model: Option<String>,
    /// Never true: there are no batches.
    batch: Option<bool>,
    /// Always null: there are no tiers.
    service_tier: Option<&'static str>,
    /// `unlabeled` where it is asked for: a source has no name here.
    api_source: Option<&'static str>,
}

impl Tally for CompletionsView {
    const PAGE: &'static str = "OrganizationCompletionsUsages";

    fn new(BucketRow { key, sum, .. }: BucketRow, by: &[Group]) -> Self {
        Self {
            object: "organization.usage.completions.result",
            input_tokens: sum.prompt,
            output_tokens: sum.completion,
            input_cached_tokens: sum.cached,
            num_model_requests: sum.calls,
            project_id: key.project,
            user_id: key.user,
            api_key_id: key.key,
            model: key.model,
            batch: by.contains(&Group::Batch).then_some(false),
            service_tier: None,
            api_source: by.contains(&Group::Source).then_some(UNLABELED),
        }
    }
}

/// Which usage of calls that generate is wanted.
pub(super) struct WantedCompletions {
    wanted: Wanted,
    batch: bool,
}

impl Input for WantedCompletions {
    const NAME: &'static str = "OrganizationCompletionsUsageQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let wanted = Wanted::told_apart(fields, &ANY_GROUP, 7);
        let batch = fields.or(
            "batch",
            "Whether to add up batches, of which there are none, and not all other calls",
            &FLAG,
            false,
        );
        Some(Self {
            wanted: wanted?,
            batch,
        })
    }

    fn example() -> Value {
        Wanted::example()
    }
}

/// Adds up the calls that generate, whoever made them.
#[utoipa::path(get, path = "/v1/organization/usage/completions")]
pub(super) async fn completions(
    State(app): State<App>,
    _: Admin,
    Query(WantedCompletions { wanted, batch }): Query<WantedCompletions>,
) -> Result<Answer<Buckets<CompletionsView>>, ApiError> {
    wanted
        .tally(&app, |route| !batch && !matches!(route, Route::Embeddings))
        .await
}

/// Calls that embed. What they are not told apart by is null.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationEmbeddingsUsage)]
pub(super) struct EmbeddingsView {
    object: &'static str,
    #[schema(minimum = 0)]
    input_tokens: u64,
    #[schema(minimum = 0)]
    num_model_requests: u64,
    #[schema(value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    api_key_id: Option<KeyId>,
    model: Option<String>,
}

impl Tally for EmbeddingsView {
    const PAGE: &'static str = "OrganizationEmbeddingsUsages";

    fn new(BucketRow { key, sum, .. }: BucketRow, _: &[Group]) -> Self {
        Self {
            object: "organization.usage.embeddings.result",
            input_tokens: sum.prompt,
            num_model_requests: sum.calls,
            project_id: key.project,
            user_id: key.user,
            api_key_id: key.key,
            model: key.model,
        }
    }
}

/// Adds up the calls that embed, whoever made them.
#[utoipa::path(get, path = "/v1/organization/usage/embeddings")]
pub(super) async fn embeddings(
    State(app): State<App>,
    _: Admin,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Buckets<EmbeddingsView>>, ApiError> {
    wanted
        .tally(&app, |route| matches!(route, Route::Embeddings))
        .await
}
