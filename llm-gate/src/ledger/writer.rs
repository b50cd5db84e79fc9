use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use crate::store::{Grant, LedgerStore, Operation, Outcome, StoreError, StoreErrorKind};

use super::open::Held;
use super::rooms::{Asked, Rooms};
use super::{ExtendError, Reservation, ReserveError, extended};

/// How many operations go into one transaction at most.
const BATCH: usize = 1024;
/// How often others are let run before a batch is taken, as long as each time somebody has asked for something.
const TURNS: usize = 32;
/// The pauses between attempts while the store is away.
const PAUSE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_secs(1);

/// What a handle asks of the writer.
pub(super) enum Job {
    Reserve {
        operation: Operation,
        /// The guard that is the answer. Unreceived, it is dropped and gives the hold back.
        reservation: Reservation,
        /// For what is remembered of its counters.
        asked: Asked,
        answer: oneshot::Sender<Result<Reservation, ReserveError>>,
    },
    Extend {
        operation: Operation,
        /// Which counters it is on.
        key: u64,
        answer: oneshot::Sender<Result<Grant, ExtendError>>,
    },
    Settle {
        operation: Operation,
        /// Free again when the settlement is committed.
        held: Held,
        /// Whether it was sent before, and may have been committed although it failed.
        again: bool,
    },
}

impl Job {
    const fn operation(&self) -> &Operation {
        match self {
            Self::Reserve { operation, .. }
            | Self::Extend { operation, .. }
            | Self::Settle { operation, .. } => operation,
        }
    }

    fn done(self, outcome: Outcome, rooms: &Rooms) {
        match self {
            Self::Reserve {
                reservation,
                asked,
                answer,
                ..
            } => {
                rooms.answered(asked, Some(&outcome));
                // Whoever is not waiting any more gets nothing: the guard drops here and voids itself.
                drop(answer.send(reservation.decided(outcome)));
            }
            // Whoever is not waiting any more knows the hold as less than it is, or asks with a higher version.
            Self::Extend { key, answer, .. } => {
                rooms.extended(key, &outcome);
                drop(answer.send(extended(outcome)));
            }
            Self::Settle { held, again, .. } => {
                note(&outcome, again);
                held.free();
            }
        }
    }

    /// Answers a reserve or an extension with the failure, and returns what is still owed to the store: a settlement, or
    /// the void of a reserve that may have been committed although it failed.
    fn failed(self, error: StoreError, rooms: &Rooms) -> Option<Self> {
        match self {
            Self::Reserve {
                reservation,
                asked,
                answer,
                ..
            } => {
                rooms.answered(asked, None);
                // Its guard drops here, which queues the void.
                drop(reservation);
                drop(answer.send(Err(ReserveError::Unavailable(error))));
                None
            }
            Self::Extend { answer, .. } => {
                drop(answer.send(Err(ExtendError::Unavailable(error))));
                None
            }
            Self::Settle {
                operation, held, ..
            } => Some(Self::Settle {
                operation,
                held,
                again: true,
            }),
        }
    }
}

/// Writes down what happened to the books for metrics and logs; `again` says that what looks like a repetition may be
/// the first time, unheard.
pub(super) fn note(outcome: &Outcome, again: bool) {
    if let Outcome::Settled(settlement) = outcome
        && (again || !settlement.repeated)
    {
        metrics::counter!("llm_gate_charged_tokens_total").increment(settlement.charged.get());
        if settlement.overage.get() > 0 {
            metrics::counter!("llm_gate_overage_tokens_total").increment(settlement.overage.get());
            tracing::warn!(
                tokens = settlement.overage.get(),
                "a request used more than its hold and its limit"
            );
        }
    }
}

/// What could not be written yet. Only settlements wait here: reserves and extensions are answered
/// with the failure.
struct Owed {
    rooms: Arc<Rooms>,
    /// The store was away: these go into the next batch.
    later: Vec<Job>,
    /// The store refused them by themselves: tried alone, so that no batch fails because of them.
    stuck: Vec<Job>,
}

impl Owed {
    /// Keeps what a failed job still owes.
    fn keep(&mut self, job: Job, error: StoreError) {
        let away = error.kind() == StoreErrorKind::Unavailable;
        let kept = if away {
            &mut self.later
        } else {
            &mut self.stuck
        };
        kept.extend(job.failed(error, &self.rooms));
    }
}

