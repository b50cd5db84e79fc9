//! Wrong passwords: who guesses has to wait, and nobody can keep somebody else out.
//!
//! Locking an account after some failures would let anybody lock out anybody whose name is known. So a failure
//! counts against the place it comes from, and against the account only among strangers:
//!
//! | Counted | At most | Holds for |
//! |---|---|---|
//! | one account, from one address | the rate of `rate_limits.login_failures` | everybody |
//! | one account, from all addresses together | ten times that | addresses that have not logged in to it before |
//! | one address, whatever it gets wrong | `rate_limits.failures_per_address` | the same |
//!
//! Beside that a login costs a hash, right or wrong. Strangers take it from what their address may cost
//! (`rate_limits.logins_per_address`), with all else that costs one; who has logged in to the account from there before
//! has as much for itself. So no neighbour keeps anybody out who was there before by what it gets wrong elsewhere; who guesses
//! at the same account from the same address cannot be told from its owner.
//!
//! Who logs in from where it has logged in before is touched only by failures on the same account from the same
//! address. Who comes from somewhere else while many addresses guess has to be as quick as they are, at a rate
//! that is spent by ten of them and not by one; its sessions, refresh tokens and API keys work on. A guesser with
//! all the addresses there are has a hundred guesses and then a hundred an hour.
//!
//! Who has logged in from where is remembered here, and stands in the store: whoever would be refused is asked after there, so
//! neither a restart nor another gateway makes a stranger of anybody whose session is on record.
//!
//! An attempt counts from its beginning, so that no more can be tried at once than may fail, and for nothing if it
//! was right or nobody could tell. Accounts are counted by the name that was typed, before anything is looked
//! up: an account that does not exist has the same answers, work and limits as one that does.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use llm_gate::address::Network;
use llm_gate::clock::Clock;
use llm_gate::limit::{Exceeded, Failures, Held, Known, Limiter, Rate};

/// How many addresses it takes to use up what an account allows to strangers.
const STRANGERS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

/// How many accounts, and pairs of an account and an address, are counted by themselves. Names can be made up, and a
/// failure takes its place for minutes: to take all of them in that time takes thousands of password hashes a second.
const ACCOUNTS: usize = 1 << 20;

/// Counts wrong passwords. Clones share their counts.
#[derive(Clone, Debug)]
pub struct Logins {
    limits: Option<Limits>,
    failures: Option<Failures>,
}

#[derive(Clone, Debug)]
struct Limits {
    here: Limiter<(Network, Account)>,
    strangers: Limiter<Account>,
    /// Who has logged in from where.
    known: Known,
    hasher: RandomState,
}

/// The hash of a name: names are as long as somebody likes.
type Account = u64;

/// Why a login is not begun.
#[derive(Clone, Debug)]
pub enum Refused {
    /// Whoever comes from there: too many failed on this account.
    Anybody(Exceeded),
    /// Who has not logged in to the account from there before.
    Strangers(Exceeded),
}

impl Refused {
    /// Returns which rate was exceeded.
    #[must_use]
    pub const fn exceeded(&self) -> &Exceeded {
        let (Self::Anybody(exceeded) | Self::Strangers(exceeded)) = self;
        exceeded
    }
}

/// A login under way. Dropped without a word it counts for nothing.
#[derive(Debug, Default)]
#[must_use = "it has to be told how it went"]
pub struct Login {
    here: Option<Held<(Network, Account)>>,
    strangers: Option<Held<Account>>,
    address: Option<Held<Network>>,
    proof: Option<(Limits, Network)>,
    familiar: Option<(Network, Account)>,
}

impl Logins {
    /// Allows `rate` for an account from an address, and what `failures` allows the address.
    #[must_use]
    pub fn new(rate: Option<Rate>, failures: Option<Failures>, clock: &Arc<dyn Clock>) -> Self {
        let limits = rate.map(|rate| Limits {
            here: Limiter::new(rate, Arc::clone(clock)).capacity(ACCOUNTS),
            strangers: Limiter::new(rate.times(STRANGERS), Arc::clone(clock)).capacity(ACCOUNTS),
            known: Known::new(),
            hasher: RandomState::new(),
        });
        Self { limits, failures }
    }

    /// Takes note of who has logged in from where, at another gateway or before this one was started.
    pub fn remember(&self, network: Network, name: &str) {
        if let Some(limits) = &self.limits {
            let account = limits.hasher.hash_one(name);
            limits.known.remember(&(network, account));
        }
    }

