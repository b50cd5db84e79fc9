use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

/// A body that does what it is told: frames, waits, errors, with or without an end-of-stream hint.
///
/// It ends after its last step. Unless [`hint`](Self::hint) is set it does not tell so beforehand, like
/// a chunked body from the network.
///
/// ```
/// use http_body_util::BodyExt;
/// use llm_gate::test_util::{BodyEnd, ScriptedBody};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut body = ScriptedBody::new(["one", "two"]).error("reset");
/// let end = body.watch();
/// assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
/// assert_eq!(end.get(), None, "it is still there");
/// drop(body);
/// assert_eq!(end.get(), Some(BodyEnd::Early));
/// # }
/// ```
#[derive(Debug, Default)]
pub struct ScriptedBody {
    steps: VecDeque<Step>,
    hint: bool,
    finished: bool,
    end: EndWatch,
}

#[derive(Debug)]
enum Step {
    Frame(Bytes),
    Wait(BodyGate),
    Error(&'static str),
}

/// The error of a [`ScriptedBody`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("scripted: {0}")]
pub struct ScriptedError(&'static str);

/// How a [`ScriptedBody`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// It was dropped after its last step was taken.
    Finished,
    /// It was dropped before.
    Early,
}

/// Tells when a [`ScriptedBody`] is dropped.
#[derive(Clone, Debug, Default)]
pub struct EndWatch(Arc<Mutex<Option<BodyEnd>>>);

impl EndWatch {
    /// Returns how the body went, `None` while it is there.
    #[must_use]
    pub fn get(&self) -> Option<BodyEnd> {
        *lock(&self.0)
    }
}

/// Holds a [`ScriptedBody`] back until it is opened, once and for all. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct BodyGate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waiting: Vec<Waker>,
}

impl BodyGate {
    /// Makes a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets every body pass that waits here, now or later.
    pub fn open(&self) {
        let mut state = lock(&self.0);
        state.open = true;
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.0);
        if state.open {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }
}

impl ScriptedBody {
    /// Gives these frames.
    pub fn new<F: Into<Bytes>>(frames: impl IntoIterator<Item = F>) -> Self {
        Self::default().frames(frames)
    }

    /// Gives these frames next.
    #[must_use]
    pub fn frames<F: Into<Bytes>>(mut self, frames: impl IntoIterator<Item = F>) -> Self {
        let frames = frames.into_iter().map(|frame| Step::Frame(frame.into()));
        self.steps.extend(frames);
        self
    }

    /// Waits next until the gate is open.
    #[must_use]
    pub fn wait(mut self, gate: &BodyGate) -> Self {
        self.steps.push_back(Step::Wait(gate.clone()));
        self
    }

    /// Fails next.
    #[must_use]
    pub fn error(mut self, why: &'static str) -> Self {
        self.steps.push_back(Step::Error(why));
        self
    }

    /// Tells truly whether it has ended, and how long it is. Unless set it tells neither.
    #[must_use]
    pub const fn hint(mut self) -> Self {
        self.hint = true;
        self
    }

    /// Returns a handle that tells how the body went.
    #[must_use]
    pub fn watch(&self) -> EndWatch {
        self.end.clone()
    }
}

impl Body for ScriptedBody {
    type Data = Bytes;
    type Error = ScriptedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ScriptedError>>> {
        loop {
            if let Some(Step::Wait(gate)) = self.steps.front()
                && gate.poll(cx).is_pending()
            {
                return Poll::Pending;
            }
            return Poll::Ready(match self.steps.pop_front() {
                Some(Step::Wait(_)) => continue,
                Some(Step::Frame(data)) => Some(Ok(Frame::data(data))),
                Some(Step::Error(why)) => {
                    self.finished = true;
                    Some(Err(ScriptedError(why)))
                }
                None => {
                    self.finished = true;
                    None
                }
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hint && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let length = |step: &Step| match step {
            Step::Frame(data) => data.len() as u64,
            Step::Wait(_) | Step::Error(_) => 0,
        };
        if self.hint {
            SizeHint::with_exact(self.steps.iter().map(length).sum())
        } else {
            SizeHint::default()
        }
    }
}

impl Drop for ScriptedBody {
    fn drop(&mut self) {
        let finished = self.finished || self.is_end_stream();
        *lock(&self.end.0) = Some(if finished {
            BodyEnd::Finished
        } else {
            BodyEnd::Early
        });
    }
}

/// Locks; what a panic left behind is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
