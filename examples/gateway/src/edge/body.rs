use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::observe::Observation;

pin_project! {
    /// A body that is watched to its end.
    #[derive(Debug)]
    pub struct ObservedBody {
        // Dropped first: what the layers below report on drop is in the line.
        #[pin]
        inner: AxumBody,
        observation: Option<Observation>,
    }
}

impl ObservedBody {
    pub(super) const fn new(inner: AxumBody, observation: Observation) -> Self {
        Self {
            inner,
            observation: Some(observation),
        }
    }
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        let polled = this.inner.poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            this.observation.take();
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
