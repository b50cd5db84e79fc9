//! Every order of events there is, in a small world: the protocol of journal and books, run over the rules
//! that are shipped, through kills, restarts of the machine, and acknowledgements that get lost.
//!
//! A breadth-first search visits each state once. Two requests of three events each share a budget for one
//! and a half of their holds.

use std::collections::HashSet;
use std::sync::LazyLock;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::rules::{self, Balance, Book, Entry, Reservation, State};
use llm_gate::store::{
    CallInfo, CounterKey, Ending, Extend, Limit, LimitKey, Limits, Operation, Outcome, Refund,
    Reserve, Settle, Source, Tariff, Zone,
};
use llm_gate::tokens::{Tokens, Usage};
use uuid::Uuid;

const REQUESTS: usize = 3;
const EVENTS: u8 = 3;
const HOLD: u64 = 3;
const LIMIT: u64 = 7;
const DEATHS: u8 = 3;
const LOST: u8 = 2;

/// A change that must break the promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    /// A settlement that does not look whether the reservation is still pending.
    SettlesAgain,
    /// An event that is delivered before the journal has it.
    DeliversFirst,
    /// A recovery that frees holds the journal cannot vouch for.
    FreesHolds,
    /// A reserve that does not look at the room.
    HoldsUnchecked,
    /// A slot that is freed before its settlement is committed.
    FreesSlotsEarly,
}

/// What a slot of the journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Slot {
    Free,
    Intent,
    Forwarded,
    Running(u8),
    Ended(u8),
}

/// How far a living process is with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Not begun.
    New,
    /// The reserve is with the writer.
    Reserving,
    /// The hold is granted.
    Granted,
    /// Sent; that much is delivered.
    Streaming,
    /// Ended; the settlement is with the writer.
    Settling,
    /// Over, or died with its process.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Call {
    phase: Phase,
    slot: Slot,
    delivered: u8,
    /// Whether a machine died under it, so that the hold may stand in for the figure.
    presumed: bool,
}

/// The books, kept small.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Books {
    used: u64,
    reserved: u64,
    overage: u64,
    rows: [Row; REQUESTS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    state: u8,
    charged: u64,
    settlements: u8,
}

const ABSENT: u8 = 0;
const PENDING: u8 = 1;
const SETTLED: u8 = 2;
const VOID: u8 = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    calls: [Call; REQUESTS],
    books: Books,
    alive: bool,
    /// Whether the journals on the disk are of another boot.
    rebooted: bool,
    deaths: u8,
    lost: u8,
}

fn id(request: usize) -> RequestId {
    RequestId::from_uuid(Uuid::from_u128(request as u128 + 1))
}

fn number(id: RequestId) -> usize {
    id.as_uuid().as_u128() as usize - 1
}

fn user() -> Subject {
    Subject::User(UserId::from_uuid(Uuid::from_u128(99)))
}

/// The rows as the rules want them.
struct Page<'a> {
    books: &'a mut Books,
    reservations: [Option<Reservation>; REQUESTS],
    limits: &'static Limits,
}

/// The limit of the only user there is, and none at all.
static LIMITS: LazyLock<[Limits; 2]> = LazyLock::new(|| {
    let mut limits = Limits::default();
    limits.put(Limit {
        key: LimitKey::total_tokens(user()),
        zone: Zone::UTC,
        amount: Tokens::new(LIMIT),
    });
    [limits, Limits::default()]
});

impl<'a> Page<'a> {
    fn new(books: &'a mut Books, mutant: Mutant) -> Self {
        let reservations = books.rows.map(|row| {
            let state = match row.state {
                ABSENT => return None,
                SETTLED if mutant == Mutant::SettlesAgain => State::Pending,
                SETTLED => State::Settled(llm_gate::store::Settlement {
                    charged: Tokens::new(row.charged),
                    overage: Tokens::ZERO,
                    cost: Tokens::ZERO,
                    repeated: false,
                }),
                VOID => State::Void,
                _ => State::Pending,
            };
            Some(Reservation {
                version: 0,
                hold: Tokens::new(HOLD).into(),
                tariff: Tariff::default(),
                counters: vec![CounterKey::total_tokens(user())],
                state,
            })
        });
        Self {
            books,
            reservations,
            limits: &LIMITS[usize::from(mutant == Mutant::HoldsUnchecked)],
        }
    }
}

