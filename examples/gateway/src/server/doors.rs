use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use llm_gate::address::Network;

use crate::config::ServerConfig;

/// Counts the open connections of each address.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    config: Arc<ServerConfig>,
    /// Only of those who have some, so never more than there are connections.
    open: Arc<Mutex<HashMap<Network, usize>>>,
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Inside {
    /// `None` where nobody counts.
    counted: Option<(Doors, Network)>,
}

impl Doors {
    pub(super) fn new(config: &ServerConfig) -> Self {
        Self {
            config: Arc::new(config.clone()),
            open: Arc::default(),
        }
    }

    /// Lets a connection in, if its address has not too many. Behind a trusted proxy are many clients.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Inside> {
        let most = self.config.max_connections_per_address;
        if most == 0 || self.config.trusts(address) {
            return Some(Inside { counted: None });
        }
        let network = Network::of(address);
        let mut open = self.open();
        let count = open.entry(network).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Inside {
            counted: Some((self.clone(), network)),
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Network, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some((doors, network)) = &self.counted {
            let mut open = doors.open();
            match open.get_mut(network) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(open.remove(network)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(most: usize) -> Doors {
        Doors::new(&ServerConfig {
            max_connections_per_address: most,
            trusted_proxies: vec!["10.0.0.1".parse().expect("an address")],
            ..ServerConfig::default()
        })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_so_many_and_no_more() {
        let doors = doors(2);
        let (one, two) = (
            doors.enter(address("192.0.2.1")),
            doors.enter(address("192.0.2.1")),
        );
        assert!(one.is_some() && two.is_some());
        assert!(doors.enter(address("192.0.2.1")).is_none());
        assert!(
            doors.enter(address("::ffff:192.0.2.1")).is_none(),
            "the same address"
        );
        assert!(doors.enter(address("192.0.2.2")).is_some(), "another");
        drop(one);
        let again = doors.enter(address("192.0.2.1"));
        assert!(again.is_some(), "a place is free again");
        drop((two, again));
        assert!(
            doors.open().is_empty(),
            "nothing is kept of those who have none"
        );
    }

    #[test]
    fn a_proxy_may_have_any_number() {
        let doors = doors(1);
        let many: Vec<_> = (0..10).map(|_| doors.enter(address("10.0.0.1"))).collect();
        assert!(many.iter().all(Option::is_some));
        let unbounded = self::doors(0);
        let many: Vec<_> = (0..10)
            .map(|_| unbounded.enter(address("192.0.2.1")))
            .collect();
        assert!(many.iter().all(Option::is_some));
    }
}