/// Takes whatever is queued into one transaction, again and again, until nobody can queue any more.
pub(super) async fn run(
    mut queue: mpsc::UnboundedReceiver<Job>,
    store: Arc<dyn LedgerStore>,
    rooms: Arc<Rooms>,
) {
    let mut owed = Owed {
        rooms,
        later: Vec::new(),
        stuck: Vec::new(),
    };
    let mut pause = *PAUSE.start();
    let mut again = Instant::now();
    loop {
        gather(&queue).await;
        let mut jobs = mem::take(&mut owed.later);
        let room = BATCH.saturating_sub(jobs.len()).max(1);
        let wait = if !jobs.is_empty() {
            pause
        } else if !owed.stuck.is_empty() {
            *PAUSE.end()
        } else if queue.recv_many(&mut jobs, room).await > 0 {
            Duration::ZERO
        } else {
            return;
        };
        // Something is owed: come back when the pause is over, or when somebody new asks.
        if !wait.is_zero() && timeout(wait, queue.recv_many(&mut jobs, room)).await == Ok(0) {
            // Nobody new can: the queue is closed.
            sleep(wait).await;
        }
        if Instant::now() >= again && !owed.stuck.is_empty() {
            for job in mem::take(&mut owed.stuck) {
                alone(&*store, job, &mut owed).await;
            }
            again = Instant::now() + *PAUSE.end();
        }
        if jobs.is_empty() {
            continue;
        }
        metrics::histogram!("llm_gate_ledger_batch_operations").record(jobs.len() as f64);
        commit(&*store, jobs, &mut owed).await;
        pause = if owed.later.is_empty() {
            *PAUSE.start()
        } else {
            (pause * 2).min(*PAUSE.end())
        };
    }
}

/// Lets those run who were answered by the last batch: what they ask for next goes into one batch, and not into two
/// of which each waits for the other's commit. Without a timer: where nobody asks, nobody waits.
async fn gather(queue: &mpsc::UnboundedReceiver<Job>) {
    for _ in 0..TURNS {
        let queued = queue.len();
        yield_now().await;
        if queue.len() == queued {
            return;
        }
    }
}

/// Applies the jobs in one transaction. Where that fails for another reason than an absent store, applies
/// them one by one, so that a defect of one does not keep the others from happening.
async fn commit(store: &dyn LedgerStore, jobs: Vec<Job>, owed: &mut Owed) {
    let batch = jobs.iter().map(|job| job.operation().clone()).collect();
    match apply(store, batch).await {
        Ok(outcomes) => {
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                job.done(outcome, &owed.rooms);
            }
        }
        Err(error) if error.kind() == StoreErrorKind::Unavailable || jobs.len() == 1 => {
            report(&error, jobs.len());
            for job in jobs {
                let why = StoreError::with_source(error.kind(), error.to_string());
                owed.keep(job, why);
            }
        }
        Err(error) => {
            report(&error, jobs.len());
            for job in jobs {
                alone(store, job, owed).await;
            }
        }
    }
}

/// Reads the outcome of a job that was in a batch before, which may have been committed although it failed:
/// what looks like a repetition is the job's own first time.
fn first_time(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Granted(grant) => Outcome::Granted(Grant {
            repeated: false,
            ..grant
        }),
        other => other,
    }
}

/// Applies one job, which was in a batch that failed, in a transaction of its own.
async fn alone(store: &dyn LedgerStore, job: Job, owed: &mut Owed) {
    match apply(store, vec![job.operation().clone()]).await {
        Ok(mut outcomes) => job.done(first_time(outcomes.swap_remove(0)), &owed.rooms),
        Err(error) => {
            report(&error, 1);
            owed.keep(job, error);
        }
    }
}

fn report(error: &StoreError, operations: usize) {
    tracing::error!(
        error = error as &dyn std::error::Error,
        operations,
        "the books cannot be written"
    );
    metrics::counter!("llm_gate_ledger_failures_total").increment(1);
}

/// Applies a batch and checks that every operation was answered.
async fn apply(store: &dyn LedgerStore, batch: Vec<Operation>) -> Result<Vec<Outcome>, StoreError> {
    let asked = batch.len();
    let outcomes = store.apply(batch).await?;
    if outcomes.len() == asked {
        return Ok(outcomes);
    }
    let why = format!("{asked} operations got {} answers", outcomes.len());
    Err(StoreError::with_source(StoreErrorKind::Other, why))
}
