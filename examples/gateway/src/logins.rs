//! Wrong passwords: who guesses has to wait, and nobody can keep somebody else out.
//!
//! Locking an account after some failures would let anybody lock out anybody whose name is known. So a failure counts
//! against what can be told of who it comes from:
//!
//! | Counted | At most | Holds for |
//! |---|---|---|
//! | one account, from one device or in one session | the rate of `rate_limits.login_failures` | who has entered the account so |
//! | one account, in all sessions together | ten times that | who has logged in |
//! | one account, from one address (IPv6: one /48) | the rate once | strangers |
//! | one account, from all addresses together | ten times that | strangers |
//! | one address, whatever it gets wrong | `rate_limits.failures_per_address` | strangers |
//!
//! Beside that a login costs a hash, right or wrong. Strangers take it from what their address may cost
//! (`rate_limits.logins_per_address`), with registrations, and wait in half of the places only. Each device has as much for
//! itself on each account that it has entered, and all who have entered an account have ten times that together.
//!
//! Who has entered an account shows the cookie of the device (see [`devices`](crate::devices)) or the session. A device is
//! touched by its own failures and by nobody else's, wherever they come from: neighbours on the same address guess as
//! strangers do. Whoever has neither, on a new device or by a program that keeps no cookies, is a stranger, and as quick as
//! the others while somebody guesses. Nobody is told more: what a stranger is answered hangs on the name and the address
//! alone, and not on whether there is such an account, or who has entered it from where. A guesser with all the addresses
//! there are has a hundred guesses and then a hundred an hour, at each gateway, for each of the two names that an account
//! may have.
//!
//! An attempt counts from its beginning, so that no more can be tried at once than may fail, and for nothing if it was right
//! or nobody could tell. It is gone through with when nobody waits for the answer any more. Strangers are counted by the name
//! that was typed, before anything is looked up: an account that does not exist has the same answers, work and limits as
//! one that does.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;

use llm_gate::address::{Network, Site};
use llm_gate::clock::Clock;
use llm_gate::identity::{SessionId, UserId};
use llm_gate::limit::{Exceeded, Failures, Held, Limiter, Rate};

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
    familiar: Limiter<Familiar>,
    inside: Limiter<UserId>,
    here: Limiter<(Site, Account)>,
    strangers: Limiter<Account>,
    hasher: RandomState,
}

/// The hash of a name: names are as long as somebody likes.
type Account = u64;

/// Who has entered an account before, and shows by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Familiar {
    by: By,
    user: UserId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    Device([u8; 16]),
    Session(SessionId),
    /// A credential that does not say of which session it is.
    Credential,
}

impl Familiar {
    /// Says that a device has entered an account.
    #[must_use]
    pub const fn device(id: [u8; 16], user: UserId) -> Self {
        let by = By::Device(id);
        Self { by, user }
    }

    /// Says that somebody has logged in.
    #[must_use]
    pub fn session(session: Option<SessionId>, user: UserId) -> Self {
        let by = session.map_or(By::Credential, By::Session);
        Self { by, user }
    }

    /// Returns whose account it is.
    #[must_use]
    pub const fn user(self) -> UserId {
        self.user
    }

    /// Returns whose account it is, if sessions of it can be had without its password.
    const fn inside(self) -> Option<UserId> {
        match self.by {
            By::Device(_) => None,
            By::Session(_) | By::Credential => Some(self.user),
        }
    }
}

/// Who tries a password.
#[derive(Clone, Copy, Debug)]
pub enum Who<'a> {
    /// Who has entered the account before.
    Familiar(Familiar),
    /// Anybody, for a name as it was typed, normalised.
    Stranger(Network, &'a str),
}

/// A login under way. Dropped without a word it counts for nothing.
#[derive(Debug, Default)]
#[must_use = "it has to be told how it went"]
pub struct Login {
    stranger: bool,
    familiar: Option<Held<Familiar>>,
    inside: Option<Held<UserId>>,
    here: Option<Held<(Site, Account)>>,
    strangers: Option<Held<Account>>,
    address: Option<Held<Network>>,
}

impl Logins {
    /// Allows `rate` for an account from an address, and what `failures` allows the address.
    #[must_use]
    pub fn new(rate: Option<Rate>, failures: Option<Failures>, clock: &Arc<dyn Clock>) -> Self {
        let limits = rate.map(|rate| Limits {
            familiar: Limiter::new(rate, Arc::clone(clock)).capacity(ACCOUNTS),
            inside: Limiter::new(rate.times(STRANGERS), Arc::clone(clock)).capacity(ACCOUNTS),
            here: Limiter::new(rate, Arc::clone(clock)).capacity(ACCOUNTS),
            strangers: Limiter::new(rate.times(STRANGERS), Arc::clone(clock)).capacity(ACCOUNTS),
            hasher: RandomState::new(),
        });
        Self { limits, failures }
    }

