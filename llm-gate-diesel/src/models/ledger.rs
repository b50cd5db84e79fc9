use std::time::Duration;

use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::store::rules::{Balance, Reservation, State};
use llm_gate::store::{
    CounterKey, Extend, Hold, Limit, LimitKey, Period, Price, Rates, Reserve, Settle, Settlement,
    Tariff, Unit,
};
use llm_gate::tokens::{Amount, Tokens};

use super::{Id, text, tokens};
use crate::error::Failure;
use crate::schema::{
    chains, counters, ledger, limits, owners, prices, reservation_counters, reservations,
};

/// Reads a subject.
fn subject(kind: &str, id: Id) -> Result<Subject, Failure> {
    Subject::from_parts(kind, id.0).ok_or_else(|| Failure::corrupt("a subject of unknown kind"))
}

/// Reads a unit and a period.
fn kind(unit: &str, period: &str) -> Result<(Unit, Period), Failure> {
    Unit::from_word(unit)
        .zip(Period::from_word(period))
        .ok_or_else(|| Failure::corrupt("a counter of unknown kind"))
}

/// An empty text stands for all models.
fn model_text(model: Option<&str>) -> String {
    text(model.unwrap_or_default().to_owned())
}

fn model(text: &str) -> Option<std::sync::Arc<str>> {
    (!text.is_empty()).then(|| text.into())
}

#[derive(Insertable, Queryable, Selectable)]
#[diesel(table_name = limits)]
pub(crate) struct LimitRow {
    pub(crate) subject_id: Id,
    pub(crate) subject_kind: String,
    pub(crate) model: String,
    pub(crate) unit: String,
    pub(crate) window_kind: String,
    pub(crate) zone: String,
    pub(crate) amount: i64,
    pub(crate) voluntary: bool,
}

impl From<&Limit> for LimitRow {
    fn from(limit: &Limit) -> Self {
        let key = &limit.key;
        let (subject_kind, id) = key.subject.parts();
        Self {
            subject_id: Id(*id),
            subject_kind: subject_kind.to_owned(),
            model: model_text(key.model.as_deref()),
            unit: key.unit.as_str().to_owned(),
            window_kind: key.period.as_str().to_owned(),
            zone: limit.zone.name().to_owned(),
            amount: limit.amount.as_i64(),
            voluntary: limit.voluntary,
        }
    }
}

impl TryFrom<LimitRow> for Limit {
    type Error = Failure;

    fn try_from(row: LimitRow) -> Result<Self, Failure> {
        let (unit, period) = kind(&row.unit, &row.window_kind)?;
        let zone = row.zone.parse();
        Ok(Self {
            key: LimitKey {
                subject: subject(&row.subject_kind, row.subject_id)?,
                model: model(&row.model),
                unit,
                period,
            },
            zone: zone.map_err(|_| Failure::corrupt("a limit in an unknown zone"))?,
            amount: tokens(row.amount)?,
            voluntary: row.voluntary,
        })
    }
}

/// A counter as it is read.
#[derive(Queryable, Selectable)]
#[diesel(table_name = counters)]
pub(crate) struct CounterRow {
    pub(crate) id: i64,
    pub(crate) subject_id: Id,
    pub(crate) subject_kind: String,
    pub(crate) model: String,
    pub(crate) unit: String,
    pub(crate) window_kind: String,
    pub(crate) window_start: i64,
    pub(crate) used: i64,
    pub(crate) reserved: i64,
    pub(crate) overage: i64,
    pub(crate) frozen: bool,
}

impl CounterRow {
    pub(crate) fn key(&self) -> Result<CounterKey, Failure> {
        let (unit, period) = kind(&self.unit, &self.window_kind)?;
        Ok(CounterKey {
            subject: subject(&self.subject_kind, self.subject_id)?,
            start: Timestamp::from_micros(self.window_start),
            model: model(&self.model),
            unit,
            period,
        })
    }

    pub(crate) fn balance(&self) -> Result<Balance, Failure> {
        Ok(Balance {
            used: tokens(self.used)?,
            reserved: tokens(self.reserved)?,
            overage: tokens(self.overage)?,
            frozen: self.frozen,
        })
    }
}

/// A counter as it is written.
#[derive(Insertable)]
#[diesel(table_name = counters, treat_none_as_default_value = false)]
pub(crate) struct NewCounterRow {
    pub(crate) subject_id: Id,
    pub(crate) subject_kind: &'static str,
    pub(crate) model: String,
    pub(crate) unit: &'static str,
    pub(crate) window_kind: &'static str,
    pub(crate) window_start: i64,
    pub(crate) used: i64,
    pub(crate) reserved: i64,
    pub(crate) overage: i64,
    pub(crate) frozen: bool,
}

