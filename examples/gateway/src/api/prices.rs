use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::store::{Price, Rates, Tariff, WEIGHT_SCALE};
use serde_json::{Value, json};

use super::caller::Admin;
use super::error::ApiError;
use super::fields::{Fields, Json, JsonOrQuery};
use super::views::PriceView;
use crate::app::App;

pub(super) async fn list(State(app): State<App>, Admin: Admin) -> Result<Answer<Value>, ApiError> {
    let prices = app.store.prices().await?;
    let prices: Vec<PriceView> = prices.iter().map(PriceView::from).collect();
    Ok(Answer(json!({ "prices": prices })))
}

/// Sets what the tokens of a model cost and count, as a whole, for reservations from now on.
pub(super) async fn set(
    State(app): State<App>,
    Admin: Admin,
    Json(mut fields): Json,
) -> Result<Answer<PriceView>, ApiError> {
    let model = model(&mut fields);
    let tariff = tariff(&mut fields);
    fields.finish()?;
    let price = Price { model, tariff };
    let price = app.store.set_price(price, app.clock.now()).await?;
    Ok(Answer(PriceView::from(&price)))
}

/// Removes what was set for a model: its tokens count as one each and have no price.
pub(super) async fn remove(
    State(app): State<App>,
    Admin: Admin,
    JsonOrQuery(mut fields): JsonOrQuery,
) -> Result<StatusCode, ApiError> {
    let model = model(&mut fields);
    fields.finish()?;
    let prices = app.store.prices().await?;
    if !prices.iter().any(|price| price.model == model) {
        return Err(ApiError::not_found("the model has no price and no weights"));
    }
    let tariff = Tariff::default();
    app.store
        .set_price(Price { model, tariff }, app.clock.now())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn model(fields: &mut Fields) -> String {
    let model = fields.model("model");
    if model.is_none() && !fields.refused("model") {
        fields.refuse("model", "is required");
    }
    model.unwrap_or_default()
}

fn tariff(fields: &mut Fields) -> Tariff {
    let [prompt, completion, cached] =
        ["prompt", "completion", "cached"].map(|name| fields.rate(name));
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
    let mut weight = |name| fields.rate(name).unwrap_or(WEIGHT_SCALE);
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
