//! What a browser keeps of the accounts that were entered with it, so that nobody else's wrong passwords keep it waiting.
//!
//! A cookie with a number that nobody else has, and for each account that was entered a proof of that: a MAC over the
//! number, the account and the hash of its password. It opens nothing. Whoever shows it has wrong guesses of its own, see
//! [`logins`](crate::logins), so it takes no more than the password has let in before; a new password makes strangers of all
//! devices that do not set it. The key is made of the pepper, so all gateways agree, and none keeps anything.
//!
//! This is the device cookie that OWASP describes ([Slow Down Online Guessing Attacks with Device Cookies]).
//!
//! [Slow Down Online Guessing Attacks with Device Cookies]:
//!     https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
//!
//! ```
//! use llm_gate::identity::UserId;
//! use llm_gate_gateway::devices::{Device, Devices};
//!
//! let devices = Devices::new(&"a pepper of at least 32 random bytes".into());
//! let ada = UserId::new();
//! let cookie = devices.remember(None, ada, "$argon2id$…").to_string();
//! let device: Device = cookie.parse().expect("as it was given out");
//! assert!(devices.recognise(&device, ada, "$argon2id$…").is_some());
//! assert!(devices.recognise(&device, ada, "$argon2id$another").is_none());
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use llm_gate::identity::UserId;
use sha2::Sha256;

use crate::config::Secret;
use crate::logins::Familiar;

/// How many accounts are remembered on one device: those that were entered last.
const ACCOUNTS: usize = 8;

/// As much of a MAC as nobody guesses (RFC 2104, section 5).
type Proof = [u8; 16];

/// A device, and the accounts it has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    id: [u8; 16],
    /// The account that was entered last comes first.
    proofs: Vec<Proof>,
}

/// What is no cookie of a device.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not the cookie of a device")]
pub struct NoDevice;

impl FromStr for Device {
    type Err = NoDevice;

    fn from_str(text: &str) -> Result<Self, NoDevice> {
        let mut parts = text.split('.').take(ACCOUNTS + 2).map(|part| {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            Proof::try_from(bytes).ok()
        });
        let id = parts.next().flatten().ok_or(NoDevice)?;
        let proofs: Vec<Proof> = parts.collect::<Option<_>>().ok_or(NoDevice)?;
        if proofs.len() > ACCOUNTS {
            return Err(NoDevice);
        }
        Ok(Self { id, proofs })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.id))?;
        let mut proofs = self.proofs.iter();
        proofs.try_for_each(|proof| write!(f, ".{}", URL_SAFE_NO_PAD.encode(proof)))
    }
}

/// Makes and checks the proofs.
#[derive(Clone)]
pub struct Devices(Hmac<Sha256>);

impl Devices {
    /// Takes the pepper.
    #[must_use]
    pub fn new(pepper: &Secret) -> Self {
        let mac = keyed(pepper.expose().as_bytes());
        let key = mac.chain_update("llm-gate: devices that have entered an account");
        Self(keyed(&key.finalize().into_bytes()))
    }

    /// Returns who comes with a device, if it has entered the account with the password that it has now. `hash` is what is on
    /// record of that.
    #[must_use]
    pub fn recognise(&self, device: &Device, user: UserId, hash: &str) -> Option<Familiar> {
        let mac = self.mac(device.id, user, hash);
        // In constant time each.
        let proven = |proof: &Proof| mac.clone().verify_truncated_left(proof).is_ok();
        let known = device.proofs.iter().any(proven);
        known.then(|| Familiar::device(device.id, user))
    }

    /// Adds an account to what a device has entered: to a new one where there is none.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn remember(&self, device: Option<Device>, user: UserId, hash: &str) -> Device {
        let mut device = device.unwrap_or_else(|| Device {
            id: rand::random(),
            proofs: Vec::new(),
        });
        let whole = self.mac(device.id, user, hash).finalize().into_bytes();
        let mut proof = Proof::default();
        for (to, from) in proof.iter_mut().zip(whole) {
            *to = from;
        }
        device.proofs.retain(|known| *known != proof);
        device.proofs.truncate(ACCOUNTS - 1);
        device.proofs.insert(0, proof);
        device
    }

    fn mac(&self, device: [u8; 16], user: UserId, hash: &str) -> Hmac<Sha256> {
        // All but the last have one length.
        self.0
            .clone()
            .chain_update(device)
            .chain_update(user.as_uuid().as_bytes())
            .chain_update(hash)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Devices(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(byte: char) -> Devices {
        Devices::new(&byte.to_string().repeat(32).as_str().into())
    }

    #[test]
    fn a_device_is_known_to_the_accounts_it_has_entered_and_to_no_other() {
        let gate = devices('a');
        let (ada, eve) = (UserId::new(), UserId::new());
        let device = gate.remember(None, ada, "one");
        assert!(gate.recognise(&device, ada, "one").is_some());
        for (user, hash) in [(eve, "one"), (ada, "two"), (ada, ""), (ada, "one ")] {
            assert!(gate.recognise(&device, user, hash).is_none());
        }
        assert!(
            devices('b').recognise(&device, ada, "one").is_none(),
            "another pepper"
        );
        let both = gate.remember(Some(device.clone()), eve, "two");
        for (user, hash) in [(ada, "one"), (eve, "two")] {
            assert!(gate.recognise(&both, user, hash).is_some());
        }
        let other = gate.remember(None, eve, "two");
        let forged = Device {
            id: other.id,
            proofs: device.proofs.clone(),
        };
        assert!(
            gate.recognise(&forged, ada, "one").is_none(),
            "a proof is of one device"
        );
        assert_ne!(
            gate.recognise(&both, eve, "two"),
            gate.recognise(&other, eve, "two"),
            "each is counted by itself"
        );
        assert_eq!(
            gate.recognise(&both, ada, "one"),
            gate.recognise(&device, ada, "one"),
            "entered again it is the same"
        );
    }

    #[test]
    fn the_accounts_that_were_entered_last_are_kept() {
        let gate = devices('a');
        let users: Vec<_> = (0..=ACCOUNTS).map(|_| UserId::new()).collect();
        let enter = |device: Option<Device>, user: &UserId| Some(gate.remember(device, *user, ""));
        let device = users.iter().fold(None, enter);
        let device = enter(device, &users[3]).expect("one");
        let known = |user: &&UserId| gate.recognise(&device, **user, "").is_some();
        assert_eq!(
            users.iter().filter(known).count(),
            ACCOUNTS,
            "each once, and all but the first"
        );
        assert!(!known(&&users[0]));
        assert_eq!(device.to_string().parse::<Device>().ok(), Some(device));
    }

    #[test]
    fn what_was_not_given_out_is_no_device() {
        let device = devices('a').remember(None, UserId::new(), "").to_string();
        let part = "AAAAAAAAAAAAAAAAAAAAAA";
        for bad in [
            "",
            ".",
            &device[1..],
            &format!("{device}."),
            &format!("{device}.x"),
            &format!("{device}{}", format!(".{part}").repeat(ACCOUNTS)),
            &format!("{device}{}", format!(".{part}").repeat(100_000)),
            &device.replace('.', ","),
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad:.40}");
        }
        assert!(device.parse::<Device>().is_ok());
        assert!(part.parse::<Device>().is_ok(), "it has entered nothing");
    }
}
