use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::GateBody;
use crate::call::Call;
use crate::error::{Envelope, Rejection};
use crate::ledger::{self, ExtendError, Extending, Ledger, Reservation, ReserveError, Reserving};
use crate::store::{Ending, Hold};
use crate::tokens::{Metered, Unanswered};

use super::QuotaLayer;
use super::body::{Bill, QuotaBody, Steps};
use super::cut::Choices;
use super::refusal::{refused, show, unaccountable};
use super::rolling::{self, Rolling};

pin_project! {
    /// The future of [`QuotaService`](super::QuotaService): reserves, forwards, and hands the reservation to
    /// the response's body.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the answer's head is there, it gives the hold back.
    pub struct QuotaFuture<B, S: Service<Request<B>>> {
        #[pin]
        state: State<S::Future, S, B, S::Response>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, S, B, A> {
        Reserving {
            #[pin] reserving: Reserving,
            forward: Option<Forward<S, B>>,
        },
        Calling {
            // Before the reservation, so that the upstream is let go before the hold is given back.
            #[pin] future: F,
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
    charge_lost: bool,
}

impl<B, S: Service<Request<B>>> QuotaFuture<B, S> {
    pub(super) fn misplaced() -> Self {
        Self {
            state: State::Refused {
                rejection: Some(Rejection::internal()),
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
            charge_lost: config.charge_lost,
        };
        Self {
            state: State::Reserving {
                reserving: config.ledger.reserve(hold),
                forward: Some(forward),
            },
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
                StateProjected::Reserving { reserving, forward } => {
                    let decided = ready!(reserving.poll(cx));
                    let mut forward = forward
                        .take()
                        .expect("taken once, when the store has decided");
                    match decided {
                        Err(error) => State::Refused {
                            rejection: Some(refused(error, forward.ledger.now())),
                        },
                        Ok(mut reservation) => match reservation.forward() {
                            Err(error) => {
                                tracing::error!(%error, "not sent: the journal cannot be written");
                                State::Refused {
                                    rejection: Some(unaccountable()),
                                }
                            }
                            Ok(()) => {
                                let plan = fill_output(&mut forward.request, &reservation);
                                State::Calling {
                                    future: forward.service.call(forward.request),
                                    reservation: Some(reservation),
                                    plan,
                                    charge_lost: forward.charge_lost,
                                }
                            }
                        },
                    }
                }
                StateProjected::Calling {
                    future,
                    reservation,
                    plan,
                    charge_lost,
                } => {
                    let answer = ready!(future.poll(cx));
                    let reservation = reservation
                        .take()
                        .expect("taken once, when the head is there");
                    let mut bill = Bill::new(reservation, plan.bound, plan.clamped, *charge_lost);
                    let response = match answer {
                        Ok(response) => response,
                        Err(error) => {
                            bill.lost();
                            return Poll::Ready(Err(error));
                        }
                    };
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
                    let rejection = match widened {
                        Ok(_) => return Poll::Ready(Ok(with_bill(answer, bill, None))),
                        Err(ExtendError::Denied(denial)) => {
                            refused(ReserveError::Denied(denial), bill.reservation().now())
                        }
                        Err(ExtendError::Ended) => unaccountable(),
                        Err(ExtendError::Unavailable(error)) => {
                            refused(ReserveError::Unavailable(error), bill.reservation().now())
                        }
                    };
                    // Nothing of it is delivered, so nothing is charged.
                    drop(answer);
                    bill.refused(rejection.status(), Ending::Refused);
                    State::Refused {
                        rejection: Some(rejection),
                    }
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
fn fill_output<B>(request: &mut Request<B>, reservation: &Reservation) -> Plan {
    let granted = reservation.granted();
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
    bill: Bill,
    steps: Option<Box<Steps>>,
) -> Response<GateBody<QuotaBody<R>>> {
    let (mut parts, body) = response.into_parts();
    show(
        &mut parts.headers,
        bill.reservation(),
        bill.reservation().now(),
    );
    if let Some(output) = bill.clamped() {
        parts.headers.insert(CLAMPED, output.into());
    }
    let metered = parts.extensions.get::<Metered>().cloned();
    let body = if parts.status.is_success() {
        let mut guard = bill.served(parts.status, metered, steps);
        if let Err(error) = guard.journal_whole() {
            drop(guard.break_off(&error));
            return unaccountable().into_response(Envelope::OpenAi);
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
        bill.refused(parts.status, ending);
        QuotaBody::settled(body)
    };
    Response::from_parts(parts, GateBody::inner(body))
}
