use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::abort::Abort;
use crate::body::GateBody;
use crate::call::Call;
use crate::error::{Envelope, Rejection};
use crate::ledger::{
    self, ExtendError, Extending, Ledger, RecordError, Reservation, ReserveError, Reserving,
};
use crate::store::{Ending, Hold};
use crate::tokens::{Metered, Tokens, Unanswered};

use super::QuotaLayer;
use super::bill::{Bill, Steps};
use super::body::QuotaBody;
use super::cut::Choices;
use super::refusal::{overdue, refused, show, unrecorded};
use super::rolling::{self, Rolling};

pin_project! {
    /// The future of [`QuotaService`](super::QuotaService): reserves, forwards, and hands the reservation to
    /// the response's body. It is ready when the hold is committed and the answer's head is there.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, it lets go of the upstream and gives the hold back.
    pub struct QuotaFuture<B, S: Service<Request<B>>> {
        #[pin]
        state: State<S::Future, S, B, S::Response, S::Error>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, S, B, A, E> {
        Reserving { asking: Option<(Reserving, Forward<S, B>)> },
        Calling {
            // Both before the hold, so that the upstream is let go before the hold is given back.
            #[pin] future: F,
            // What came before the hold was committed.
            early: Option<Result<A, E>>,
            // The hold that is being committed, how much was asked for, and how little would have done.
            overlapped: Option<(Reserving, Ledger, Tokens)>,
            reservation: Option<Reservation>,
            plan: Plan,
            charge_lost: bool,
        },
        // An answer that does not tell what it uses while it runs: its whole bound first.
        Widening {
            // Before the bill, as above.
            answer: Option<A>,
            bill: Option<Bill>,
            #[pin] extending: Extending,
        },
        Refused { rejection: Option<Rejection> },
    }
}

/// Says that the output bound was cut down to what is left, and to what.
const CLAMPED: HeaderName = HeaderName::from_static("x-llm-gate-clamped");

struct Forward<S, B> {
    service: S,
    request: Request<B>,
    ledger: Ledger,
    hold: Tokens,
    least: Tokens,
    charge_lost: bool,
}

impl<B, S: Service<Request<B>>> QuotaFuture<B, S> {
    pub(super) const fn refused(rejection: Rejection) -> Self {
        Self {
            state: State::Refused {
                rejection: Some(rejection),
            },
        }
    }

    pub(super) fn reserving(
        config: &QuotaLayer,
        hold: ledger::Request,
        service: S,
        request: Request<B>,
    ) -> Self {
        let forward = Forward {
            service,
            request,
            ledger: config.ledger.clone(),
            hold: hold.hold.total,
            least: hold.least,
            charge_lost: config.charge_lost,
        };
        let reserving = if config.overlap {
            config.ledger.overlap(hold)
        } else {
            config.ledger.reserve(hold)
        };
        Self {
            state: State::Reserving {
                asking: Some((reserving, forward)),
            },
        }
    }
}

type Calling<B, S> = State<
    <S as Service<Request<B>>>::Future,
    S,
    B,
    <S as Service<Request<B>>>::Response,
    <S as Service<Request<B>>>::Error,
>;

impl<B, S: Service<Request<B>>> Forward<S, B> {
    /// Sends the request, whose hold is committed.
    fn send(self, reservation: Reservation) -> Calling<B, S> {
        self.call(reservation.granted(), None, Some(reservation))
    }

    /// Sends the request while its hold is being committed.
    fn send_early(self, reserving: Reserving) -> Calling<B, S> {
        let overlapped = (reserving, self.ledger.clone(), self.least);
        let hold = self.hold;
        self.call(hold, Some(overlapped), None)
    }

    fn call(
        mut self,
        granted: Tokens,
        overlapped: Option<(Reserving, Ledger, Tokens)>,
        reservation: Option<Reservation>,
    ) -> Calling<B, S> {
        let plan = fill_output(&mut self.request, granted);
        State::Calling {
            future: self.service.call(self.request),
            early: None,
            overlapped,
            reservation,
            plan,
            charge_lost: self.charge_lost,
        }
    }
}

impl<B, S, R> Future for QuotaFuture<B, S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<QuotaBody<R>>>, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut state = self.as_mut().project().state;
            let next = match state.as_mut().project() {
                StateProjected::Reserving { asking } => {
                    let (mut reserving, forward) = asking
                        .take()
                        .expect("put back for as long as nothing is sent or refused");
                    if reserving.overlaps() {
                        state.set(match reserving.forward() {
                            Ok(()) => forward.send_early(reserving),
                            Err(error) => unwritten(&error),
                        });
                        continue;
                    }
                    match Pin::new(&mut reserving).poll(cx) {
                        Poll::Pending => {
                            *asking = Some((reserving, forward));
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(mut reservation)) => match reservation.forward() {
                            Ok(()) => forward.send(reservation),
                            Err(error) => unwritten(&error),
                        },
                        Poll::Ready(Err(error)) => {
                            refuse(refused(error, forward.least, forward.ledger.now()))
                        }
                    }
                }
                StateProjected::Calling {
                    future,
                    early,
                    overlapped,
                    reservation,
                    plan,
                    charge_lost,
                } => {
                    // The upstream before the store: it is what takes its time.
                    if early.is_none()
                        && let Poll::Ready(answer) = future.poll(cx)
                    {
                        *early = Some(answer);
                    }
                    if let Some((reserving, ledger, least)) = overlapped
                        && let Poll::Ready(decided) = Pin::new(reserving).poll(cx)
                    {
                        let result = if decided.is_ok() {
                            "granted"
                        } else {
                            "refused"
                        };
                        metrics::counter!("llm_gate_quota_overlapped_total", "result" => result)
                            .increment(1);
                        match decided {
                            Ok(committed) => *reservation = Some(committed),
                            Err(error) => {
                                let rejection = refused(error, *least, ledger.now());
                                // Lets go of the upstream, whose answer goes nowhere.
                                state.set(refuse(rejection));
                                continue;
                            }
                        }
                        *overlapped = None;
                    }
                    if let Some(reservation) = reservation
                        && reservation.poll_ended(cx).is_ready()
                    {
                        state.set(refuse(overdue()));
                        continue;
                    }
                    // Only the commit grants: not even the head goes out before it.
                    let (answer, reservation) = match (early.take(), reservation.take()) {
                        (Some(answer), Some(reservation)) => (answer, reservation),
                        waiting => {
                            (*early, *reservation) = waiting;
                            return Poll::Pending;
                        }
                    };
                    let mut bill = Bill::new(reservation, plan.bound, plan.clamped, *charge_lost);
                    let response = match answer {
                        Ok(response) => response,
                        Err(error) => {
                            bill.lost();
                            return Poll::Ready(Err(error));
                        }
                    };
                    bill.served_by(response.extensions());
                    let steps = plan.steps.take();
                    match steps.map(|steps| (steps, rolls(&response))) {
                        None => return Poll::Ready(Ok(with_bill(response, bill, None))),
                        Some((steps, true)) => {
                            return Poll::Ready(Ok(with_bill(response, bill, Some(steps))));
                        }
                        Some((_, false)) => match bill.beyond(&response) {
                            None => return Poll::Ready(Ok(with_bill(response, bill, None))),
                            Some(wanted) => State::Widening {
                                extending: bill.extend(wanted),
                                answer: Some(response),
                                bill: Some(bill),
                            },
                        },
                    }
                }
                StateProjected::Widening {
                    answer,
                    bill,
                    extending,
                } => {
                    let widened = ready!(extending.poll(cx));
                    let answer = answer
                        .take()
                        .expect("taken once, when the store has decided");
                    let bill = bill.take().expect("taken once, when the store has decided");
                    let now = bill.reservation().now();
                    let rejection = match widened {
                        Ok(_) => return Poll::Ready(Ok(with_bill(answer, bill, None))),
                        Err(ExtendError::Denied(denial)) => {
                            refused(ReserveError::Denied(denial), Tokens::MAX, now)
                        }
                        Err(ExtendError::Ended) => overdue(),
                        Err(ExtendError::Unavailable(error)) => {
                            refused(ReserveError::Unavailable(error), Tokens::MAX, now)
                        }
                    };
                    // Nothing of it is delivered, so nothing is charged.
                    drop(answer);
                    bill.delivered(rejection.body(Envelope::OpenAi).len() as u64);
                    bill.refused(rejection.status(), Ending::Refused);
                    refuse(rejection)
                }
                StateProjected::Refused { rejection } => {
                    let rejection = rejection.take().expect("polled after it was ready");
                    return Poll::Ready(Ok(rejection.into_response(Envelope::OpenAi)));
                }
            };
            state.set(next);
        }
    }
}

