//! The rate limits in force, one of each for the whole process: routes share their counts.

use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use llm_gate::address::Network;
use llm_gate::clock::Clock;
use llm_gate::identity::UserId;
use llm_gate::limit::{Attempt, Exceeded, FailureLimitLayer, Failures, Limiter, RateLimitLayer};

use crate::config::{RateLimitConfig, RateSetting};
use crate::logins::{Familiar, Login, Logins, Who};
use crate::vouch::Vouch;

/// How many addresses are counted by themselves: more than somebody has who has a /48.
const ADDRESSES: usize = 1 << 18;

/// How many devices and sessions it takes to use up what those have together who have entered an account.
const TOGETHER: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

fn limiter<K: Hash + Eq>(setting: RateSetting, clock: &Arc<dyn Clock>) -> Option<Limiter<K>> {
    let rate = setting.rate()?;
    Some(Limiter::new(rate, Arc::clone(clock)).capacity(ADDRESSES))
}

/// What a letter is for. Each is counted by itself: none that somebody provokes keeps another from its reader, or tells
/// whether another was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To confirm the address.
    Verify,
    /// To set a new password.
    Reset,
    /// To invite its reader.
    Invite,
}

/// The rate limits in force.
#[derive(Clone, Debug)]
pub struct Rates {
    /// Requests from one address, before anybody is asked who it is; where it has nothing left, those of one holder.
    pub address: RateLimitLayer,
    /// Requests of one caller.
    pub identity: RateLimitLayer,
    /// Requests from one address that cost a password hash.
    pub hashing: RateLimitLayer,
    /// Requests from one address that cost a question to another provider.
    pub asking: RateLimitLayer,
    /// Requests from one address that may cost a letter.
    pub writing: RateLimitLayer,
    /// Requests of one session that cost as much.
    pub proving: RateLimitLayer,
    /// Wrong passwords.
    pub logins: Logins,
    /// Logins of those who have entered the account before.
    familiar: Option<Limiter<Familiar>>,
    /// What all of them cost together who have entered an account: each may have as many devices and sessions as it likes.
    together: Option<Limiter<UserId>>,
    /// New passwords of one account by letter.
    resets: Option<Limiter<UserId>>,
    failures: Option<Failures>,
    letters: Option<Limiter<u64>>,
    invites: Option<Limiter<UserId>>,
    /// Addresses of letters are as long as somebody likes.
    hasher: RandomState,
}

impl Rates {
    /// Begins to count, by the time of `clock`. Whatever else comes from an address, `vouch` tells what a gateway has given out.
    #[must_use]
    pub fn new(config: &RateLimitConfig, clock: &Arc<dyn Clock>, vouch: &Vouch) -> Self {
        let per_address = |setting: RateSetting| {
            setting.rate().map_or_else(RateLimitLayer::off, |rate| {
                RateLimitLayer::per_address(rate, Arc::clone(clock)).capacity(ADDRESSES)
            })
        };
        let failures = config.failures_per_address.rate();
        let failures = failures.map(|rate| {
            let vouch = vouch.clone();
            Failures::vouched(rate, Arc::clone(clock), move |secret| {
                let secret = std::str::from_utf8(secret).ok();
                secret.is_some_and(|secret| vouch.secret(secret).is_some())
            })
        });
        let per_principal = |setting: RateSetting| {
            setting.rate().map_or_else(RateLimitLayer::off, |rate| {
                RateLimitLayer::per_principal(rate, Arc::clone(clock))
            })
        };
        Self {
            address: {
                let vouch = vouch.clone();
                per_address(config.per_address)
                    .vouched(move |headers, extensions| vouch.request(headers, extensions))
            },
            identity: per_principal(config.per_identity),
            hashing: per_address(config.logins_per_address),
            asking: per_address(config.logins_per_address),
            writing: per_address(config.logins_per_address),
            proving: per_principal(config.logins_per_address),
            familiar: limiter(config.logins_per_address, clock),
            together: config.logins_per_address.rate().map(|rate| {
                let rate = rate.times(TOGETHER);
                Limiter::new(rate, Arc::clone(clock)).capacity(ADDRESSES)
            }),
            resets: limiter(config.logins_per_address, clock),
            logins: Logins::new(config.login_failures.rate(), failures.clone(), clock),
            failures,
            letters: limiter(config.letters_per_receiver, clock),
            invites: limiter(config.invites_per_user, clock),
            hasher: RandomState::new(),
        }
    }

    /// Begins a login, and counts what it costs.
    ///
    /// # Errors
    ///
    /// Fails when too many have failed, or cost too much.
    pub fn login(&self, who: Who<'_>) -> Result<Login, Exceeded> {
        let login = self.logins.begin(who)?;
        match (who, &self.familiar) {
            (Who::Familiar(who), Some(familiar)) => {
                familiar.take(who)?;
                self.together(who)?;
            }
            (Who::Familiar(_), None) => {}
            (Who::Stranger(network, _), _) => self.hashing.count(network)?,
        }
        Ok(login)
    }

    /// Begins to prove the password again.
    ///
    /// # Errors
    ///
    /// Fails when too many have failed, or cost too much.
    pub fn prove(&self, who: Familiar) -> Result<Login, Exceeded> {
        let login = self.logins.begin(Who::Familiar(who))?;
        self.together(who)?;
        Ok(login)
    }

    fn together(&self, who: Familiar) -> Result<(), Exceeded> {
        match &self.together {
            Some(together) => together.take(who.user()).map(drop),
            None => Ok(()),
        }
    }

    /// Counts a new password, which costs a hash, of who has proven to read the letters.
    ///
    /// # Errors
    ///
    /// Fails when there were too many.
    pub fn reset(&self, user: UserId) -> Result<(), Exceeded> {
        match &self.resets {
            Some(resets) => resets.take(user).map(drop),
            None => Ok(()),
        }
    }

    /// Counts a letter of a kind to an address, normalised, that somebody asked for. It may be anybody's.
    ///
    /// # Errors
    ///
    /// Fails when too many have gone there.
    pub fn letter(&self, purpose: Purpose, email: &str) -> Result<(), Exceeded> {
        match &self.letters {
            Some(letters) => {
                let count = self.hasher.hash_one((purpose, email));
                letters.take(count).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Counts an invite that a user makes.
    ///
    /// # Errors
    ///
    /// Fails when there were too many.
    pub fn invite(&self, user: UserId) -> Result<(), Exceeded> {
        match &self.invites {
            Some(invites) => invites.take(user).map(drop),
            None => Ok(()),
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
    /// Fails when too many have failed from this address, and this secret was not good there before and does not
    /// show by itself that it was given out.
    pub fn admit(&self, network: Network, secret: &str) -> Result<Option<Attempt>, Exceeded> {
        let failures = self.failures.as_ref();
        let attempt = failures.map(|failures| failures.admit(network, secret.as_bytes()));
        attempt.transpose()
    }
}
