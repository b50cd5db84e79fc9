use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::layer::Policy;
use super::{AuthFuture, Authenticate, bearer};
use crate::body::GateBody;

/// The service of an [`AuthLayer`](super::AuthLayer).
#[derive(Clone, Debug)]
pub struct AuthService<S, A> {
    inner: S,
    authenticator: A,
    policy: Policy,
}

impl<S, A> AuthService<S, A> {
    pub(super) const fn new(inner: S, authenticator: A, policy: Policy) -> Self {
        Self {
            inner,
            authenticator,
            policy,
        }
    }
}

impl<S, A, B, C> Service<Request<B>> for AuthService<S, A>
where
    S: Service<Request<B>, Response = Response<C>> + Clone,
    A: Authenticate,
{
    type Response = Response<GateBody<C>>;
    type Error = S::Error;
    type Future = AuthFuture<S, B, A::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let asking = self.authenticator.authenticate(request.headers());
        bearer::conceal(request.headers_mut());
        // Move the *ready* service into the future and keep the fresh clone.
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        AuthFuture::asking(asking, inner, request, self.policy)
    }
}
