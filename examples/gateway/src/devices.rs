//! What a browser keeps of the accounts that were entered with it, so that nobody else's wrong passwords keep it waiting.
//!
//! A cookie with a number that nobody else has, and for each account that was entered a proof of that: a MAC over the
//! number, the account and the hash of its password. It opens nothing. Whoever shows it has wrong guesses of its own, see
//! [`logins`](crate::logins), so it takes no more than the password has let in before; a new password makes strangers of all
//! devices that do not set it. Beside each proof stand tags of the names that the account goes by, so that nobody is looked
//! up whom the device has not entered, and a name of the account with a seal, so that the device passes where others have
//! used up what their address may send (see [`vouch`](crate::vouch)). The key is made of the pepper, so all gateways agree,
//! and none keeps anything.
//!
//! This is the device cookie that OWASP describes ([Slow Down Online Guessing Attacks with Device Cookies]).
//!
//! [Slow Down Online Guessing Attacks with Device Cookies]:
//!     https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
//!
//! ```
//! use llm_gate::auth::KeyHasher;
//! use llm_gate::identity::UserId;
//! use llm_gate_gateway::devices::{Device, Devices, Entered};
//!
//! let pepper = "a pepper of at least 32 random bytes";
//! let hasher = KeyHasher::new(pepper.as_bytes()).expect("long enough");
//! let devices = Devices::new(&pepper.into(), hasher);
//! let user = UserId::new();
//! let ada = Entered { user, names: [Some("ada"), None], hash: "$argon2id$…" };
//! let cookie = devices.remember(None, ada).to_string();
//! let device: Device = cookie.parse().expect("as it was given out");
//! assert!(devices.has_entered(&device, "ada") && !devices.has_entered(&device, "eve"));
//! assert!(devices.recognise(&device, user, "$argon2id$…").is_some());
//! assert!(devices.recognise(&device, user, "$argon2id$another").is_none());
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use llm_gate::auth::KeyHasher;
use llm_gate::identity::{Holder, UserId};
use sha2::Sha256;

use crate::config::Secret;
use crate::logins::Familiar;

/// How many accounts are remembered on one device: those that were entered last.
const ACCOUNTS: usize = 8;

/// As much of a MAC as nobody guesses (RFC 2104, section 5).
type Proof = [u8; 16];

/// Enough of one to look nobody up by chance, and so that nobody hits it who has to ask each time.
type Tag = [u8; 8];

/// A device, and the accounts it has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    id: [u8; 16],
    /// The account that was entered last comes first.
    accounts: Vec<Account>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    tags: [Tag; 2],
    proof: Proof,
    /// The name that stands in all that is given out to the account, and that this device has it from us.
    holder: [Tag; 2],
}

/// An account that was entered.
#[derive(Clone, Copy, Debug)]
pub struct Entered<'a> {
    /// Which it is.
    pub user: UserId,
    /// The names that it goes by, normalised: a user name, an e-mail address.
    pub names: [Option<&'a str>; 2],
    /// The hash of its password that is on record.
    pub hash: &'a str,
}

/// What is no cookie of a device.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not the cookie of a device")]
pub struct NoDevice;

impl FromStr for Device {
    type Err = NoDevice;

    fn from_str(text: &str) -> Result<Self, NoDevice> {
        let mut parts = text.split('.').take(ACCOUNTS + 2);
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let id = parts.next().and_then(decoded).map(TryFrom::try_from);
        let id = id.and_then(Result::ok).ok_or(NoDevice)?;
        let accounts = parts.map(|part| Account::read(&decoded(part)?));
        let accounts: Vec<_> = accounts.collect::<Option<_>>().ok_or(NoDevice)?;
        if accounts.len() > ACCOUNTS {
            return Err(NoDevice);
        }
        Ok(Self { id, accounts })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.id))?;
        let mut accounts = self.accounts.iter();
        accounts.try_for_each(|account| write!(f, ".{}", URL_SAFE_NO_PAD.encode(account.bytes())))
    }
}

