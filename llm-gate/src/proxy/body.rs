use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

/// Why an answer of the upstream ended early.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The connection failed or closed in the middle.
    #[error("the upstream broke off")]
    Broken(#[source] hyper::Error),
    /// It was silent for too long.
    #[error("the upstream fell silent")]
    Idle,
    /// The request took too long in all.
    #[error("the request took too long")]
    Total,
}

pin_project! {
    /// The body of an answer of the upstream, with an idle timeout. Dropping it closes the upstream's
    /// connection unless it was read to its end.
    #[derive(Debug)]
    pub struct ProxyBody {
        // Taken out when a timeout ends it.
        inner: Option<Incoming>,
        // Armed at most once an idle period, not once a frame: it looks at `heard` when it fires.
        #[pin]
        alarm: Sleep,
        heard: Instant,
        idle: Duration,
        ends: Instant,
    }
}

impl ProxyBody {
    pub(super) fn new(inner: Incoming, idle: Duration, ends: Instant) -> Self {
        let heard = Instant::now();
        Self {
            inner: Some(inner),
            alarm: tokio::time::sleep_until((heard + idle).min(ends)),
            heard,
            idle,
            ends,
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            *this.heard = Instant::now();
            // A body that always has more at once would never come to look at the alarm.
            if *this.heard >= *this.ends && matches!(frame, Some(Ok(_))) {
                *this.inner = None;
                return Poll::Ready(Some(Err(ProxyError::Total)));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(ProxyError::Broken)));
        }
        while this.alarm.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let silent = *this.heard + *this.idle;
            let error = if now >= *this.ends {
                ProxyError::Total
            } else if now >= silent {
                ProxyError::Idle
            } else {
                this.alarm.as_mut().reset(silent.min(*this.ends));
                continue;
            };
            // Closes the connection now, not when somebody drops the body.
            *this.inner = None;
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
