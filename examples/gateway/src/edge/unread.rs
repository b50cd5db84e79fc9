use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

/// A body that is let go when its client takes nothing of it for a while.
///
/// A server asks a body for more when there is room to send: on a connection of HTTP/2 whose client opens no
/// window it never asks again, and no deadline inside the body would ever be looked at. So a task looks from
/// outside. Letting go of the body lets go of the upstream and settles what was delivered.
#[derive(Debug)]
pub struct UnreadGuard(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Taken out when the client took nothing for too long.
    inner: Option<AxumBody>,
    /// Since when the server has not asked for what is there; `None` while it waits for more to come.
    idle: Option<Instant>,
}

impl UnreadGuard {
    /// Watches `inner`; its client may take nothing for `limit`.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    #[must_use]
    pub fn new(inner: AxumBody, limit: Duration) -> Self {
        let state = State {
            inner: Some(inner),
            idle: Some(Instant::now()),
        };
        let state = Arc::new(Mutex::new(state));
        // Ends by itself with the body.
        tokio::spawn(watch(Arc::downgrade(&state), limit));
        Self(state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A body that panicked is let go of like any other.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(state: Weak<Mutex<State>>, limit: Duration) {
    let mut wait = limit;
    loop {
        tokio::time::sleep(wait).await;
        let Some(state) = state.upgrade() else {
            return;
        };
        let mut state = lock(&state);
        if state.inner.as_ref().is_none_or(Body::is_end_stream) {
            return;
        }
        let idle = state.idle.map_or(Duration::ZERO, |since| since.elapsed());
        if idle >= limit {
            tracing::info!("a client takes nothing of its answer");
            let inner = state.inner.take();
            drop(state);
            drop(inner);
            return;
        }
        wait = limit - idle;
    }
}

impl Body for UnreadGuard {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = lock(&self.0);
        let Some(inner) = &mut state.inner else {
            return Poll::Ready(Some(Err(axum::Error::new(
                "the client took nothing for too long",
            ))));
        };
        let polled = Pin::new(inner).poll_frame(cx);
        state.idle = polled.is_ready().then(Instant::now);
        polled
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0)
            .inner
            .as_ref()
            .is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0)
            .inner
            .as_ref()
            .map_or_else(SizeHint::default, Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A body that tells when it is dropped, and has a frame whenever it is asked.
    struct Endless {
        _alive: Arc<()>,
    }

    impl Body for Endless {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"more")))))
        }
    }

    /// A body that has nothing for now.
    struct Waiting;

    impl Body for Waiting {
        type Data = Bytes;
        type Error = axum::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_nobody_takes_is_let_go() {
        let alive = Arc::new(());
        let mut body = UnreadGuard::new(
            AxumBody::new(Endless {
                _alive: alive.clone(),
            }),
            LIMIT,
        );
        tokio::time::sleep(LIMIT / 2).await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        tokio::time::sleep(LIMIT / 2).await;
        assert_eq!(
            Arc::strong_count(&alive),
            2,
            "it was taken from not long ago"
        );
        tokio::time::sleep(LIMIT).await;
        assert_eq!(
            Arc::strong_count(&alive),
            1,
            "dropped, although nobody asks it"
        );
        assert!(
            body.frame().await.is_some_and(|frame| frame.is_err()),
            "never taken for whole"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_has_nothing_yet_is_waited_for() {
        let mut body = UnreadGuard::new(AxumBody::new(Waiting), LIMIT);
        let waited = tokio::time::timeout(LIMIT * 10, body.frame()).await;
        assert!(
            waited.is_err(),
            "it is the upstream that is slow, not the client"
        );
    }
}
