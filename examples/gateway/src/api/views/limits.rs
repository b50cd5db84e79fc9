//! Limits, and what models cost.

use jiff::Timestamp as Moment;
use llm_gate::store::{Limit, Period, Price, Standing, Unit};
use llm_gate::tokens::Amount;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::moment;
use crate::api::words;

#[derive(Serialize, ToSchema)]
#[schema(as = Limit)]
pub(crate) struct LimitView {
    #[schema(schema_with = words::subject)]
    subject: &'static str,
    /// Null for each one of the kind that has no limit of its own in place of this.
    #[schema(required, value_type = Option<String>, format = Uuid)]
    id: Option<Uuid>,
    #[schema(required)]
    model: Option<String>,
    #[schema(schema_with = words::unit)]
    unit: Unit,
    #[schema(schema_with = words::period)]
    period: Period,
    zone: String,
    #[schema(value_type = i64, minimum = 0)]
    amount: Amount,
    /// Whether those have set it whom it binds: it gives way to a stricter one for each of the kind.
    voluntary: bool,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    used: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    reserved: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    overage: Option<Amount>,
    #[schema(required, value_type = Option<i64>, minimum = 0)]
    remaining: Option<Amount>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    resets_at: Option<Moment>,
}

impl LimitView {
    /// Names the limit: there is one under each name.
    pub(crate) fn name(&self) -> String {
        let id = self.id.unwrap_or_default();
        let model = self.model.as_deref().unwrap_or_default();
        format!(
            "{}:{id}:{}:{}:{model}",
            self.subject, self.unit, self.period
        )
    }

    /// Shows a limit, and how somebody stands on it.
    pub(crate) fn new(limit: &Limit, standing: Option<&Standing>) -> Self {
        let key = &limit.key;
        let (subject, id) = key.subject.parts();
        Self {
            subject,
            id: Some(*id).filter(|id| !id.is_nil()),
            model: key.model.as_deref().map(str::to_owned),
            unit: key.unit,
            period: key.period,
            zone: limit.zone.name().to_owned(),
            amount: limit.amount,
            voluntary: limit.voluntary,
            used: standing.map(|standing| standing.used),
            reserved: standing.map(|standing| standing.reserved),
            overage: standing.map(|standing| standing.overage),
            remaining: standing.and_then(Standing::remaining),
            resets_at: standing.and_then(|standing| moment(standing.resets?)),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct PriceView {
    model: String,
    #[schema(required)]
    prompt: Option<u64>,
    #[schema(required)]
    completion: Option<u64>,
    #[schema(required)]
    cached: Option<u64>,
    weight_prompt: u64,
    weight_completion: u64,
    weight_cached: u64,
}

impl From<&Price> for PriceView {
    fn from(price: &Price) -> Self {
        let (weights, rates) = (price.tariff.weights, price.tariff.price);
        Self {
            model: price.model.clone(),
            prompt: rates.map(|rates| rates.prompt),
            completion: rates.map(|rates| rates.completion),
            cached: rates.map(|rates| rates.cached),
            weight_prompt: weights.prompt,
            weight_completion: weights.completion,
            weight_cached: weights.cached,
        }
    }
}

/// A page of limits in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Limits {
    pub(crate) limits: Vec<LimitView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

/// A page of prices.
#[derive(Serialize, ToSchema)]
pub(crate) struct Prices {
    pub(crate) prices: Vec<PriceView>,
    /// Where the next page begins; null on the last one.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}
