//! The rows that one batch touches.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use llm_gate::clock::Timestamp;
use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::rules::{self, Balance, Book, Entry, EntryKind, Reservation, State};
use llm_gate::store::{
    CounterKey, Extend, Limits, Operation, Outcome, Price, Refund, Reserve, Settle, Tariff,
};
use llm_gate::tokens::Amount;
use uuid::Uuid;

use super::queries::{chains, prices};
use super::{Connection, batch};
use crate::chain::{GENESIS, Line};
use crate::error::Failure;
use crate::models::{
    ChainRow, Id, LedgerRow, NewCounterRow, PriceRow, ReservationCounterRow, ReservationEnd,
    ReservationHold, ReservationRow, text,
};

/// Who writes, and by whose clock reservations are admitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Desk {
    /// Whose chain of the ledger it is.
    pub(crate) writer: Uuid,
    /// Whether the database's clock is asked. Else operations bring the time along.
    pub(crate) database_time: bool,
}

/// What a transaction is told when it has locked the counters of its subjects.
pub(crate) struct Gate {
    /// The database's time.
    pub(crate) now: Option<Timestamp>,
    /// How far the writer has come.
    pub(crate) chain: ChainRow,
}

/// A [`Book`] of the rows that a batch touches: read at the beginning, written at the end, decided in
/// between by the rules alone.
pub(super) struct Page {
    gate: Gate,
    limits: Limits,
    /// Those in force.
    tariffs: HashMap<String, Tariff>,
    balances: HashMap<CounterKey, Balance>,
    /// The keys of the counters' rows, for those that have one.
    rows: HashMap<CounterKey, i64>,
    reservations: HashMap<RequestId, Reservation>,
    changed: BTreeSet<CounterKey>,
    opened: Vec<ReservationRow>,
    /// The last change of each hold.
    held: BTreeMap<RequestId, ReservationHold>,
    closed: Vec<ReservationEnd>,
    refunded: Vec<Id>,
    /// Ends of reservations that had been presumed.
    corrected: Vec<ReservationEnd>,
    /// What each counter holds for a reservation and was charged for it.
    parts: BTreeMap<(RequestId, CounterKey), (Amount, i64)>,
    posted: Vec<Entry>,
}

impl Page {
    /// Reads what `batch` touches.
    ///
    /// First the counters are taken that every subject has, which keeps limits and other windows of that subject as
    /// they are; then the limits tell which windows are touched, and these are taken. The counters are taken before
    /// the reservations are read: whoever had to wait for a counter knows what was decided on it in the meantime,
    /// also about the same request.
    pub(super) fn read(
        connection: &mut Connection,
        desk: Desk,
        operations: &[Operation],
    ) -> Result<Self, Failure> {
        let known = |operation: &&Operation| !matches!(operation, Operation::Reserve(_));
        let known = operations.iter().filter(known).map(id).collect();
        let mut holders = holders(connection, known)?;
        let reserves = || {
            operations.iter().filter_map(|operation| match operation {
                Operation::Reserve(reserve) => Some(reserve),
                _ => None,
            })
        };
        let mut keys: BTreeSet<CounterKey> = holders.values().flatten().cloned().collect();
        let mut subjects: BTreeSet<Subject> = keys.iter().map(|key| key.subject).collect();
        subjects.extend(reserves().flat_map(|reserve| &reserve.subjects));
        let mut counters = batch::lock(connection, &subjects)?;
        let gate = batch::gate(connection, desk)?;

        let limits = limits_of(connection, &subjects)?;
        for reserve in reserves() {
            keys.extend(rules::counters(&limits, &at(reserve, gate.now)));
        }
        let mut windows = keys.clone();
        for row in &counters {
            windows.remove(&row.key()?);
        }
        counters.extend(batch::take(connection, &windows)?);

        let ids: BTreeSet<Id> = operations.iter().map(id).collect();
        let known = batch::reservations(connection, &Vec::from_iter(ids))?;
        // Those that are reserved again, and those that are there only since the counters were named.
        let others = known.iter().map(|known| known.id);
        let others = others.filter(|id| !holders.contains_key(id)).collect();
        holders.extend(self::holders(connection, others)?);
        let late: BTreeSet<CounterKey> = holders
            .values()
            .flatten()
            .filter(|key| !keys.contains(key))
            .cloned()
            .collect();

        let models: BTreeSet<&str> = reserves().map(|reserve| &*reserve.call.model).collect();
        let ids: BTreeSet<i64> = known.iter().filter_map(|known| known.price_id).collect();
        let (tariffs, by_id) = tariffs(connection, &models, &ids)?;

        let mut page = Self {
            gate,
            limits,
            tariffs,
            balances: HashMap::new(),
            rows: HashMap::new(),
            reservations: HashMap::new(),
            changed: BTreeSet::new(),
            opened: Vec::new(),
            held: BTreeMap::new(),
            closed: Vec::new(),
            refunded: Vec::new(),
            corrected: Vec::new(),
            parts: BTreeMap::new(),
            posted: Vec::new(),
        };
        page.keep(counters)?;
        if !late.is_empty() {
            let subjects = late.iter().map(|key| key.subject).collect();
            page.keep(batch::lock(connection, &subjects)?)?;
            page.keep(batch::take(connection, &late)?)?;
            for limit in limits_of(connection, &subjects)?.all() {
                page.limits.put(limit.clone());
            }
        }
        for known in known {
            let tariff = known.price_id.and_then(|id| by_id.get(&id)).copied();
            let counters = holders.remove(&known.id).unwrap_or_default();
            let reservation = known.reservation(tariff.unwrap_or_default(), counters)?;
            page.reservations.insert(known.id.into(), reservation);
        }
        Ok(page)
    }

