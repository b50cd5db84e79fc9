//! One statement per function, in Diesel's own language over `schema.rs`, with nothing in it that only
//! SQLite knows. Each reads or writes in the scope it is given; transactions are the business of `store/`.

pub(crate) mod counters;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod projects;
pub(crate) mod reservations;
pub(crate) mod sessions;
pub(crate) mod totals;
pub(crate) mod users;

/// Identifiers or rows in one statement. SQLite allows 32,766 bound values in one.
pub(crate) const CHUNK: usize = 1_000;
