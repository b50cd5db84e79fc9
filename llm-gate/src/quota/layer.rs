use tower_layer::Layer;

use crate::ledger::Ledger;

use super::QuotaService;

/// Holds, gates and settles: see the [module page](super).
///
/// Refuses with 429 what does not fit, with 401 a revoked key or disabled user, with 503 while the books
/// cannot be written; always before the inner service is called. Every answer carries
/// `x-ratelimit-limit-tokens` and `x-ratelimit-remaining-tokens` of the tightest limit.
#[derive(Clone, Debug)]
pub struct QuotaLayer {
    pub(super) ledger: Ledger,
    pub(super) charge_lost: bool,
}

impl QuotaLayer {
    /// Keeps the books in `ledger`.
    #[must_use]
    pub const fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            charge_lost: false,
        }
    }

    /// Sets whether a request that was sent and got no answer is charged the bound of its prompt, marked
    /// as estimated. It is charged nothing unless set.
    #[must_use]
    pub const fn charge_lost(mut self, charge: bool) -> Self {
        self.charge_lost = charge;
        self
    }
}

impl<S> Layer<S> for QuotaLayer {
    type Service = QuotaService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        QuotaService {
            config: self.clone(),
            inner,
        }
    }
}
