use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;

use super::AuthError;
use crate::identity::Principal;

/// Recognises the caller of a request.
///
/// The future is associated and owns what it needs, so that an answer that is known at once costs
/// neither an allocation nor a wait.
///
/// # Cancel safety
///
/// An implementation must bear that its future is dropped at any point: the client may be gone.
pub trait Authenticate {
    /// The answer, now or later.
    type Future: Future<Output = Result<Principal, AuthError>>;

    /// Asks who sent `headers`.
    fn authenticate(&self, headers: &HeaderMap) -> Self::Future;
}

/// The answer of a verifier that may have to ask a store.
///
/// # Cancel safety
///
/// Dropping it drops only this caller's wait; a look-up that others wait for too goes on.
#[must_use = "futures do nothing unless polled"]
pub struct Authenticating(State);

enum State {
    Ready(Option<Result<Principal, AuthError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<Principal, AuthError>> + Send>>),
}

impl Authenticating {
    /// Wraps an answer that is known already.
    pub const fn ready(answer: Result<Principal, AuthError>) -> Self {
        Self(State::Ready(Some(answer)))
    }

    /// Wraps an answer that takes time.
    pub fn waiting(
        answer: impl Future<Output = Result<Principal, AuthError>> + Send + 'static,
    ) -> Self {
        Self(State::Waiting(Box::pin(answer)))
    }
}

impl Future for Authenticating {
    type Output = Result<Principal, AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => {
                Poll::Ready(answer.take().expect("not polled again after it was ready"))
            }
            State::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Authenticating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticating").finish_non_exhaustive()
    }
}
