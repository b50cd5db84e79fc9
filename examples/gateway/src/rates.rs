//! The rate limits in force, one of each for the whole process: routes share their counts.

use std::sync::Arc;

use llm_gate::address::Network;
use llm_gate::clock::Clock;
use llm_gate::limit::{Attempt, Exceeded, FailureLimitLayer, Failures, RateLimitLayer};

use crate::config::{RateLimitConfig, RateSetting};
use crate::logins::Logins;

/// How many addresses are counted by themselves: more than somebody has who has a /48.
const ADDRESSES: usize = 1 << 18;

/// The rate limits in force.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests from one address, before anybody is asked who it is.
    pub address: RateLimitLayer,
    /// Requests of one caller.
    pub identity: RateLimitLayer,
    /// Requests from one address that cost a password hash.
    pub hashing: RateLimitLayer,
    /// Wrong passwords.
    pub logins: Logins,
    failures: Option<Failures>,
}

impl Rates {
    /// Begins to count, by the time of `clock`.
    #[must_use]
    pub fn new(config: &RateLimitConfig, clock: &Arc<dyn Clock>) -> Self {
        let per_address = |setting: RateSetting| {
            setting.rate().map_or_else(RateLimitLayer::off, |rate| {
                RateLimitLayer::per_address(rate, Arc::clone(clock)).capacity(ADDRESSES)
            })
        };
        let failures = config.failures_per_address.rate();
        let failures = failures.map(|rate| Failures::new(rate, Arc::clone(clock)));
        Self {
            address: per_address(config.per_address),
            identity: config
                .per_identity
                .rate()
                .map_or_else(RateLimitLayer::off, |rate| {
                    RateLimitLayer::per_principal(rate, Arc::clone(clock))
                }),
            hashing: per_address(config.logins_per_address),
            logins: Logins::new(config.login_failures.rate(), failures.clone(), clock),
            failures,
        }
    }

    /// Returns the layer that keeps those with wrong credentials away from the auth layer.
    #[must_use]
    pub fn failures(&self) -> FailureLimitLayer {
        let failures = self.failures.clone();
        failures.map_or_else(FailureLimitLayer::off, FailureLimitLayer::new)
    }

    /// Admits an attempt to prove something by a secret that stands in a body, before it is looked up. `None`
    /// where failures are not limited.
    ///
    /// # Errors
    ///
    /// Fails when too many have failed from this address, and this secret was not good there before.
    pub fn admit(&self, network: Network, secret: &str) -> Result<Option<Attempt>, Exceeded> {
        let failures = self.failures.as_ref();
        let attempt = failures.map(|failures| failures.admit(network, secret.as_bytes()));
        attempt.transpose()
    }

    /// Remembers that secrets were given out to this address, so that they are not taken for guesses.
    pub fn given_out(&self, network: Network, secrets: &[&str]) {
        for secret in secrets {
            if let Some(failures) = &self.failures {
                failures.remember(network, secret.as_bytes());
            }
        }
    }
}
