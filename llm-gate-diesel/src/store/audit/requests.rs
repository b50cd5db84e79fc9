//! Reservations against their lines in the ledger, and those that nobody settles.

use std::collections::HashMap;

use llm_gate::clock::Timestamp;
use llm_gate::store::rules::{EntryKind, State};
use llm_gate::store::{Check, Finding, LineFault, OwnerId, Verification};
use uuid::Uuid;

use super::{Connection, PAGE, audit};
use crate::error::Failure;
use crate::models::{Id, KnownRequest, PostedRow};

/// What is before every identifier and behind every one.
const ENDS: (Id, Id) = (Id(Uuid::nil()), Id(Uuid::max()));

pub(super) fn verify(
    connection: &mut Connection,
    verification: &mut Verification,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let requests = audit::requests_after(connection, after, PAGE)?;
        // The last page reaches to the end, so that no line stands between pages.
        let first = after.map_or(ENDS.0, |Id(after)| Id(next(after)));
        let whole = requests.len() < PAGE.unsigned_abs() as usize;
        let last = requests.last().filter(|_| !whole);
        let last = last.map_or(ENDS.1, |request| request.id);
        page(connection, verification, &requests, (first, last))?;
        if whole {
            return Ok(());
        }
        after = Some(last);
    }
}

/// Returns the identifier behind one.
const fn next(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_add(1))
}

fn page(
    connection: &mut Connection,
    verification: &mut Verification,
    requests: &[KnownRequest],
    (first, last): (Id, Id),
) -> Result<(), Failure> {
    let mut parts = HashMap::<Id, Vec<(i64, Option<i64>)>>::new();
    for part in audit::parts_between(connection, first, last)? {
        let charged = Some(part.charged);
        let of = parts.entry(part.reservation_id).or_default();
        of.push((part.counter_id, charged));
    }
    let mut posted = HashMap::<Id, Vec<PostedRow>>::new();
    for row in audit::posted_between(connection, first, last)? {
        if let Some(id) = row.reservation_id {
            posted.entry(id).or_default().push(row);
        }
    }
    for request in requests {
        let state = request.state()?;
        verification.reservations += 1;
        verification.pending += u64::from(state == State::Pending);
        // One of unknown kind has another hash than its own: the chain tells.
        let lines = posted.remove(&request.id).unwrap_or_default();
        let lines = lines
            .iter()
            .filter_map(|row| Some((row.counter_id, EntryKind::from_word(&row.kind)?, row.charge)));
        let lines: Vec<(i64, EntryKind, i64)> = lines.collect();
        let parts = parts.remove(&request.id).unwrap_or_default();
        verification.compare_request(request.id.into(), &state, &parts, &lines);
    }
    let mut others: Vec<PostedRow> = posted.into_values().flatten().collect();
    others.sort_unstable_by_key(|row| row.id);
    for row in others {
        let (line, fault) = (row.name(), LineFault::NoRequest);
        verification.find(Finding::Line { line, fault });
    }
    Ok(())
}

/// Reports what is pending though its owner was given up longer ago than the grace.
pub(super) fn left_behind(
    connection: &mut Connection,
    verification: &mut Verification,
    check: Check,
) -> Result<(), Failure> {
    let grace = i64::try_from(check.grace.as_micros()).unwrap_or(i64::MAX);
    let before = check.at.as_micros().saturating_sub(grace);
    let mut after = i64::MIN;
    loop {
        let owners = audit::given_up_after(connection, before, after, PAGE)?;
        let Some((last, _)) = owners.last() else {
            return Ok(());
        };
        after = *last;
        for (owner, at) in owners {
            let given_up = Timestamp::from_micros(at.unwrap_or_default());
            left_by(connection, verification, OwnerId(owner), given_up)?;
        }
    }
}

fn left_by(
    connection: &mut Connection,
    verification: &mut Verification,
    owner: OwnerId,
    given_up: Timestamp,
) -> Result<(), Failure> {
    let mut after = ENDS.0;
    loop {
        let left = audit::pending_of(connection, owner.0, after, PAGE)?;
        let Some(last) = left.last() else {
            return Ok(());
        };
        after = *last;
        for id in left {
            let id = id.into();
            verification.find(Finding::Hold {
                id,
                owner,
                given_up,
            });
        }
    }
}
