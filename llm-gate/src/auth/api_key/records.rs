use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use quick_cache::sync::Cache;

use super::entry::Entry;
use super::secret::PublicId;
use crate::clock::Timestamp;
use crate::store::{ApiKeyRecord, CredentialStore, StoreError};

/// How long it is remembered that there is no key with some public id.
const UNKNOWN_LIFE: Duration = Duration::from_secs(10);

/// The records of keys, read through: at most one look-up at a time is begun for a public id, and its
/// answer is shared by all who ask meanwhile.
pub(super) struct Records {
    store: Arc<dyn CredentialStore>,
    known: Cache<PublicId, Arc<Entry>>,
    unknown: Cache<PublicId, Timestamp>,
    /// Locked before either cache, wherever they change.
    flights: Mutex<Flights>,
}

#[derive(Default)]
struct Flights {
    last: u64,
    /// The look-ups under way, the latest last. There are several only where one outlived the age at
    /// which it may still be joined.
    by_id: HashMap<PublicId, Vec<Flight>>,
}

struct Flight {
    number: u64,
    asked_at: Timestamp,
    answer: WeakShared<LookUp>,
    void: bool,
}

pub(super) type LookUp = Pin<Box<dyn Future<Output = Answer> + Send>>;

#[derive(Clone)]
pub(super) enum Answer {
    Known(Arc<Entry>),
    Unknown,
    /// Something about the key changed while the store was asked: ask again.
    Void,
    Failed(Arc<StoreError>),
}

pub(super) enum Asked {
    Answered(Answer),
    Flying(Shared<LookUp>),
}

impl Records {
    pub(super) fn new(store: Arc<dyn CredentialStore>, capacity: usize) -> Self {
        Self {
            store,
            known: Cache::new(capacity),
            unknown: Cache::new(capacity),
            flights: Mutex::default(),
        }
    }

    pub(super) fn store(&self) -> Arc<dyn CredentialStore> {
        Arc::clone(&self.store)
    }

    /// Returns what is remembered and not older than `life`.
    pub(super) fn cached(&self, id: PublicId, now: Timestamp, life: Duration) -> Option<Answer> {
        if let Some(entry) = self.known.get(&id)
            && fresh(entry.asked_at(), now, life)
        {
            return Some(Answer::Known(entry));
        }
        // Not worth a look on the way of a good key, whose id is never in there.
        let asked_at = self.unknown.get(&id)?;
        fresh(asked_at, now, UNKNOWN_LIFE).then_some(Answer::Unknown)
    }

    /// Returns what is remembered, else joins the look-up under way, else begins one.
    ///
    /// A look-up begun longer than `life` ago is not joined: what it brings may be as old as that.
    pub(super) fn ask(self: &Arc<Self>, id: PublicId, now: Timestamp, life: Duration) -> Asked {
        let mut flights = self.flights();
        // Once more under the lock, under which answers are put down.
        if let Some(answer) = self.cached(id, now, life) {
            return Asked::Answered(answer);
        }
        let joined = flights
            .by_id
            .get(&id)
            .and_then(|flights| flights.last())
            .filter(|flight| !flight.void && fresh(flight.asked_at, now, life))
            .and_then(|flight| flight.answer.upgrade());
        if let Some(answer) = joined {
            return Asked::Flying(answer);
        }
        flights.last += 1;
        let landing = Landing {
            records: Arc::clone(self),
            id,
            number: flights.last,
            asked_at: now,
        };
        let number = landing.number;
        let look_up: LookUp = Box::pin(async move {
            let store = landing.records.store();
            let found = store.key_by_public_id(id.text()).await;
            landing.land(found)
        });
        let answer = look_up.shared();
        flights.by_id.entry(id).or_default().push(Flight {
            number,
            asked_at: now,
            answer: answer
                .downgrade()
                .expect("a future that was not polled yet has not ended"),
            void: false,
        });
        Asked::Flying(answer)
    }

    /// Forgets a key, known or not, and lets no look-up that is under way bring it back.
    pub(super) fn forget(&self, id: PublicId) {
        let mut flights = self.flights();
        for flight in flights.by_id.get_mut(&id).into_iter().flatten() {
            flight.void = true;
        }
        self.unknown.remove(&id);
        if let Some((_, entry)) = self.known.remove(&id) {
            entry.annul();
        }
    }

    /// Forgets all keys.
    pub(super) fn forget_all(&self) {
        let mut flights = self.flights();
        for flight in flights.by_id.values_mut().flatten() {
            flight.void = true;
        }
        self.unknown.clear();
        for (_, entry) in self.known.drain() {
            entry.annul();
        }
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        // Nothing under the lock can be left half done by a panic that matters: at worst a look-up more.
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a look-up: it is struck off the list, also when all who waited for it have gone.
struct Landing {
    records: Arc<Records>,
    id: PublicId,
    number: u64,
    asked_at: Timestamp,
}

impl Landing {
    /// Puts the answer down, unless the key was changed meanwhile.
    fn land(self, found: Result<Option<ApiKeyRecord>, StoreError>) -> Answer {
        let records = &*self.records;
        let mut flights = records.flights();
        if flights
            .strike(self.id, self.number)
            .is_none_or(|flight| flight.void)
        {
            return Answer::Void;
        }
        match found {
            Ok(Some(record)) => {
                let entry = Arc::new(Entry::new(&record, &self.id.text(), self.asked_at));
                let newer = records
                    .known
                    .peek(&self.id)
                    .is_some_and(|other| other.asked_at() > self.asked_at);
                if !newer {
                    records.known.insert(self.id, Arc::clone(&entry));
                }
                Answer::Known(entry)
            }
            Ok(None) => {
                records.unknown.insert(self.id, self.asked_at);
                Answer::Unknown
            }
            Err(error) => Answer::Failed(Arc::new(error)),
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.records.flights().strike(self.id, self.number);
    }
}

impl Flights {
    fn strike(&mut self, id: PublicId, number: u64) -> Option<Flight> {
        let flights = self.by_id.get_mut(&id)?;
        let at = flights.iter().position(|flight| flight.number == number)?;
        let flight = flights.swap_remove(at);
        if flights.is_empty() {
            self.by_id.remove(&id);
        }
        Some(flight)
    }
}

/// Whether what was true at `asked_at` may be relied on at `now`. A clock that was set back ends it.
fn fresh(asked_at: Timestamp, now: Timestamp, life: Duration) -> bool {
    asked_at <= now && now.since(asked_at) < life
}
