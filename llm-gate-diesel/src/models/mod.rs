//! Rows, and their way to and from the types of the storage traits.

mod audit;
mod columns;
mod credential;
mod ledger;
mod project;
mod usage;
mod user;

pub(crate) use audit::{CallRow, ChainedRow, KnownRequest, LineRow, PartRow, PostedRow};
pub(crate) use columns::{Hash, Id, text, tokens};
pub(crate) use credential::{ApiKeyRow, RefreshTokenRow, SessionRow};
pub(crate) use ledger::{
    ChainRow, CounterRow, KnownReservation, LedgerRow, LimitRow, NewCounterRow, NewOwnerRow,
    NewPriceRow, PriceRow, ReservationCounterRow, ReservationEnd, ReservationHold, ReservationRow,
};
pub(crate) use project::{MemberRow, ProjectRow};
pub(crate) use usage::SumRow;
pub(crate) use user::{LoginRow, UserRow};
