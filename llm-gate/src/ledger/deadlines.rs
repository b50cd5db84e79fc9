use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::open::Open;

/// How many may wait before those that have ended are looked for.
const FEW: usize = 64;

/// The task that ends requests at their deadlines. It goes when this is dropped.
pub(super) struct Deadlines(Arc<Queue>);

struct Queue {
    limit: Duration,
    waiting: Mutex<Waiting>,
    changed: Notify,
    gone: AtomicBool,
}

/// As every request has the same time, whoever came first is due first.
struct Waiting {
    requests: VecDeque<(Instant, Weak<Open>)>,
    /// From so many on, those that have ended are left out; at most twice as many as had not.
    crowded: usize,
}

impl Deadlines {
    /// Starts the task.
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub(super) fn spawn(limit: Duration) -> Self {
        let queue = Arc::new(Queue {
            limit,
            waiting: Mutex::new(Waiting {
                requests: VecDeque::new(),
                crowded: FEW,
            }),
            changed: Notify::new(),
            gone: AtomicBool::new(false),
        });
        tokio::spawn(run(queue.clone()));
        Self(queue)
    }

    /// Keeps an eye on a request from now on.
    pub(super) fn watch(&self, open: &Arc<Open>) {
        let mut waiting = self.0.waiting();
        // Under the lock, so that they stand in the order of their times.
        let due = Instant::now() + self.0.limit;
        waiting.requests.push_back((due, Arc::downgrade(open)));
        let first = waiting.requests.len() == 1;
        if waiting.requests.len() > waiting.crowded {
            waiting.requests.retain(|(_, open)| is_open(open));
            waiting.crowded = (waiting.requests.len() * 2).max(FEW);
        }
        drop(waiting);
        if first {
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
        self.0.changed.notify_one();
    }
}

impl Queue {
    /// Takes out who is due, and returns when the next one is.
    fn due(&self) -> (Vec<Arc<Open>>, Option<Instant>) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((at, open)) = waiting.requests.front() {
            if *at > now && is_open(open) {
                break;
            }
            if let Some((at, open)) = waiting.requests.pop_front()
                && at <= now
            {
                due.extend(open.upgrade());
            }
        }
        (due, waiting.requests.front().map(|(at, _)| *at))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it is held.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_open(open: &Weak<Open>) -> bool {
    open.strong_count() > 0
}

async fn run(queue: Arc<Queue>) {
    while !queue.gone.load(Ordering::Acquire) {
        let (due, next) = queue.due();
        for open in due {
            open.expire();
        }
        let changed = queue.changed.notified();
        match next {
            // Either way it is time to look.
            Some(next) => drop(timeout_at(next, changed).await),
            None => changed.await,
        }
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use crate::identity::{ProjectId, RequestId, UserId};
    use crate::ledger::{Ledger, Request, Reservation};
    use crate::store::{CallInfo, MemoryStore};
    use crate::tokens::Tokens;

    use super::*;

    async fn reserve(ledger: &Ledger) -> Reservation {
        let user = UserId::new();
        let reserving = ledger.reserve(Request {
            id: RequestId::new(),
            subjects: Vec::new(),
            hold: Tokens::new(1).into(),
            least: Tokens::new(1),
            call: CallInfo::new(user, ProjectId::new(), "chat", ""),
        });
        reserving.await.expect("nothing limits it")
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_does_not_pile_up() {
        let ledger = Ledger::spawn(Arc::new(MemoryStore::new()));
        // In front of all the others, for as long as it likes.
        let mut kept = vec![reserve(&ledger).await];
        for turn in 0..5000 {
            let reservation = reserve(&ledger).await;
            if turn % 50 == 0 {
                kept.push(reservation);
            }
            let waiting = ledger.shared.deadlines.0.waiting().requests.len();
            assert!(waiting <= FEW.max(2 * (kept.len() + 1)), "{waiting}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_ended_at_its_own_time() {
        let ledger = Ledger::builder()
            .deadline(Duration::from_secs(10))
            .spawn(Arc::new(MemoryStore::new()));
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(reserve(&ledger).await);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let ended = || all.iter().filter(|one| one.has_ended()).count();
        let mut wait = Duration::from_secs(5) - Duration::from_millis(2);
        for turn in 0..5 {
            tokio::time::advance(wait).await;
            tokio::task::yield_now().await;
            assert_eq!(ended(), turn, "not a moment sooner");
            tokio::time::advance(Duration::from_millis(4)).await;
            tokio::task::yield_now().await;
            assert_eq!(ended(), turn + 1, "and not later");
            wait = Duration::from_secs(1) - Duration::from_millis(4);
        }
    }
}
