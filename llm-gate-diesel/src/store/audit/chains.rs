//! The chains of hashes over the ledger.

use llm_gate::store::{Finding, LineFault, LineName, Verification};

use super::{Connection, PAGE, audit};
use crate::chain::GENESIS;
use crate::error::Failure;
use crate::models::{ChainRow, ChainedRow, CounterRow, Id};

pub(super) fn verify(
    connection: &mut Connection,
    verification: &mut Verification,
) -> Result<(), Failure> {
    let mut writer = audit::writer_after(connection, None)?;
    while let Some(of) = writer {
        walk(connection, verification, of)?;
        writer = audit::writer_after(connection, Some(of))?;
    }
    let mut after = None;
    loop {
        let heads = audit::chains_after(connection, after, PAGE)?;
        let Some(last) = heads.last() else {
            return Ok(());
        };
        after = Some(last.writer);
        for head in &heads {
            end(connection, verification, head)?;
        }
    }
}

/// Where the walk along a chain is.
struct Place {
    sequence: i64,
    id: i64,
    /// The hash of the line before; unknown where that line is missing.
    hash: Option<[u8; 32]>,
}

/// Goes along a writer's lines.
fn walk(
    connection: &mut Connection,
    verification: &mut Verification,
    writer: Id,
) -> Result<(), Failure> {
    verification.writers += 1;
    let head = audit::chain(connection, writer)?;
    let mut place = Place {
        sequence: 0,
        id: i64::MIN,
        hash: Some(GENESIS),
    };
    loop {
        let rows = audit::chained_after(connection, writer, place.sequence, PAGE)?;
        if rows.is_empty() {
            return Ok(());
        }
        verification.lines += rows.len() as u64;
        for (row, counter) in rows {
            if head.is_none() && place.sequence == 0 {
                fault(verification, row.name(), LineFault::NoHead);
            }
            place = step(verification, &place, &row, counter.as_ref())?;
        }
    }
}

fn step(
    verification: &mut Verification,
    place: &Place,
    row: &ChainedRow,
    counter: Option<&CounterRow>,
) -> Result<Place, Failure> {
    let name = row.name();
    let mut previous = place.hash;
    if row.sequence != place.sequence + 1 {
        verification.find(Finding::Gap {
            writer: name.writer,
            first: place.sequence + 1,
            last: row.sequence - 1,
            before: Some(name),
        });
        previous = None;
    }
    if row.id <= place.id {
        fault(verification, name, LineFault::Misplaced);
    }
    let hash: Option<[u8; 32]> = row.hash.as_slice().try_into().ok();
    match (counter, previous) {
        (None, _) => fault(verification, name, LineFault::NoCounter),
        (Some(counter), Some(previous)) => {
            if hash != Some(row.line(&counter.key()?).hash(&previous)) {
                fault(verification, name, LineFault::Changed);
            }
        }
        // Nothing tells what it was chained to.
        (Some(_), None) => {}
    }
    // It goes on from what stands there, so that each fault is told once and not at every line behind it.
    Ok(Place {
        sequence: row.sequence,
        id: row.id,
        hash,
    })
}

/// Compares where a writer says it has come to with its last line.
fn end(
    connection: &mut Connection,
    verification: &mut Verification,
    head: &ChainRow,
) -> Result<(), Failure> {
    let writer = head.writer.0;
    let last = audit::last_of(connection, head.writer)?;
    let reached = last.as_ref().map_or(0, |(_, sequence, _)| *sequence);
    if reached < head.sequence {
        verification.find(Finding::Gap {
            writer,
            first: reached + 1,
            last: head.sequence,
            before: None,
        });
    }
    let Some((id, sequence, hash)) = last else {
        return Ok(());
    };
    let name = LineName {
        id,
        writer,
        sequence,
    };
    if reached > head.sequence {
        fault(verification, name, LineFault::BeyondHead);
    } else if reached == head.sequence && hash != head.hash {
        fault(verification, name, LineFault::NotHead);
    }
    Ok(())
}

fn fault(verification: &mut Verification, line: LineName, fault: LineFault) {
    verification.find(Finding::Line { line, fault });
}
