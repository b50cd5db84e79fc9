use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use crate::abort::Abort;

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
    /// Somebody else ended it, by its [`Abort`].
    #[error("the request was ended")]
    Aborted,
}

pin_project! {
    /// The body of an answer of the upstream, with an idle timeout. Dropping it closes the upstream's
    /// connection unless it was read to its end, and so does the [`Abort`] in the response's extensions.
    #[derive(Debug)]
    pub struct ProxyBody {
        upstream: Arc<Mutex<Upstream>>,
        // Armed at most once an idle period, not once a frame: it looks at `heard` when it fires.
        #[pin]
        alarm: Sleep,
        heard: Instant,
        idle: Duration,
        ends: Instant,
    }
}

/// The connection, where an [`Abort`] reaches it too.
#[derive(Debug)]
enum Upstream {
    /// There may be more; with whoever waits for it.
    Open(Incoming, Option<Waker>),
    /// Closed from outside, and nobody has been told.
    Aborted,
    Closed,
}

impl Upstream {
    /// Closes the connection now, not when somebody drops the body.
    fn close(&mut self) {
        *self = Self::Closed;
    }
}

impl ProxyBody {
    pub(super) fn new(inner: Incoming, idle: Duration, ends: Instant) -> Self {
        let heard = Instant::now();
        Self {
            upstream: Arc::new(Mutex::new(Upstream::Open(inner, None))),
            alarm: tokio::time::sleep_until((heard + idle).min(ends)),
            heard,
            idle,
            ends,
        }
    }

    /// Returns what closes the connection although nobody polls the body.
    pub(super) fn abort(&self) -> Abort {
        // Whoever keeps the handle keeps no connection.
        let upstream = Arc::downgrade(&self.upstream);
        Abort::new(move || {
            let Some(upstream) = upstream.upgrade() else {
                return;
            };
            let mut state = lock(&upstream);
            if !matches!(*state, Upstream::Open(..)) {
                return;
            }
            let ended = mem::replace(&mut *state, Upstream::Aborted);
            drop(state);
            if let Upstream::Open(_, Some(reader)) = ended {
                reader.wake();
            }
        })
    }
}

fn lock(upstream: &Mutex<Upstream>) -> MutexGuard<'_, Upstream> {
    // A panic of hyper's in between leaves a connection, which is as good as any other.
    upstream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let mut this = self.project();
        let mut upstream = lock(this.upstream);
        let (inner, reader) = match &mut *upstream {
            Upstream::Open(inner, reader) => (inner, reader),
            Upstream::Aborted => {
                upstream.close();
                return Poll::Ready(Some(Err(ProxyError::Aborted)));
            }
            Upstream::Closed => return Poll::Ready(None),
        };
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            *this.heard = Instant::now();
            // A body that always has more at once would never come to look at the alarm.
            if *this.heard >= *this.ends && matches!(frame, Some(Ok(_))) {
                upstream.close();
                return Poll::Ready(Some(Err(ProxyError::Total)));
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(ProxyError::Broken)));
        }
        match reader {
            Some(known) => known.clone_from(cx.waker()),
            None => *reader = Some(cx.waker().clone()),
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
            upstream.close();
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match &*lock(&self.upstream) {
            Upstream::Open(inner, _) => inner.is_end_stream(),
            Upstream::Aborted => false,
            Upstream::Closed => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &*lock(&self.upstream) {
            Upstream::Open(inner, _) => inner.size_hint(),
            Upstream::Aborted => SizeHint::default(),
            Upstream::Closed => SizeHint::with_exact(0),
        }
    }
}
