use diesel::prelude::*;
use llm_gate::identity::Subject;
use llm_gate::store::rules::{Counter, Reservation, State};
use llm_gate::store::{Extend, Reserve, Settle, Settlement, Standing};
use llm_gate::tokens::Tokens;

use super::{Id, text, tokens};
use crate::error::Failure;
use crate::schema::{counters, ledger, limits, reservation_counters, reservations};

/// The unit that is counted so far.
pub(crate) const TOKENS: &str = "tokens";
/// The window that never rolls, the only kind so far.
pub(crate) const TOTAL: &str = "total";
/// The model of a rule for all models.
pub(crate) const ANY_MODEL: &str = "";

/// Reads a subject.
pub(crate) fn subject(kind: &str, id: Id) -> Result<Subject, Failure> {
    Subject::from_parts(kind, id.0).ok_or_else(|| Failure::corrupt("a subject of unknown kind"))
}

#[derive(Insertable)]
#[diesel(table_name = limits)]
pub(crate) struct LimitRow {
    pub(crate) subject_id: Id,
    pub(crate) subject_kind: &'static str,
    pub(crate) model: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) window_kind: &'static str,
    pub(crate) zone: &'static str,
    pub(crate) amount: i64,
}

impl LimitRow {
    pub(crate) fn new(subject: Subject, amount: Tokens) -> Self {
        let (subject_kind, id) = subject.parts();
        Self {
            subject_id: Id(*id),
            subject_kind,
            model: ANY_MODEL,
            unit: TOKENS,
            window_kind: TOTAL,
            zone: "UTC",
            amount: amount.as_i64(),
        }
    }
}

/// A counter as it is read.
#[derive(Queryable, Selectable)]
#[diesel(table_name = counters)]
pub(crate) struct CounterRow {
    pub(crate) id: i64,
    pub(crate) subject_id: Id,
    pub(crate) subject_kind: String,
    pub(crate) used: i64,
    pub(crate) reserved: i64,
    pub(crate) overage: i64,
    pub(crate) frozen: bool,
}

impl CounterRow {
    pub(crate) fn subject(&self) -> Result<Subject, Failure> {
        subject(&self.subject_kind, self.subject_id)
    }

    /// Joins a counter and the limit in force.
    pub(crate) fn standing(&self, limit: Option<i64>) -> Result<Standing, Failure> {
        Ok(Standing {
            limit: limit.map(tokens).transpose()?,
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
    pub(crate) unit: &'static str,
    pub(crate) window_kind: &'static str,
    pub(crate) window_start: i64,
    pub(crate) used: i64,
    pub(crate) reserved: i64,
    pub(crate) overage: i64,
    pub(crate) frozen: bool,
}

impl NewCounterRow {
    pub(crate) fn new(subject: Subject, counter: &Counter) -> Self {
        let (subject_kind, id) = subject.parts();
        Self {
            subject_id: Id(*id),
            subject_kind,
            unit: TOKENS,
            window_kind: TOTAL,
            window_start: 0,
            used: counter.used.as_i64(),
            reserved: counter.reserved.as_i64(),
            overage: counter.overage.as_i64(),
            frozen: counter.frozen,
        }
    }
}

/// A reservation as it begins, and what is read of it later.
#[derive(Insertable)]
#[diesel(table_name = reservations, treat_none_as_default_value = false)]
pub(crate) struct ReservationRow {
    pub(crate) id: Id,
    pub(crate) user_id: Id,
    pub(crate) project_id: Id,
    pub(crate) key_id: Option<Id>,
    pub(crate) route: String,
    pub(crate) model: String,
    pub(crate) stream: bool,
    pub(crate) hold: i64,
    pub(crate) state: &'static str,
    pub(crate) created_at: i64,
}

impl ReservationRow {
    pub(crate) fn new(reserve: &Reserve, hold: Tokens) -> Self {
        Self {
            id: reserve.id.into(),
            user_id: reserve.call.user.into(),
            project_id: reserve.call.project.into(),
            key_id: reserve.subjects.iter().find_map(|subject| match subject {
                Subject::Key(key) => Some((*key).into()),
                _ => None,
            }),
            route: reserve.call.route.clone().into_owned(),
            model: text(reserve.call.model.clone()),
            stream: reserve.call.stream,
            hold: hold.as_i64(),
            state: state_word(State::Pending),
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
            route: String::new(),
            model: String::new(),
            stream: false,
            hold: 0,
            state: state_word(State::Pending),
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
    pub(crate) version: i64,
}

impl From<&Extend> for ReservationHold {
    fn from(extend: &Extend) -> Self {
        Self {
            id: extend.id.into(),
            hold: extend.hold.as_i64(),
            version: extend.version.into(),
        }
    }
}

/// The end of a reservation.
#[derive(AsChangeset, Identifiable)]
#[diesel(table_name = reservations)]
pub(crate) struct ReservationEnd {
    pub(crate) id: Id,
    pub(crate) state: &'static str,
    pub(crate) settled_at: i64,
    pub(crate) charged: i64,
    pub(crate) overage: i64,
    pub(crate) prompt: i64,
    pub(crate) completion: i64,
    pub(crate) cached: i64,
    pub(crate) reasoning: i64,
    pub(crate) source: &'static str,
    pub(crate) ending: &'static str,
    pub(crate) status: i64,
}

impl ReservationEnd {
    pub(crate) fn new(settle: &Settle, state: State) -> Self {
        let (charged, overage) = match state {
            State::Settled(settlement) => (settlement.charged, settlement.overage),
            _ => (Tokens::ZERO, Tokens::ZERO),
        };
        let usage = settle.usage;
        Self {
            id: settle.id.into(),
            state: state_word(state),
            settled_at: settle.at.as_micros(),
            charged: charged.as_i64(),
            overage: overage.as_i64(),
            prompt: figure(usage.prompt),
            completion: figure(usage.completion),
            cached: figure(usage.cached),
            reasoning: figure(usage.reasoning),
            source: settle.source.as_str(),
            ending: settle.ending.as_str(),
            status: settle.status.into(),
        }
    }
}

/// Keeps a figure of an upstream in the range of an amount.
fn figure(figure: u64) -> i64 {
    Tokens::new(figure).as_i64()
}

/// Identifier, hold, its version, state, charged and overage of a reservation.
pub(crate) type KnownReservation = (Id, i64, i64, String, i64, i64);

/// Reads where a reservation is in its life.
pub(crate) fn reservation(
    hold: i64,
    version: i64,
    state: &str,
    charged: i64,
    overage: i64,
) -> Result<Reservation, Failure> {
    let state = match state {
        "pending" => State::Pending,
        "settled" => State::Settled(Settlement {
            charged: tokens(charged)?,
            overage: tokens(overage)?,
            repeated: false,
        }),
        "void" => State::Void,
        _ => return Err(Failure::corrupt("a reservation in an unknown state")),
    };
    Ok(Reservation {
        hold: tokens(hold)?,
        version: u32::try_from(version)
            .map_err(|_| Failure::corrupt("a hold with too large a version"))?,
        subjects: Vec::new(),
        state,
    })
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::Void => "void",
        // Whatever a later version adds is charged.
        _ => "settled",
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
    pub(crate) reservation_id: Id,
    pub(crate) kind: &'static str,
    pub(crate) counter_id: i64,
    pub(crate) charge: i64,
    pub(crate) overage: i64,
    pub(crate) at: i64,
}
