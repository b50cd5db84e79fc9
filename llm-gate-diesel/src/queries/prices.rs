use diesel::prelude::*;

use super::Connection;
use crate::models::{NewPriceRow, PriceRow};
use crate::schema::prices;

/// Reads all tariffs in force.
pub(crate) fn in_force(connection: &mut Connection) -> QueryResult<Vec<PriceRow>> {
    prices::table
        .filter(prices::in_force)
        .order(prices::model)
        .select(PriceRow::as_select())
        .load(connection)
}

/// Reads the tariffs in force for these models.
pub(crate) fn of_models(
    connection: &mut Connection,
    models: &[String],
) -> QueryResult<Vec<PriceRow>> {
    prices::table
        .filter(prices::model.eq_any(models))
        .filter(prices::in_force)
        .select(PriceRow::as_select())
        .load(connection)
}

/// Reads tariffs, whether they are in force or not.
pub(crate) fn by_ids(connection: &mut Connection, ids: &[i64]) -> QueryResult<Vec<PriceRow>> {
    prices::table
        .filter(prices::id.eq_any(ids))
        .select(PriceRow::as_select())
        .load(connection)
}

/// Ends the tariff of a model, if it has one.
pub(crate) fn retire(connection: &mut Connection, model: &str) -> QueryResult<usize> {
    diesel::update(prices::table)
        .filter(prices::model.eq(model))
        .filter(prices::in_force)
        .set(prices::in_force.eq(false))
        .execute(connection)
}

/// Sets a tariff.
pub(crate) fn insert(connection: &mut Connection, row: &NewPriceRow) -> QueryResult<i64> {
    diesel::insert_into(prices::table)
        .values(row)
        .returning(prices::id)
        .get_result(connection)
}
