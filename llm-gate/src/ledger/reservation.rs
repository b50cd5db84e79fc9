use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::identity::RequestId;
use crate::store::{
    Ending, Extend, Grant, Hold, Outcome, Settle, Source, Standing, StoreError, StoreErrorKind,
};
use crate::tokens::{Tokens, Usage};

use super::journal::Entry;
use super::{ExtendError, Extending, Held, Ledger, ReserveError, granted};

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
}

/// A hold that is taken, to be settled once. Dropped unsettled it gives everything back.
pub struct Reservation {
    /// What settling needs. Taken when it has happened, or when there is nothing to settle.
    open: Option<Open>,
    id: RequestId,
    grant: Grant,
    /// The last change of the hold that was asked for.
    version: u32,
}

struct Open {
    ledger: Ledger,
    held: Held,
}

impl Reservation {
    pub(super) fn new(ledger: Ledger, id: RequestId, held: Held) -> Self {
        Self {
            open: Some(Open { ledger, held }),
            id,
            grant: Grant {
                hold: Tokens::ZERO,
                standing: Standing::default(),
                requests: None,
                repeated: false,
            },
            version: 0,
        }
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
                    && let Some(open) = self.open.take()
                {
                    open.held.free();
                }
                Err(refused)
            }
        }
    }

    /// Returns the request it is for.
    #[must_use]
    pub const fn id(&self) -> RequestId {
        self.id
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

    /// Returns the present time by the ledger's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        let open = self.open.as_ref();
        open.map_or_else(Timestamp::default, |open| open.ledger.now())
    }

    /// Notes in the journal that the request is about to be sent.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written. Then the request must not be sent.
    pub fn forward(&mut self) -> io::Result<()> {
        self.journal(Entry::forwarded)
    }

    /// Notes in the journal what the upstream has reported, before what goes with it is delivered.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written. Then it must not be delivered.
    pub fn record(&mut self, usage: Usage) -> io::Result<()> {
        self.journal(|| Entry::running(usage))
    }

    /// Notes in the journal that what is about to be delivered is charged at most `tokens`, because the
    /// upstream reports nothing.
    ///
    /// # Errors
    ///
    /// Fails when the journal cannot be written. Then it must not be delivered.
    pub fn record_estimate(&mut self, tokens: Tokens) -> io::Result<()> {
        self.journal(|| Entry::estimated(tokens))
    }

    fn journal(&mut self, entry: impl FnOnce() -> Entry) -> io::Result<()> {
        let slot = self
            .open
            .as_mut()
            .and_then(|open| open.held.journaled.as_mut());
        slot.map_or(Ok(()), |slot| slot.record(entry()))
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
        let Some(open) = &self.open else {
            return Extending::ready(Err(ExtendError::Ended));
        };
        self.version += 1;
        open.ledger.extend(Extend {
            id: self.id,
            version: self.version,
            hold: hold.into(),
        })
    }

    /// Charges what was used and gives the rest back. Does not wait.
    pub fn settle(mut self, charge: Charge) {
        self.close(charge);
    }

    fn close(&mut self, charge: Charge) {
        if let Some(Open { ledger, mut held }) = self.open.take() {
            let ended = held
                .journaled
                .as_mut()
                .map(|slot| slot.record(Entry::ended(&charge)));
            if let Some(Err(error)) = ended {
                // The record before it stands: what was delivered is in it.
                tracing::error!(%error, "the end of a request is not in the journal");
            }
            let settle = Settle {
                id: self.id,
                at: ledger.now(),
                charge: charge.tokens,
                usage: charge.usage,
                source: charge.source,
                ending: charge.ending,
                status: charge.status,
            };
            ledger.settle(settle, held);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.close(Charge::nothing(Ending::Abandoned, 0));
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("id", &self.id)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// A hold on its way: the future of [`Ledger::reserve`].
#[derive(Debug)]
pub struct Reserving(State);

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, and a box would cost more"
)]
enum State {
    Ready(Option<Result<Reservation, ReserveError>>),
    Waiting(oneshot::Receiver<Result<Reservation, ReserveError>>),
}

impl Reserving {
    pub(super) const fn ready(answer: Result<Reservation, ReserveError>) -> Self {
        Self(State::Ready(Some(answer)))
    }

    pub(super) const fn waiting(
        answer: oneshot::Receiver<Result<Reservation, ReserveError>>,
    ) -> Self {
        Self(State::Waiting(answer))
    }
}

impl Future for Reserving {
    type Output = Result<Reservation, ReserveError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().expect("polled after it was ready")),
            State::Waiting(answer) => Pin::new(answer).poll(cx).map(|received| {
                received.unwrap_or_else(|_| {
                    let why =
                        StoreError::with_source(StoreErrorKind::Unavailable, "the writer is gone");
                    Err(ReserveError::Unavailable(why))
                })
            }),
        }
    }
}
