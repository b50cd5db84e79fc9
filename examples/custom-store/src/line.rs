//! One change as a line of the log.

use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::Subject;
use llm_gate::store::{LimitChange, MemoryBooks, Operation, OwnerId, Price};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Line {
    Operation(Operation),
    Limits(Vec<LimitChange>),
    Price(Price),
    Reset(Subject, Timestamp),
    Enlist(Timestamp, Duration),
    Renew(OwnerId, Timestamp, Duration),
    GiveUp(Timestamp, Duration),
}

impl Line {
    /// Does to the books what was done when the line was written.
    pub(crate) fn apply(self, books: &mut MemoryBooks) {
        match self {
            Self::Operation(operation) => drop(books.apply(&operation)),
            Self::Limits(changes) => drop(books.change_limits(&changes)),
            Self::Price(price) => drop(books.set_price(price)),
            Self::Reset(subject, at) => drop(books.reset_usage(subject, at)),
            Self::Enlist(at, lease) => {
                books.enlist(at, lease);
            }
            Self::Renew(owner, at, lease) => {
                books.renew(owner, at, lease);
            }
            Self::GiveUp(at, grace) => drop(books.orphans(at, grace, 0)),
        }
    }
}
