//! Rows as audits read them: as they are, whatever they say.

use std::time::Duration;

use diesel::prelude::*;
use llm_gate::clock::Timestamp;
use llm_gate::identity::ConversationId;
use llm_gate::store::rules::{Entry, EntryKind, State};
use llm_gate::store::{
    CallRecord, CounterKey, Ending, LedgerLine, LineName, Link, Served, Settlement, Source,
};
use llm_gate::tokens::{Amount, Usage};
use llm_gate::upstream::UpstreamName;

use super::{CounterRow, Id, tokens};
use crate::chain::Line;
use crate::error::Failure;
use crate::schema::{ledger, reservation_counters, reservations};

/// A line of the ledger with all that its hash covers, but for its counter.
#[derive(Queryable, Selectable)]
#[diesel(table_name = ledger)]
pub(crate) struct ChainedRow {
    pub(crate) id: i64,
    pub(crate) writer: Id,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) reservation_id: Option<Id>,
    pub(crate) charge: i64,
    pub(crate) overage: i64,
    pub(crate) amount: Option<i64>,
    pub(crate) at: i64,
    pub(crate) hash: Vec<u8>,
}

impl ChainedRow {
    pub(crate) const fn name(&self) -> LineName {
        LineName {
            id: self.id,
            writer: self.writer.0,
            sequence: self.sequence,
        }
    }

    /// Returns what its hash covers.
    pub(crate) fn line<'a>(&'a self, counter: &'a CounterKey) -> Line<'a> {
        Line {
            id: self.id,
            writer: self.writer.0,
            sequence: self.sequence,
            kind: &self.kind,
            reservation: self.reservation_id.map(|id| id.0),
            counter,
            charge: self.charge,
            overage: self.overage,
            amount: self.amount,
            at: self.at,
        }
    }
}

/// A reservation and where it is in its life.
#[derive(Queryable, Selectable)]
#[diesel(table_name = reservations)]
pub(crate) struct KnownRequest {
    pub(crate) id: Id,
    pub(crate) state: String,
}

impl KnownRequest {
    pub(crate) fn state(&self) -> Result<State, Failure> {
        state(&self.state, State::Void.settlement())
    }
}

fn state(word: &str, settlement: Settlement) -> Result<State, Failure> {
    State::from_word(word, settlement)
        .ok_or_else(|| Failure::corrupt("a reservation in an unknown state"))
}

/// A counter of a reservation.
#[derive(Queryable, Selectable)]
#[diesel(table_name = reservation_counters)]
pub(crate) struct PartRow {
    pub(crate) reservation_id: Id,
    pub(crate) counter_id: i64,
    pub(crate) charged: i64,
}

/// A line of the ledger about a reservation.
#[derive(Queryable, Selectable)]
#[diesel(table_name = ledger)]
pub(crate) struct PostedRow {
    pub(crate) id: i64,
    pub(crate) writer: Id,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) reservation_id: Option<Id>,
    pub(crate) counter_id: i64,
    pub(crate) charge: i64,
}

impl PostedRow {
    pub(crate) const fn name(&self) -> LineName {
        LineName {
            id: self.id,
            writer: self.writer.0,
            sequence: self.sequence,
        }
    }
}

/// A line of the ledger for the record.
#[derive(Queryable, Selectable)]
#[diesel(table_name = ledger)]
pub(crate) struct LineRow {
    pub(crate) id: i64,
    pub(crate) writer: Id,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) reservation_id: Option<Id>,
    pub(crate) charge: i64,
    pub(crate) overage: i64,
    pub(crate) amount: Option<i64>,
    pub(crate) at: i64,
    pub(crate) hash: Vec<u8>,
}