impl Book for Page<'_> {
    fn limits(&self) -> &Limits {
        self.limits
    }

    fn tariff(&self, _: &str) -> Tariff {
        Tariff::default()
    }

    fn balance(&self, _: &CounterKey) -> Balance {
        Balance {
            used: Tokens::new(self.books.used),
            reserved: Tokens::new(self.books.reserved),
            overage: Tokens::new(self.books.overage),
            frozen: false,
        }
    }

    fn put_balance(&mut self, _: &CounterKey, balance: Balance) {
        self.books.used = balance.used.get();
        self.books.reserved = balance.reserved.get();
        self.books.overage = balance.overage.get();
    }

    fn reservation(&self, id: RequestId) -> Option<&Reservation> {
        self.reservations[number(id)].as_ref()
    }

    fn open(&mut self, reserve: &Reserve, reservation: Reservation) {
        self.books.rows[number(reserve.id)].state = PENDING;
        self.reservations[number(reserve.id)] = Some(reservation);
    }

    fn hold(&mut self, _: &Extend) {
        unreachable!("nothing is extended in this world");
    }

    fn close(&mut self, settle: &Settle, state: State) {
        // Here nothing that was presumed is corrected: what is settled stays settled.
        self.books.rows[number(settle.id)].state =
            if state == State::Void { VOID } else { SETTLED };
    }

    fn refund(&mut self, _: &Refund) {
        unreachable!("nothing is refunded in this world");
    }

    fn post(&mut self, entry: Entry) {
        let about = entry
            .reservation
            .expect("no limit is changed in this world");
        let row = &mut self.books.rows[number(about)];
        row.charged += (entry.charge + entry.overage).cast_unsigned();
        row.settlements += 1;
    }
}

fn reserve(books: &mut Books, request: usize, mutant: Mutant) -> bool {
    let UserAndProject(user_id, project) = UserAndProject::new();
    let operation = Operation::Reserve(Reserve {
        id: id(request),
        at: Timestamp::default(),
        subjects: vec![user()],
        hold: Tokens::new(HOLD).into(),
        least: Tokens::new(HOLD),
        call: CallInfo {
            user: user_id,
            project,
            route: "chat".into(),
            model: String::new(),
            stream: true,
        },
        owner: None,
    });
    matches!(
        rules::apply(&mut Page::new(books, mutant), &operation),
        Outcome::Granted(_)
    )
}

struct UserAndProject(UserId, ProjectId);

impl UserAndProject {
    const fn new() -> Self {
        let nobody = Uuid::from_u128(0);
        Self(UserId::from_uuid(nobody), ProjectId::from_uuid(nobody))
    }
}

fn settle(books: &mut Books, request: usize, charge: u8, source: Source, mutant: Mutant) {
    let usage = Usage {
        completion: u64::from(charge),
        ..Usage::default()
    };
    let operation = Operation::Settle(Settle {
        id: id(request),
        at: Timestamp::default(),
        charge: usage.total(),
        usage,
        source,
        ending: Ending::Complete,
        status: 200,
    });
    rules::apply(&mut Page::new(books, mutant), &operation);
}

/// Nothing served is a void; anything else is the upstream's figure.
const fn source(charge: u8) -> Source {
    if charge == 0 {
        Source::Nothing
    } else {
        Source::Upstream
    }
}

impl World {
    fn new() -> Self {
        let call = Call {
            phase: Phase::New,
            slot: Slot::Free,
            delivered: 0,
            presumed: false,
        };
        let row = Row {
            state: ABSENT,
            charged: 0,
            settlements: 0,
        };
        Self {
            calls: [call; REQUESTS],
            books: Books {
                used: 0,
                reserved: 0,
                overage: 0,
                rows: [row; REQUESTS],
            },
            alive: true,
            rebooted: false,
            deaths: 0,
            lost: 0,
        }
    }

