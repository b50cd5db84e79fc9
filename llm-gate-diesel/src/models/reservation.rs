use std::time::Duration;

use diesel::prelude::*;
use llm_gate::identity::Subject;
use llm_gate::store::rules::{Reservation, State};
use llm_gate::store::{CounterKey, Extend, Hold, Reserve, Settle, Settlement, Tariff};
use llm_gate::tokens::Tokens;

use super::{Id, text, tokens};
use crate::error::Failure;
use crate::schema::{owners, reservations};

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