const fn refuse<F, S, B, A, E>(rejection: Rejection) -> State<F, S, B, A, E> {
    State::Refused {
        rejection: Some(rejection),
    }
}

fn unwritten<F, S, B, A, E>(error: &RecordError) -> State<F, S, B, A, E> {
    let rejection = unrecorded(error);
    tracing::error!(error = error as &dyn Error, "a request is not sent");
    refuse(rejection)
}

/// What is known of the charge before there is an answer.
struct Plan {
    /// The bound of the whole call.
    bound: Hold,
    /// The output bound of each choice that was made smaller than the client's.
    clamped: Option<u64>,
    /// For a stream whose hold is extended while it runs.
    steps: Option<Box<Steps>>,
}

/// Writes the output bound into the request where the client left it open, so that it fits what is held.
fn fill_output<B>(request: &mut Request<B>, granted: Tokens) -> Plan {
    let Some(call) = request.extensions_mut().get_mut::<Call>() else {
        return Plan {
            bound: granted.into(),
            clamped: None,
            steps: None,
        };
    };
    let bound = *call.bound();
    let whole = rolling::whole(&bound);
    if !call.running_usage() {
        let output = bound.output(granted);
        if let Some(output) = output {
            call.set_output(output);
        }
        return Plan {
            bound: whole.cut(granted),
            clamped: output.filter(|_| bound.is_clamped(granted)),
            steps: None,
        };
    }
    // More is held as it is needed, so what is left now is no bound; unless it is less than a first step:
    // then the upstream had better know, and end by itself.
    let (first, _) = rolling::first(&bound);
    let fits = if granted < first && granted >= bound.least() {
        granted
    } else {
        bound.hold()
    };
    let output = bound.output(fits);
    if let Some(output) = output {
        call.set_output(output);
    }
    let rolling = Rolling::new(call, granted, output);
    Plan {
        bound: whole.cut(rolling.whole()),
        clamped: output.filter(|_| bound.is_clamped(fits)),
        steps: Some(Box::new(Steps {
            rolling,
            choices: Choices::of(call),
        })),
    }
}