    /// Everything that can happen next.
    fn next(&self, mutant: Mutant) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut world = self.clone();
            change(&mut world);
            all.push(world);
        };
        if !self.alive {
            // A start settles slot by slot, and may die in the middle of it.
            for r in 0..REQUESTS {
                if self.calls[r].slot != Slot::Free {
                    add(&|world| world.recover(r, mutant));
                    add(&|world| {
                        world.recover(r, mutant);
                        // Killed before the journal was let go.
                        world.calls[r].slot = self.calls[r].slot;
                    });
                }
            }
            if self.calls.iter().all(|call| call.slot == Slot::Free) {
                add(&|world| {
                    world.alive = true;
                    world.rebooted = false;
                });
            }
            return all;
        }
        if self.deaths < DEATHS {
            add(&|world| world.die());
            add(&|world| {
                world.die();
                world.lose_power();
            });
        }
        for r in 0..REQUESTS {
            match self.calls[r].phase {
                Phase::New => add(&|world| {
                    world.calls[r].slot = Slot::Intent;
                    world.calls[r].phase = Phase::Reserving;
                }),
                Phase::Reserving => {
                    add(&|world| world.commit_reserve(r, mutant));
                    // The store is away, or its answer is lost: the caller gets an error, a void is owed.
                    add(&|world| world.end(r, mutant));
                    if self.lost < LOST {
                        add(&|world| {
                            world.lost += 1;
                            world.commit_reserve(r, mutant);
                            if world.calls[r].phase == Phase::Granted {
                                world.end(r, mutant);
                            }
                        });
                    }
                }
                Phase::Granted => {
                    add(&|world| {
                        world.calls[r].slot = Slot::Forwarded;
                        world.calls[r].phase = Phase::Streaming;
                    });
                    add(&|world| world.end(r, mutant));
                }
                Phase::Streaming => {
                    let call = self.calls[r];
                    if mutant == Mutant::DeliversFirst {
                        if call.delivered < EVENTS && call.slot == call.figure() {
                            add(&|world| world.calls[r].delivered += 1);
                        }
                        if call.slot != call.figure() {
                            add(&|world| world.calls[r].slot = call.figure());
                        }
                    } else if call.slot == Slot::Running(call.delivered + 1) {
                        add(&|world| world.calls[r].delivered += 1);
                    } else if call.delivered < EVENTS {
                        add(&|world| world.calls[r].slot = Slot::Running(call.delivered + 1));
                    }
                    // The client leaves, the upstream ends or breaks off: at any time.
                    add(&|world| world.end(r, mutant));
                }
                Phase::Settling => {
                    add(&|world| world.commit_settle(r, true, mutant));
                    if self.lost < LOST {
                        add(&|world| {
                            world.lost += 1;
                            world.commit_settle(r, false, mutant);
                        });
                    }
                }
                Phase::Over => {}
            }
        }
        all
    }

    fn commit_reserve(&mut self, r: usize, mutant: Mutant) {
        if reserve(&mut self.books, r, mutant) {
            self.calls[r].phase = Phase::Granted;
        } else {
            // A denial leaves nothing to settle.
            self.calls[r].slot = Slot::Free;
            self.calls[r].phase = Phase::Over;
        }
    }

    /// The end of any kind: in the journal first.
    fn end(&mut self, r: usize, mutant: Mutant) {
        let call = &mut self.calls[r];
        // What the journal knows is what counts: an event recorded and not handed on is charged, which is
        // the one event that may be.
        let figure = match call.slot {
            Slot::Running(figure) => figure,
            _ => call.delivered,
        };
        call.slot = if mutant == Mutant::FreesSlotsEarly {
            Slot::Free
        } else {
            Slot::Ended(figure)
        };
        call.phase = Phase::Settling;
    }

    fn commit_settle(&mut self, r: usize, heard: bool, mutant: Mutant) {
        let figure = match self.calls[r].slot {
            Slot::Ended(figure) => figure,
            _ => self.calls[r].delivered,
        };
        settle(&mut self.books, r, figure, source(figure), mutant);
        if heard {
            self.calls[r].slot = Slot::Free;
            self.calls[r].phase = Phase::Over;
        }
    }

    fn die(&mut self) {
        self.alive = false;
        self.deaths += 1;
        for call in &mut self.calls {
            // What was not begun is begun by another process.
            if call.phase != Phase::New {
                call.phase = Phase::Over;
            }
        }
    }

    /// The kernel's memory goes too: of each slot any earlier record may be what is on the disk. The worst is
    /// the earliest.
    fn lose_power(&mut self) {
        self.rebooted = true;
        for call in &mut self.calls {
            if call.slot != Slot::Free {
                call.slot = Slot::Intent;
                call.presumed = true;
            }
        }
    }

    fn recover(&mut self, r: usize, mutant: Mutant) {
        let (figure, trusted) = match self.calls[r].slot {
            Slot::Free | Slot::Intent | Slot::Forwarded => (0, !self.rebooted),
            Slot::Running(figure) | Slot::Ended(figure) => (figure, !self.rebooted),
        };
        let source = if trusted || mutant == Mutant::FreesHolds {
            source(figure)
        } else {
            Source::Presumed
        };
        settle(&mut self.books, r, figure, source, mutant);
        self.calls[r].slot = Slot::Free;
    }

    /// The promises, as far as they must hold at every moment and at the end of all.
    fn broken(&self) -> Option<&'static str> {
        let books = &self.books;
        if books.used + books.reserved > LIMIT {
            return Some("P1: used and reserved exceed the limit");
        }
        let charged: u64 = books.rows.iter().map(|row| row.charged).sum();
        if charged != books.used + books.overage {
            return Some("P8: ledger and counter differ");
        }
        let pending = books.rows.iter().filter(|row| row.state == PENDING).count() as u64;
        if pending * HOLD != books.reserved {
            return Some("P8: holds and counter differ");
        }
        for (call, row) in self.calls.iter().zip(&books.rows) {
            if row.settlements > 1 {
                return Some("P3: settled twice");
            }
            let over = call.phase == Phase::Over && call.slot == Slot::Free && self.alive;
            if !over {
                continue;
            }
            if row.state == PENDING {
                return Some("P5: a hold nobody will settle");
            }
            if row.charged < u64::from(call.delivered) {
                return Some("P2: delivered and not charged");
            }
            if !call.presumed && row.charged > u64::from(call.delivered) + 1 {
                return Some("P4: charged more than one event too much");
            }
        }
        None
    }
}

