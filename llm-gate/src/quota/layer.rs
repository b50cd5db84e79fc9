use tower_layer::Layer;

use crate::ledger::Ledger;

use super::QuotaService;

/// Holds, gates and settles: see the [module page](super).
///
/// Refuses with 429 what does not fit, with 403 what the caller's key is [not for](crate::identity::KeyGrants),
/// with 401 a revoked key or disabled user, with 503 while the books
/// cannot be written; before the inner service is called, or while it is waited for, where the two
/// [overlap](Self::overlap). Every answer carries
/// `x-ratelimit-limit-tokens` and `x-ratelimit-remaining-tokens` of the tightest limit, a 429 those of the limit that
/// has decided, in money as `x-ratelimit-limit-cost` and the like.
#[derive(Clone, Debug)]
pub struct QuotaLayer {
    pub(super) ledger: Ledger,
    pub(super) charge_lost: bool,
    pub(super) overlap: bool,
}

impl QuotaLayer {
    /// Keeps the books in `ledger`.
    #[must_use]
    pub const fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            charge_lost: false,
            overlap: true,
        }
    }

    /// Sets whether a request that was sent and got no answer is charged the bound of its prompt, marked
    /// as estimated. It is charged nothing unless set.
    #[must_use]
    pub const fn charge_lost(mut self, charge: bool) -> Self {
        self.charge_lost = charge;
        self
    }

    /// Sets whether a request is sent on while its hold is being committed, where what was last known of the
    /// counters leaves clear room: twice the hold. It is unless set to `false`. Stores that decide at once are
    /// never overlapped.
    ///
    /// Only the commit grants: neither head nor body of the answer is passed on before it. If it refuses or
    /// fails, the inner service's future or answer is dropped, which aborts the upstream, and the caller gets
    /// the refusal. Then the upstream may have begun to work for nothing, and nobody is charged for it.
    #[must_use]
    pub const fn overlap(mut self, overlap: bool) -> Self {
        self.overlap = overlap;
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
