use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;

use super::received::Received;

/// The requests of one connection that are under way, and whether bytes of their answers may still have to be written.
///
/// On a connection of HTTP/1.1 one task does all of that, so the order is that of its code. On one of HTTP/2 nobody asks.
#[derive(Debug, Default)]
pub(super) struct Requests {
    under_way: AtomicUsize,
    /// Whether something was answered since all had been written.
    answered: AtomicBool,
    /// Whether the body of the last request over HTTP/1.1 may still be to be read.
    unread: AtomicBool,
}

impl Requests {
    /// Notes a request.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Notes whether the body of the last request was read to its end.
    pub(super) fn received(&self, whole: bool) {
        self.unread.store(!whole, Ordering::Relaxed);
    }

    /// Notes that hyper has written all that it had.
    pub(super) fn written(&self) {
        if self.under_way.load(Ordering::Relaxed) == 0 {
            self.answered.store(false, Ordering::Relaxed);
        }
    }

    /// Whether nothing is to be written that belongs to an answer of a request.
    pub(super) fn none(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) == 0 && !self.answered.load(Ordering::Relaxed)
    }
}

/// One request, until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Requests>);

impl UnderWay {
    /// Whether it is answered before its body was read.
    fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// The future of a request that is counted, and then the body of its answer.
    #[derive(Debug)]
    pub(super) struct Counted<T> {
        // Dropped first: it belongs to the request.
        #[pin]
        inner: T,
        request: Option<UnderWay>,
    }
}

/// A service that counts requests from when they are read until their answer is with hyper as a whole, or given up. An answer
/// that does not wait for the body of its request ends the connection.
#[derive(Debug)]
pub(super) struct Counting<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S> Counting<S> {
    pub(super) const fn new(inner: S, requests: Arc<Requests>) -> Self {
        Self { inner, requests }
    }
}

impl<S, R, B> Service<Request<R>> for Counting<S>
where
    R: Body + Unpin,
    S: Service<Request<Received<R>>, Response = Response<B>>,
{
    type Response = Response<Counted<B>>;
    type Error = S::Error;
    type Future = Counted<S::Future>;

    fn call(&self, request: Request<R>) -> Self::Future {
        let under_way = self.requests.begin();
        let request = Received::of(request, &self.requests);
        Counted {
            inner: self.inner.call(request),
            request: Some(under_way),
        }
    }
}

impl<F, B, E> Future for Counted<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Counted<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let request = this.request.take();
        if request.as_ref().is_some_and(UnderWay::is_unread) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|inner| Counted { inner, request })))
    }
}

impl<B: Body> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut inner = self.project().inner;
        loop {
            match ready!(inner.as_mut().poll_frame(cx)) {
                // Headers that end an answer look like a bare one, and no client of ours waits for such.
                Some(Ok(frame)) if frame.is_trailers() => {}
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures_util::stream;
    use http::HeaderMap;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    #[tokio::test]
    async fn an_answer_ends_without_trailers() {
        let frames = [
            Frame::data(Bytes::from("body")),
            Frame::trailers(HeaderMap::from_iter([(
                CONNECTION,
                HeaderValue::from_static("close"),
            )])),
        ];
        let inner = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
        let request = None;
        let body = Counted { inner, request }.collect().await.expect("a body");
        assert_eq!(body.trailers(), None, "over HTTP/2 they look like h2's own");
        assert_eq!(body.to_bytes(), "body");
    }
}
