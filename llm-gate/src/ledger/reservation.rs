use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::abort::Abort;
use crate::clock::Timestamp;
use crate::identity::RequestId;
use crate::store::{
    Ending, Extend, Grant, Hold, Outcome, Served, Settle, Source, Standing, StoreError,
    StoreErrorKind,
};
use crate::tokens::{Tokens, Usage};
use crate::upstream::UpstreamName;

use super::open::{Open, Record};
use super::writer::Job;
use super::{ExtendError, Extending, RecordError, ReserveError, granted};

/// What a request is charged, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What is charged to each counter.
    pub tokens: Tokens,
    /// The figures behind it.
    pub usage: Usage,
    /// Where they come from.
    pub source: Source,
    /// How the request ended.
    pub ending: Ending,
    /// The HTTP status the client saw, 0 if it saw none.
    pub status: u16,
}

impl Charge {
    /// Charges what the upstream reported.
    #[must_use]
    pub const fn upstream(usage: Usage, ending: Ending, status: u16) -> Self {
        Self {
            tokens: usage.total(),
            usage,
            source: Source::Upstream,
            ending,
            status,
        }
    }

    /// Charges a bound of ours, because the upstream reported nothing.
    #[must_use]
    pub fn estimated(tokens: Tokens, ending: Ending, status: u16) -> Self {
        Self {
            tokens,
            usage: Usage::default(),
            source: Source::Estimated,
            ending,
            status,
        }
    }

    /// Charges nothing, because nothing was served.
    #[must_use]
    pub fn nothing(ending: Ending, status: u16) -> Self {
        Self {
            tokens: Tokens::ZERO,
            usage: Usage::default(),
            source: Source::Nothing,
            ending,
            status,
        }
    }

    pub(super) const fn settlement(
        self,
        id: RequestId,
        at: Timestamp,
        served: Option<Served>,
    ) -> Settle {
        Settle {
            id,
            at,
            charge: self.tokens,
            usage: self.usage,
            source: self.source,
            ending: self.ending,
            status: self.status,
            served,
        }
    }
}

/// A hold that is taken, to be settled once. Dropped unsettled it gives everything back.
pub struct Reservation {
    open: Arc<Open>,
    grant: Grant,
    /// The last change of the hold that was asked for.
    version: u32,
    /// Which counters it is on, for what is remembered of them.
    key: u64,
}

impl Reservation {
    pub(super) fn new(open: Arc<Open>) -> Self {
        Self {
            open,
            grant: Grant {
                hold: Tokens::ZERO,
                standing: Standing::default(),
                requests: None,
                at: None,
                repeated: false,
            },
            version: 0,
            key: 0,
        }
    }

    /// Tells which counters it is on.
    pub(super) const fn on(&mut self, key: u64) {
        self.key = key;
    }

    /// Takes the store's word. A refusal leaves nothing to give back.
    pub(super) fn decided(mut self, outcome: Outcome) -> Result<Self, ReserveError> {
        match granted(outcome) {
            Ok(grant) => {
                self.grant = grant;
                Ok(self)
            }
            Err(refused) => {
                // After any other answer nobody knows what is held: the guard drops here and voids it.
                if matches!(refused, ReserveError::Denied(_) | ReserveError::Repeated)
                    && let Some(held) = self.open.take()
                {
                    held.free();
                }
                Err(refused)
            }
        }
    }

    /// Returns the request it is for.
    #[must_use]
    pub fn id(&self) -> RequestId {
        self.open.id
    }

    /// Returns how much was held to begin with. What became of it, the answers of
    /// [`extend`](Self::extend) tell.
    #[must_use]
    pub const fn granted(&self) -> Tokens {
        self.grant.hold
    }