    fn keep(&mut self, rows: Vec<crate::models::CounterRow>) -> Result<(), Failure> {
        for row in rows {
            let key = row.key()?;
            self.balances.insert(key.clone(), row.balance()?);
            self.rows.insert(key, row.id);
        }
        Ok(())
    }

    /// Applies an operation.
    pub(super) fn apply(&mut self, operation: &Operation) -> Outcome {
        match (operation, self.gate.now) {
            (Operation::Reserve(reserve), now @ Some(_)) => {
                rules::apply(self, &Operation::Reserve(at(reserve, now)))
            }
            _ => rules::apply(self, operation),
        }
    }

    /// Writes what has changed.
    pub(super) fn write(mut self, connection: &mut Connection) -> Result<(), Failure> {
        let balances: Vec<NewCounterRow> = self
            .changed
            .iter()
            .map(|key| NewCounterRow::new(key, self.balance(key)))
            .collect();
        batch::put_balances(connection, &balances)?;
        let new: BTreeSet<CounterKey> = self
            .changed
            .iter()
            .filter(|key| !self.rows.contains_key(key))
            .cloned()
            .collect();
        if !new.is_empty() {
            let rows = batch::take(connection, &new)?;
            self.keep(rows)?;
        }

        batch::open(connection, &self.opened)?;
        let held: Vec<ReservationHold> = std::mem::take(&mut self.held).into_values().collect();
        if batch::hold(connection, &held)? != held.len() {
            return Err(Failure::corrupt(
                "a reservation that has ended was extended",
            ));
        }
        if batch::close(connection, &self.closed)? != self.closed.len()
            || batch::refund(connection, &self.refunded)? != self.refunded.len()
            || batch::correct(connection, &self.corrected)? != self.corrected.len()
        {
            return Err(Failure::corrupt("a reservation ended twice"));
        }
        batch::put_parts(connection, &self.part_rows()?)?;
        if !self.posted.is_empty() {
            let posted = std::mem::take(&mut self.posted);
            post(connection, &mut self.gate.chain, &posted, &self.rows)?;
        }
        Ok(())
    }

    fn part_rows(&self) -> Result<Vec<ReservationCounterRow>, Failure> {
        let row = |((id, key), (held, charged)): (&(RequestId, CounterKey), &(Amount, i64))| {
            Ok(ReservationCounterRow {
                reservation_id: (*id).into(),
                counter_id: row(&self.rows, key)?,
                held: held.as_i64(),
                charged: *charged,
            })
        };
        self.parts.iter().map(row).collect()
    }
}

/// Appends lines to the ledger, chained to the writer's last one.
pub(super) fn post(
    connection: &mut Connection,
    chain: &mut ChainRow,
    entries: &[Entry],
    rows: &HashMap<CounterKey, i64>,
) -> Result<(), Failure> {
    let mut previous = chain.head()?;
    let mut lines = Vec::with_capacity(entries.len());
    let ids = batch::new_lines(connection, entries.len())?;
    for (entry, id) in entries.iter().zip(ids) {
        chain.sequence += 1;
        let line = Line {
            id,
            writer: chain.writer.0,
            sequence: chain.sequence,
            kind: entry.kind.as_str(),
            reservation: entry.reservation.map(|id| *id.as_uuid()),
            counter: &entry.counter,
            charge: entry.charge,
            overage: entry.overage,
            amount: entry.limit.map(Amount::as_i64),
            at: entry.at.as_micros(),
        };
        previous = line.hash(&previous);
        lines.push(LedgerRow {
            id,
            writer: chain.writer,
            sequence: line.sequence,
            kind: entry.kind.as_str(),
            reservation_id: entry.reservation.map(Id::from),
            counter_id: row(rows, &entry.counter)?,
            charge: line.charge,
            overage: line.overage,
            amount: line.amount,
            at: line.at,
            hash: previous.to_vec(),
        });
    }
    batch::post(connection, &lines)?;
    chain.hash = previous.to_vec();
    chains::put(connection, chain)?;
    Ok(())
}

/// Names a chain that has no line yet.
pub(crate) fn new_chain(writer: Uuid) -> ChainRow {
    ChainRow {
        writer: Id(writer),
        sequence: 0,
        hash: GENESIS.to_vec(),
    }
}

fn row(rows: &HashMap<CounterKey, i64>, key: &CounterKey) -> Result<i64, Failure> {
    let row = rows.get(key).copied();
    row.ok_or_else(|| Failure::corrupt("a counter was written and is not there"))
}

fn id(operation: &Operation) -> Id {
    operation.id().into()
}