impl Call {
    /// What a slot says of what is delivered.
    const fn figure(&self) -> Slot {
        if self.delivered == 0 {
            Slot::Forwarded
        } else {
            Slot::Running(self.delivered)
        }
    }
}

/// Visits every state; returns how many there are, and how far away the first broken promise is.
fn explore(mutant: Mutant) -> (usize, Option<(usize, &'static str)>) {
    let mut seen = HashSet::from([World::new()]);
    let mut frontier = vec![World::new()];
    let mut steps = 0;
    while !frontier.is_empty() {
        let mut further = Vec::new();
        for world in &frontier {
            if let Some(broken) = world.broken() {
                return (seen.len(), Some((steps, broken)));
            }
            for next in world.next(mutant) {
                if seen.insert(next.clone()) {
                    further.push(next);
                }
            }
        }
        frontier = further;
        steps += 1;
    }
    (seen.len(), None)
}

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let (states, broken) = explore(Mutant::None);
    println!("{states} states");
    assert_eq!(broken, None);
    assert!(
        states >= 500_000,
        "{states} states are too few to mean much"
    );
}

#[test]
fn each_mutant_of_the_protocol_is_found() {
    for mutant in [
        Mutant::SettlesAgain,
        Mutant::DeliversFirst,
        Mutant::FreesHolds,
        Mutant::HoldsUnchecked,
        Mutant::FreesSlotsEarly,
    ] {
        let (_, broken) = explore(mutant);
        let (steps, why) = broken.unwrap_or_else(|| panic!("{mutant:?} breaks nothing"));
        println!("{mutant:?}: {why}, after {steps} steps");
    }
}
