use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::call::Call;

use super::scan::Policy;
use super::{MeterBody, MeterFuture, TokenMeterLayer};

/// The service of [`TokenMeterLayer`].
#[derive(Clone, Debug)]
pub struct TokenMeterService<S> {
    pub(super) config: TokenMeterLayer,
    pub(super) inner: S,
}

/// How the answer will be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) policy: Policy,
    pub(super) choices: u64,
    pub(super) n: u64,
    pub(super) json_limit: usize,
    /// When the request was sent on.
    pub(super) sent: Instant,
}

impl<S, B, R> Service<Request<B>> for TokenMeterService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body<Data = Bytes>,
{
    type Response = Response<MeterBody<R>>;
    type Error = S::Error;
    type Future = MeterFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let mut plan = Plan {
            policy: Policy::default(),
            choices: 1,
            n: 1,
            json_limit: self.config.json_limit,
            sent: Instant::now(),
        };
        if let Some(call) = request.extensions_mut().get_mut::<Call>() {
            call.ask_for_usage(self.config.continuous);
            let asked = call.usage_asked();
            plan.policy = Policy {
                strip_final: !asked.include,
                strip_running: !(asked.include && asked.continuous),
            };
            plan.choices = call.choices();
            plan.n = call.choices_per_prompt();
        }
        MeterFuture::new(self.inner.call(request), plan)
    }
}
