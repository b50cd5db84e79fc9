use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::store::rules::Balance;
use llm_gate::store::{CounterKey, Limit, LimitKey, Period, Unit};

use super::{Id, text, tokens};
use crate::error::Failure;
use crate::schema::{chains, counters, ledger, limits, reservation_counters};

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
