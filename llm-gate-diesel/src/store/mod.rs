//! The storage traits, written once for both databases.
//!
//! This folder and `queries/` are compiled once a database, as children of `sqlite` and `postgres`. Each
//! parent says what a `Connection` is, what the `Store` is and how it runs a body in a transaction, and has
//! its own statements for `batch`es of the ledger. A body may run again when its transaction was refused, so it
//! is an `Fn`.

mod account;
mod audit;
mod credential;
mod event;
mod invite;
mod ledger;
mod page;
mod people;
mod project;
mod session;
mod ticket;
mod usage;
mod user;

pub(super) use page::{Desk, Gate, new_chain};

use super::{Connection, Store, batch, queries};
