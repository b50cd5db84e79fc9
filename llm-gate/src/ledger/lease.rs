//! Whose reservations are whose: the lease of this process, and what others leave behind.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::store::{Ending, Operation, Outcome, OwnerId, Settle, StoreError, StoreErrorKind};

use super::{Ledger, Shared, recovery, writer};

/// How many reservations are presumed in one transaction.
const BATCH: usize = 512;

/// How long a process may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leases {
    /// How often a process says that it is alive.
    pub heartbeat: Duration,
    /// How long it is believed. Without a lease a process takes no reservations.
    pub lease: Duration,
    /// How long after the lease its reservations are presumed to have used all they hold.
    pub grace: Duration,
}

impl Default for Leases {
    /// A heartbeat every 5 s, a lease of 15 s, a grace of 30 s.
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            lease: Duration::from_secs(15),
            grace: Duration::from_secs(30),
        }
    }
}

/// The lease of this process.
#[derive(Debug)]
pub(super) struct Lease {
    enlisted: AtomicBool,
    owner: AtomicI64,
    /// Until when it lasts, in microseconds from `start`, by a clock that nobody sets.
    until: AtomicU64,
    start: Instant,
}

impl Lease {
    pub(super) fn new() -> Self {
        Self {
            enlisted: AtomicBool::new(false),
            owner: AtomicI64::new(0),
            until: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    /// Returns whom a reservation belongs to; `None` where nobody watches.
    pub(super) fn owner(&self) -> Result<Option<OwnerId>, StoreError> {
        if !self.enlisted.load(Ordering::Acquire) {
            return Ok(None);
        }
        if self.elapsed() < self.until.load(Ordering::Acquire) {
            return Ok(Some(OwnerId(self.owner.load(Ordering::Acquire))));
        }
        let why = "the lease is over: others may take this process for dead";
        Err(StoreError::with_source(StoreErrorKind::Unavailable, why))
    }

    fn set(&self, owner: OwnerId, asked_at: Instant, lease: Duration) {
        let until = asked_at.duration_since(self.start) + lease;
        let until = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.owner.store(owner.0, Ordering::Release);
        self.until.store(until, Ordering::Release);
        self.enlisted.store(true, Ordering::Release);
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Ledger {
    /// Makes this process known as the owner of the reservations it takes from now on, and starts the task that
    /// says it is alive; that task also presumes what others leave behind who are not heard of any more: their
    /// reservations are charged all they hold, until their figures come to light.
    ///
    /// While the process cannot renew its lease it takes no reservations. If it was given up meanwhile, its
    /// requests under way come to their ends by what others have decided, are corrected when they settle, and it
    /// goes on under a new lease.
    ///
    /// # Errors
    ///
    /// Fails when the store does.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub async fn enlist(&self, leases: Leases) -> Result<(), StoreError> {
        self.shared.enlist(leases).await?;
        let shared = Arc::downgrade(&self.shared);
        // Ends by itself when every handle is gone.
        tokio::spawn(beat(shared, leases));
        Ok(())
    }
}

impl Shared {
    async fn enlist(&self, leases: Leases) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let owner = self.store.enlist(self.clock.now(), leases.lease).await?;
        self.lease.set(owner, asked_at, leases.lease);
        Ok(())
    }

    async fn renew(&self, leases: Leases) -> Result<(), StoreError> {
        let asked_at = Instant::now();
        let owner = OwnerId(self.lease.owner.load(Ordering::Acquire));
        let now = self.clock.now();
        if self.store.renew(owner, now, leases.lease).await? {
            self.lease.set(owner, asked_at, leases.lease);
            return Ok(());
        }
        tracing::warn!("this process was taken for dead, and goes on as another");
        self.enlist(leases).await
    }

    /// Charges what owners leave behind who are not heard of any more.
    async fn presume(&self, leases: Leases) -> Result<(), StoreError> {
        // Those that the store cannot settle, which must not keep the others from being.
        let mut stuck = BTreeSet::new();
        loop {
            let now = self.clock.now();
            let count = BATCH + stuck.len();
            let mut orphans = self.store.orphans(now, leases.grace, count).await?;
            orphans.retain(|id| !stuck.contains(id));
            if orphans.is_empty() {
                return Ok(());
            }
            let presumed = orphans
                .iter()
                .map(|&id| Operation::Settle(Settle::presumed(id, now, Ending::Expired)));
            let outcomes = recovery::settle(&*self.store, presumed.collect()).await?;
            let failed = orphans.iter().zip(&outcomes);
            let failed = failed.filter(|(_, outcome)| outcome.is_none());
            stuck.extend(failed.map(|(&id, _)| id));
            let first = |outcome: &&Outcome| matches!(outcome, Outcome::Settled(settlement) if !settlement.repeated);
            let settled: Vec<&Outcome> = outcomes.iter().flatten().filter(first).collect();
            for outcome in &settled {
                writer::note(outcome, false);
            }
            let count = settled.len();
            if count > 0 {
                metrics::counter!("llm_gate_ledger_presumed_total").increment(count as u64);
                tracing::warn!(
                    count,
                    "requests of a process that is not heard of any more are charged all they hold"
                );
            }
        }
    }
}

/// Says that this process is alive, and buries the dead.
async fn beat(shared: Weak<Shared>, leases: Leases) {
    let mut ticks = interval(leases.heartbeat.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let done = match shared.renew(leases).await {
            Ok(()) => shared.presume(leases).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the lease of this process could not be renewed, or others' not be looked at"
            );
        }
    }
}
