use std::fmt;
use std::sync::Arc;

use http::{Extensions, HeaderMap};
use tower_layer::Layer;

use super::{Exceeded, Limiter, Rate, RateLimitService};
use crate::address::{ClientAddress, Network};
use crate::clock::Clock;
use crate::error::Envelope;
use crate::identity::{Credential, Holder, KeyId, Principal, SessionId, UserId};

/// Lets as many requests through as a rate allows each caller, or each address.
///
/// Each answer that passed the layer, good or refused, carries the tightest
/// [allowance](crate::allowance::Allowance). What is refused is answered here, with 429
/// `rate_limit_exceeded` and `Retry-After`, and counted in `rate_limit_exceeded_total{endpoint}`; it does not
/// count against the rate. Clones share their counts. See the [module](super) for an example.
///
/// A request that does not say whom to count (no [`Principal`] or no [`ClientAddress`] in its extensions) is
/// answered with 500: the layer stands in the wrong place.
#[derive(Clone, Debug)]
pub struct RateLimitLayer {
    pub(super) limiter: Option<Limiter<Counted>>,
    pub(super) by: By,
    pub(super) envelope: Envelope,
    pub(super) vouch: Option<Vouch>,
}

/// Tells whose a request is that shows that by itself.
#[derive(Clone)]
pub(super) struct Vouch(Arc<Tell>);

type Tell = dyn Fn(&HeaderMap, &Extensions) -> Option<Holder> + Send + Sync;

impl Vouch {
    pub(super) fn holder(&self, headers: &HeaderMap, extensions: &Extensions) -> Option<Counted> {
        let network = extensions.get::<ClientAddress>();
        let network = network.map(ClientAddress::network);
        let holder = self.0(headers, extensions)?;
        Some(Counted::Holder(holder, network))
    }
}

impl fmt::Debug for Vouch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vouch(..)")
    }
}

/// What requests are counted by.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    Principal,
    Address,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Key(KeyId),
    User(UserId),
    Session(SessionId),
    Network(Network),
    Holder(Holder, Option<Network>),
}

impl RateLimitLayer {
    /// Counts by the caller: by the API key, else by the session, or by the user where the credential names none. Belongs
    /// inside of an auth layer.
    #[must_use]
    pub fn per_principal(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::new(Limiter::new(rate, clock), By::Principal)
    }

    /// Counts by the [`Network`] of the client's address. Belongs outside of an auth layer, so that nothing
    /// is looked up for those who send too much.
    #[must_use]
    pub fn per_address(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self::new(Limiter::new(rate, clock), By::Address)
    }

    /// Lets everything through and shows nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            limiter: None,
            by: By::Address,
            envelope: Envelope::OpenAi,
            vouch: None,
        }
    }

    const fn new(limiter: Limiter<Counted>, by: By) -> Self {
        Self {
            limiter: Some(limiter),
            by,
            envelope: Envelope::OpenAi,
            vouch: None,
        }
    }

    /// Lets those through whom `vouch` knows, where what they are counted by has nothing left: each holder has the rate once
    /// more for itself at each address. So whoever floods an address keeps nobody waiting behind it whose requests show by themselves, as by a
    /// signature, that they are of somebody else.
    ///
    /// It is asked only then. It must not look anything up, and may be wrong about what was revoked.
    #[must_use]
    pub fn vouched(
        mut self,
        vouch: impl Fn(&HeaderMap, &Extensions) -> Option<Holder> + Send + Sync + 'static,
    ) -> Self {
        self.vouch = Some(Vouch(Arc::new(vouch)));
        self
    }

    /// Returns whether an address has nothing left.
    #[must_use]
    pub fn is_used_up(&self, network: Network) -> bool {
        let limiter = self.limiter.as_ref();
        limiter.is_some_and(|limiter| limiter.peek(&Counted::Network(network)).remaining == 0)
    }

    /// Sets the JSON form of refusals. [`Envelope::OpenAi`] unless set.
    #[must_use]
    pub const fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = envelope;
        self
    }

    /// Sets how many callers are counted by themselves, as [`Limiter::capacity`]; clones made before keep
    /// their own counts.
    #[must_use]
    pub fn capacity(mut self, keys: usize) -> Self {
        self.limiter = self.limiter.map(|limiter| limiter.capacity(keys));
        self
    }

    /// Shows on an answer what an address has left, for one that is not counted.
    pub fn show(&self, network: Network, headers: &mut HeaderMap) {
        if let Some(limiter) = &self.limiter {
            let (allowance, now) = limiter.peek_at(&Counted::Network(network));
            allowance.show(headers, now);
        }
    }

    /// Counts something from an address as a request that passes, where only its handler can tell that it counts.
    ///
    /// # Errors
    ///
    /// Fails when there were too many.
    pub fn count(&self, network: Network) -> Result<(), Exceeded> {
        match &self.limiter {
            Some(limiter) => limiter.take(Counted::Network(network)).map(drop),
            None => Ok(()),
        }
    }
}

impl By {
    pub(super) fn find(self, extensions: &Extensions) -> Option<Counted> {
        match self {
            Self::Principal => {
                let principal = extensions.get::<Principal>()?;
                Some(match principal.credential {
                    Credential::Key(key) => Counted::Key(key),
                    _ => {
                        let session = principal.session.map(Counted::Session);
                        session.unwrap_or(Counted::User(principal.user))
                    }
                })
            }
            Self::Address => {
                let address = extensions.get::<ClientAddress>()?;
                Some(Counted::Network(address.network()))
            }
        }
    }

    /// Says of what there are too many.
    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::Principal => "requests with this credential",
            Self::Address => "requests from this address",
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimitService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimitService {
            config: self.clone(),
            inner,
        }
    }
}
