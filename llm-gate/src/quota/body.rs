use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::store::Ending;

use super::guard::{Guard, Pass};

pin_project! {
    /// The body of [`QuotaLayer`](super::QuotaLayer): keeps the reservation for as long as the answer lasts.
    ///
    /// What a frame will be charged is in the journal before the frame is handed on. If the journal cannot
    /// be written, the frame is not handed on: the upstream is let go, and the stream ends with an `error`
    /// event and without `[DONE]`.
    ///
    /// A frame beyond the hold is kept, and nothing more is read, until more is held.
    ///
    /// A stream whose request was ended at its deadline ends with an `error` event too. What was charged by
    /// then is what was handed on.
    #[derive(Debug)]
    pub struct QuotaBody<B> {
        // Before the guard, so that on drop the upstream is let go before the hold is settled. Taken out
        // when the journal fails.
        #[pin]
        inner: Option<B>,
        // What is not covered by the hold.
        kept: Option<Box<Frame<Bytes>>>,
        guard: Guard,
    }
}

impl<B: Body> QuotaBody<B> {
    /// Passes `inner` and settles at its end, whatever that is.
    pub(super) fn new(inner: B, mut guard: Guard) -> Self {
        if inner.is_end_stream() {
            guard.settle(None);
        }
        Self {
            inner: Some(inner),
            kept: None,
            guard,
        }
    }

    /// Passes `inner`; nothing is left to settle.
    pub(super) const fn settled(inner: B) -> Self {
        Self {
            inner: Some(inner),
            kept: None,
            guard: Guard::settled(),
        }
    }
}

impl<B: Body<Data = Bytes>> Body for QuotaBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = match this.kept.take() {
            None => match inner.as_mut().poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(this.guard.poll_overdue(cx));
                    this.inner.set(None);
                    return Poll::Ready(Some(Ok(Frame::data(this.guard.overdue()))));
                }
            },
            Some(kept) => Some(Ok(*kept)),
        };
        match &frame {
            Some(Ok(next)) => {
                match this.guard.poll_pass(next, cx) {
                    Pass::Deliver => {}
                    Pass::Wait if this.guard.poll_overdue(cx).is_pending() => {
                        *this.kept = frame.and_then(Result::ok).map(Box::new);
                        return Poll::Pending;
                    }
                    Pass::Wait => {
                        this.inner.set(None);
                        return Poll::Ready(Some(Ok(Frame::data(this.guard.overdue()))));
                    }
                    Pass::Stop(last) => {
                        this.inner.set(None);
                        return Poll::Ready(Some(Ok(Frame::data(this.guard.stop(last, next)))));
                    }
                }
                // Whoever reads may stop at the last frame without asking for the end.
                if inner.is_end_stream() {
                    this.guard.settle(None);
                }
            }
            Some(Err(_)) => this.guard.settle(Some(Ending::UpstreamCut)),
            None => this.guard.settle(None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_none() && self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .filter(|_| self.kept.is_none())
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}
