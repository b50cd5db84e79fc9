//! Rows, and their way to and from the types of the storage traits.

mod columns;
mod credential;
mod ledger;
mod project;
mod user;

pub(crate) use columns::{Hash, Id, text, tokens};
pub(crate) use credential::{ApiKeyRow, RefreshTokenRow, SessionRow};
pub(crate) use ledger::{
    ANY_MODEL, CounterRow, KnownReservation, LedgerRow, LimitRow, NewCounterRow,
    ReservationCounterRow, ReservationEnd, ReservationHold, ReservationRow, TOKENS, TOTAL,
    reservation, subject,
};
pub(crate) use project::{MemberRow, ProjectRow};
pub(crate) use user::{LoginRow, UserRow};
