//! Where a request comes from: the [`ClientAddress`] that a server leaves in the request's extensions, and
//! the [`Network`] it is counted under.
//!
//! ```
//! use llm_gate::address::{ClientAddress, Network};
//!
//! let home = ClientAddress::new("2001:db8:1:2:aaaa::1".parse()?);
//! let also = ClientAddress::new("2001:db8:1:2:bbbb::2".parse()?);
//! assert_eq!(home.network(), also.network(), "one subscriber has a whole /64");
//!
//! let mapped = ClientAddress::new("::ffff:192.0.2.7".parse()?);
//! assert_eq!(mapped.network(), Network::of("192.0.2.7".parse()?));
//! # Ok::<(), std::net::AddrParseError>(())
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The address of the client, put into the request's extensions by the server.
///
/// Only the server can tell: what a client writes into headers about its address is true only where a
/// proxy that the server trusts has written it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Wraps an address; an IPv4 address that is mapped into IPv6 is taken as the IPv4 address it is.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// Returns the address.
    #[must_use]
    pub const fn ip(&self) -> IpAddr {
        self.0
    }

    /// Returns what the address is counted under.
    #[must_use]
    pub const fn network(&self) -> Network {
        Network::of(self.0)
    }
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What addresses are counted under: an IPv4 address by itself, an IPv6 address by its /64.
///
/// A /64 is the smallest network a subscriber is given (RFC 6177), and all 2^64 addresses of it are the
/// subscriber's to use: counted one by one they would never come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// Returns the network of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }
}

/// What one customer or place may have of addresses: an IPv4 address by itself, an IPv6 address by its /48.
///
/// A site is given up to a /48 (RFC 6177), which has 65,536 networks: who is to count as one whatever it is given is
/// counted so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(IpAddr);

impl Site {
    /// Returns the site that a network belongs to.
    #[must_use]
    pub const fn of(network: Network) -> Self {
        match network.0 {
            IpAddr::V4(address) => Self(IpAddr::V4(address)),
            IpAddr::V6(address) => {
                let [a, b, c, ..] = address.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().expect("an address"))
    }

    #[test]
    fn neighbours_are_told_apart() {
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_ne!(network("::1"), network("127.0.0.1"));
    }

    #[test]
    fn a_site_has_all_its_networks() {
        let site = |text: &str| Site::of(network(text));
        assert_eq!(site("2001:db8:1:2::1"), site("2001:db8:1:ffff::1"));
        assert_ne!(site("2001:db8:1::1"), site("2001:db8:2::1"));
        assert_ne!(site("192.0.2.1"), site("192.0.2.2"));
    }

    #[test]
    fn a_network_is_written_as_what_it_is() {
        assert_eq!(network("192.0.2.1").to_string(), "192.0.2.1");
        assert_eq!(network("2001:db8::5").to_string(), "2001:db8::/64");
        assert_eq!(network("::ffff:192.0.2.1").to_string(), "192.0.2.1");
    }
}
