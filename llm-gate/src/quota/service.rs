use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use crate::body::GateBody;
use crate::call::Call;
use crate::error::Rejection;
use crate::identity::{Principal, RequestId};
use crate::ledger;
use crate::store::CallInfo;

use super::{QuotaBody, QuotaFuture, QuotaLayer};
use super::{refusal, rolling};

/// The service of [`QuotaLayer`].
#[derive(Clone, Debug)]
pub struct QuotaService<S> {
    pub(super) config: QuotaLayer,
    pub(super) inner: S,
}

impl<S, B, R> Service<Request<B>> for QuotaService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: Body<Data = Bytes>,
{
    type Response = Response<GateBody<QuotaBody<R>>>;
    type Error = S::Error;
    type Future = QuotaFuture<B, S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let Some(hold) = hold(&mut request) else {
            tracing::error!(
                "QuotaLayer found no Principal or no Call: it belongs inside of AuthLayer and CallLayer"
            );
            return QuotaFuture::refused(Rejection::internal());
        };
        // Without a subject nothing would limit it.
        if hold.subjects.is_empty() {
            return QuotaFuture::refused(Rejection::account_required());
        }
        if let Some(principal) = request.extensions().get()
            && let Some(rejection) = refusal::beyond(principal, &hold.call.model)
        {
            return QuotaFuture::refused(rejection);
        }
        // Move the ready service into the future and keep the fresh clone.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        QuotaFuture::reserving(&self.config, hold, inner, request)
    }
}

/// Works out the hold; gives the request an id if it has none.
fn hold<B>(request: &mut Request<B>) -> Option<ledger::Request> {
    let id = *request.extensions_mut().get_or_insert_with(RequestId::new);
    if request.extensions().get::<Principal>()?.clamps {
        request.extensions_mut().get_mut::<Call>()?.clamp();
    }
    let principal = request.extensions().get::<Principal>()?;
    let call = request.extensions().get::<Call>()?;
    let bound = call.bound();
    let (total, least) = if call.running_usage() {
        rolling::first(bound)
    } else {
        (bound.hold(), bound.least())
    };
    let hold = rolling::whole(bound).cut(total);
    Some(ledger::Request {
        id,
        subjects: principal.subjects(),
        hold,
        least,
        call: CallInfo::new(
            principal.user,
            principal.project,
            call.route().as_str(),
            call.model().id(),
        )
        .session(call.session().cloned())
        .stream(call.stream())
        .request_bytes(call.body().len() as u64),
    })
}
