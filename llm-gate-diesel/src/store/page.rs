//! The rows that one batch touches.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use diesel::sqlite::SqliteConnection;
use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::rules::{Book, Counter, Entry, Reservation, State};
use llm_gate::store::{Extend, Operation, Reserve, Settle};
use llm_gate::tokens::Tokens;

use crate::error::Failure;
use crate::models::{
    Id, LedgerRow, NewCounterRow, ReservationCounterRow, ReservationEnd, ReservationHold,
    ReservationRow, reservation, subject,
};
use crate::queries::{self, CHUNK};

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
    pub(super) fn read(
        connection: &mut SqliteConnection,
        batch: &[Operation],
    ) -> Result<Self, Failure> {
        let mut page = Self::default();
        page.read_reservations(connection, batch)?;
        let mut subjects: HashSet<Subject> = page
            .reservations
            .values()
            .flat_map(|reservation| reservation.subjects.iter().copied())
            .collect();
        for operation in batch {
            if let Operation::Reserve(reserve) = operation {
                subjects.extend(&reserve.subjects);
            }
        }
        page.read_counters(connection, subjects)?;
        Ok(page)
    }

    fn read_reservations(
        &mut self,
        connection: &mut SqliteConnection,
        batch: &[Operation],
    ) -> Result<(), Failure> {
        let ids: BTreeSet<Id> = batch
            .iter()
            .map(|operation| operation.id().into())
            .collect();
        let ids: Vec<Id> = ids.into_iter().collect();
        for ids in ids.chunks(CHUNK) {
            let known = queries::reservations::by_ids(connection, ids)?;
            let found: Vec<Id> = known.iter().map(|(id, ..)| *id).collect();
            for (id, hold, version, state, charged, overage) in known {
                self.reservations.insert(
                    id.into(),
                    reservation(hold, version, &state, charged, overage)?,
                );
            }
            // A batch of nothing but new reservations is spared the second look.
            if found.is_empty() {
                continue;
            }
            for (id, kind, of) in queries::reservations::subjects(connection, &found)? {
                if let Some(reservation) = self.reservations.get_mut(&id.into()) {
                    reservation.subjects.push(subject(&kind, of)?);
                }
            }
        }
        Ok(())
    }

    fn read_counters(
        &mut self,
        connection: &mut SqliteConnection,
        subjects: impl IntoIterator<Item = Subject>,
    ) -> Result<(), Failure> {
        let ids: BTreeSet<Id> = subjects
            .into_iter()
            .map(|subject| Id(*subject.parts().1))
            .collect();
        let ids: Vec<Id> = ids.into_iter().collect();
        for ids in ids.chunks(CHUNK) {
            for (row, limit) in queries::counters::of_subjects(connection, ids)? {
                let subject = row.subject()?;
                self.rows.insert(subject, row.id);
                self.counters.insert(subject, row.standing(limit)?);
            }
        }
        Ok(())
    }

    /// Writes what has changed.
    pub(super) fn write(mut self, connection: &mut SqliteConnection) -> Result<(), Failure> {
        let balances: Vec<NewCounterRow> = self
            .changed
            .iter()
            .map(|&subject| NewCounterRow::new(subject, &self.counter(subject)))
            .collect();
        in_chunks(&balances, |rows| queries::counters::put(connection, rows))?;
        let new: Vec<Subject> = self
            .changed
            .iter()
            .copied()
            .filter(|subject| !self.rows.contains_key(subject))
            .collect();
        self.read_counters(connection, new)?;

        in_chunks(&self.opened, |rows| {
            queries::reservations::insert(connection, rows)
        })?;
        for hold in self.held.values() {
            if queries::reservations::hold(connection, hold)? != 1 {
                return Err(Failure::corrupt(
                    "a reservation that has ended was extended",
                ));
            }
        }
        for end in &self.closed {
            if queries::reservations::close(connection, end)? != 1 {
                return Err(Failure::corrupt("a reservation ended twice"));
            }
        }
        let parts = self.part_rows()?;
        in_chunks(&parts, |rows| {
            queries::reservations::put_counters(connection, rows)
        })?;
        let lines = self.ledger_rows()?;
        in_chunks(&lines, |rows| queries::ledger::append(connection, rows))
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

/// Writes rows in statements of a size that SQLite takes.
fn in_chunks<T>(
    rows: &[T],
    mut write: impl FnMut(&[T]) -> diesel::QueryResult<usize>,
) -> Result<(), Failure> {
    for rows in rows.chunks(CHUNK) {
        write(rows)?;
    }
    Ok(())
}