    /// Begins a login; `name` is what was typed, normalised.
    ///
    /// # Errors
    ///
    /// Fails when too many have failed.
    pub fn begin(&self, network: Network, name: &str) -> Result<Login, Refused> {
        let mut login = Login::default();
        let mut stranger = true;
        if let Some(limits) = &self.limits {
            let account = limits.hasher.hash_one(name);
            let here = limits.here.hold((network, account));
            login.here = Some(here.map_err(Refused::Anybody)?);
            stranger = !limits.known.knows(&(network, account));
            if stranger {
                let strangers = limits.strangers.hold(account);
                login.strangers = Some(strangers.map_err(Refused::Strangers)?);
            } else {
                login.familiar = Some((network, account));
            }
            login.proof = Some((limits.clone(), network));
        }
        if stranger && let Some(failures) = &self.failures {
            let address = failures.hold(network);
            login.address = Some(address.map_err(Refused::Strangers)?);
        }
        Ok(login)
    }
}

impl Login {
    /// Returns who it is of, if that account was logged in to from there before.
    #[must_use]
    pub const fn familiar(&self) -> Option<(Network, u64)> {
        self.familiar
    }

    /// Says that it was refused.
    pub fn failed(self) {
        let Self {
            here,
            strangers,
            address,
            ..
        } = self;
        if let Some(here) = here {
            here.keep();
        }
        if let Some(strangers) = strangers {
            strangers.keep();
        }
        if let Some(address) = address {
            address.keep();
        }
    }

    /// Says that it was let in; `names` are all that the account can be called by.
    pub fn succeeded<'a>(self, names: impl IntoIterator<Item = &'a str>) {
        if let Some((limits, network)) = &self.proof {
            for name in names {
                let account = limits.hasher.hash_one(name);
                limits.known.remember(&(*network, account));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use llm_gate::clock::SystemClock;

    use super::*;

    fn place(last: u8) -> Network {
        Network::of([192, 0, 2, last].into())
    }

    fn logins(failures: &str) -> Logins {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let failures = Failures::new(failures.parse().expect("a rate"), Arc::clone(&clock));
        Logins::new("5/day".parse().ok(), Some(failures), &clock)
    }

    fn fail(logins: &Logins, from: u8, name: &str) -> bool {
        let login = logins.begin(place(from), name);
        login.map(Login::failed).is_ok()
    }

    fn exhaust(logins: &Logins, from: u8, name: &str) -> usize {
        (0..1000).take_while(|_| fail(logins, from, name)).count()
    }

    #[test]
    fn guessing_from_one_address_keeps_nobody_else_out() {
        let logins = logins("1000/day");
        assert_eq!(exhaust(&logins, 66, "ada"), 5);
        assert!(
            logins.begin(place(1), "ada").is_ok(),
            "from where she never was"
        );
        assert!(logins.begin(place(66), "eve").is_ok(), "another account");
    }

    #[test]
    fn guessing_from_everywhere_does_not_keep_the_owner_out_of_where_she_was() {
        let logins = logins("1000/day");
        let home = logins.begin(place(1), "ada").expect("the first");
        home.succeeded(["ada", "ada@example.com"]);
        let guesses: usize = (50..250).map(|bot| exhaust(&logins, bot, "ada")).sum();
        assert_eq!(guesses, 50, "ten times what one has, and no more");
        for name in ["ada", "ada@example.com"] {
            assert!(logins.begin(place(1), name).is_ok(), "{name}");
        }
        assert!(
            logins.begin(place(2), "ada").is_err(),
            "elsewhere she has to wait like all strangers"
        );
        assert!(logins.begin(place(2), "eve").is_ok());
    }

    #[test]
    fn a_neighbour_who_gets_everything_wrong_keeps_out_strangers_only() {
        let logins = logins("7/day");
        logins
            .begin(place(1), "ada")
            .expect("the first")
            .succeeded(["ada"]);
        let spray = (0..100).filter(|n| fail(&logins, 1, &format!("user-{n}")));
        assert_eq!(spray.count(), 7, "the address is out of failures");
        assert!(logins.begin(place(1), "ada").is_ok(), "known there");
        assert!(logins.begin(place(1), "eve").is_err());
    }

    #[test]
    fn no_more_are_tried_at_once_than_may_fail() {
        let logins = logins("1000/day");
        let open: Vec<_> = (0..10)
            .map_while(|_| logins.begin(place(1), "ada").ok())
            .collect();
        assert_eq!(open.len(), 5);
        drop(open);
        assert!(
            logins.begin(place(1), "ada").is_ok(),
            "nobody could tell, so they count for nothing"
        );
    }

    #[test]
    fn switched_off_nothing_is_counted() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let logins = Logins::new(None, None, &clock);
        assert_eq!(exhaust(&logins, 1, "ada"), 1000);
    }
}
