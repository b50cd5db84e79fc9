use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::words::words;

words! {
    /// What an API key may be used for.
    Scope {
        /// Calls of models.
        Inference = "inference",
        /// The list of models.
        Models = "models",
        /// Reports of what the key's user and project have used, and their limits.
        Usage = "usage",
        /// All that its user may manage in the own account and in projects, the role of an admin left aside; and
        /// reports.
        Manage = "manage",
        /// All that an admin may manage, while its user is one; and all that its user may.
        Admin = "admin",
    }
}

/// What a key may do: never more than its user may.
///
/// Stores keep it and [`Principal`](super::Principal) brings it along. The auth layers refuse a key from another
/// network, and the quota layer a call without the scope or of another model. Services of your own ask
/// [`Principal::allows`](super::Principal::allows) and its companions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyGrants {
    /// What it may be used for, each once, in their order.
    pub scopes: Vec<Scope>,
    /// The models it may call, by the names that clients use; `None` for all.
    pub models: Option<Vec<String>>,
    /// The networks it may be used from; `None` for any.
    pub networks: Option<Vec<Network>>,
    /// Whether calls that do not fit are cut down to what is left.
    pub clamps: bool,
}

impl Default for KeyGrants {
    /// Calls of all models and their list, from anywhere.
    fn default() -> Self {
        Self {
            scopes: vec![Scope::Inference, Scope::Models],
            models: None,
            networks: None,
            clamps: false,
        }
    }
}

impl KeyGrants {
    /// Returns whether it may be used for `scope`. What admins may includes to manage, and that to read reports.
    #[must_use]
    pub fn allows(&self, scope: Scope) -> bool {
        let wider = match scope {
            Scope::Usage => Some(Scope::Manage),
            Scope::Manage => Some(Scope::Admin),
            _ => None,
        };
        self.scopes.contains(&scope) || wider.is_some_and(|wider| self.allows(wider))
    }

    /// Returns whether it may call `model`.
    #[must_use]
    pub fn allows_model(&self, model: &str) -> bool {
        let models = self.models.as_ref();
        models.is_none_or(|models| models.iter().any(|allowed| allowed == model))
    }

    /// Returns whether nothing of it goes beyond what `other` may do.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let scopes = self.scopes.iter().all(|scope| other.allows(*scope));
        let models = other.models.is_none()
            || self
                .models
                .as_ref()
                .is_some_and(|models| models.iter().all(|model| other.allows_model(model)));
        let networks = other.networks.as_ref().is_none_or(|outer| {
            let own = self.networks.as_ref();
            own.is_some_and(|own| {
                own.iter()
                    .all(|own| outer.iter().any(|outer| own.within(outer)))
            })
        });
        scopes && models && networks
    }

    /// Returns whether it may be used from `address`; from one that is not known only where any will do.
    #[must_use]
    pub fn allows_address(&self, address: Option<IpAddr>) -> bool {
        match (&self.networks, address) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(networks), Some(address)) => {
                networks.iter().any(|network| network.contains(address))
            }
        }
    }
}

/// A range of addresses in CIDR notation (RFC 4632), such as `192.0.2.0/24` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no address or network such as 192.0.2.0/24")]
pub struct NotANetwork;

impl Network {
    /// Returns whether all its addresses lie in `other` too.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let alike = self.address.is_ipv4() == other.address.is_ipv4();
        alike && self.prefix >= other.prefix && other.contains(self.address)
    }

    /// Returns whether `address` lies in it. An IPv4 address that came as an IPv6 one (RFC 4291, 2.5.5.2) counts as itself.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                shared(
                    u128::from(network.to_bits()) << 96,
                    u128::from(address.to_bits()) << 96,
                ) >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                shared(network.to_bits(), address.to_bits()) >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Counts the leading bits that both have.
const fn shared(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

impl std::str::FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            // What `parse` takes besides digits, a sign, is no prefix length.
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                digits.parse().map_err(|_| NotANetwork)?
            }
            Some(_) => return Err(NotANetwork),
        };
        if prefix > longest {
            return Err(NotANetwork);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.1", "::ffff:192.0.3.1"),
        ] {
            let parsed: Network = network.parse().expect(network);
            assert!(
                parsed.contains(inside.parse().expect(inside)),
                "{inside} in {network}"
            );
            assert!(
                !parsed.contains(outside.parse().expect(outside)),
                "{outside} in {network}"
            );
        }
        for bad in [
            "",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "host/8",
            "1.2.3.4/8/8",
        ] {
            assert_eq!(bad.parse::<Network>(), Err(NotANetwork), "{bad}");
        }
    }

    #[test]
    fn where_networks_are_named_an_unknown_address_is_refused() {
        let mut grants = KeyGrants::default();
        assert!(grants.allows_address(None));
        grants.networks = Some(vec!["192.0.2.0/24".parse().expect("a network")]);
        assert!(!grants.allows_address(None));
        assert!(grants.allows_address("192.0.2.1".parse().ok()));
        grants.models = Some(vec!["small".to_owned()]);
        assert!(grants.allows_model("small") && !grants.allows_model("large"));
    }

    #[test]
    fn grants_lie_within_others_only_where_nothing_goes_beyond_them() {
        let grants = |scopes: &[Scope], models: Option<&[&str]>, networks: Option<&[&str]>| {
            let network = |network: &&str| network.parse().expect("a network");
            KeyGrants {
                scopes: scopes.to_vec(),
                models: models.map(|all| all.iter().map(|one| (*one).to_owned()).collect()),
                networks: networks.map(|all| all.iter().map(network).collect()),
                clamps: false,
            }
        };
        let outer = grants(
            &[Scope::Inference, Scope::Manage],
            Some(&["small", "large"]),
            Some(&["192.0.2.0/24", "2001:db8::/32"]),
        );
        let some = Some(&["small"][..]);
        let near = Some(&["192.0.2.128/25"][..]);
        assert!(outer.within(&outer));
        assert!(outer.within(&grants(Scope::ALL, None, None)));
        assert!(grants(&[Scope::Inference, Scope::Usage], some, near).within(&outer));
        for (wider, why) in [
            (grants(&[Scope::Models], some, near), "another scope"),
            (grants(&[Scope::Admin], some, near), "the scope of admins"),
            (grants(&[Scope::Inference], None, near), "all models"),
            (grants(&[], Some(&["huge"]), near), "another model"),
            (grants(&[], some, None), "any network"),
            (
                grants(&[], some, Some(&["192.0.0.0/16"])),
                "a wider network",
            ),
            (grants(&[], some, Some(&["::/0"])), "a wider network"),
            (
                grants(&[], some, Some(&["::ffff:192.0.2.0/26"])),
                "a network of another kind",
            ),
        ] {
            assert!(!wider.within(&outer), "{why} is more than the outer has");
        }
    }
}