impl LineRow {
    /// Joins it with its counter and its call.
    pub(crate) fn record(
        self,
        counter: &CounterRow,
        call: Option<CallRow>,
    ) -> Result<LedgerLine, Failure> {
        let kind = EntryKind::from_word(&self.kind)
            .ok_or_else(|| Failure::corrupt("a line of unknown kind"))?;
        let hash = self.hash.as_slice().try_into();
        Ok(LedgerLine {
            id: self.id,
            entry: Entry {
                kind,
                reservation: self.reservation_id.map(Into::into),
                counter: counter.key()?,
                charge: self.charge,
                overage: self.overage,
                limit: self.amount.map(tokens).transpose()?,
                at: Timestamp::from_micros(self.at),
            },
            link: Some(Link {
                writer: self.writer.0,
                sequence: self.sequence,
                hash: hash.map_err(|_| Failure::corrupt("a hash of another length"))?,
            }),
            call: call.map(CallRecord::try_from).transpose()?,
        })
    }
}

/// A reservation for the record.
#[derive(Queryable, Selectable)]
#[diesel(table_name = reservations)]
pub(crate) struct CallRow {
    id: Id,
    user_id: Id,
    project_id: Id,
    key_id: Option<Id>,
    session: Option<String>,
    route: String,
    model: String,
    stream: bool,
    request_bytes: i64,
    hold: i64,
    state: String,
    created_at: i64,
    settled_at: Option<i64>,
    charged: i64,
    overage: i64,
    cost: i64,
    prompt: i64,
    completion: i64,
    cached: i64,
    reasoning: i64,
    source: Option<String>,
    ending: Option<String>,
    status: Option<i64>,
    upstream: Option<String>,
    response_bytes: Option<i64>,
    first_data_us: Option<i64>,
    total_us: Option<i64>,
}

impl TryFrom<CallRow> for CallRecord {
    type Error = Failure;

    fn try_from(row: CallRow) -> Result<Self, Failure> {
        let settlement = Settlement {
            charged: tokens(row.charged)?,
            overage: tokens(row.overage)?,
            cost: tokens(row.cost)?,
            repeated: false,
        };
        let figure = |figure: i64| tokens(figure).map(Amount::get);
        let source = row.source.map(|word| {
            Source::from_word(&word).ok_or_else(|| Failure::corrupt("a charge of unknown source"))
        });
        let ending = row.ending.map(|word| {
            Ending::from_word(&word).ok_or_else(|| Failure::corrupt("an unknown ending"))
        });
        let status = u16::try_from(row.status.unwrap_or_default());
        let session = row.session.map(ConversationId::try_from).transpose();
        let upstream = row.upstream.map(UpstreamName::try_from).transpose();
        let upstream = upstream.map_err(|_| Failure::corrupt("an upstream without a name"))?;
        let time = |micros: i64| figure(micros).map(Duration::from_micros);
        let first_data = row.first_data_us.map(time).transpose()?;
        let served = row.total_us.map(|total| {
            Ok::<_, Failure>(Served {
                upstream,
                response_bytes: figure(row.response_bytes.unwrap_or_default())?,
                first_data,
                total: time(total)?,
            })
        });
        Ok(Self {
            id: row.id.into(),
            user: row.user_id.into(),
            project: row.project_id.into(),
            key: row.key_id.map(Into::into),
            session: session.map_err(|_| Failure::corrupt("a session without a name"))?,
            route: row.route.into(),
            model: row.model,
            stream: row.stream,
            request_bytes: figure(row.request_bytes)?,
            hold: tokens(row.hold)?,
            state: state(&row.state, settlement)?,
            created_at: Timestamp::from_micros(row.created_at),
            ended_at: row.settled_at.map(Timestamp::from_micros),
            usage: Usage {
                prompt: figure(row.prompt)?,
                completion: figure(row.completion)?,
                cached: figure(row.cached)?,
                reasoning: figure(row.reasoning)?,
            },
            source: source.transpose()?,
            ending: ending.transpose()?,
            status: status.map_err(|_| Failure::corrupt("a status is out of range"))?,
            served: served.transpose()?,
        })
    }
}
