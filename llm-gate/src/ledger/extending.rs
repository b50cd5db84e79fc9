use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Sleep, sleep};

use crate::store::{Grant, StoreError, StoreErrorKind};

use super::ExtendError;

/// How long an answer is waited for.
const WAIT: Duration = Duration::from_secs(5);

type Answer = Result<Grant, ExtendError>;

/// A changed hold on its way: the future of [`Reservation::extend`](super::Reservation::extend).
pub struct Extending(State);

enum State {
    Ready(Option<Answer>),
    Waiting {
        answer: oneshot::Receiver<Answer>,
        until: Pin<Box<Sleep>>,
    },
}

impl Extending {
    pub(super) const fn ready(answer: Answer) -> Self {
        Self(State::Ready(Some(answer)))
    }

    pub(super) fn waiting(answer: oneshot::Receiver<Answer>) -> Self {
        Self(State::Waiting {
            answer,
            until: Box::pin(sleep(WAIT)),
        })
    }
}

impl Future for Extending {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let unavailable = |why: &str| {
            let why = StoreError::with_source(StoreErrorKind::Unavailable, why);
            Poll::Ready(Err(ExtendError::Unavailable(why)))
        };
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().expect("polled after it was ready")),
            State::Waiting { answer, until } => match Pin::new(answer).poll(cx) {
                Poll::Ready(Ok(answer)) => Poll::Ready(answer),
                Poll::Ready(Err(_)) => unavailable("the writer is gone"),
                Poll::Pending if until.as_mut().poll(cx).is_ready() => {
                    unavailable("there was no answer in time")
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl fmt::Debug for Extending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extending").finish_non_exhaustive()
    }
}