impl NewCounterRow {
    pub(crate) fn new(key: &CounterKey, balance: Balance) -> Self {
        let (subject_kind, id) = key.subject.parts();
        Self {
            subject_id: Id(*id),
            subject_kind,
            model: model_text(key.model.as_deref()),
            unit: key.unit.as_str(),
            window_kind: key.period.as_str(),
            window_start: key.start.as_micros(),
            used: balance.used.as_i64(),
            reserved: balance.reserved.as_i64(),
            overage: balance.overage.as_i64(),
            frozen: balance.frozen,
        }
    }

    pub(crate) fn empty(key: &CounterKey) -> Self {
        Self::new(key, Balance::default())
    }
}

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

/// A process that owns reservations, as it is written.
#[derive(Insertable)]
#[diesel(table_name = owners, treat_none_as_default_value = false)]
pub(crate) struct NewOwnerRow {
    pub(crate) enlisted_at: i64,
    pub(crate) lease_until: i64,
    pub(crate) given_up: bool,
}

/// A reservation as it begins.
#[derive(Insertable)]
#[diesel(table_name = reservations, treat_none_as_default_value = false)]
pub(crate) struct ReservationRow {
    pub(crate) id: Id,
    pub(crate) user_id: Id,
    pub(crate) project_id: Id,
    pub(crate) key_id: Option<Id>,
    pub(crate) session: Option<String>,
    pub(crate) route: String,
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) request_bytes: i64,
    pub(crate) hold: i64,
    pub(crate) hold_prompt: i64,
    pub(crate) hold_completion: i64,
    pub(crate) price_id: Option<i64>,
    pub(crate) owner: Option<i64>,
    pub(crate) state: &'static str,
    pub(crate) created_at: i64,
}

impl ReservationRow {
    pub(crate) fn new(reserve: &Reserve, reservation: &Reservation) -> Self {
        Self {
            id: reserve.id.into(),
            user_id: reserve.call.user.into(),
            project_id: reserve.call.project.into(),
            key_id: reserve.subjects.iter().find_map(|subject| match subject {
                Subject::Key(key) => Some((*key).into()),
                _ => None,
            }),
            session: reserve.call.session.as_ref().map(ToString::to_string),
            route: reserve.call.route.clone().into_owned(),
            model: text(reserve.call.model.clone()),
            stream: reserve.call.stream,
            request_bytes: figure(reserve.call.request_bytes),
            hold: reservation.hold.total.as_i64(),
            hold_prompt: reservation.hold.prompt.as_i64(),
            hold_completion: reservation.hold.completion.as_i64(),
            price_id: reservation.tariff.id,
            owner: reserve.owner.map(|owner| owner.0),
            state: State::Pending.as_str(),
            created_at: reserve.at.as_micros(),
        }
    }

    /// A row that shows whether there is another one of `id`, and stands for nothing.
    #[cfg(feature = "postgres")]
    pub(crate) fn probe(id: Id) -> Self {
        Self {
            id,
            user_id: id,
            project_id: id,
            key_id: None,
            session: None,
            route: String::new(),
            model: String::new(),
            stream: false,
            request_bytes: 0,
            hold: 0,
            hold_prompt: 0,
            hold_completion: 0,
            price_id: None,
            owner: None,
            state: State::Pending.as_str(),
            created_at: 0,
        }
    }
}

/// A change of a reservation's hold.
#[derive(AsChangeset, Identifiable)]
#[diesel(table_name = reservations)]
pub(crate) struct ReservationHold {
    pub(crate) id: Id,
    pub(crate) hold: i64,
    pub(crate) hold_prompt: i64,
    pub(crate) hold_completion: i64,
    pub(crate) version: i64,
}

impl From<&Extend> for ReservationHold {
    fn from(extend: &Extend) -> Self {
        Self {
            id: extend.id.into(),
            hold: extend.hold.total.as_i64(),
            hold_prompt: extend.hold.prompt.as_i64(),
            hold_completion: extend.hold.completion.as_i64(),
            version: extend.version.into(),
        }
    }
}