/// Tells whether an answer is a stream whose meter tells what it uses.
fn rolls<R>(response: &Response<R>) -> bool {
    let metered = response.extensions().get::<Metered>();
    metered.is_some_and(|metered| !metered.is_complete())
}

fn with_bill<R: Body<Data = Bytes>>(
    response: Response<R>,
    mut bill: Bill,
    steps: Option<Box<Steps>>,
) -> Response<GateBody<QuotaBody<R>>> {
    let (mut parts, body) = response.into_parts();
    show(&mut parts.headers, bill.reservation());
    if let Some(output) = bill.clamped() {
        parts.headers.insert(CLAMPED, output.into());
    }
    let metered = parts.extensions.get::<Metered>().cloned();
    let body = if parts.status.is_success() {
        bill.answered(parts.status, parts.extensions.get::<Abort>().cloned());
        let mut guard = bill.served(parts.status, metered, steps);
        if let Err(error) = guard.journal_whole() {
            let rejection = unrecorded(&error);
            guard.break_off(&error, rejection.body(Envelope::OpenAi).len());
            return rejection.into_response(Envelope::OpenAi);
        }
        QuotaBody::new(body, guard)
    } else {
        // What was refused is not charged, whoever refused it.
        let unanswered = parts.extensions.get::<Unanswered>().is_some();
        let ending = if unanswered {
            Ending::Lost
        } else {
            Ending::Refused
        };
        // It is settled before it is read: what it says itself of its length has to do.
        bill.delivered(body.size_hint().lower());
        bill.refused(parts.status, ending);
        QuotaBody::settled(body)
    };
    Response::from_parts(parts, GateBody::inner(body))
}
