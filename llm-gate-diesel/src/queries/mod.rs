//! One statement per function, in Diesel's own language over `schema.rs`, with nothing in it that only
//! one database knows. Each reads or writes in the scope it is given; transactions are the business of
//! `store/`. Compiled once a database, see there.

/// Leaves those in a query whose column has one of some values; all where there are none. A single one is compared
/// plainly, because PostgreSQL reads a list in no order and would sort all it finds.
macro_rules! one_of {
    ($query:expr, $column:expr, $values:expr) => {{
        let mut values: Vec<_> = $values.collect();
        match values.len() {
            0 => $query,
            1 => $query.filter($column.eq(values.remove(0))),
            _ => $query.filter($column.eq_any(values)),
        }
    }};
}

pub(crate) mod audit;
pub(crate) mod chains;
pub(crate) mod counters;
pub(crate) mod events;
pub(crate) mod identities;
pub(crate) mod invites;
pub(crate) mod keys;
pub(crate) mod members;
pub(crate) mod owners;
pub(crate) mod prices;
pub(crate) mod projects;
pub(crate) mod reservations;
pub(crate) mod sessions;
pub(crate) mod tickets;
pub(crate) mod totals;
pub(crate) mod usage;
pub(crate) mod users;

use super::Connection;

type Database = <Connection as diesel::connection::Connection>::Backend;
