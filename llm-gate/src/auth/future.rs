use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::layer::Policy;
use super::{AuthError, Refused};
use crate::address::ClientAddress;
use crate::body::GateBody;
use crate::error::{Envelope, Rejection};
use crate::identity::Principal;

pin_project! {
    /// The response future of [`AuthService`](super::AuthService): asks first, then forwards.
    #[must_use = "futures do nothing unless polled"]
    pub struct AuthFuture<S, B, F>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, F, S::Future>,
        policy: Policy,
    }
}

pin_project! {
    #[project = StateProjected]
    enum State<S, B, F, R> {
        Asking {
            #[pin]
            asking: F,
            // Taken once the answer is there.
            call: Option<(S, Request<B>)>,
        },
        Forwarding { #[pin] response: R },
    }
}

impl<S: Service<Request<B>>, B, F> AuthFuture<S, B, F> {
    pub(super) const fn asking(asking: F, inner: S, request: Request<B>, policy: Policy) -> Self {
        Self {
            state: State::Asking {
                asking,
                call: Some((inner, request)),
            },
            policy,
        }
    }
}

impl<S, B, C, F> Future for AuthFuture<S, B, F>
where
    S: Service<Request<B>, Response = Response<C>>,
    F: Future<Output = Result<Principal, AuthError>>,
{
    type Output = Result<Response<GateBody<C>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjected::Asking { asking, call } => {
                    let principal = match ready!(asking.poll(cx)) {
                        Ok(principal) => principal,
                        Err(error) => return Poll::Ready(Ok(refuse(&error, this.policy.envelope))),
                    };
                    let (mut inner, mut request) = call
                        .take()
                        .expect("taken only here, where the state changes");
                    let address = request.extensions().get().map(ClientAddress::ip);
                    if !principal.allows_address(address) {
                        let error = AuthError::Address;
                        return Poll::Ready(Ok(refuse(&error, this.policy.envelope)));
                    }
                    tracing::debug!(user = %principal.user, project = %principal.project, "authenticated");
                    metrics::counter!("auth_success_total").increment(1);
                    if !principal.has_account() && !this.policy.operators {
                        let rejection = Rejection::account_required();
                        return Poll::Ready(Ok(rejection.into_response(this.policy.envelope)));
                    }
                    request.extensions_mut().insert(principal);
                    let response = inner.call(request);
                    this.state.set(State::Forwarding { response });
                }
                StateProjected::Forwarding { response } => {
                    let response = ready!(response.poll(cx));
                    return Poll::Ready(response.map(|response| response.map(GateBody::inner)));
                }
            }
        }
    }
}

fn refuse<C>(error: &AuthError, envelope: Envelope) -> Response<GateBody<C>> {
    let reason = error.reason();
    metrics::counter!("auth_failure_total", "reason" => reason).increment(1);
    if let AuthError::Unavailable(cause) = error {
        let cause = cause as &dyn Error;
        tracing::warn!(error = cause, "credentials cannot be checked");
    } else {
        tracing::debug!(reason, "not authenticated");
    }
    let mut response = error.rejection().into_response(envelope);
    response.extensions_mut().insert(Refused::from(error));
    response
}
