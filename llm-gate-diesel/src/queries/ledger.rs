use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;

use crate::models::LedgerRow;
use crate::schema::ledger;

/// Appends lines to the ledger.
pub(crate) fn append(connection: &mut SqliteConnection, rows: &[LedgerRow]) -> QueryResult<usize> {
    diesel::insert_into(ledger::table)
        .values(rows)
        .execute(connection)
}