/// Sets the time that a reserve is admitted at.
fn at(reserve: &Reserve, now: Option<Timestamp>) -> Reserve {
    Reserve {
        at: now.unwrap_or(reserve.at),
        ..reserve.clone()
    }
}

/// Reads the limits that concern these subjects: their own, those for each of their kinds, and those for all.
pub(super) fn limits_of(
    connection: &mut Connection,
    subjects: &BTreeSet<Subject>,
) -> Result<Limits, Failure> {
    // Zeros name what stands for each of a kind, and for all.
    let mut ids = BTreeSet::from([Id(Uuid::nil())]);
    ids.extend(subjects.iter().map(|subject| Id(*subject.parts().1)));
    let mut limits = Limits::default();
    for row in batch::limits(connection, &Vec::from_iter(ids))? {
        limits.put(row.try_into()?);
    }
    Ok(limits)
}

type Tariffs = (HashMap<String, Tariff>, HashMap<i64, Tariff>);

/// Reads tariffs: by model those in force, and by id.
fn tariffs(
    connection: &mut Connection,
    models: &BTreeSet<&str>,
    ids: &BTreeSet<i64>,
) -> Result<Tariffs, Failure> {
    let (mut in_force, mut by_id) = (HashMap::new(), HashMap::new());
    if models.is_empty() && ids.is_empty() {
        return Ok((in_force, by_id));
    }
    // A handful of models and of tariffs, however large the batch is; if not, in parts.
    let models: Vec<String> = models
        .iter()
        .map(|model| text((*model).to_owned()))
        .collect();
    let ids = Vec::from_iter(ids.iter().copied());
    let mut rows: Vec<PriceRow> = Vec::new();
    for models in models.chunks(batch::CHUNK) {
        rows.extend(prices::of_models(connection, models)?);
    }
    for ids in ids.chunks(batch::CHUNK) {
        rows.extend(prices::by_ids(connection, ids)?);
    }
    for row in rows {
        let current = row.in_force;
        let price = Price::try_from(row)?;
        by_id.insert(price.tariff.id.unwrap_or_default(), price.tariff);
        if current {
            in_force.insert(price.model, price.tariff);
        }
    }
    Ok((in_force, by_id))
}

/// Reads the counters of reservations, for those that are there.
fn holders(
    connection: &mut Connection,
    ids: BTreeSet<Id>,
) -> Result<HashMap<Id, Vec<CounterKey>>, Failure> {
    let mut holders = HashMap::<Id, Vec<CounterKey>>::new();
    for (id, row) in batch::counters_of(connection, &Vec::from_iter(ids))? {
        holders.entry(id).or_default().push(row.key()?);
    }
    Ok(holders)
}

impl Book for Page {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn tariff(&self, model: &str) -> Tariff {
        self.tariffs.get(model).copied().unwrap_or_default()
    }

    fn balance(&self, counter: &CounterKey) -> Balance {
        self.balances.get(counter).copied().unwrap_or_default()
    }

    fn put_balance(&mut self, counter: &CounterKey, balance: Balance) {
        self.balances.insert(counter.clone(), balance);
        self.changed.insert(counter.clone());
    }

    fn reservation(&self, id: RequestId) -> Option<&Reservation> {
        self.reservations.get(&id)
    }

    fn open(&mut self, reserve: &Reserve, reservation: Reservation) {
        self.opened.push(ReservationRow::new(reserve, &reservation));
        for counter in &reservation.counters {
            let held = reservation.held(counter);
            self.parts.insert((reserve.id, counter.clone()), (held, 0));
        }
        self.reservations.insert(reserve.id, reservation);
    }

    fn hold(&mut self, extend: &Extend) {
        self.held.insert(extend.id, extend.into());
        if let Some(reservation) = self.reservations.get_mut(&extend.id) {
            reservation.hold = extend.hold;
            reservation.version = extend.version;
            for counter in &reservation.counters {
                let held = reservation.held(counter);
                self.parts.insert((extend.id, counter.clone()), (held, 0));
            }
        }
    }

    fn close(&mut self, settle: &Settle, state: State) {
        let end = ReservationEnd::new(settle, state);
        if let Some(reservation) = self.reservations.get_mut(&settle.id) {
            if reservation.state == State::Pending {
                self.closed.push(end);
            } else {
                self.corrected.push(end);
            }
            reservation.state = state;
        }
    }

    fn refund(&mut self, refund: &Refund) {
        self.refunded.push(refund.id.into());
        if let Some(reservation) = self.reservations.get_mut(&refund.id) {
            reservation.state = State::Refunded;
        }
    }

    fn post(&mut self, entry: Entry) {
        if let Some((id, reservation)) = entry
            .reservation
            .and_then(|id| Some((id, self.reservations.get(&id)?)))
        {
            let held = reservation.held(&entry.counter);
            // What was presumed was the whole hold.
            let before = match entry.kind {
                EntryKind::Correct | EntryKind::Refund => held.as_i64(),
                _ => 0,
            };
            let part = (held, before + entry.charge);
            self.parts.insert((id, entry.counter.clone()), part);
        }
        self.posted.push(entry);
    }
}
