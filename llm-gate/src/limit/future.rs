use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::allowance::Allowance;
use crate::body::GateBody;
use crate::clock::Timestamp;
use crate::error::{Envelope, Rejection};

pin_project! {
    /// The response future of [`RateLimitService`](super::RateLimitService).
    #[must_use = "futures do nothing unless polled"]
    pub struct RateLimitFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<F> {
        Forwarding {
            #[pin]
            response: F,
            shown: Option<(Allowance, Timestamp)>,
        },
        Refused {
            // Taken once.
            rejection: Option<Rejection>,
            envelope: Envelope,
        },
    }
}

impl<F> RateLimitFuture<F> {
    pub(super) const fn forwarding(response: F, shown: Option<(Allowance, Timestamp)>) -> Self {
        Self {
            state: State::Forwarding { response, shown },
        }
    }

    pub(super) const fn refused(rejection: Rejection, envelope: Envelope) -> Self {
        Self {
            state: State::Refused {
                rejection: Some(rejection),
                envelope,
            },
        }
    }
}

impl<F, C, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<GateBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjected::Forwarding { response, shown } => {
                let mut response = ready!(response.poll(cx))?.map(GateBody::inner);
                if let Some((allowance, now)) = shown {
                    allowance.show(response.headers_mut(), *now);
                }
                Poll::Ready(Ok(response))
            }
            StateProjected::Refused {
                rejection,
                envelope,
            } => {
                let rejection = rejection
                    .take()
                    .expect("not polled again after it was ready");
                Poll::Ready(Ok(rejection.into_response(*envelope)))
            }
        }
    }
}
