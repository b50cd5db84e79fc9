use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Extensions, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::abort::Abort;
use crate::error::{Envelope, Rejection};
use crate::ledger::{Charge, Extending, RecordError, Reservation};
use crate::store::{Ending, Hold, Source};
use crate::tokens::{Metered, Tokens};
use crate::upstream::UpstreamName;

use super::cut::Choices;
use super::refusal::{overdue, unaccountable};
use super::rolling::{Refusal, Rolling};

pin_project! {
    /// The body of [`QuotaLayer`](super::QuotaLayer): keeps the reservation for as long as the answer lasts.
    ///
    /// What a frame will be charged is in the journal before the frame is handed on. If the journal cannot
    /// be written, the frame is not handed on: the upstream is let go, and the stream ends with an `error`
    /// event and without `[DONE]`.
    ///
    /// A frame beyond the hold is kept, and nothing more is read, until more is held.
    ///
    /// A stream whose request was ended at its deadline ends with an `error` event too. What was charged by
    /// then is what was handed on.
    #[derive(Debug)]
    pub struct QuotaBody<B> {
        // Before the guard, so that on drop the upstream is let go before the hold is settled. Taken out
        // when the journal fails.
        #[pin]
        inner: Option<B>,
        // What is not covered by the hold.
        kept: Option<Box<Frame<Bytes>>>,
        guard: Guard,
    }
}

impl<B: Body> QuotaBody<B> {
    /// Passes `inner` and settles at its end, whatever that is.
    pub(super) fn new(inner: B, mut guard: Guard) -> Self {
        if inner.is_end_stream() {
            guard.settle(None);
        }
        Self {
            inner: Some(inner),
            kept: None,
            guard,
        }
    }

