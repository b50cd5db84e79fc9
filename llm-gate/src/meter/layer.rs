use tower_layer::Layer;

use super::TokenMeterService;

/// Meters what passes: see the [module page](super).
///
/// Needs [`CallLayer`](crate::call::CallLayer) outside of it to ask for usage and to know what the client
/// asked for; without it usage is read where it stands and nothing is taken out.
#[derive(Clone, Copy, Debug)]
pub struct TokenMeterLayer {
    pub(super) continuous: bool,
    pub(super) json_limit: usize,
}

impl TokenMeterLayer {
    /// Meters a vLLM upstream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            continuous: true,
            json_limit: 32 << 20,
        }
    }

    /// Sets whether to ask for the running usage in every event of a stream: vLLM's
    /// `continuous_usage_stats`, which other servers may refuse. Asked for unless set.
    #[must_use]
    pub const fn continuous(mut self, ask: bool) -> Self {
        self.continuous = ask;
        self
    }

    /// Sets how long an answer that is not a stream may be. 32 MiB unless set; a longer one becomes a 502.
    #[must_use]
    pub const fn json_limit(mut self, bytes: usize) -> Self {
        self.json_limit = bytes;
        self
    }
}

impl Default for TokenMeterLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for TokenMeterLayer {
    type Service = TokenMeterService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenMeterService {
            config: *self,
            inner,
        }
    }
}
