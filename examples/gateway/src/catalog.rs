//! The models that the upstream serves, asked for again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use llm_gate::call::{Model, Models};
use llm_gate::proxy::{UpstreamModel, VllmProxyService, upstream_models};
use tokio::sync::watch;

use crate::config::ModelConfig;

/// How often the list is read.
const INTERVAL: Duration = Duration::from_secs(60);
/// How soon it is tried again when the upstream does not answer; longer each time.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(16);
/// How long one reading may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of the upstream's models. Clones share it.
#[derive(Clone, Debug)]
pub struct Catalog {
    models: Models,
    /// What is known better, by name.
    refined: Arc<BTreeMap<String, ModelConfig>>,
    seen: Arc<watch::Sender<Seen>>,
}

/// The latest list, and whether the upstream answered when it was asked last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The models; `None` as long as nothing is known.
    pub list: Option<Arc<[UpstreamModel]>>,
    /// Whether the last attempt to read the list worked.
    pub reachable: bool,
}

impl Catalog {
    /// Starts knowing nothing, so that calls are answered 503; `refined` is known better than the upstream
    /// will tell.
    #[must_use]
    pub fn new(refined: BTreeMap<String, ModelConfig>) -> Self {
        Self {
            models: Models::pending(),
            refined: Arc::new(refined),
            seen: Arc::new(watch::Sender::new(Seen::default())),
        }
    }

    /// Returns the list as the call layer needs it.
    #[must_use]
    pub fn models(&self) -> Models {
        self.models.clone()
    }

    /// Returns what is known now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the upstream has told its models.
    pub async fn known(&self) {
        // The sender lives as long as this handle: the wait cannot fail.
        let _ = self
            .seen
            .subscribe()
            .wait_for(|seen| seen.list.is_some())
            .await;
    }

    /// Keeps the list up to date for as long as it is polled. A list that was known stays while the
    /// upstream is away.
    pub async fn follow(self, upstream: VllmProxyService) {
        let mut retry = FIRST_RETRY;
        loop {
            let read = tokio::time::timeout(PATIENCE, upstream_models(&upstream)).await;
            let pause = if let Ok(Ok(list)) = read {
                retry = FIRST_RETRY;
                self.replace(list);
                INTERVAL
            } else {
                // Said once, when it begins; each attempt has its own line from the proxy.
                if retry == FIRST_RETRY {
                    tracing::warn!(
                        "the model server does not list its models; calls are answered 503 until it has"
                    );
                }
                self.seen.send_modify(|seen| seen.reachable = false);
                let pause = retry;
                retry = (retry * 2).min(LAST_RETRY);
                pause
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn replace(&self, list: Vec<UpstreamModel>) {
        self.models.replace(list.iter().cloned().map(|listed| {
            let refined = self.refined.get(&listed.id).copied().unwrap_or_default();
            refined.refine(Model::from(listed))
        }));
        let names: Vec<String> = list.iter().map(|listed| listed.id.clone()).collect();
        let before = self.seen.send_replace(Seen {
            list: Some(list.into()),
            reachable: true,
        });
        if !before.reachable {
            tracing::info!(models = ?names, "the model server lists its models");
        }
    }
}
