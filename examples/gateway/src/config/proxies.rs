use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

/// The addresses that begin like one: `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    /// How many bits count.
    prefix: u8,
}

impl Cidr {
    /// Returns whether an address is among them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (width, ours) = bits(self.address);
        let (other, theirs) = bits(address.to_canonical());
        // The prefix is never 0, so that the shift is shorter than what is shifted.
        let shift = width - u32::from(self.prefix);
        width == other && ours >> shift == theirs >> shift
    }
}

fn bits(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, u32::from(address).into()),
        IpAddr::V6(address) => (128, address.into()),
    }
}

impl FromStr for Cidr {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| "must be addresses such as 10.0.0.7 or 10.0.0.0/8")?;
        if address != address.to_canonical() {
            return Err("an IPv4 address is written as one");
        }
        let (width, bits) = bits(address);
        let prefix = match prefix {
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| u32::from(*prefix) <= width),
            None => Some(width as u8),
        };
        match prefix {
            Some(0) => Err("/0 would trust everybody"),
            Some(prefix) if bits.trailing_zeros() >= width - u32::from(prefix) => {
                Ok(Self { address, prefix })
            }
            Some(_) => {
                Err("an address has bits beyond the prefix: write 10.0.0.0/8, not 10.0.0.7/8")
            }
            None => Err("a prefix is at most 32, of IPv6 128"),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Cidr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// The header in which trusted proxies say for whom they ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ProxyHeader {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(cidr: &str, address: &str) -> bool {
        let cidr: Cidr = cidr.parse().expect("addresses");
        cidr.contains(address.parse().expect("an address"))
    }

    #[test]
    fn addresses_belong_by_their_first_bits() {
        for (cidr, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7", "::ffff:192.0.2.7", "::192.0.2.7"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("128.0.0.0/1", "255.0.0.1", "127.0.0.1"),
            ("8000::/1", "ffff::1", "255.0.0.1"),
        ] {
            assert!(contains(cidr, inside), "{inside} in {cidr}");
            assert!(!contains(cidr, outside), "{outside} in {cidr}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_trusts_everybody_is_refused() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.7/8",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/104",
            "10.0.0",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text:?}");
        }
    }
}
