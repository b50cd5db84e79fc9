use axum::Json as Answer;
use axum::extract::State;
use llm_gate::store::{MAX_RATE, Price, Rates, Tariff, WEIGHT_SCALE};
use serde_json::{Value, json};

use super::caller::{Admin, By, Steward};
use super::document::NoContent;
use super::error::ApiError;
use super::fields::{Fields, Input, Json, JsonOrQuery, MODEL, Page, Query, Whole};
use super::views::{PriceView, Prices};
use crate::app::App;

/// What a token may cost or count.
const RATE: Whole<u64> = Whole::new(0, MAX_RATE, Some);

/// Lists what the tokens of models cost and count, page by page.
///
/// They are the platform's, and for all to see who set limits.
#[utoipa::path(get, path = "/api/v1/prices")]
pub(super) async fn list(
    State(app): State<App>,
    _: Steward,
    Query(page): Query<Page<String>>,
) -> Result<Answer<Prices>, ApiError> {
    let page = page.of_all(app.store.prices().await?, |price| price.model.clone());
    Ok(Answer(Prices {
        prices: page.entries.iter().map(PriceView::from).collect(),
        next_cursor: page.next,
    }))
}

/// What the tokens of a model are to cost and count.
pub(super) struct NewPrice(Price);

impl Input for NewPrice {
    const NAME: &'static str = "NewPrice";

    fn read(fields: &mut Fields) -> Option<Self> {
        let model = model(fields);
        let tariff = tariff(fields);
        Some(Self(Price {
            model: model?,
            tariff,
        }))
    }

    fn example() -> Value {
        json!({ "model": "qwen3", "prompt": 100_000, "completion": 300_000 })
    }
}

/// Sets what the tokens of a model cost and count, as a whole.
///
/// Prices are in millionths of money a million tokens, weights in thousandths. They hold for reservations
/// from now on.
#[utoipa::path(put, path = "/api/v1/prices")]
pub(super) async fn set(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Json(NewPrice(price)): Json<NewPrice>,
) -> Result<Answer<PriceView>, ApiError> {
    let price = app.store.set_price(price, author).await?;
    Ok(Answer(PriceView::from(&price)))
}

/// Whose price it is.
pub(super) struct PriceName(String);

impl Input for PriceName {
    const NAME: &'static str = "PriceName";

    fn read(fields: &mut Fields) -> Option<Self> {
        model(fields).map(Self)
    }

    fn example() -> Value {
        json!({ "model": "qwen3" })
    }
}

/// Removes what was set for a model.
///
/// Its tokens count as one each and have no price.
#[utoipa::path(
    delete,
    path = "/api/v1/prices",
    responses((status = 404, description = "The model has no price and no weights"))
)]
pub(super) async fn remove(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    JsonOrQuery(PriceName(model)): JsonOrQuery<PriceName>,
) -> Result<NoContent, ApiError> {
    let prices = app.store.prices().await?;
    if !prices.iter().any(|price| price.model == model) {
        return Err(ApiError::not_found("the model has no price and no weights"));
    }
    let tariff = Tariff::default();
    app.store.set_price(Price { model, tariff }, author).await?;
    Ok(NoContent)
}

fn model(fields: &mut Fields) -> Option<String> {
    fields.required("model", "The model, served or not", &MODEL)
}

fn tariff(fields: &mut Fields) -> Tariff {
    let prompt = fields.optional(
        "prompt",
        "What the prompt costs; with `completion` or not at all",
        &RATE,
    );
    let completion = fields.optional(
        "completion",
        "What the completion costs; with `prompt` or not at all",
        &RATE,
    );
    let cached = fields.optional(
        "cached",
        "What a cached prompt costs; as `prompt` unless said",
        &RATE,
    );
    let price = match (prompt, completion) {
        (Some(prompt), Some(completion)) => Some(Rates {
            prompt,
            completion,
            // What comes out of the cache costs as much as the rest unless said.
            cached: cached.unwrap_or(prompt),
        }),
        (None, None) if cached.is_none() => None,
        _ => {
            for (name, rate) in [("prompt", prompt), ("completion", completion)] {
                if rate.is_none() && !fields.refused(name) {
                    fields.refuse(name, "is required in a price");
                }
            }
            None
        }
    };
    const ABOUT: &str = "How many thousandths of a token it counts against limits of tokens";
    let mut weight = |name| fields.or(name, ABOUT, &RATE, WEIGHT_SCALE);
    let weights = Rates {
        prompt: weight("weight_prompt"),
        completion: weight("weight_completion"),
        cached: weight("weight_cached"),
    };
    let tariff = Tariff {
        id: None,
        weights,
        price,
    };
    if tariff.is_default() && !fields.any_refused() {
        fields.refuse(
            "prompt",
            "a price or a weight is required; DELETE removes both",
        );
    }
    tariff
}
