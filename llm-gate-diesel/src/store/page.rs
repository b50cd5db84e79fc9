//! The rows that one batch touches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::rules::{Book, Counter, Entry, Reservation, State};
use llm_gate::store::{Extend, Operation, Reserve, Settle};
use llm_gate::tokens::Tokens;

use super::{Connection, batch};
use crate::error::Failure;
use crate::models::{
    Id, LedgerRow, NewCounterRow, ReservationCounterRow, ReservationEnd, ReservationHold,
    ReservationRow, reservation, subject,
};

/// A [`Book`] of the rows that a batch touches: read at the beginning, written at the end, decided in
/// between by the rules alone.
#[derive(Default)]
pub(super) struct Page {
    counters: HashMap<Subject, Counter>,
    /// The keys of the counters' rows, for those that have one.
    rows: HashMap<Subject, i64>,
    reservations: HashMap<RequestId, Reservation>,
    changed: BTreeSet<Subject>,
    opened: Vec<ReservationRow>,
    /// The last change of each hold.
    held: BTreeMap<RequestId, ReservationHold>,
    closed: Vec<ReservationEnd>,
    /// What each counter holds for a reservation and was charged for it.
    parts: BTreeMap<(RequestId, Subject), (Tokens, Tokens)>,
    posted: Vec<Entry>,
}

impl Page {
    /// Reads what `batch` touches.
    ///
    /// The counters are taken before the reservations are read: whoever had to wait for a counter knows what was
    /// decided on it in the meantime, also about the same request.
    pub(super) fn read(connection: &mut Connection, batch: &[Operation]) -> Result<Self, Failure> {
        let known = |operation: &&Operation| !matches!(operation, Operation::Reserve(_));
        let known = batch.iter().filter(known).map(id).collect();
        let mut holders = holders(connection, known)?;
        let mut subjects: BTreeSet<Subject> = holders.values().flatten().copied().collect();
        for operation in batch {
            if let Operation::Reserve(reserve) = operation {
                subjects.extend(&reserve.subjects);
            }
        }
        batch::lock(connection, &subjects)?;

        let ids: BTreeSet<Id> = batch.iter().map(id).collect();
        let known = batch::reservations(connection, &Vec::from_iter(ids))?;
        // Those that are reserved again, and those that are there only since the counters were named.
        let others = known.iter().map(|(id, ..)| *id);
        let others = others.filter(|id| !holders.contains_key(id)).collect();
        holders.extend(self::holders(connection, others)?);
        let all: BTreeSet<Subject> = holders.values().flatten().copied().collect();
        let late: BTreeSet<Subject> = all.difference(&subjects).copied().collect();
        batch::lock(connection, &late)?;
        subjects.extend(late);

        let mut page = Self::default();
        for (id, hold, version, state, charged, overage) in known {
            let mut reservation = reservation(hold, version, &state, charged, overage)?;
            reservation.subjects = holders.remove(&id).unwrap_or_default();
            page.reservations.insert(id.into(), reservation);
        }
        page.read_counters(connection, subjects)?;
        Ok(page)
    }

    fn read_counters(
        &mut self,
        connection: &mut Connection,
        subjects: impl IntoIterator<Item = Subject>,
    ) -> Result<(), Failure> {
        let ids: BTreeSet<Id> = subjects
            .into_iter()
            .map(|subject| Id(*subject.parts().1))
            .collect();
        let ids: Vec<Id> = ids.into_iter().collect();
        for (row, limit) in batch::counters(connection, &ids)? {
            let subject = row.subject()?;
            self.rows.insert(subject, row.id);
            self.counters.insert(subject, row.standing(limit)?);
        }
        Ok(())
    }

