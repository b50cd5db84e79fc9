//! [`GateBody`]: either the inner service's body or a small answer of a layer's own.
//!
//! ```
//! use http_body_util::{BodyExt, Empty};
//! use llm_gate::body::GateBody;
//!
//! # async fn doc() {
//! let body: GateBody<Empty<bytes::Bytes>> = GateBody::own("no");
//! assert_eq!(body.collect().await.unwrap().to_bytes(), "no");
//! # }
//! ```

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of a layer that passes most answers through and writes a few itself.
    ///
    /// The error type is the inner body's: an answer of our own cannot fail.
    #[derive(Debug)]
    pub struct GateBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjected]
    #[derive(Debug)]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { bytes: Option<Bytes> },
    }
}

impl<B> GateBody<B> {
    /// Passes `body` through.
    #[must_use]
    pub const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    /// Sends `bytes` and ends.
    #[must_use]
    pub fn own(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self {
            kind: Kind::Own {
                bytes: (!bytes.is_empty()).then_some(bytes),
            },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for GateBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.project().kind.project() {
            KindProjected::Inner { body } => body.poll_frame(cx),
            KindProjected::Own { bytes } => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};

    use super::*;

    #[tokio::test]
    async fn an_own_answer_knows_its_length() {
        let body: GateBody<Empty<Bytes>> = GateBody::own("four");
        assert_eq!(body.size_hint().exact(), Some(4));
        assert!(!body.is_end_stream());
        assert_eq!(
            body.collect().await.expect("cannot fail").to_bytes(),
            "four"
        );
    }

    #[test]
    fn an_empty_answer_has_ended() {
        assert!(GateBody::<Empty<Bytes>>::own("").is_end_stream());
        assert!(GateBody::inner(Empty::<Bytes>::new()).is_end_stream());
    }
}