    /// Begins a login.
    ///
    /// # Errors
    ///
    /// Fails when too many have failed.
    pub fn begin(&self, who: Who<'_>) -> Result<Login, Exceeded> {
        let mut login = Login::default();
        match (who, &self.limits) {
            (Who::Familiar(who), Some(limits)) => {
                login.familiar = Some(limits.familiar.hold(who)?);
                let inside = who.inside().map(|user| limits.inside.hold(user));
                login.inside = inside.transpose()?;
            }
            (Who::Familiar(_), None) => {}
            (Who::Stranger(network, name), limits) => {
                login.stranger = true;
                if let Some(limits) = limits {
                    let account = limits.hasher.hash_one(name);
                    login.here = Some(limits.here.hold((Site::of(network), account))?);
                    login.strangers = Some(limits.strangers.hold(account)?);
                }
                if let Some(failures) = &self.failures {
                    login.address = Some(failures.hold(network)?);
                }
            }
        }
        Ok(login)
    }
}

impl Login {
    /// Returns whether nothing is known of who tries.
    #[must_use]
    pub const fn is_strangers(&self) -> bool {
        self.stranger
    }

    /// Says that it was refused. One that was let in is dropped.
    pub fn failed(self) {
        let Self {
            stranger: _,
            familiar,
            inside,
            here,
            strangers,
            address,
        } = self;
        if let Some(familiar) = familiar {
            familiar.keep();
        }
        if let Some(inside) = inside {
            inside.keep();
        }
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

    fn exhaust(logins: &Logins, who: Who<'_>) -> usize {
        let fail = |_: &usize| logins.begin(who).map(Login::failed).is_ok();
        (0..1000).take_while(fail).count()
    }

    #[test]
    fn guessing_from_one_address_keeps_nobody_else_out() {
        let logins = logins("1000/day");
        assert_eq!(exhaust(&logins, Who::Stranger(place(66), "ada")), 5);
        assert!(
            logins.begin(Who::Stranger(place(1), "ada")).is_ok(),
            "from where she never was"
        );
        assert!(
            logins.begin(Who::Stranger(place(66), "eve")).is_ok(),
            "another account"
        );
    }

    #[test]
    fn guessing_from_everywhere_does_not_keep_the_owner_out_on_her_device() {
        let logins = logins("1000/day");
        let guesses: usize = (50..250)
            .map(|bot| exhaust(&logins, Who::Stranger(place(bot), "ada")))
            .sum();
        assert_eq!(guesses, 50, "ten times what one has, and no more");
        assert!(
            logins.begin(Who::Stranger(place(2), "ada")).is_err(),
            "without it she has to wait like all strangers"
        );
        let ada = UserId::new();
        for own in [
            Familiar::device([1; 16], ada),
            Familiar::device([2; 16], ada),
            Familiar::session(Some(SessionId::new()), ada),
            Familiar::session(None, ada),
        ] {
            assert_eq!(exhaust(&logins, Who::Familiar(own)), 5, "{own:?}");
        }
        let other = Familiar::device([1; 16], UserId::new());
        assert!(
            logins.begin(Who::Familiar(other)).is_ok(),
            "another account on the same device"
        );
        assert!(logins.begin(Who::Stranger(place(2), "eve")).is_ok());
    }

    #[test]
    fn whoever_opens_sessions_without_the_password_has_ten_times_one_and_no_more() {
        let logins = logins("1000/day");
        let ada = UserId::new();
        let session = || Who::Familiar(Familiar::session(Some(SessionId::new()), ada));
        let guesses: usize = (0..50).map(|_| exhaust(&logins, session())).sum();
        assert_eq!(guesses, 50);
        let device = Familiar::device([1; 16], ada);
        assert_eq!(exhaust(&logins, Who::Familiar(device)), 5);
    }

    #[test]
    fn all_networks_of_a_site_are_one() {
        let logins = logins("1000/day");
        let network = |n: u16| Network::of([0x2001, 0xdb8, 1, n, 0, 0, 0, 1].into());
        let guesses = |n| exhaust(&logins, Who::Stranger(network(n), "ada"));
        assert_eq!((0..100).map(guesses).sum::<usize>(), 5);
    }

    #[test]
    fn a_neighbour_who_gets_everything_wrong_keeps_out_strangers_only() {
        let logins = logins("7/day");
        let ada = Familiar::device([1; 16], UserId::new());
        let spray = (0..100).filter(|n| {
            let name = format!("user-{n}");
            let login = logins.begin(Who::Stranger(place(1), &name));
            login.map(Login::failed).is_ok()
        });
        assert_eq!(spray.count(), 7, "the address is out of failures");
        assert!(logins.begin(Who::Familiar(ada)).is_ok());
        assert_eq!(
            exhaust(&logins, Who::Familiar(ada)),
            5,
            "nor does she take from it"
        );
        assert!(logins.begin(Who::Stranger(place(1), "eve")).is_err());
    }

    #[test]
    fn no_more_are_tried_at_once_than_may_fail() {
        let logins = logins("1000/day");
        let ada = Familiar::device([1; 16], UserId::new());
        for who in [Who::Stranger(place(1), "ada"), Who::Familiar(ada)] {
            let open: Vec<_> = (0..10).map_while(|_| logins.begin(who).ok()).collect();
            assert_eq!(open.len(), 5);
            drop(open);
            assert!(
                logins.begin(who).is_ok(),
                "nobody could tell, so they count for nothing"
            );
        }
    }

    #[test]
    fn switched_off_nothing_is_counted() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let logins = Logins::new(None, None, &clock);
        let ada = Familiar::device([1; 16], UserId::new());
        for who in [Who::Stranger(place(1), "ada"), Who::Familiar(ada)] {
            assert_eq!(exhaust(&logins, who), 1000);
        }
    }
}
