use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::presented::Presented;
use super::{Attempt, Failures};
use crate::address::ClientAddress;
use crate::body::GateBody;
use crate::error::{Envelope, Rejection};
use crate::limit::{Endpoint, RateLimitFuture};

/// Keeps addresses that present wrong credentials from presenting more, before anything is looked up.
///
/// Belongs outside of an auth layer. An answer of 401 to a request with a credential is a failure. When as
/// many have come from an address as are allowed, its requests with credentials are answered 429 with
/// `Retry-After`, but for those with a credential that was good from this address before, or is
/// [vouched](Failures::vouched) for: who shares an address with somebody who guesses goes on working. Requests without a credential pass and count for nothing.
#[derive(Clone, Debug)]
pub struct FailureLimitLayer {
    failures: Option<Failures>,
    envelope: Envelope,
}

impl FailureLimitLayer {
    /// Counts in `failures`.
    #[must_use]
    pub const fn new(failures: Failures) -> Self {
        Self {
            failures: Some(failures),
            envelope: Envelope::OpenAi,
        }
    }

    /// Lets everything through.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            failures: None,
            envelope: Envelope::OpenAi,
        }
    }

    /// Sets the JSON form of refusals. [`Envelope::OpenAi`] unless set.
    #[must_use]
    pub const fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }
}

impl<S> Layer<S> for FailureLimitLayer {
    type Service = FailureLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FailureLimitService {
            config: self.clone(),
            inner,
        }
    }
}

/// The service of a [`FailureLimitLayer`].
#[derive(Clone, Debug)]
pub struct FailureLimitService<S> {
    config: FailureLimitLayer,
    inner: S,
}

impl<S, B, C> Service<Request<B>> for FailureLimitService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<GateBody<C>>;
    type Error = S::Error;
    type Future = FailureLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let presented = Presented::of(request.headers());
        let failures = match &self.config.failures {
            Some(failures) if presented != Presented::Nothing => failures,
            _ => return FailureLimitFuture::of(self.forward(request), None),
        };
        let Some(address) = request.extensions().get::<ClientAddress>() else {
            tracing::error!(
                "FailureLimitLayer found no ClientAddress: the server has to put it there"
            );
            return self.refuse(Rejection::internal());
        };
        match failures.admit_presented(address.network(), presented) {
            Ok(attempt) => {
                request.extensions_mut().insert(attempt.clone());
                FailureLimitFuture::of(self.forward(request), Some(attempt))
            }
            Err(exceeded) => {
                let endpoint = request.extensions().get::<Endpoint>();
                let endpoint = endpoint.cloned().unwrap_or_default();
                self.refuse(exceeded.refuse("wrong credentials from this address", &endpoint))
            }
        }
    }
}

impl<S> FailureLimitService<S> {
    fn forward<B>(&mut self, request: Request<B>) -> RateLimitFuture<S::Future>
    where
        S: Service<Request<B>>,
    {
        RateLimitFuture::forwarding(self.inner.call(request), None)
    }

    const fn refuse<F>(&self, rejection: Rejection) -> FailureLimitFuture<F> {
        let refused = RateLimitFuture::refused(rejection, self.config.envelope);
        FailureLimitFuture::of(refused, None)
    }
}

pin_project! {
    /// The response future of [`FailureLimitService`].
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready, what was presented counts for nothing, or as good if it was recognised.
    #[must_use = "futures do nothing unless polled"]
    pub struct FailureLimitFuture<F> {
        #[pin]
        response: RateLimitFuture<F>,
        attempt: Option<Attempt>,
    }
}

impl<F> FailureLimitFuture<F> {
    const fn of(response: RateLimitFuture<F>, attempt: Option<Attempt>) -> Self {
        Self { response, attempt }
    }
}

impl<F, C, E> Future for FailureLimitFuture<F>
where
    F: Future<Output = Result<Response<C>, E>>,
{
    type Output = Result<Response<GateBody<C>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.response.poll(cx));
        if let Some(attempt) = this.attempt.take()
            && let Ok(response) = &response
            && response.status() == StatusCode::UNAUTHORIZED
        {
            attempt.failed();
        }
        Poll::Ready(response)
    }
}
