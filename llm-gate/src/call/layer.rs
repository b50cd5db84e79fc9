use tower_layer::Layer;

use super::{CallService, Models};

/// Reads each request once and leaves a [`Call`](super::Call) in its extensions.
///
/// Refuses with 404 or 405 what is for no [`Route`](super::Route), with 413 what is too large, with 415
/// what is not JSON, with 400 what cannot be understood, with 404 an unknown model, and with 503 a
/// model whose context length is not known; always in the OpenAI envelope, before anything is reserved.
///
/// The inner service gets the client's bytes as one [`Full`](http_body_util::Full).
#[derive(Clone, Debug)]
pub struct CallLayer {
    pub(super) models: Models,
    pub(super) body_limit: usize,
    pub(super) max_n: u64,
    pub(super) default_model: Option<String>,
    pub(super) running_usage: bool,
}

impl CallLayer {
    /// Admits calls to `models`.
    #[must_use]
    pub const fn new(models: Models) -> Self {
        Self {
            models,
            body_limit: 32 << 20,
            max_n: 16,
            default_model: None,
            running_usage: false,
        }
    }

    /// Sets how many bytes a body may have. 32 MiB unless set.
    #[must_use]
    pub const fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Sets how large `n` and `best_of` may be. 16 unless set.
    #[must_use]
    pub const fn max_n(mut self, choices: u64) -> Self {
        self.max_n = choices;
        self
    }

    /// Sets whether streams report their running usage: that a meter stands inside of this layer which asks
    /// for it, and that the upstream has it to give. Then a stream's hold is extended while it runs, and need
    /// not be its whole bound from the start. Off unless set.
    #[must_use]
    pub const fn running_usage(mut self, reported: bool) -> Self {
        self.running_usage = reported;
        self
    }

    /// Sets the model for requests that name none. They are refused unless set.
    #[must_use]
    pub fn default_model(mut self, id: impl Into<String>) -> Self {
        self.default_model = Some(id.into());
        self
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CallService::new(self.clone(), inner)
    }
}