    /// Returns the tightest counter of tokens as it stood when the hold was taken.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.grant.standing
    }

    /// Returns the tightest counter of requests as it stood then, where requests are limited.
    #[must_use]
    pub const fn requests(&self) -> Option<Standing> {
        self.grant.requests
    }

    /// Returns when the hold was taken, by the clock that decides about windows.
    #[must_use]
    pub fn granted_at(&self) -> Timestamp {
        self.grant.at.unwrap_or_else(|| self.now())
    }

    /// Returns the present time by the ledger's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.open.ledger.now()
    }

    /// Notes in the journal that the request is about to be sent.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written, or the request has ended. Then it must not be sent.
    pub fn forward(&mut self) -> Result<(), RecordError> {
        self.open.record(Record::Forwarded)
    }

    /// Notes in the journal what the upstream has reported, before what goes with it is delivered.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written, or the request has ended. Then it must not be delivered.
    #[inline]
    pub fn record(&mut self, usage: Usage) -> Result<(), RecordError> {
        self.open.record(Record::Running(usage))
    }

    /// Notes in the journal that what is about to be delivered is charged at most `tokens`, because the
    /// upstream reports nothing.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written, or the request has ended. Then it must not be delivered.
    pub fn record_estimate(&mut self, tokens: Tokens) -> Result<(), RecordError> {
        self.open.record(Record::Estimated(tokens))
    }

    /// Tells what the client sees, and by which handle the upstream is let go, for the task that ends the request
    /// at its [deadline](super::Builder::deadline).
    pub fn answered(&mut self, status: u16, abort: Option<Abort>) {
        self.open.answer(status, abort);
    }

    /// Tells which upstream it is sent to, for the record.
    pub fn served_by(&mut self, upstream: UpstreamName) {
        self.open.served_by(upstream);
    }

    /// Counts bytes of the answer's body that are handed on, for the record. The first ones end the time to the
    /// first data.
    #[inline]
    pub fn delivered(&self, bytes: u64) {
        self.open.delivered(bytes);
    }

    /// Returns whether the request was ended by somebody else. Then nothing more of it may be delivered, and
    /// nothing is left to settle.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.open.has_ended()
    }

    /// Ready when the request was ended by somebody else; wakes the task of the last call when its deadline does.
    pub fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.open.poll_overdue(cx)
    }

    /// Sets the hold, up or down. A larger one is granted only if every counter has the room, all or nothing,
    /// and it is committed when the future is ready.
    ///
    /// The writer takes the operations of one reservation in the order they were asked for, so that neither a
    /// later extension nor the settlement has to wait for the answer.
    ///
    /// # Errors
    ///
    /// The future fails with [`ExtendError::Denied`] when the hold does not fit, with [`ExtendError::Ended`]
    /// when somebody else has settled the reservation, and with [`ExtendError::Unavailable`] when the store
    /// cannot answer, or does not within 5 s.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the answer. The hold may change all the same; the next extension has a
    /// higher version, and prevails.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use]
    pub fn extend(&mut self, hold: impl Into<Hold>) -> Extending {
        if self.open.has_ended() {
            return Extending::ready(Err(ExtendError::Ended));
        }
        self.version += 1;
        let extend = Extend {
            id: self.open.id,
            version: self.version,
            hold: hold.into(),
        };
        self.open.ledger.extend(extend, self.key)
    }

    /// Charges what was used and gives the rest back. Does not wait.
    pub fn settle(self, charge: Charge) {
        self.open.close(charge);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // Nothing happens where it is settled.
        self.open.close(Charge::nothing(Ending::Abandoned, 0));
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("id", &self.open.id)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// A hold on its way: the future of [`Ledger::reserve`](super::Ledger::reserve) and
/// [`Ledger::overlap`](super::Ledger::overlap).
pub struct Reserving(State);

enum State {
    Ready(Option<Answer>),
    Waiting {
        answer: oneshot::Receiver<Answer>,
        open: Arc<Open>,
        /// Whether the request may be sent meanwhile.
        overlaps: bool,
        /// What the writer is told at the first poll.
        unsent: Option<Unsent>,
    },
}

/// A reserve that the writer has still to be told of. Dropped, it is told.
pub(super) struct Unsent {
    job: Option<Box<Job>>,
    open: Arc<Open>,
}

impl Unsent {
    pub(super) fn new(job: Job, open: Arc<Open>) -> Self {
        let job = Some(Box::new(job));
        Self { job, open }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.open.ledger.enqueue(*job, &self.open);
        }
    }
}

type Answer = Result<Reservation, ReserveError>;

impl Reserving {
    pub(super) const fn ready(answer: Answer) -> Self {
        Self(State::Ready(Some(answer)))
    }

    pub(super) const fn waiting(answer: oneshot::Receiver<Answer>, open: Arc<Open>) -> Self {
        Self(State::Waiting {
            answer,
            open,
            overlaps: false,
            unsent: None,
        })
    }

    pub(super) const fn overlapping(
        answer: oneshot::Receiver<Answer>,
        open: Arc<Open>,
        unsent: Unsent,
    ) -> Self {
        Self(State::Waiting {
            answer,
            open,
            overlaps: true,
            unsent: Some(unsent),
        })
    }

    /// Returns whether the request may be sent before this is ready: after [`forward`](Self::forward). Then send
    /// it before this is polled: the store is asked at the first poll.
    #[must_use]
    pub const fn overlaps(&self) -> bool {
        matches!(&self.0, State::Waiting { overlaps: true, .. })
    }

    /// Notes in the journal that the request is about to be sent, although its hold is not committed yet.
    ///
    /// # Errors
    ///
    /// Fails with [`RecordError::Journal`] when the journal cannot be written, and with
    /// [`RecordError::Ended`] where it does not [overlap](Self::overlaps) or its hold was refused in the
    /// meantime. Then the request must not be sent.
    pub fn forward(&mut self) -> Result<(), RecordError> {
        match &self.0 {
            State::Waiting {
                open,
                overlaps: true,
                ..
            } => open.record(Record::Forwarded),
            _ => Err(RecordError::Ended),
        }
    }
}

impl Future for Reserving {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().expect("polled after it was ready")),
            State::Waiting {
                answer,
                open,
                unsent,
                ..
            } => {
                drop(unsent.take());
                match Pin::new(answer).poll(cx) {
                    Poll::Ready(Ok(answer)) => Poll::Ready(answer),
                    Poll::Ready(Err(_)) => unavailable("the writer is gone"),
                    // What becomes of the hold, the settlement behind it knows.
                    Poll::Pending if open.poll_overdue(cx).is_ready() => {
                        unavailable("there was no answer before the deadline")
                    }
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }
}

fn unavailable(why: &str) -> Poll<Answer> {
    let why = StoreError::with_source(StoreErrorKind::Unavailable, why);
    Poll::Ready(Err(ReserveError::Unavailable(why)))
}

impl fmt::Debug for Reserving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserving")
            .field("overlaps", &self.overlaps())
            .finish_non_exhaustive()
    }
}
