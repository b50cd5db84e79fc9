use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;

use super::Failures;
use crate::address::Network;
use crate::identity::Principal;
use crate::limit::Held;
use crate::limit::known::Mark;

/// One attempt to prove something. Unless it is said how it went it counts for nothing.
///
/// Put into a request's extensions by [`FailureLimitLayer`](super::FailureLimitLayer). Clones are the same one.
#[derive(Clone)]
pub struct Attempt(pub(super) Arc<Parts>);

pub(super) struct Parts {
    failures: Failures,
    network: Network,
    mark: Option<Mark>,
    /// Whether it is on the list of those under way.
    listed: bool,
    /// Counted as a failure for now.
    held: Mutex<Option<Held<Network>>>,
}

impl Attempt {
    pub(super) fn new(
        failures: &Failures,
        network: Network,
        mark: Option<Mark>,
        held: Option<Held<Network>>,
        listed: bool,
    ) -> Self {
        Self(Arc::new(Parts {
            failures: failures.clone(),
            network,
            mark,
            listed,
            held: Mutex::new(held),
        }))
    }

    /// Says that it has succeeded: it counts for nothing, and what was presented is known from now on.
    pub fn recognised(&self) {
        drop(self.0.take());
        self.0.failures.succeeded(self.0.mark);
    }

    /// Says that it has failed.
    pub fn failed(&self) {
        let Parts {
            failures,
            network,
            mark,
            ..
        } = &*self.0;
        failures.failed(*network, *mark, self.0.take());
    }
}

impl Parts {
    fn take(&self) -> Option<Held<Network>> {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if let Some(mark) = self.mark.filter(|_| self.listed) {
            self.failures.over(mark);
        }
    }
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("network", &self.0.network)
            .finish_non_exhaustive()
    }
}

/// Says for a request that has passed an auth layer that its attempt has succeeded.
///
/// To stand right inside of the auth layer, as a `MapRequestLayer` of tower. Without it an attempt is open until
/// there is an answer, and as many long calls with credentials seen for the first time as failures are
/// allowed would keep others waiting.
pub fn recognised<B>(request: Request<B>) -> Request<B> {
    let extensions = request.extensions();
    if let (Some(attempt), Some(_)) = (extensions.get::<Attempt>(), extensions.get::<Principal>()) {
        attempt.recognised();
    }
    request
}
