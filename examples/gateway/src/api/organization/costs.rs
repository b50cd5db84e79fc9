//! What calls cost, in buckets of time.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::{KeyId, ProjectId, UserId};
use llm_gate::store::{BucketQuery, BucketRow, BucketWidth};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::buckets::{Buckets, Group, Span, Tally, UNLABELED, ids, models};
use crate::api::caller::Admin;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, List, Query, Whole, Word};
use crate::app::App;

/// How many buckets a page has unless asked for.
const SIZE: usize = 7;
/// What money is counted in for clients: tariffs are set without saying so.
const CURRENCY: &str = "usd";
/// What a model is sold by.
const UNIT: &str = "tokens";

const WIDTH: Word<BucketWidth> = Word::new(
    || vec!["1d"],
    |word| BucketWidth::from_word(word).filter(|width| *width == BucketWidth::Day),
);

/// What costs can be told apart by. What is sold are models.
const GROUP: Word<Group> = Word::new(
    || {
        vec![
            "project_id",
            "user_id",
            "api_key_id",
            "line_item",
            "api_source",
        ]
    },
    |word| match word {
        "project_id" => Some(Group::Project),
        "user_id" => Some(Group::User),
        "api_key_id" => Some(Group::Key),
        "line_item" => Some(Group::Model),
        "api_source" => Some(Group::Source),
        _ => None,
    },
);

/// Which costs are wanted.
pub(super) struct Wanted {
    span: Span,
    projects: Vec<ProjectId>,
    keys: Vec<KeyId>,
    models: Vec<String>,
    groups: Vec<Group>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationCostsQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let width = fields.optional("bucket_width", "How long buckets are: days", &WIDTH);
        let limit = fields.optional(
            "limit",
            "How many buckets the page has at most, 7 unless said",
            &Whole::new(1, 180, |limit| usize::try_from(limit).ok()),
        );
        let width = width.unwrap_or(BucketWidth::Day);
        let span = Span::read(fields, width, limit.unwrap_or(SIZE));
        let projects = ids(
            fields,
            "project_ids",
            "Only those of these projects",
            ProjectId::from_uuid,
        );
        let keys = ids(
            fields,
            "api_key_ids",
            "Only those of these keys",
            KeyId::from_uuid,
        );
        let models = models(fields, "line_items", "Only those of these models");
        let groups = fields.several(
            "group_by",
            "What the costs of a bucket are told apart by; by nothing unless said",
            &List::new(&GROUP, 1, 5),
        );
        Some(Self {
            span: span?,
            projects,
            keys,
            models,
            groups,
        })
    }

    fn example() -> Value {
        json!({ "start_time": 1_767_225_600 })
    }
}

/// What calls cost. What they are not told apart by is null.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationCosts)]
pub(super) struct CostsView {
    object: &'static str,
    amount: AmountView,
    /// The model.
    line_item: Option<String>,
    #[schema(value_type = Option<String>, format = Uuid)]
    project_id: Option<ProjectId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    user_id: Option<UserId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    api_key_id: Option<KeyId>,
    /// `unlabeled` where it is asked for: a source has no name here.
    api_source: Option<&'static str>,
    /// The tokens, those of prompts and those that were generated, where it is asked for by line item.
    quantity: Option<u64>,
    /// `tokens` where there is a quantity.
    quantity_unit: Option<&'static str>,
}

/// An amount of money.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationAmount)]
pub(super) struct AmountView {
    /// Exact to the millionth.
    #[schema(value_type = f64, minimum = 0)]
    value: Box<RawValue>,
    currency: &'static str,
}

impl AmountView {
    /// Writes millionths as a number with a point, because a binary fraction would not be exact.
    fn new(micros: u64) -> Self {
        let digits = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let short = digits.trim_end_matches('0').trim_end_matches('.');
        let value = RawValue::from_string(short.to_owned());
        Self {
            value: value.expect("digits with a point between are a number"),
            currency: CURRENCY,
        }
    }
}

impl Tally for CostsView {
    const PAGE: &'static str = "OrganizationCostsPage";

    fn new(BucketRow { key, sum, .. }: BucketRow, by: &[Group]) -> Self {
        let quantity = by
            .contains(&Group::Model)
            .then(|| sum.prompt.saturating_add(sum.completion));
        Self {
            object: "organization.costs.result",
            amount: AmountView::new(sum.cost),
            line_item: key.model,
            project_id: key.project,
            user_id: key.user,
            api_key_id: key.key,
            api_source: by.contains(&Group::Source).then_some(UNLABELED),
            quantity,
            quantity_unit: quantity.map(|_| UNIT),
        }
    }
}

/// Adds up what calls cost, whoever made them.
#[utoipa::path(get, path = "/v1/organization/costs")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Buckets<CostsView>>, ApiError> {
    let narrow = |query| BucketQuery {
        projects: wanted.projects,
        keys: wanted.keys,
        models: wanted.models,
        ..query
    };
    let filled = Buckets::fill(&app, &wanted.span, &wanted.groups, narrow).await;
    filled.map(Answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_the_millionth() {
        for (micros, written) in [
            (0, "0"),
            (1, "0.000001"),
            (1_500_000, "1.5"),
            (10_000_000, "10"),
            (9_007_199_254_740_993, "9007199254.740993"),
            (u64::MAX, "18446744073709.551615"),
        ] {
            let amount = serde_json::to_string(&AmountView::new(micros)).expect("JSON");
            assert_eq!(amount, format!(r#"{{"value":{written},"currency":"usd"}}"#));
        }
    }
}