    /// Passes `inner`; nothing is left to settle.
    pub(super) const fn settled(inner: B) -> Self {
        Self {
            inner: Some(inner),
            kept: None,
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
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = match this.kept.take() {
            None => match inner.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(this.guard.poll_overdue(cx));
                    this.inner.set(None);
                    return Poll::Ready(Some(Ok(Frame::data(this.guard.overdue()))));
                }
            },
            Some(kept) => Some(Ok(*kept)),
        };
        match &frame {
            Some(Ok(next)) => {
                match this.guard.poll_pass(next, cx) {
                    Pass::Deliver => {}
                    Pass::Wait if this.guard.poll_overdue(cx).is_pending() => {
                        *this.kept = frame.and_then(Result::ok).map(Box::new);
                        return Poll::Pending;
                    }
                    Pass::Wait => {
                        this.inner.set(None);
                        return Poll::Ready(Some(Ok(Frame::data(this.guard.overdue()))));
                    }
                    Pass::Stop(last) => {
                        this.inner.set(None);
                        return Poll::Ready(Some(Ok(Frame::data(this.guard.stop(last, next)))));
                    }
                }
                // Whoever reads may stop at the last frame without asking for the end.
                if inner.is_end_stream() {
                    this.guard.settle(None);
                }
            }
            Some(Err(_)) => this.guard.settle(Some(Ending::UpstreamCut)),
            None => this.guard.settle(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .filter(|_| self.kept.is_none())
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A reservation and what is needed to work out its charge.
#[derive(Debug)]
pub(super) struct Bill {
    reservation: Reservation,
    /// The bound of the whole call.
    bound: Hold,
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
        Guard(Some(Open {
            quiet: if steps.is_some() {
                Tokens::ZERO
            } else {
                Tokens::MAX
            },
            many: steps.as_ref().is_some_and(|steps| steps.choices.are_many()),
            steps,
            kept: false,
            bill: self,
            status,
            metered,
            delivered: false,
            journaled: None,
        }))
    }
}

/// Settles once: at the end of the body, at its error, or when it is dropped.
#[derive(Debug)]
pub(super) struct Guard(Option<Open>);

#[derive(Debug)]
struct Open {
    bill: Bill,
    steps: Option<Box<Steps>>,
    /// A charge up to this is covered, with nothing to do about it.
    quiet: Tokens,
    /// Whether the steps are of more than one choice.
    many: bool,
    /// Whether what the meter tells last is not delivered.
    kept: bool,
    status: StatusCode,
    metered: Option<Metered>,
    delivered: bool,
    /// What the journal knows: the charge of all that was delivered.
    journaled: Option<Charge>,
}

impl Guard {
    /// Notes in the journal what the answer is charged before any of it is delivered, where that is known
    /// by then: an answer that is not a stream.
    pub(super) fn journal_whole(&mut self) -> Result<(), RecordError> {
        if self.0.as_ref().is_some_and(Open::is_whole) {
            let open = self.0.as_mut();
            open.map_or(Ok(()), |open| {
                open.journal(open.charge(Ending::UpstreamCut, true))
            })
        } else {
            Ok(())
        }
    }

    /// Holds what the frame at hand needs, and notes in the journal what is charged once it is delivered.
    #[inline]
    fn poll_pass(&mut self, frame: &Frame<Bytes>, cx: &mut Context<'_>) -> Pass {
        let Some(open) = &mut self.0 else {
            return Pass::Deliver;
        };
        let charge = open.charge(Ending::UpstreamCut, true);
        if charge.tokens > open.quiet {
            match open.poll_hold(&charge, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) if open.bill.reservation.has_ended() => {
                    return Pass::Stop(Stop::Overdue);
                }
                Poll::Ready(Err(refusal)) => return Pass::Stop(Stop::Refused(refusal)),
                Poll::Pending => return Pass::Wait,
            }
        }
        match open.journal(charge) {
            Ok(()) => {}
            Err(RecordError::Ended) => return Pass::Stop(Stop::Overdue),
            Err(error) => return Pass::Stop(Stop::Journal(Box::new(error))),
        }
        if open.many
            && let (Some(steps), Some(data)) = (&mut open.steps, frame.data_ref())
        {
            steps.choices.delivered(data);
        }
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        open.bill.reservation.delivered(bytes as u64);
        open.delivered = true;
        Pass::Deliver
    }

    /// Ends the stream before the frame `next`, and returns what it ends with.
    #[cold]
    fn stop(&mut self, stop: Stop, next: &Frame<Bytes>) -> Bytes {
        match stop {
            Stop::Journal(error) => {
                let end = error_event();
                self.break_off(&error, end.len());
                end
            }
            Stop::Overdue => self.overdue(),
            Stop::Refused(refusal) => self.cut(refusal, next.data_ref()),
        }
    }

    /// Settles what was delivered, and returns what the stream ends with instead of the frame `next`.
    fn cut(&mut self, refusal: Refusal, next: Option<&Bytes>) -> Bytes {
        let Some(open) = self.0.take() else {
            return error_event();
        };
        let charge = open.known(Ending::Cut);
        let end = match (refusal, &open.steps) {
            (Refusal::Room, Some(steps)) => {
                metrics::counter!("llm_gate_quota_cut_total", "reason" => "room").increment(1);
                let mut figures = charge.usage;
                if charge.source == Source::Estimated {
                    figures.prompt = charge.tokens.min(open.bill.bound.prompt).get();
                    figures.completion = charge.tokens.get() - figures.prompt;
                }
                steps.choices.end(next.map_or(&[], |next| &**next), figures)
            }
            _ => {
                metrics::counter!("llm_gate_quota_cut_total", "reason" => "unavailable")
                    .increment(1);
                error_event()
            }
        };
        if let Some(metered) = open
            .metered
            .as_ref()
            .filter(|_| charge.source == Source::Upstream)
        {
            // What was read beyond that went nowhere.
            metered.report(charge.usage);
        }
        open.bill.delivered(end.len() as u64);
        open.bill.reservation.settle(charge);
        end
    }

    /// Ready when somebody else has ended the request, and its answer with it.
    fn poll_overdue(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .as_ref()
            .map_or(Poll::Pending, |open| open.bill.reservation.poll_ended(cx))
    }

    /// Returns the event to end with where somebody else has ended the request, and settled it.
    #[cold]
    fn overdue(&mut self) -> Bytes {
        metrics::counter!("llm_gate_quota_cut_total", "reason" => "deadline").increment(1);
        if let Some(open) = self.0.take() {
            let charge = open.known(Ending::Cut);
            if let (Some(metered), Source::Upstream) = (&open.metered, charge.source) {
                // What was read beyond that went nowhere.
                metered.report(charge.usage);
            }
        }
        event(&overdue())
    }

    /// Settles what the journal knows, which is what was delivered, and `end` bytes that the answer ends with.
    pub(super) fn break_off(&mut self, error: &RecordError, end: usize) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "an answer ends: it cannot be written down"
        );
        if let Some(open) = self.0.take() {
            let status = open.status.as_u16();
            let nothing = Charge::nothing(Ending::UpstreamCut, status);
            open.bill.delivered(end as u64);
            open.bill
                .reservation
                .settle(open.journaled.unwrap_or(nothing));
        }
    }

    /// Settles, unless that has happened. `None` for an end without an error.
    fn settle(&mut self, ending: Option<Ending>) {
        if let Some(open) = self.0.take() {
            let ending = ending.unwrap_or_else(|| open.regular_end());
            let charge = if open.kept {
                open.known(ending)
            } else {
                open.charge(ending, open.delivered)
            };
            open.bill.reservation.settle(charge);
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.settle(Some(Ending::ClientGone));
    }
}

