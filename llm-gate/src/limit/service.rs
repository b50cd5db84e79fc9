use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::{Endpoint, RateLimitFuture, RateLimitLayer};
use crate::body::GateBody;
use crate::error::Rejection;

/// The service of a [`RateLimitLayer`].
#[derive(Clone, Debug)]
pub struct RateLimitService<S> {
    pub(super) config: RateLimitLayer,
    pub(super) inner: S,
}

impl<S, B, C> Service<Request<B>> for RateLimitService<S>
where
    S: Service<Request<B>, Response = Response<C>>,
{
    type Response = Response<GateBody<C>>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let RateLimitLayer {
            limiter,
            by,
            envelope,
            vouch,
        } = &self.config;
        let Some(limiter) = limiter else {
            return RateLimitFuture::forwarding(self.inner.call(request), None);
        };
        let Some(counted) = by.find(request.extensions()) else {
            tracing::error!(
                ?by,
                "RateLimitLayer found no Principal or no ClientAddress: it stands in the wrong place"
            );
            return RateLimitFuture::refused(Rejection::internal(), *envelope);
        };
        let taken = limiter.take_at(counted).or_else(|exceeded| {
            let vouch = vouch.as_ref();
            let holder =
                vouch.and_then(|vouch| vouch.holder(request.headers(), request.extensions()));
            let taken = holder.map(|holder| limiter.take_at(holder));
            taken.unwrap_or(Err(exceeded))
        });
        match taken {
            Ok(shown) => RateLimitFuture::forwarding(self.inner.call(request), Some(shown)),
            Err(exceeded) => {
                let endpoint = request.extensions().get::<Endpoint>();
                let endpoint = endpoint.cloned().unwrap_or_default();
                RateLimitFuture::refused(exceeded.refuse(by.what(), &endpoint), *envelope)
            }
        }
    }
}
