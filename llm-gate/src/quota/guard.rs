use std::task::{Context, Poll};

use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;

use crate::error::{Envelope, Rejection};
use crate::ledger::{Charge, RecordError};
use crate::store::{Ending, Source};
use crate::tokens::{Metered, Tokens};

use super::bill::{Bill, Steps};
use super::refusal::{overdue, unaccountable};
use super::rolling::Refusal;

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
    /// Keeps a reservation for as long as the answer lasts.
    pub(super) fn new(
        bill: Bill,
        status: StatusCode,
        metered: Option<Metered>,
        steps: Option<Box<Steps>>,
    ) -> Self {
        Self(Some(Open {
            quiet: if steps.is_some() {
                Tokens::ZERO
            } else {
                Tokens::MAX
            },
            many: steps.as_ref().is_some_and(|steps| steps.choices.are_many()),
            steps,
            kept: false,
            bill,
            status,
            metered,
            delivered: false,
            journaled: None,
        }))
    }

    /// Keeps nothing: all is settled.
    pub(super) const fn settled() -> Self {
        Self(None)
    }

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
    pub(super) fn poll_pass(&mut self, frame: &Frame<Bytes>, cx: &mut Context<'_>) -> Pass {
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
    pub(super) fn stop(&mut self, stop: Stop, next: &Frame<Bytes>) -> Bytes {
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
    pub(super) fn poll_overdue(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0
            .as_ref()
            .map_or(Poll::Pending, |open| open.bill.reservation.poll_ended(cx))
    }

    /// Returns the event to end with where somebody else has ended the request, and settled it.
    #[cold]
    pub(super) fn overdue(&mut self) -> Bytes {
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
    pub(super) fn settle(&mut self, ending: Option<Ending>) {
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
pub(super) enum Pass {
    Deliver,
    /// Not before more is held.
    Wait,
    Stop(Stop),
}

/// Why a frame is not delivered, nor any behind it.
pub(super) enum Stop {
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
