use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use crate::body::GateBody;
use crate::call::Call;
use crate::error::{Envelope, Rejection};
use crate::ledger::{self, Reservation, Reserving};
use crate::store::Ending;
use crate::tokens::{Metered, Tokens, Unanswered};

use super::QuotaLayer;
use super::body::{Bill, QuotaBody};
use super::refusal::{refused, show, unaccountable};

pin_project! {
    /// The future of [`QuotaService`](super::QuotaService): reserves, forwards, and hands the reservation to
    /// the response's body.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the answer's head is there, it gives the hold back.
    pub struct QuotaFuture<B, S: Service<Request<B>>> {
        #[pin]
        state: State<S::Future, S, B>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F, S, B> {
        Reserving {
            #[pin] reserving: Reserving,
            forward: Option<Forward<S, B>>,
        },
        Calling {
            // Before the reservation, so that the upstream is let go before the hold is given back.
            #[pin] future: F,
            reservation: Option<Reservation>,
            prompt: Tokens,
            charge_lost: bool,
        },
        Refused { rejection: Option<Rejection> },
    }
}

struct Forward<S, B> {
    service: S,
    request: Request<B>,
    least: Tokens,
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
            least: hold.least,
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
                            rejection: Some(refused(error, forward.least)),
                        },
                        Ok(mut reservation) => match reservation.forward() {
                            Err(error) => {
                                tracing::error!(%error, "not sent: the journal cannot be written");
                                State::Refused {
                                    rejection: Some(unaccountable()),
                                }
                            }
                            Ok(()) => {
                                let prompt = fill_output(&mut forward.request, &reservation);
                                State::Calling {
                                    future: forward.service.call(forward.request),
                                    reservation: Some(reservation),
                                    prompt,
                                    charge_lost: forward.charge_lost,
                                }
                            }
                        },
                    }
                }
                StateProjected::Calling {
                    future,
                    reservation,
                    prompt,
                    charge_lost,
                } => {
                    let answer = ready!(future.poll(cx));
                    let reservation = reservation
                        .take()
                        .expect("taken once, when the head is there");
                    let bill = Bill::new(reservation, *prompt, *charge_lost);
                    return Poll::Ready(match answer {
                        Ok(response) => Ok(with_bill(response, bill)),
                        Err(error) => {
                            bill.lost();
                            Err(error)
                        }
                    });
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

/// Writes the output bound into the request where the client left it open, so that it fits what is held.
/// Returns the bound of the prompt.
fn fill_output<B>(request: &mut Request<B>, reservation: &Reservation) -> Tokens {
    let Some(call) = request.extensions_mut().get_mut::<Call>() else {
        return reservation.granted();
    };
    let bound = *call.bound();
    if let Some(output) = bound.output(reservation.granted()) {
        call.set_output(output);
    }
    bound.prompt()
}

fn with_bill<R: Body<Data = Bytes>>(
    response: Response<R>,
    bill: Bill,
) -> Response<GateBody<QuotaBody<R>>> {
    let (mut parts, body) = response.into_parts();
    show(&mut parts.headers, &bill.standing());
    let metered = parts.extensions.get::<Metered>().cloned();
    let body = if parts.status.is_success() {
        let mut guard = bill.served(parts.status, metered);
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