/// The end of a reservation.
#[derive(AsChangeset, Identifiable)]
#[diesel(table_name = reservations, treat_none_as_null = true)]
pub(crate) struct ReservationEnd {
    pub(crate) id: Id,
    pub(crate) state: &'static str,
    pub(crate) settled_at: i64,
    pub(crate) charged: i64,
    pub(crate) overage: i64,
    pub(crate) cost: i64,
    pub(crate) prompt: i64,
    pub(crate) completion: i64,
    pub(crate) cached: i64,
    pub(crate) reasoning: i64,
    pub(crate) source: &'static str,
    pub(crate) ending: &'static str,
    pub(crate) status: i64,
    pub(crate) upstream: Option<String>,
    pub(crate) response_bytes: Option<i64>,
    pub(crate) first_data_us: Option<i64>,
    pub(crate) total_us: Option<i64>,
}

impl ReservationEnd {
    pub(crate) fn new(settle: &Settle, state: State) -> Self {
        let settlement = state.settlement();
        let usage = settle.usage;
        let served = settle.served.as_ref();
        Self {
            id: settle.id.into(),
            state: state.as_str(),
            settled_at: settle.at.as_micros(),
            charged: settlement.charged.as_i64(),
            overage: settlement.overage.as_i64(),
            cost: settlement.cost.as_i64(),
            prompt: figure(usage.prompt),
            completion: figure(usage.completion),
            cached: figure(usage.cached),
            reasoning: figure(usage.reasoning),
            source: settle.source.as_str(),
            ending: settle.ending.as_str(),
            status: settle.status.into(),
            upstream: served.and_then(|served| served.upstream.as_ref().map(ToString::to_string)),
            response_bytes: served.map(|served| figure(served.response_bytes)),
            first_data_us: served.and_then(|served| served.first_data.map(micros)),
            total_us: served.map(|served| micros(served.total)),
        }
    }
}

/// Keeps a figure of somebody else's in the range of an amount.
fn figure(figure: u64) -> i64 {
    Tokens::new(figure).as_i64()
}

/// Keeps a time in whole microseconds.
fn micros(time: Duration) -> i64 {
    figure(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// Where a reservation is in its life.
#[derive(Queryable, Selectable)]
#[diesel(table_name = reservations)]
pub(crate) struct KnownReservation {
    pub(crate) id: Id,
    pub(crate) hold: i64,
    pub(crate) hold_prompt: i64,
    pub(crate) hold_completion: i64,
    pub(crate) version: i64,
    pub(crate) price_id: Option<i64>,
    pub(crate) state: String,
    pub(crate) charged: i64,
    pub(crate) overage: i64,
    pub(crate) cost: i64,
}

impl KnownReservation {
    /// Joins it with its tariff and the counters it is held by.
    pub(crate) fn reservation(
        &self,
        tariff: Tariff,
        counters: Vec<CounterKey>,
    ) -> Result<Reservation, Failure> {
        let settlement = Settlement {
            charged: tokens(self.charged)?,
            overage: tokens(self.overage)?,
            cost: tokens(self.cost)?,
            repeated: false,
        };
        let state = State::from_word(&self.state, settlement)
            .ok_or_else(|| Failure::corrupt("a reservation in an unknown state"))?;
        Ok(Reservation {
            hold: Hold {
                total: tokens(self.hold)?,
                prompt: tokens(self.hold_prompt)?,
                completion: tokens(self.hold_completion)?,
            },
            version: u32::try_from(self.version)
                .map_err(|_| Failure::corrupt("a hold with too large a version"))?,
            tariff,
            counters,
            state,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = reservation_counters, treat_none_as_default_value = false)]
pub(crate) struct ReservationCounterRow {
    pub(crate) reservation_id: Id,
    pub(crate) counter_id: i64,
    pub(crate) held: i64,
    pub(crate) charged: i64,
}

#[derive(Insertable)]
#[diesel(table_name = ledger, treat_none_as_default_value = false)]
pub(crate) struct LedgerRow {
    pub(crate) id: i64,
    pub(crate) writer: Id,
    pub(crate) sequence: i64,
    pub(crate) kind: &'static str,
    pub(crate) reservation_id: Option<Id>,
    pub(crate) counter_id: i64,
    pub(crate) charge: i64,
    pub(crate) overage: i64,
    pub(crate) amount: Option<i64>,
    pub(crate) at: i64,
    pub(crate) hash: Vec<u8>,
}

/// How far a writer's chain has come.
#[derive(Clone, Insertable, Queryable, Selectable)]
#[diesel(table_name = chains)]
pub(crate) struct ChainRow {
    pub(crate) writer: Id,
    pub(crate) sequence: i64,
    pub(crate) hash: Vec<u8>,
}

impl ChainRow {
    /// Returns the hash that the next line is chained to.
    pub(crate) fn head(&self) -> Result<[u8; 32], Failure> {
        let hash = self.hash.as_slice().try_into();
        hash.map_err(|_| Failure::corrupt("a hash of another length"))
    }
}
