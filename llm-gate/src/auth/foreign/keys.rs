use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ForeignIssuer;
use super::fetch::{FetchError, Fetcher};
use crate::auth::{JwkSet, JwtAlgorithm, VerifyingKey};
use crate::clock::{Clock, Timestamp};

/// The keys of one issuer, as they were published last.
///
/// A fetch is a task of its own: whoever asked for it may be gone before it ends, and others need what it
/// brings. It is bounded in time, and there is one at a time.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) issuer: ForeignIssuer,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    published: Option<Published>,
    /// Counts how often the keys have changed.
    generation: u64,
    attempted_at: Option<Timestamp>,
    failed: bool,
    /// Closed when the fetch has ended, however it did.
    flight: Option<watch::Receiver<()>>,
}

#[derive(Debug)]
struct Published {
    keys: Arc<[VerifyingKey]>,
    fetched_at: Timestamp,
}

/// What is known about a key.
pub(super) enum Found {
    Key(Key),
    /// The issuer does not publish it.
    Unknown,
    /// Nobody can tell.
    Unavailable,
    /// A fetch that may tell is under way.
    Soon(watch::Receiver<()>),
}

/// A published key.
pub(super) struct Key {
    keys: Arc<[VerifyingKey]>,
    at: usize,
    /// What was checked with the keys of another generation is to be checked again.
    pub(super) generation: u64,
}

impl Key {
    pub(super) fn get(&self) -> &VerifyingKey {
        &self.keys[self.at]
    }
}

impl Keys {
    pub(super) fn new(issuer: ForeignIssuer, fetcher: Fetcher, clock: Arc<dyn Clock>) -> Self {
        Self {
            issuer,
            fetcher,
            clock,
            state: Mutex::default(),
        }
    }

    /// Finds a key, and waits for a fetch once if that may help.
    pub(super) async fn find(self: &Arc<Self>, kid: &str, algorithm: JwtAlgorithm) -> Found {
        match self.look(kid, algorithm, true) {
            Found::Soon(mut flight) => {
                // Nothing is ever sent: it ends when the sender is dropped.
                let _ = flight.changed().await;
                self.look(kid, algorithm, false)
            }
            found => found,
        }
    }

    /// Finds a key among those that are known, and begins a fetch if that is due. Says [`Found::Soon`] only
    /// to those who may wait.
    pub(super) fn look(
        self: &Arc<Self>,
        kid: &str,
        algorithm: JwtAlgorithm,
        may_wait: bool,
    ) -> Found {
        let now = self.clock.now();
        let mut state = self.state();
        let younger = |than: Duration| {
            let published = state.published.as_ref();
            published.is_some_and(|set| within(set.fetched_at, now, than))
        };
        let (usable, fresh) = (younger(self.issuer.stale), younger(self.issuer.refresh));
        let late = !younger(self.issuer.refresh.saturating_mul(2));
        let found = state.find(kid, algorithm).filter(|_| usable);
        if (found.is_none() || !fresh) && may_wait {
            self.begin(&mut state, now);
        }
        match (found, state.under_way()) {
            (found, Some(flight)) if may_wait && (found.is_none() || late) => Found::Soon(flight),
            (Some(key), _) => Found::Key(key),
            (None, _) if usable && !state.failed => Found::Unknown,
            (None, _) => Found::Unavailable,
        }
    }

    /// Begins a fetch unless one is under way, or was begun too short a time ago.
    fn begin(self: &Arc<Self>, state: &mut State, now: Timestamp) {
        let attempted = state.attempted_at;
        let too_soon = attempted.is_some_and(|at| within(at, now, self.issuer.pause));
        // Without a runtime nothing could be fetched; the caller is told that nobody can tell.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if too_soon || state.under_way().is_some() {
            return;
        }
        let (done, flight) = watch::channel(());
        state.attempted_at = Some(now);
        state.flight = Some(flight);
        let keys = Arc::clone(self);
        runtime.spawn(async move {
            let fetched = keys.fetcher.fetch(&keys.issuer).await;
            keys.land(fetched, now);
            drop(done);
        });
    }

    fn land(&self, fetched: Result<Vec<VerifyingKey>, FetchError>, asked_at: Timestamp) {
        let result = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("llm_gate_jwks_fetches_total", "result" => result).increment(1);
        let mut state = self.state();
        state.flight = None;
        state.failed = fetched.is_err();
        match fetched {
            Ok(keys) => {
                let keys = self.usable(keys);
                let before = state.published.as_ref().map(|set| JwkSet::of(&*set.keys));
                if before != Some(JwkSet::of(&keys)) {
                    state.generation += 1;
                }
                tracing::debug!(
                    issuer = self.issuer.issuer,
                    keys = keys.len(),
                    "keys fetched"
                );
                state.published = Some(Published {
                    keys: keys.into(),
                    fetched_at: asked_at,
                });
            }
            Err(error) => {
                let (issuer, error) = (&self.issuer.issuer, &error as &dyn Error);
                tracing::warn!(issuer, error, "the keys of an issuer cannot be fetched");
            }
        }
    }

    /// Keeps the keys that a token can name: one each for a `kid` and an algorithm. Of two nobody knows
    /// which is meant.
    fn usable(&self, mut keys: Vec<VerifyingKey>) -> Vec<VerifyingKey> {
        keys.retain(|key| key.id().is_some() && self.issuer.algorithms.contains(&key.algorithm()));
        let all = keys.clone();
        keys.retain(|key| all.iter().filter(|other| other.is_called_as(key)).count() == 1);
        keys
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is under the lock is replaced as a whole, so that a panic leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, kid: &str, algorithm: JwtAlgorithm) -> Option<Key> {
        let keys = &self.published.as_ref()?.keys;
        let named = |key: &VerifyingKey| key.id() == Some(kid) && key.algorithm() == algorithm;
        Some(Key {
            at: keys.iter().position(named)?,
            keys: Arc::clone(keys),
            generation: self.generation,
        })
    }

    /// Returns the fetch under way. One that ended without a word, because its runtime did, is none.
    fn under_way(&self) -> Option<watch::Receiver<()>> {
        self.flight
            .clone()
            .filter(|flight| flight.has_changed().is_ok())
    }
}

/// Whether `at` lies less than `limit` before `now`. A clock that was set back ends it.
fn within(at: Timestamp, now: Timestamp, limit: Duration) -> bool {
    at <= now && now.since(at) < limit
}
