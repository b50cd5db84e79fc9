//! Driving futures and bodies that are always ready, without a runtime and its wake-ups.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower::Service;

/// Returns what a ready future gives.
///
/// # Panics
///
/// Panics if it is not ready.
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("everything in this bench is ready"),
    }
}

/// Reads a ready body to its end and returns how many bytes it had.
///
/// # Panics
///
/// Panics if it is not ready, or fails.
pub fn drain<B: Body<Data = Bytes>>(body: B) -> usize {
    let mut body = pin!(body);
    let mut context = Context::from_waker(Waker::noop());
    let mut bytes = 0;
    loop {
        match body.as_mut().poll_frame(&mut context) {
            Poll::Ready(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Poll::Ready(Some(Err(_))) => panic!("nothing fails in this bench"),
            Poll::Ready(None) => return bytes,
            Poll::Pending => panic!("everything in this bench is ready"),
        }
    }
}

/// Sends a request and reads the answer to its end.
///
/// # Panics
///
/// Panics if the answer is a refusal, is not ready, or fails.
pub fn exchange<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let Ok(response) = now(service.call(request)) else {
        panic!("nothing fails in this bench");
    };
    assert!(response.status().is_success(), "{}", response.status());
    drain(response.into_body())
}
