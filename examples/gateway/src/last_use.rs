//! When API keys were last used.

use std::fmt;
use std::sync::Arc;

use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{Credential, KeyId, Principal};
use llm_gate::store::{Store, TOUCH_EVERY};
use quick_cache::sync::Cache;
use tokio::sync::mpsc;

/// How many keys are remembered, and how many may wait to be written.
const KEYS: usize = 16 * 1024;
const WAITING: usize = 1024;

/// Writes down when keys are used, each at most once a minute, beside the requests and not within them.
///
/// It is for people who look for keys that nobody uses, so it may miss one: what waits is bounded, and what is not
/// written is written at the next use after a minute.
#[derive(Clone)]
pub struct LastUse {
    written: Arc<Cache<KeyId, Timestamp>>,
    clock: Arc<dyn Clock>,
    queue: mpsc::Sender<(KeyId, Timestamp)>,
}

impl LastUse {
    /// Writes into `store` from a task of its own, which ends with the last clone.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[must_use]
    pub fn spawn(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let (queue, mut waiting) = mpsc::channel::<(KeyId, Timestamp)>(WAITING);
        tokio::spawn(async move {
            while let Some((key, at)) = waiting.recv().await {
                if let Err(error) = store.touch_key(key, at).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, %key, "the last use of a key was not written");
                }
            }
        });
        Self {
            written: Arc::new(Cache::new(KEYS)),
            clock,
            queue,
        }
    }

    /// Notes the key that a request came with, if it came with one.
    pub fn note<B>(&self, request: http::Request<B>) -> http::Request<B> {
        if let Some(Principal {
            credential: Credential::Key(key),
            ..
        }) = request.extensions().get()
        {
            self.used(*key);
        }
        request
    }

    fn used(&self, key: KeyId) {
        let now = self.clock.now();
        let written = self.written.get(&key);
        // A clock that was set back is no reason to wait longer.
        if written.is_some_and(|at| at <= now && now.since(at) < TOUCH_EVERY) {
            return;
        }
        if self.queue.try_send((key, now)).is_ok() {
            self.written.insert(key, now);
        }
    }
}

impl fmt::Debug for LastUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LastUse").finish_non_exhaustive()
    }
}
