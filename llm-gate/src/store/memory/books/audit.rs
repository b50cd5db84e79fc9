use std::collections::HashMap;

use crate::identity::RequestId;
use crate::store::rules::{Balance, EntryKind, State};
use crate::store::{
    CallRecord, Check, CounterKey, Finding, LedgerLine, LineQuery, Lines, Verification,
};

use super::{Kept, MemoryBooks};

impl MemoryBooks {
    /// Checks the books. There are no chains in memory: whoever can change it can change them too.
    #[must_use]
    pub fn verify(&self, check: Check) -> Verification {
        let mut verification = Verification {
            counters: self.balances.len() as u64,
            lines: self.ledger.len() as u64,
            reservations: self.reservations.len() as u64,
            ..Verification::default()
        };
        self.verify_counters(&mut verification);
        self.verify_reservations(&mut verification, check);
        verification
    }

    fn verify_counters(&self, verification: &mut Verification) {
        let mut rows = HashMap::<&CounterKey, [i128; 3]>::new();
        for entry in &self.ledger {
            let [used, overage, _] = rows.entry(&entry.counter).or_default();
            *used += i128::from(entry.charge);
            *overage += i128::from(entry.overage);
        }
        for Kept { reservation, .. } in self.reservations.values() {
            if reservation.state == State::Pending {
                for counter in &reservation.counters {
                    let [.., reserved] = rows.entry(counter).or_default();
                    *reserved += i128::from(reservation.held(counter).get());
                }
            }
        }
        // Those that were never written stand at zero.
        let all = rows
            .keys()
            .copied()
            .filter(|key| !self.balances.contains_key(key));
        let mut all: Vec<&CounterKey> = all.chain(self.balances.keys()).collect();
        all.sort_unstable();
        for key in all {
            let Balance {
                used,
                reserved,
                overage,
                ..
            } = self.balances.get(key).copied().unwrap_or_default();
            let kept = [used, overage, reserved].map(|amount| i128::from(amount.get()));
            let rows = rows.get(key).copied().unwrap_or_default();
            verification.compare(|| key.clone(), kept, rows);
        }
    }

    fn verify_reservations(&self, verification: &mut Verification, check: Check) {
        type Posted<'a> = Vec<(&'a CounterKey, EntryKind, i64)>;
        let mut posted = HashMap::<RequestId, Posted<'_>>::new();
        for entry in &self.ledger {
            if let Some(id) = entry.reservation {
                let line = (&entry.counter, entry.kind, entry.charge);
                posted.entry(id).or_default().push(line);
            }
        }
        let mut ids: Vec<&RequestId> = self.reservations.keys().collect();
        ids.sort_unstable();
        for id in ids {
            let Kept {
                reservation, owner, ..
            } = &self.reservations[id];
            let parts = reservation.counters.iter().map(|counter| (counter, None));
            let parts: Vec<(&CounterKey, Option<i64>)> = parts.collect();
            let lines = posted.remove(id).unwrap_or_default();
            verification.compare_request(*id, &reservation.state, &parts, &lines);
            if reservation.state != State::Pending {
                continue;
            }
            verification.pending += 1;
            let owned = owner.and_then(|owner| Some((owner, self.owners.get(&owner)?.given_up?)));
            if let Some((owner, given_up)) = owned
                && given_up.after(check.grace) < check.at
            {
                let id = *id;
                verification.find(Finding::Hold {
                    id,
                    owner,
                    given_up,
                });
            }
        }
    }

    /// Reads lines of the ledger. Their rows are numbered from 1 on.
    #[must_use]
    pub fn lines(&self, query: LineQuery) -> Lines {
        let skipped = usize::try_from(query.after).unwrap_or_default();
        let count = query.count as usize;
        let page = self.ledger.iter().enumerate().skip(skipped).take(count);
        let seen = page.len();
        let asked = page.filter(|(_, entry)| query.from <= entry.at && entry.at < query.to);
        let lines = asked.map(|(place, entry)| LedgerLine {
            id: i64::try_from(place + 1).unwrap_or(i64::MAX),
            entry: entry.clone(),
            link: None,
            call: entry.reservation.and_then(|id| self.call(id)),
        });
        let read = skipped + seen;
        let more = read < self.ledger.len();
        Lines {
            lines: lines.collect(),
            next: i64::try_from(read).ok().filter(|_| more),
        }
    }

    /// Lists the calls whose charge is presumed, the oldest first.
    #[must_use]
    pub fn presumed(&self, after: Option<RequestId>, count: usize) -> Vec<CallRecord> {
        let presumed = self.reservations.iter().filter(|(id, kept)| {
            matches!(kept.reservation.state, State::Expired(_))
                && after.is_none_or(|after| **id > after)
        });
        let mut ids: Vec<RequestId> = presumed.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.truncate(count);
        ids.into_iter().filter_map(|id| self.call(id)).collect()
    }

    /// Reads a call.
    #[must_use]
    pub fn call(&self, id: RequestId) -> Option<CallRecord> {
        let kept = self.reservations.get(&id)?;
        let end = kept.end.as_ref();
        Some(CallRecord {
            id,
            user: kept.call.user,
            project: kept.call.project,
            key: kept.key,
            session: kept.call.session.clone(),
            route: kept.call.route.clone(),
            model: kept.call.model.clone(),
            stream: kept.call.stream,
            request_bytes: kept.call.request_bytes,
            hold: kept.reservation.hold.total,
            state: kept.reservation.state,
            created_at: kept.at,
            ended_at: end.map(|end| end.at),
            usage: end.map(|end| end.usage).unwrap_or_default(),
            source: end.map(|end| end.source),
            ending: end.map(|end| end.ending),
            status: end.map(|end| end.status).unwrap_or_default(),
            served: end.and_then(|end| end.served.clone()),
        })
    }
}