    /// Writes what has changed.
    pub(super) fn write(mut self, connection: &mut Connection) -> Result<(), Failure> {
        let balances: Vec<NewCounterRow> = self
            .changed
            .iter()
            .map(|&subject| NewCounterRow::new(subject, &self.counter(subject)))
            .collect();
        batch::put_balances(connection, &balances)?;
        let new: Vec<Subject> = self
            .changed
            .iter()
            .copied()
            .filter(|subject| !self.rows.contains_key(subject))
            .collect();
        self.read_counters(connection, new)?;

        batch::open(connection, &self.opened)?;
        let held: Vec<ReservationHold> = std::mem::take(&mut self.held).into_values().collect();
        if batch::hold(connection, &held)? != held.len() {
            return Err(Failure::corrupt(
                "a reservation that has ended was extended",
            ));
        }
        if batch::close(connection, &self.closed)? != self.closed.len() {
            return Err(Failure::corrupt("a reservation ended twice"));
        }
        batch::put_parts(connection, &self.part_rows()?)?;
        batch::post(connection, &self.ledger_rows()?)?;
        Ok(())
    }

    fn part_rows(&self) -> Result<Vec<ReservationCounterRow>, Failure> {
        let row =
            |(&(id, subject), &(held, charged)): (&(RequestId, Subject), &(Tokens, Tokens))| {
                Ok(ReservationCounterRow {
                    reservation_id: id.into(),
                    counter_id: self.row(subject)?,
                    held: held.as_i64(),
                    charged: charged.as_i64(),
                })
            };
        self.parts.iter().map(row).collect()
    }

    fn ledger_rows(&self) -> Result<Vec<LedgerRow>, Failure> {
        let row = |entry: &Entry| {
            Ok(LedgerRow {
                reservation_id: entry.reservation.into(),
                kind: "settle",
                counter_id: self.row(entry.subject)?,
                charge: entry.charge.as_i64(),
                overage: entry.overage.as_i64(),
                at: entry.at.as_micros(),
            })
        };
        self.posted.iter().map(row).collect()
    }

    fn row(&self, subject: Subject) -> Result<i64, Failure> {
        self.rows
            .get(&subject)
            .copied()
            .ok_or_else(|| Failure::corrupt("a counter was written and is not there"))
    }
}

fn id(operation: &Operation) -> Id {
    operation.id().into()
}

/// Reads the subjects of reservations, for those that are there.
fn holders(
    connection: &mut Connection,
    ids: BTreeSet<Id>,
) -> Result<HashMap<Id, Vec<Subject>>, Failure> {
    let mut holders = HashMap::<Id, Vec<Subject>>::new();
    for (id, kind, of) in batch::subjects(connection, &Vec::from_iter(ids))? {
        holders.entry(id).or_default().push(subject(&kind, of)?);
    }
    Ok(holders)
}

impl Book for Page {
    fn counter(&self, subject: Subject) -> Counter {
        self.counters.get(&subject).copied().unwrap_or_default()
    }

    fn put_counter(&mut self, subject: Subject, counter: Counter) {
        self.counters.insert(subject, counter);
        self.changed.insert(subject);
    }

    fn reservation(&self, id: RequestId) -> Option<&Reservation> {
        self.reservations.get(&id)
    }

    fn open(&mut self, reserve: &Reserve, reservation: Reservation) {
        self.opened
            .push(ReservationRow::new(reserve, reservation.hold));
        for &subject in &reservation.subjects {
            self.parts
                .insert((reserve.id, subject), (reservation.hold, Tokens::ZERO));
        }
        self.reservations.insert(reserve.id, reservation);
    }

    fn hold(&mut self, extend: &Extend) {
        self.held.insert(extend.id, extend.into());
        if let Some(reservation) = self.reservations.get_mut(&extend.id) {
            reservation.hold = extend.hold;
            reservation.version = extend.version;
            for &subject in &reservation.subjects {
                self.parts
                    .insert((extend.id, subject), (extend.hold, Tokens::ZERO));
            }
        }
    }

    fn close(&mut self, settle: &Settle, state: State) {
        self.closed.push(ReservationEnd::new(settle, state));
        if let Some(reservation) = self.reservations.get_mut(&settle.id) {
            reservation.state = state;
        }
    }

    fn post(&mut self, entry: Entry) {
        let hold = self
            .reservations
            .get(&entry.reservation)
            .map_or(Tokens::ZERO, |reservation| reservation.hold);
        self.parts
            .insert((entry.reservation, entry.subject), (hold, entry.charge));
        self.posted.push(entry);
    }
}
