//! The JSON that goes out. Nothing here can hold a secret but [`IssuedKey`], [`IssuedInvite`], [`Registered`],
//! [`ResetLink`] and [`TokenPair`].

mod accounts;
mod conversations;
mod events;
mod keys;
mod ledger;
mod limits;
mod platform;
mod projects;

use std::time::Duration;

use jiff::Timestamp as Moment;
use llm_gate::clock::Timestamp;

pub(crate) use self::accounts::{
    AuthUrl, Identities, Identity, IdentityView, MeView, Registered, ResetLink, SessionView,
    Sessions, TokenPair, UsageView, UserView, Users,
};
pub(crate) use self::conversations::{ConversationWithCalls, Conversations};
pub(crate) use self::events::{EventView, Events};
pub(crate) use self::keys::{IssuedKey, KeyView, Keys};
pub(crate) use self::ledger::{CallView, FindingView, Presumed, Verified};
pub(crate) use self::limits::{LimitView, Limits, PriceView, Prices};
pub(crate) use self::platform::{About, Health, ModelNames, ModelView, Models};
pub(crate) use self::projects::{
    InviteView, Invites, IssuedInvite, MemberView, Members, ProjectView, Projects, ServiceView,
};

/// Null for a moment outside the years that can be written.
pub(crate) fn moment(at: Timestamp) -> Option<Moment> {
    Moment::from_microsecond(at.as_micros()).ok()
}

/// Writes a time in whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
