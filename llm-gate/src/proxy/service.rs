use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Either, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tower_service::Service;

use crate::body::GateBody;
use crate::call::{Call, Route};
use crate::identity::RequestId;

use super::connect::Connector;
use super::{ProxyBody, ProxyFuture, Upstream, headers};

/// vLLM drops idle connections after 5 s; this must be sooner.
const POOL_IDLE: Duration = Duration::from_secs(4);

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What is sent: the edited bytes of a call, or any other request's body as it comes.
pub(super) type Outgoing = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;
pub(super) type Pool = Client<Connector, Outgoing>;

/// Sends requests on to an upstream. Clones share one pool of connections.
///
/// With a [`Call`] in the request's extensions, as [`CallLayer`](crate::call::CallLayer) leaves it, sends
/// the client's bytes with the edits spliced in. Without one, sends the body as it is. Only the routes of
/// [`Route`] and `GET /v1/models` lead on; everything else is 404.
///
/// The service is always ready and never fails: failures are answers in the OpenAI envelope.
#[derive(Clone)]
pub struct VllmProxyService {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) pool: Pool,
    pub(super) upstream: Upstream,
    uris: HashMap<&'static str, Uri>,
}

impl VllmProxyService {
    /// Talks to `upstream`.
    #[must_use]
    pub fn new(upstream: Upstream) -> Self {
        let pool = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(Connector::new(&upstream));
        let uris = PATHS
            .iter()
            .map(|path| (*path, upstream.uri(path)))
            .collect();
        Self {
            shared: Arc::new(Shared {
                pool,
                upstream,
                uris,
            }),
        }
    }
}

const PATHS: [&str; 4] = [
    "/v1/models",
    Route::Chat.path(),
    Route::Completions.path(),
    Route::Embeddings.path(),
];

impl Shared {
    /// Finds the upstream's URL for a request.
    fn uri(&self, method: &Method, path: &str) -> Option<&Uri> {
        let path = match Route::of(method, path) {
            Ok(route) => route.path(),
            Err(_) if method == Method::GET => path,
            Err(_) => return None,
        };
        // A GET of a route that wants POST is not in the table of GETs.
        let known = method == Method::POST || path == PATHS[0];
        self.uris.get(path).filter(|_| known)
    }
}

impl fmt::Debug for VllmProxyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VllmProxyService")
            .field("upstream", &self.shared.upstream)
            .finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for VllmProxyService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<GateBody<ProxyBody>>;
    type Error = Infallible;
    type Future = ProxyFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ProxyFuture {
        let (parts, body) = request.into_parts();
        let Some(uri) = self.shared.uri(&parts.method, parts.uri.path()) else {
            return ProxyFuture::not_found();
        };
        let call = parts.extensions.get::<Call>();
        let edited = call.map(Call::apply);
        let stream = call.is_none_or(Call::stream);
        let id = parts.extensions.get::<RequestId>().copied();
        let mut head = Request::new(());
        *head.method_mut() = parts.method;
        *head.uri_mut() = uri.clone();
        *head.headers_mut() = headers::request(&parts.headers, &self.shared.upstream, id);
        match edited {
            Some(bytes) => ProxyFuture::repeatable(self.shared.clone(), head, bytes, stream),
            None => {
                let body = Either::Right(body.map_err(Into::into).boxed_unsync());
                ProxyFuture::once(self.shared.clone(), head.map(|()| body), stream)
            }
        }
    }
}
