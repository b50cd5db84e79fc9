use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body, Frame, SizeHint};

use super::requests::Requests;

/// The body of a request over HTTP/1.1, which tells when it was read to its end.
///
/// Hyper reads what follows a body as soon as both that has ended and the answer is in its buffer, whether the client
/// takes the answer or not. So one that is given before its request was read has to be the last of its connection.
#[derive(Debug)]
pub(super) struct Received<B: Body + Unpin> {
    inner: B,
    /// Whom to tell; nobody any more when that is done, nor over HTTP/2, where no request waits for another one.
    requests: Option<Arc<Requests>>,
    /// Whether the client sends it when it is asked to, and was not yet.
    held_back: bool,
}

impl<B: Body + Unpin> Received<B> {
    /// Lets the body of `request` tell `requests` of its end.
    pub(super) fn of(request: Request<B>, requests: &Arc<Requests>) -> Request<Self> {
        let told = request.version() != Version::HTTP_2;
        let unread = told && !request.body().is_end_stream();
        requests.received(!unread);
        let held_back = request.headers().contains_key(EXPECT);
        request.map(|inner| Self {
            inner,
            requests: unread.then(|| Arc::clone(requests)),
            held_back,
        })
    }
}

impl<B: Body + Unpin> Body for Received<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        this.held_back = false;
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let whole = match polled {
            Poll::Ready(None) => true,
            // What has failed never comes to its end.
            Poll::Ready(Some(Err(_))) => {
                this.requests = None;
                false
            }
            _ => this.inner.is_end_stream(),
        };
        if let Some(requests) = this.requests.take_if(|_| whole) {
            requests.received(true);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: Body + Unpin> Drop for Received<B> {
    fn drop(&mut self) {
        // What came along with the head may be all of it, and then the connection stays. What is held back is not asked for.
        if self.requests.is_some() && !self.held_back {
            let mut cx = Context::from_waker(Waker::noop());
            drop(Pin::new(self).poll_frame(&mut cx));
        }
    }
}