impl Account {
    fn read(bytes: &[u8]) -> Option<Self> {
        let (one, rest) = bytes.split_first_chunk()?;
        let (two, rest) = rest.split_first_chunk()?;
        let (proof, rest) = rest.split_first_chunk()?;
        let (name, seal) = rest.split_first_chunk()?;
        Some(Self {
            tags: [*one, *two],
            proof: *proof,
            holder: [*name, seal.try_into().ok()?],
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let (tags, holder) = (self.tags.as_flattened(), self.holder.as_flattened());
        [tags, &self.proof, holder].concat()
    }
}

/// Makes and checks the proofs.
#[derive(Clone)]
pub struct Devices {
    mac: Hmac<Sha256>,
    hasher: KeyHasher,
}

impl Devices {
    /// Takes the pepper, and the hasher that was made of it.
    #[must_use]
    pub fn new(pepper: &Secret, hasher: KeyHasher) -> Self {
        let mac = keyed(pepper.expose().as_bytes());
        let key = mac.chain_update("llm-gate: devices that have entered an account");
        let mac = keyed(&key.finalize().into_bytes());
        Self { mac, hasher }
    }

    /// Returns whether a device says that it has entered the account that goes by a name.
    #[must_use]
    pub fn has_entered(&self, device: &Device, name: &str) -> bool {
        let mac = self.tag(device.id, name);
        // In constant time each.
        let named = |tag: &Tag| mac.clone().verify_truncated_left(tag).is_ok();
        let mut tags = device.accounts.iter().flat_map(|account| &account.tags);
        tags.any(named)
    }

    /// Returns who comes with a device, if it has entered the account with the password that it has now. `hash` is what is on
    /// record of that.
    #[must_use]
    pub fn recognise(&self, device: &Device, user: UserId, hash: &str) -> Option<Familiar> {
        let mac = self.proof(device.id, user, hash);
        // In constant time each.
        let proven = |account: &Account| mac.clone().verify_truncated_left(&account.proof).is_ok();
        let known = device.accounts.iter().any(proven);
        known.then(|| Familiar::device(device.id, user))
    }

    /// Returns whose a device is, by the account that was entered last, if a holder of the pepper has given it out. Nobody knows
    /// whether the account still has that password.
    #[must_use]
    pub fn holder(&self, device: &Device) -> Option<Holder> {
        let [name, seal] = &device.accounts.first()?.holder;
        let mac = self.seal(device.id, name);
        let given_out = mac.verify_truncated_left(seal).is_ok();
        let name = std::str::from_utf8(name).ok().filter(|_| given_out)?;
        Some(Holder::of("account", [name]))
    }

    /// Adds an account to what a device has entered: to a new one where there is none.
    ///
    /// # Panics
    ///
    /// Panics if the operating system has no random numbers.
    #[must_use]
    pub fn remember(&self, device: Option<Device>, entered: Entered<'_>) -> Device {
        let Entered { user, names, hash } = entered;
        let mut device = device.unwrap_or_else(|| Device {
            id: rand::random(),
            accounts: Vec::new(),
        });
        let mut account = Account {
            tags: [Tag::default(); 2],
            proof: Proof::default(),
            holder: [Tag::default(); 2],
        };
        // Two accounts without a name have not the same one.
        let nameless = user.to_string();
        for (tag, name) in account.tags.iter_mut().zip(names) {
            cut(self.tag(device.id, name.unwrap_or(&nameless)), tag);
        }
        cut(self.proof(device.id, user, hash), &mut account.proof);
        let [name, seal] = &mut account.holder;
        for (to, from) in name.iter_mut().zip(self.hasher.account(user).bytes()) {
            *to = from;
        }
        cut(self.seal(device.id, name), seal);
        // What it was before, with another password or by other names.
        let other = |known: &Account| {
            known.proof != account.proof && !known.tags.iter().any(|tag| account.tags.contains(tag))
        };
        device.accounts.retain(other);
        device.accounts.truncate(ACCOUNTS - 1);
        device.accounts.insert(0, account);
        device
    }

    fn tag(&self, device: [u8; 16], name: &str) -> Hmac<Sha256> {
        let mac = self.mac.clone().chain_update("tag").chain_update(device);
        mac.chain_update(name)
    }

    fn seal(&self, device: [u8; 16], name: &Tag) -> Hmac<Sha256> {
        let mac = self.mac.clone().chain_update("seal").chain_update(device);
        mac.chain_update(name)
    }

    fn proof(&self, device: [u8; 16], user: UserId, hash: &str) -> Hmac<Sha256> {
        // All but the last have one length.
        let mac = self.mac.clone().chain_update("proof").chain_update(device);
        mac.chain_update(user.as_uuid().as_bytes())
            .chain_update(hash)
    }
}

fn cut(mac: Hmac<Sha256>, into: &mut [u8]) {
    for (to, from) in into.iter_mut().zip(mac.finalize().into_bytes()) {
        *to = from;
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
        let pepper = byte.to_string().repeat(32);
        let hasher = KeyHasher::new(pepper.as_bytes()).expect("long enough");
        Devices::new(&pepper.as_str().into(), hasher)
    }

    fn entered<'a>(user: UserId, name: &'a str, hash: &'a str) -> Entered<'a> {
        let names = [Some(name), None];
        Entered { user, names, hash }
    }

    #[test]
    fn a_device_is_known_to_the_accounts_it_has_entered_and_to_no_other() {
        let gate = devices('a');
        let (ada, eve) = (UserId::new(), UserId::new());
        let device = gate.remember(None, entered(ada, "ada", "one"));
        assert!(gate.recognise(&device, ada, "one").is_some());
        for (user, hash) in [(eve, "one"), (ada, "two"), (ada, ""), (ada, "one ")] {
            assert!(gate.recognise(&device, user, hash).is_none());
        }
        let other = devices('b');
        assert!(other.recognise(&device, ada, "one").is_none());
        assert!(!other.has_entered(&device, "ada"), "another pepper");
        let both = gate.remember(Some(device.clone()), entered(eve, "eve", "two"));
        for (user, hash) in [(ada, "one"), (eve, "two")] {
            assert!(gate.recognise(&both, user, hash).is_some());
        }
        let other = gate.remember(None, entered(eve, "eve", "two"));
        let forged = Device {
            id: other.id,
            accounts: device.accounts.clone(),
        };
        assert!(!gate.has_entered(&forged, "ada"));
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
    fn nobody_is_looked_up_whom_a_device_has_not_entered() {
        let gate = devices('a');
        let ada = Entered {
            user: UserId::new(),
            names: [Some("ada"), Some("ada@example.org")],
            hash: "one",
        };
        let device = gate.remember(None, ada);
        for name in ["ada", "ada@example.org"] {
            assert!(gate.has_entered(&device, name), "{name}");
        }
        for name in ["eve", "", "Ada", "ada@example.or"] {
            assert!(!gate.has_entered(&device, name), "{name}");
        }
    }

    #[test]
    fn a_device_shows_by_itself_which_account_has_entered_last() {
        let gate = devices('a');
        let (ada, eve) = (UserId::new(), UserId::new());
        let device = gate.remember(None, entered(ada, "ada", "one"));
        let holder = gate.holder(&device).expect("given out here");
        let other = gate.remember(None, entered(ada, "another", "two"));
        assert_eq!(gate.holder(&other), Some(holder), "the same account");
        let both = gate.remember(Some(device.clone()), entered(eve, "eve", "two"));
        let eves = gate.holder(&both).expect("given out here");
        assert_ne!(eves, holder);
        assert_eq!(devices('b').holder(&device), None, "another pepper");
        let moved = Device {
            id: other.id,
            accounts: device.accounts.clone(),
        };
        assert_eq!(gate.holder(&moved), None, "it is of one device");
        let mut renamed = device.clone();
        renamed.accounts[0].holder[0] = both.accounts[0].holder[0];
        assert_eq!(gate.holder(&renamed), None, "and of one account");
        let empty = Device {
            id: device.id,
            accounts: Vec::new(),
        };
        assert_eq!(gate.holder(&empty), None);
    }

    #[test]
    fn the_accounts_that_were_entered_last_are_kept_each_once() {
        let gate = devices('a');
        let users: Vec<_> = (0..=ACCOUNTS)
            .map(|n| (UserId::new(), n.to_string()))
            .collect();
        let enter = |device: Option<Device>, (user, name): &(UserId, String)| {
            // With a new password each time.
            let old = gate.remember(device, entered(*user, name, "old"));
            Some(gate.remember(Some(old), entered(*user, name, "new")))
        };
        let device = users.iter().fold(None, enter);
        let device = enter(device, &users[3]).expect("one");
        let known = |(user, _): &&(UserId, String)| gate.recognise(&device, *user, "new").is_some();
        assert_eq!(users.iter().filter(known).count(), ACCOUNTS);
        assert!(!known(&&users[0]), "all but the first");
        assert_eq!(
            device.to_string().parse::<Device>().ok(),
            Some(device.clone())
        );
        let renamed = entered(users[3].0, "another", "new");
        let renamed = gate.remember(Some(device), renamed);
        assert_eq!(renamed.accounts.len(), ACCOUNTS, "by its new name alone");
        assert!(!gate.has_entered(&renamed, "3") && gate.has_entered(&renamed, "another"));
    }

    #[test]
    fn what_was_not_given_out_is_no_device() {
        let device = devices('a').remember(None, entered(UserId::new(), "ada", ""));
        let device = device.to_string();
        let (id, account) = device.split_once('.').expect("an account");
        for bad in [
            "",
            ".",
            &device[1..],
            &format!("{device}."),
            &format!("{device}.x"),
            &format!("{device}.{id}"),
            &format!("{device}{}", format!(".{account}").repeat(ACCOUNTS)),
            &format!("{device}{}", format!(".{account}").repeat(100_000)),
            &device.replace('.', ","),
        ] {
            assert!(bad.parse::<Device>().is_err(), "{bad:.40}");
        }
        assert!(device.parse::<Device>().is_ok());
        assert!(id.parse::<Device>().is_ok(), "it has entered nothing");
    }
}
