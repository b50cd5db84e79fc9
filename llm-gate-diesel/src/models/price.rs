use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::store::{Price, Rates, Tariff};
use llm_gate::tokens::Amount;

use super::text;
use crate::error::Failure;
use crate::schema::prices;

/// A tariff as it is read.
#[derive(Queryable, Selectable)]
#[diesel(table_name = prices)]
pub(crate) struct PriceRow {
    pub(crate) id: i64,
    pub(crate) model: String,
    pub(crate) in_force: bool,
    pub(crate) weight_prompt: i64,
    pub(crate) weight_completion: i64,
    pub(crate) weight_cached: i64,
    pub(crate) price_prompt: Option<i64>,
    pub(crate) price_completion: Option<i64>,
    pub(crate) price_cached: Option<i64>,
}

impl TryFrom<PriceRow> for Price {
    type Error = Failure;

    fn try_from(row: PriceRow) -> Result<Self, Failure> {
        let rates = |prompt: i64, completion: i64, cached: i64| {
            let rate = |rate: i64| {
                u64::try_from(rate).map_err(|_| Failure::corrupt("a rate is out of range"))
            };
            Ok::<_, Failure>(Rates {
                prompt: rate(prompt)?,
                completion: rate(completion)?,
                cached: rate(cached)?,
            })
        };
        let price = match (row.price_prompt, row.price_completion, row.price_cached) {
            (Some(prompt), Some(completion), Some(cached)) => {
                Some(rates(prompt, completion, cached)?)
            }
            _ => None,
        };
        Ok(Self {
            model: row.model,
            tariff: Tariff {
                id: Some(row.id),
                weights: rates(row.weight_prompt, row.weight_completion, row.weight_cached)?,
                price,
            },
        })
    }
}

/// A tariff as it is written.
#[derive(Insertable)]
#[diesel(table_name = prices, treat_none_as_default_value = false)]
pub(crate) struct NewPriceRow {
    pub(crate) model: String,
    pub(crate) in_force: bool,
    pub(crate) created_at: i64,
    pub(crate) weight_prompt: i64,
    pub(crate) weight_completion: i64,
    pub(crate) weight_cached: i64,
    pub(crate) price_prompt: Option<i64>,
    pub(crate) price_completion: Option<i64>,
    pub(crate) price_cached: Option<i64>,
}

impl NewPriceRow {
    pub(crate) fn new(price: &Price, at: Timestamp) -> Self {
        // A rate is at most 2^40, or it is refused before.
        let rate = |rate: u64| Amount::new(rate).as_i64();
        let Tariff {
            weights, price: of, ..
        } = price.tariff;
        Self {
            model: text(price.model.clone()),
            in_force: true,
            created_at: at.as_micros(),
            weight_prompt: rate(weights.prompt),
            weight_completion: rate(weights.completion),
            weight_cached: rate(weights.cached),
            price_prompt: of.map(|price| rate(price.prompt)),
            price_completion: of.map(|price| rate(price.completion)),
            price_cached: of.map(|price| rate(price.cached)),
        }
    }
}
