use diesel::prelude::*;
use diesel::upsert::excluded;

use super::Connection;
use crate::models::ChainRow;
use crate::schema::chains;

/// Writes how far a writer has come.
pub(crate) fn put(connection: &mut Connection, row: &ChainRow) -> QueryResult<usize> {
    diesel::insert_into(chains::table)
        .values(row)
        .on_conflict(chains::writer)
        .do_update()
        .set((
            chains::sequence.eq(excluded(chains::sequence)),
            chains::hash.eq(excluded(chains::hash)),
        ))
        .execute(connection)
}
