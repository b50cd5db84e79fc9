//! Usage out of bodies, by scanning instead of parsing: no tree is built and nothing is copied unless
//! something is to be taken out.

mod event;
mod json;
mod sse;
mod tally;
mod usage;

pub(crate) use sse::{Policy, Scanner, TooLong};
pub(crate) use usage::whole;
