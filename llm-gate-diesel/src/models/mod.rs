//! Rows, and their way to and from the types of the storage traits.

mod audit;
mod columns;
mod credential;
mod event;
mod invite;
mod ledger;
mod price;
mod project;
mod reservation;
mod session;
mod usage;
mod user;

pub(crate) use audit::{CallRow, ChainedRow, KnownRequest, LineRow, PartRow, PostedRow};
pub(crate) use columns::{Hash, Id, text, tokens};
pub(crate) use credential::{ApiKeyRow, ChangedKey};
pub(crate) use event::EventRow;
pub(crate) use invite::{InviteRow, PlaceRow};
pub(crate) use ledger::{
    ChainRow, CounterRow, LedgerRow, LimitRow, NewCounterRow, ReservationCounterRow,
};
pub(crate) use price::{NewPriceRow, PriceRow};
pub(crate) use project::{MemberRow, NewMemberRow, ProjectRow};
pub(crate) use reservation::{
    KnownReservation, NewOwnerRow, ReservationEnd, ReservationHold, ReservationRow,
};
pub(crate) use session::{RefreshTokenRow, SessionRow};
pub(crate) use usage::SumRow;
pub(crate) use user::{ChangedUser, IdentityRow, LoginRow, TicketRow, UserRow};
