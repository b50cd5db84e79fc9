mod balances;
mod chains;
mod requests;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::{
    AuditStore, Author, CallRecord, Check, LineQuery, Lines, Operation, Outcome, Refund,
    Settlement, StoreFuture, Verification,
};

use super::page::Desk;
use super::queries::audit;
use super::{Connection, Store, batch, event, ledger};
use crate::error::Failure;
use crate::models::Id;

/// Rows that are in memory at once.
const PAGE: i64 = 2_000;
/// Rows of the ledger that one call looks at, for those of the time that is asked for.
const SPAN: i64 = 50_000;

fn lines(connection: &mut Connection, query: LineQuery) -> Result<Lines, Failure> {
    let end = audit::last_line(connection)?.unwrap_or_default();
    let last = query.after.saturating_add(SPAN).min(end);
    let time = (query.from.as_micros(), query.to.as_micros());
    let count = i64::from(query.count);
    let rows = audit::lines(connection, (query.after, last), time, count)?;
    // Where there may be more of them it goes on behind the last one, else behind all that was looked at.
    let seen = match rows.last() {
        Some((line, ..)) if rows.len() as u64 >= u64::from(query.count) => line.id,
        _ => last,
    };
    let lines = rows
        .into_iter()
        .map(|(line, counter, call)| line.record(&counter, call));
    Ok(Lines {
        lines: lines.collect::<Result<_, Failure>>()?,
        next: (seen < end).then_some(seen),
    })
}

fn records(rows: Vec<crate::models::CallRow>) -> Result<Vec<CallRecord>, Failure> {
    rows.into_iter().map(CallRecord::try_from).collect()
}

fn knows(connection: &mut Connection, subject: Subject) -> Result<bool, Failure> {
    if subject.each() == Some(subject) {
        return Ok(true);
    }
    let id = Id(*subject.parts().1);
    let found = match subject {
        Subject::User(_) => audit::users(connection, id)?,
        Subject::Project(_) => audit::projects(connection, id)?,
        Subject::Key(_) => audit::keys(connection, id)?,
        Subject::Platform => 1,
        _ => 0,
    };
    Ok(found > 0)
}

/// Takes a presumed charge back. Whether it is one is decided under the locks of the batch that does it.
fn refund(
    connection: &mut Connection,
    desk: Desk,
    id: RequestId,
    author: &Author,
) -> Result<Option<CallRecord>, Failure> {
    let read = |connection: &mut Connection| -> Result<Option<CallRecord>, Failure> {
        let row = audit::call(connection, id.into())?;
        row.map(CallRecord::try_from).transpose()
    };
    let Some(before) = read(connection)? else {
        return Ok(None);
    };
    let at = author.at;
    let outcomes = ledger::apply(connection, desk, &[Operation::Refund(Refund { id, at })])?;
    if let [
        Outcome::Settled(Settlement {
            repeated: false, ..
        }),
    ] = outcomes[..]
    {
        event::leave(connection, &[before.refund_event(author)])?;
    }
    read(connection)
}

impl AuditStore for Store {
    fn verify(&self, check: Check) -> StoreFuture<'_, Verification> {
        let desk = self.desk();
        self.audit(move |connection| {
            let now = batch::now(connection, desk)?;
            let at: Timestamp = now.unwrap_or(check.at);
            let mut verification = Verification::default();
            balances::verify(connection, &mut verification)?;
            chains::verify(connection, &mut verification)?;
            requests::verify(connection, &mut verification)?;
            requests::left_behind(connection, &mut verification, Check { at, ..check })?;
            Ok(verification)
        })
    }

    fn lines(&self, query: LineQuery) -> StoreFuture<'_, Lines> {
        self.read(move |connection| lines(connection, query))
    }

    fn presumed(&self, after: Option<RequestId>, count: u32) -> StoreFuture<'_, Vec<CallRecord>> {
        self.read(move |connection| {
            let rows = audit::presumed(connection, after.map(Id::from), count.into())?;
            records(rows)
        })
    }

    fn refund_presumed(
        &self,
        id: RequestId,
        author: Author,
    ) -> StoreFuture<'_, Option<CallRecord>> {
        let desk = self.desk();
        self.write(move |connection| refund(connection, desk, id, &author))
    }

    fn call(&self, id: RequestId) -> StoreFuture<'_, Option<CallRecord>> {
        self.read(move |connection| {
            let row = audit::call(connection, id.into())?;
            row.map(CallRecord::try_from).transpose()
        })
    }

    fn knows(&self, subject: Subject) -> StoreFuture<'_, bool> {
        self.read(move |connection| knows(connection, subject))
    }
}
