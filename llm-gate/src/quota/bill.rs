use http::{Extensions, Response, StatusCode};

use crate::abort::Abort;
use crate::ledger::{Charge, Extending, Reservation};
use crate::store::{Ending, Hold};
use crate::tokens::{Metered, Tokens};
use crate::upstream::UpstreamName;

use super::cut::Choices;
use super::guard::Guard;
use super::rolling::Rolling;

/// A reservation and what is needed to work out its charge.
#[derive(Debug)]
pub(super) struct Bill {
    pub(super) reservation: Reservation,
    /// The bound of the whole call.
    pub(super) bound: Hold,
    /// The output bound of each choice, where it was cut down to what is left.
    clamped: Option<u64>,
    charge_lost: bool,
}

/// The hold of a stream that is extended while it runs.
#[derive(Debug)]
pub(super) struct Steps {
    pub(super) rolling: Rolling,
    pub(super) choices: Choices,
}

impl Bill {
    pub(super) const fn new(
        reservation: Reservation,
        bound: Hold,
        clamped: Option<u64>,
        charge_lost: bool,
    ) -> Self {
        Self {
            reservation,
            bound,
            clamped,
            charge_lost,
        }
    }

    /// Returns what has to be held before an answer is delivered that does not tell what it uses while it
    /// runs; `None` if it is held.
    pub(super) fn beyond<R>(&self, response: &Response<R>) -> Option<Hold> {
        if !response.status().is_success() {
            return None;
        }
        let usage = response
            .extensions()
            .get::<Metered>()
            .and_then(Metered::usage);
        let wanted = match usage {
            Some(usage) if usage.total() <= self.bound.total => Hold {
                total: usage.total(),
                prompt: Tokens::new(usage.prompt),
                completion: Tokens::new(usage.completion),
            },
            _ => self.bound,
        };
        let held = self.bound.cut(self.reservation.granted());
        let covered = wanted.total <= held.total
            && wanted.prompt <= held.prompt
            && wanted.completion <= held.completion;
        (!covered).then_some(wanted)
    }

    pub(super) fn answered(&mut self, status: StatusCode, abort: Option<Abort>) {
        self.reservation.answered(status.as_u16(), abort);
    }

    pub(super) fn extend(&mut self, hold: Hold) -> Extending {
        self.reservation.extend(hold)
    }

    pub(super) const fn clamped(&self) -> Option<u64> {
        self.clamped
    }

    pub(super) const fn reservation(&self) -> &Reservation {
        &self.reservation
    }

    /// Notes what is on record about an answer, but for its length.
    pub(super) fn served_by(&mut self, extensions: &Extensions) {
        if let Some(upstream) = extensions.get::<UpstreamName>() {
            self.reservation.served_by(upstream.clone());
        }
    }

    /// Counts bytes of the answer that are handed on.
    pub(super) fn delivered(&self, bytes: u64) {
        self.reservation.delivered(bytes);
    }

    /// Settles a request that got no answer at all.
    pub(super) fn lost(self) {
        self.refused(StatusCode::BAD_GATEWAY, Ending::Lost);
    }

    /// Settles a request that was refused before any byte of an answer.
    pub(super) fn refused(self, status: StatusCode, ending: Ending) {
        let charge = if self.charge_lost && ending == Ending::Lost {
            Charge::estimated(
                self.bound.prompt.min(self.reservation.granted()),
                ending,
                status.as_u16(),
            )
        } else {
            Charge::nothing(ending, status.as_u16())
        };
        self.reservation.settle(charge);
    }

    /// Keeps it for as long as the answer lasts.
    pub(super) fn served(
        self,
        status: StatusCode,
        metered: Option<Metered>,
        steps: Option<Box<Steps>>,
    ) -> Guard {
        Guard::new(self, status, metered, steps)
    }
}
