use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::ledger::{Charge, Reservation};
use crate::store::{Ending, Standing};
use crate::tokens::{Metered, Tokens};

pin_project! {
    /// The body of [`QuotaLayer`](super::QuotaLayer): keeps the reservation for as long as the answer lasts.
    #[derive(Debug)]
    pub struct QuotaBody<B> {
        // Before the guard, so that on drop the upstream is let go before the hold is settled.
        #[pin]
        inner: B,
        guard: Guard,
    }
}

impl<B: Body> QuotaBody<B> {
    /// Passes `inner` and settles at its end, whatever that is.
    pub(super) fn new(inner: B, mut guard: Guard) -> Self {
        if inner.is_end_stream() {
            guard.settle(None);
        }
        Self { inner, guard }
    }

    /// Passes `inner`; nothing is left to settle.
    pub(super) const fn settled(inner: B) -> Self {
        Self {
            inner,
            guard: Guard(None),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for QuotaBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        match &frame {
            Some(Ok(_)) => {
                this.guard.delivered();
                // Whoever reads may stop at the last frame without asking for the end.
                if this.inner.is_end_stream() {
                    this.guard.settle(None);
                }
            }
            Some(Err(_)) => this.guard.settle(Some(Ending::UpstreamCut)),
            None => this.guard.settle(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A reservation and what is needed to work out its charge.
#[derive(Debug)]
pub(super) struct Bill {
    reservation: Reservation,
    prompt: Tokens,
    charge_lost: bool,
}

impl Bill {
    pub(super) const fn new(reservation: Reservation, prompt: Tokens, charge_lost: bool) -> Self {
        Self {
            reservation,
            prompt,
            charge_lost,
        }
    }

    pub(super) const fn standing(&self) -> Standing {
        self.reservation.standing()
    }

    /// Settles a request that got no answer at all.
    pub(super) fn lost(self) {
        self.refused(StatusCode::BAD_GATEWAY, Ending::Lost);
    }

    /// Settles a request that was refused before any byte of an answer.
    pub(super) fn refused(self, status: StatusCode, ending: Ending) {
        let charge = if self.charge_lost && ending == Ending::Lost {
            Charge::estimated(
                self.prompt.min(self.reservation.granted()),
                ending,
                status.as_u16(),
            )
        } else {
            Charge::nothing(ending, status.as_u16())
        };
        self.reservation.settle(charge);
    }

    /// Keeps it for as long as the answer lasts.
    pub(super) const fn served(self, status: StatusCode, metered: Option<Metered>) -> Guard {
        Guard(Some(Open {
            bill: self,
            status,
            metered,
            delivered: false,
        }))
    }
}

/// Settles once: at the end of the body, at its error, or when it is dropped.
#[derive(Debug)]
pub(super) struct Guard(Option<Open>);

#[derive(Debug)]
struct Open {
    bill: Bill,
    status: StatusCode,
    metered: Option<Metered>,
    delivered: bool,
}

impl Guard {
    const fn delivered(&mut self) {
        if let Some(open) = &mut self.0 {
            open.delivered = true;
        }
    }

    /// Settles, unless that has happened. `None` for an end without an error.
    fn settle(&mut self, ending: Option<Ending>) {
        if let Some(open) = self.0.take() {
            let ending = ending.unwrap_or_else(|| open.regular_end());
            let charge = open.charge(ending);
            open.bill.reservation.settle(charge);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.settle(Some(Ending::ClientGone));
    }
}

impl Open {
    /// A body that ends without an error is complete only if the meter saw the answer's own end.
    fn regular_end(&self) -> Ending {
        match &self.metered {
            Some(metered) if !metered.is_complete() => Ending::UpstreamCut,
            _ => Ending::Complete,
        }
    }

    fn charge(&self, ending: Ending) -> Charge {
        let status = self.status.as_u16();
        let hold = self.bill.reservation.granted();
        let Some(metered) = &self.metered else {
            // Nobody measures: the bound is all there is.
            return Charge::estimated(hold, ending, status);
        };
        if let Some(usage) = metered.usage() {
            return Charge::upstream(usage, ending, status);
        }
        // The upstream reported nothing. The text of a stream bounds what it generated; of any other answer
        // the hold does.
        let text = Tokens::new(metered.unreported_bytes());
        // A whole answer without any text that is known here says nothing about its length.
        let bounded = text > Tokens::ZERO || !metered.is_complete();
        if metered.has_unreported() && bounded {
            Charge::estimated(
                self.bill.prompt.saturating_add(text).min(hold),
                ending,
                status,
            )
        } else if metered.is_complete() && self.delivered {
            Charge::estimated(hold, ending, status)
        } else {
            Charge::nothing(ending, status)
        }
    }
}
