//! The request read once: [`CallLayer`] collects the body, checks it, and leaves a [`Call`] in the
//! request's extensions; other layers push edits, and [`EditLayer`] or the proxy splices them once.
//!
//! The client's bytes are kept and edited, not parsed and rebuilt, so fields nobody here knows pass
//! through, and what is sent differs from what came by the declared edits alone.
//!
//! Where a strict and a lenient JSON reader would understand different things (duplicate members, `3.0`
//! for 3, a byte order mark, lone surrogates) the request is refused with 400, so that nothing is
//! served that was not understood here.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::Full;
//! use llm_gate::call::{Call, CallLayer, Model, Models};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let models = Models::fixed([Model::new("tiny").context_length(4096)]);
//! let service = CallLayer::new(models).layer(service_fn(|request: Request<Full<Bytes>>| async move {
//!     let call = request.extensions().get::<Call>().expect("CallLayer put it there");
//!     assert_eq!(call.bound().hold().get(), 86 + 64 + 5, "bytes, allowance and output");
//!     Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
//! }));
//! let request = Request::post("/v1/chat/completions")
//!     .header("content-type", "application/json")
//!     .body(Full::<Bytes>::from(
//!         r#"{"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}   "#,
//!     ))
//!     .unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), 200);
//! # }
//! ```

mod bound;
mod edit;
mod future;
mod layer;
mod model;
mod parse;
mod read;
mod route;
mod service;
mod value;

use std::sync::Arc;

use bytes::Bytes;

pub use bound::Bound;
pub use edit::{Edit, EditLayer, EditService, InvalidEdit};
pub use future::CallFuture;
pub use layer::CallLayer;
pub use model::{Found, Model, Models};
pub use route::{Route, UnknownRoute};
pub use service::CallService;

use crate::identity::ConversationId;
use parse::Request;

/// The header by which a client names the conversation that a call is part of.
pub const SESSION: &str = "x-session-id";

/// Which usage figures the client asked for in a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageAsked {
    /// `stream_options.include_usage`: the last event.
    pub include: bool,
    /// `stream_options.continuous_usage_stats`: every event. Nothing without `include`.
    pub continuous: bool,
}

/// A request to a model as the gate understood it: the client's bytes, their meaning, and the edits to
/// be made before they are sent on.
///
/// Put into the request's extensions by [`CallLayer`].
#[derive(Clone, Debug)]
pub struct Call {
    route: Route,
    session: Option<ConversationId>,
    model: Arc<Model>,
    bound: Bound,
    body: Bytes,
    request: Request,
    /// Whether to name the model, which the client did not.
    names_model: bool,
    /// Whether streams are said to report their running usage.
    running_usage: bool,
    /// Whether to ask for usage in a stream, and if so for the running usage too.
    usage: Option<bool>,
    /// The output bound to set.
    output: Option<u64>,
    edits: Vec<Edit>,
}

impl Call {
    /// Returns which route was called.
    #[must_use]
    pub const fn route(&self) -> Route {
        self.route
    }

    /// Returns the conversation that the call is part of, as its client says by the header
    /// [`x-session-id`](SESSION).
    #[must_use]
    pub const fn session(&self) -> Option<&ConversationId> {
        self.session.as_ref()
    }

    /// Returns the model that was asked for.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Returns whether the client asked for a stream. Whether the answer is one, only its content type says.
    #[must_use]
    pub const fn stream(&self) -> bool {
        self.request.stream
    }

    /// Returns which usage figures the client asked for.
    #[must_use]
    pub const fn usage_asked(&self) -> UsageAsked {
        self.request.usage
    }

    /// Returns whether the answer is to be a stream whose events tell the usage so far: one was asked for, and
    /// [`CallLayer::running_usage`] says that they do. Whether it is, only the answer says.
    #[must_use]
    pub const fn running_usage(&self) -> bool {
        self.request.stream && self.running_usage
    }

    /// Returns how many choices the answer will have: prompts times `n`.
    #[must_use]
    pub const fn choices(&self) -> u64 {
        self.request.prompts.saturating_mul(self.request.n)
    }

    /// Returns how many choices each prompt has: `n`.
    #[must_use]
    pub const fn choices_per_prompt(&self) -> u64 {
        self.request.n
    }

    /// Returns the upper bound of what the call can use.
    #[must_use]
    pub const fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Allows the output bound to be cut down to what is left of a budget, though the client has named it.
    pub const fn clamp(&mut self) {
        self.bound.clamp();
    }

    /// Returns the client's bytes, without the edits.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Asks the upstream for usage in a stream; with `continuous`, for the running totals in every event
    /// too (vLLM's `continuous_usage_stats`). Does nothing where no stream was asked for: vLLM refuses
    /// `stream_options` there.
    pub fn ask_for_usage(&mut self, continuous: bool) {
        if self.request.stream {
            self.usage = Some(continuous || self.usage == Some(true));
        }
    }

    /// Sets the output bound of each choice: `max_completion_tokens` where the client sent it, which wins
    /// over `max_tokens`, else `max_tokens`.
    pub const fn set_output(&mut self, tokens: u64) {
        self.output = Some(tokens);
    }

    /// Adds an edit of your own. Those of the gate come first: one that touches the same bytes is left out.
    ///
    /// # Errors
    ///
    /// Fails if it lies outside of [`body`](Self::body) or over another edit of your own.
    pub fn edit(&mut self, edit: Edit) -> Result<(), InvalidEdit> {
        if !edit.fits(&self.body) || self.edits.iter().any(|other| edit.overlaps(other)) {
            return Err(InvalidEdit);
        }
        self.edits.push(edit);
        Ok(())
    }

    /// Returns the body to send: the client's bytes with the edits spliced in.
    #[must_use]
    pub fn apply(&self) -> Bytes {
        let mut edits = Vec::with_capacity(4 + self.edits.len());
        if self.names_model {
            edits.push(edit::model(&self.request, self.model.id()));
        }
        if let Some(continuous) = self.usage {
            edits.extend(edit::stream_options(&self.request, continuous));
        }
        if let Some(tokens) = self.output {
            edits.push(edit::output(self.route, &self.request, tokens));
        }
        edits.extend(self.edits.iter().cloned());
        edit::splice(&self.body, &edits)
    }
}