/// What becomes of a frame.
enum Pass {
    Deliver,
    /// Not before more is held.
    Wait,
    Stop(Stop),
}

/// Why a frame is not delivered, nor any behind it.
enum Stop {
    /// More cannot be held.
    Refused(Refusal),
    /// The journal cannot be written.
    Journal(Box<RecordError>),
    /// The request was ended.
    Overdue,
}

impl Open {
    /// Holds what `charge` needs.
    #[cold]
    fn poll_hold(&mut self, charge: &Charge, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        let Some(steps) = &mut self.steps else {
            return Poll::Ready(Ok(()));
        };
        let delivered = self.journaled.map_or(Tokens::ZERO, |known| known.tokens);
        let reservation = &mut self.bill.reservation;
        let held = steps.rolling.poll_hold(charge, delivered, reservation, cx);
        self.quiet = steps.rolling.quiet();
        self.kept = !matches!(held, Poll::Ready(Ok(())));
        held
    }

    /// Notes in the journal what is charged from now on.
    #[inline]
    fn journal(&mut self, charge: Charge) -> Result<(), RecordError> {
        let known = self.journaled == Some(charge);
        match charge.source {
            Source::Upstream if !known => self.bill.reservation.record(charge.usage)?,
            Source::Estimated if !known => self.bill.reservation.record_estimate(charge.tokens)?,
            // It costs nothing more. Of a whole answer all is paid for; a stream ends when the request does.
            _ if self.bill.reservation.has_ended() && !self.is_whole() => {
                return Err(RecordError::Ended);
            }
            _ => {}
        }
        self.journaled = Some(charge);
        Ok(())
    }

    /// Returns whether all of the answer is known, and with it what it is charged. That is recorded before any of
    /// it is delivered.
    fn is_whole(&self) -> bool {
        self.metered.as_ref().is_none_or(Metered::is_complete)
    }

    /// A body that ends without an error is complete only if the meter saw the answer's own end.
    fn regular_end(&self) -> Ending {
        match &self.metered {
            Some(metered) if !metered.is_complete() => Ending::UpstreamCut,
            _ => Ending::Complete,
        }
    }

    /// Returns the charge of what was delivered, whatever the meter has read since.
    fn known(&self, ending: Ending) -> Charge {
        let status = self.status.as_u16();
        self.journaled.map_or_else(
            || Charge::nothing(ending, status),
            |charge| Charge { ending, ..charge },
        )
    }

    /// Works out the charge; `delivered` tells whether anything of the answer was.
    fn charge(&self, ending: Ending, delivered: bool) -> Charge {
        let status = self.status.as_u16();
        let hold = self.bill.bound.total;
        let Some(metered) = &self.metered else {
            // Nobody measures: the bound is all there is.
            return Charge::estimated(hold, ending, status);
        };
        // The text of a stream bounds what it generated.
        let text = Tokens::new(metered.unreported_bytes());
        if let Some(usage) = metered.usage() {
            if text == Tokens::ZERO {
                return Charge::upstream(usage, ending, status);
            }
            // The upstream has stopped telling.
            let known = usage.total();
            let charge = known.saturating_add(text).min(hold.max(known));
            return Charge {
                usage,
                ..Charge::estimated(charge, ending, status)
            };
        }
        // It reported nothing. Of an answer that is no stream, the hold bounds what it generated.
        // A whole answer without any text that is known here says nothing about its length.
        let bounded = text > Tokens::ZERO || !metered.is_complete();
        if metered.has_unreported() && bounded {
            Charge::estimated(
                self.bill.bound.prompt.saturating_add(text).min(hold),
                ending,
                status,
            )
        } else if metered.is_complete() && delivered {
            Charge::estimated(hold, ending, status)
        } else {
            Charge::nothing(ending, status)
        }
    }
}

/// The event of a stream that ends because nothing more can be written down.
fn error_event() -> Bytes {
    event(&unaccountable())
}

fn event(rejection: &Rejection) -> Bytes {
    format!("data: {}\n\n", rejection.body(Envelope::OpenAi)).into()
}
