//! The protocol: what a process, its journal and its store can do next.

use llm_gate::store::Source;

use super::books::{Books, FIRST, LIMIT, Life};
use super::{DEATHS, EVENTS, EXPIRIES, EXTENSIONS, LOST, Mutant, REQUESTS};

/// What a slot of the journal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Slot {
    Free,
    Intent,
    Forwarded,
    Running(u8),
    Ended(u8),
}

/// How far a living process is with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not begun.
    New,
    /// The reserve is with the writer.
    Reserving,
    /// So it is, and the request was sent all the same.
    Overlapping,
    /// The hold is granted.
    Granted,
    /// Sent; that much is delivered.
    Streaming,
    /// Ended; the settlement is with the writer.
    Settling,
    /// Over, or died with its process.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    pub(crate) slot: Slot,
    pub(crate) delivered: u8,
    /// What is certainly held.
    known: u8,
    /// The last version asked for, and whether its answer is waited for.
    version: u8,
    waits: bool,
    /// The holds of the versions that are in the air, 0 for those that are not.
    air: [u8; EXTENSIONS],
    /// Whether a machine died under it, so that the hold may stand in for the figure.
    presumed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    calls: [Call; REQUESTS],
    books: Books,
    alive: bool,
    /// Whether the journals on the disk are of another boot.
    rebooted: bool,
    deaths: u8,
    lost: u8,
    expiries: u8,
}

/// Takes what can happen next.
type Next<'a> = dyn FnMut(&dyn Fn(&mut World)) + 'a;

/// Nothing served is a void; anything else is the upstream's figure.
const fn source(charge: u8) -> Source {
    if charge == 0 {
        Source::Nothing
    } else {
        Source::Upstream
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let call = Call {
            phase: Phase::New,
            slot: Slot::Free,
            delivered: 0,
            known: 0,
            version: 0,
            waits: false,
            air: [0; EXTENSIONS],
            presumed: false,
        };
        Self {
            calls: [call; REQUESTS],
            books: Books::new(),
            alive: true,
            rebooted: false,
            deaths: 0,
            lost: 0,
            expiries: 0,
        }
    }

    /// Everything that can happen next.
    pub(crate) fn next(&self, mutant: Mutant) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut world = *self;
            change(&mut world);
            world.sort();
            all.push(world);
        };
        if self.expiries < EXPIRIES {
            for r in 0..REQUESTS {
                if self.books.rows[r].state == Life::Pending {
                    add(&|world| world.expire(r, mutant));
                }
            }
        }
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
            for version in 1..=EXTENSIONS {
                if self.calls[r].air[version - 1] > 0 {
                    add(&|world| world.commit_extension(r, version, mutant));
                }
            }
            match self.calls[r].phase {
                Phase::New => add(&|world| {
                    world.record(r, Slot::Intent, mutant);
                    world.calls[r].phase = Phase::Reserving;
                }),
                Phase::Reserving => {
                    self.reserving(r, mutant, &mut add);
                    // There seemed to be clear room.
                    add(&|world| {
                        world.record(r, Slot::Forwarded, mutant);
                        world.calls[r].phase = Phase::Overlapping;
                    });
                }
                Phase::Overlapping => {
                    self.reserving(r, mutant, &mut add);
                    if mutant == Mutant::DeliversUncommitted {
                        self.streaming(r, mutant, &mut add);
                    }
                }
                Phase::Granted => {
                    add(&|world| {
                        world.record(r, Slot::Forwarded, mutant);
                        world.calls[r].phase = Phase::Streaming;
                    });
                    add(&|world| world.end(r, mutant));
                }
                Phase::Streaming => {
                    self.streaming(r, mutant, &mut add);
                    self.extending(r, &mut add);
                    // The client leaves, the upstream ends or breaks off, more is refused, the time is over.
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

    /// The reserve is with the writer. A client that leaves meanwhile is one that leaves when it is committed:
    /// the guard that nobody receives settles behind it.
    fn reserving(&self, r: usize, mutant: Mutant, add: &mut Next<'_>) {
        add(&|world| world.commit_reserve(r, mutant));
        // The store is away, or its answer is lost: the caller gets an error, a void is owed.
        add(&|world| world.end(r, mutant));
        if self.lost < LOST {
            add(&|world| {
                world.lost += 1;
                world.commit_reserve(r, mutant);
                if matches!(world.calls[r].phase, Phase::Granted | Phase::Streaming) {
                    world.end(r, mutant);
                }
            });
        }
    }

    /// An event is recorded, and then delivered.
    fn streaming(&self, r: usize, mutant: Mutant, add: &mut Next<'_>) {
        let call = self.calls[r];
        let held = call.delivered < call.known
            || matches!(mutant, Mutant::DeliversUncommitted | Mutant::DeliversUnheld);
        if mutant == Mutant::DeliversFirst {
            if held && call.delivered < EVENTS && call.slot == call.figure() {
                add(&|world| world.calls[r].delivered += 1);
            }
            if call.slot != call.figure() {
                add(&|world| world.calls[r].slot = call.figure());
            }
        } else if call.slot == Slot::Running(call.delivered + 1) {
            add(&|world| world.calls[r].delivered += 1);
        } else if held && call.delivered < EVENTS {
            add(&|world| world.calls[r].slot = Slot::Running(call.delivered + 1));
        }
    }

    /// The next step is asked for: at any time, whether it is needed or not.
    fn extending(&self, r: usize, add: &mut Next<'_>) {
        let call = self.calls[r];
        if call.waits {
            // The answer is lost, or does not come in time: the store may have it all the same, or late.
            if self.lost < LOST {
                add(&|world| {
                    world.lost += 1;
                    world.calls[r].waits = false;
                });
            }
        } else if usize::from(call.version) < EXTENSIONS {
            add(&|world| {
                let call = &mut world.calls[r];
                call.air[usize::from(call.version)] = FIRST + call.version + 1;
                call.version += 1;
                call.waits = true;
            });
        }
    }

    /// Another process settles a request whose owner it takes for dead.
    fn expire(&mut self, r: usize, mutant: Mutant) {
        self.expiries += 1;
        let source = if mutant == Mutant::FreesHolds {
            Source::Nothing
        } else {
            Source::Presumed
        };
        self.books.settle(r, 0, source, mutant);
    }

    /// Writes what comes before the first event.
    fn record(&mut self, r: usize, slot: Slot, mutant: Mutant) {
        if mutant != Mutant::ForwardsFirst {
            self.calls[r].slot = slot;
        }
    }

    fn commit_reserve(&mut self, r: usize, mutant: Mutant) {
        let granted = self.books.reserve(r, mutant);
        let call = &mut self.calls[r];
        if granted {
            call.known = FIRST;
            call.phase = if call.phase == Phase::Overlapping {
                Phase::Streaming
            } else {
                Phase::Granted
            };
        } else {
            // A denial leaves nothing to settle, and the upstream is let go.
            call.slot = Slot::Free;
            call.phase = Phase::Over;
        }
    }

    /// An extension is committed, whenever that is, and heard of by whoever still waits for it.
    fn commit_extension(&mut self, r: usize, version: usize, mutant: Mutant) {
        let hold = std::mem::take(&mut self.calls[r].air[version - 1]);
        let asked = u8::try_from(version).expect("few");
        let granted = self.books.extend(r, asked, hold, mutant);
        let call = &mut self.calls[r];
        if call.waits && call.version == asked {
            call.waits = false;
            if let Some(granted) = granted {
                call.known = granted;
            }
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
        call.forget();
    }

    fn commit_settle(&mut self, r: usize, heard: bool, mutant: Mutant) {
        let figure = match self.calls[r].slot {
            Slot::Ended(figure) => figure,
            _ => self.calls[r].delivered,
        };
        self.books.settle(r, figure, source(figure), mutant);
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
            call.forget();
            // A transaction dies with its connection.
            call.air = [0; EXTENSIONS];
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
        self.books.settle(r, figure, source, mutant);
        self.calls[r].slot = Slot::Free;
    }

    /// Puts the requests into an order: which is which makes no difference, so worlds that differ in nothing
    /// else are one.
    fn sort(&mut self) {
        let rows = self.books.rows;
        let mut pairs: [_; REQUESTS] = std::array::from_fn(|r| (self.calls[r], rows[r]));
        pairs.sort_unstable();
        for (r, (call, row)) in pairs.into_iter().enumerate() {
            self.calls[r] = call;
            self.books.rows[r] = row;
        }
    }

    /// The promises, as far as they must hold at every moment and at the end of all.
    pub(crate) fn broken(&self) -> Option<&'static str> {
        let books = &self.books;
        if books.used + books.reserved > LIMIT {
            return Some("P1: used and reserved exceed the limit");
        }
        if books.overage > 0 {
            return Some("P1: used beyond hold and limit, by an upstream that keeps its bounds");
        }
        let charged: u8 = books.rows.iter().map(|row| row.charged).sum();
        if charged != books.used + books.overage {
            return Some("P8: ledger and counter differ");
        }
        let pending = books.rows.iter().filter(|row| row.state == Life::Pending);
        if pending.map(|row| row.hold).sum::<u8>() != books.reserved {
            return Some("P8: holds and counter differ");
        }
        for (call, row) in self.calls.iter().zip(&books.rows) {
            if row.settlements > 1 || row.corrections > 1 {
                return Some("P3: settled twice");
            }
            if row.state == Life::Expired && row.charged < call.delivered {
                return Some("P2: delivered and not presumed");
            }
            if row.state == Life::Pending && call.delivered > row.hold {
                return Some("P1: delivered beyond the hold");
            }
            let recorded = matches!(call.slot, Slot::Running(1..) | Slot::Ended(1..));
            if recorded && row.state == Life::Absent {
                return Some("P2: figures that no books know of");
            }
            let over = call.phase == Phase::Over && call.slot == Slot::Free && self.alive;
            if !over {
                continue;
            }
            if row.state == Life::Pending {
                return Some("P5: a hold nobody will settle");
            }
            if row.state == Life::Expired && !call.presumed {
                return Some("P4: presumed, although the figures are known");
            }
            if row.charged < call.delivered {
                return Some("P2: delivered and not charged");
            }
            if !call.presumed && row.charged > call.delivered + 1 {
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

    /// What nobody needs to know any more of a request that has ended. What is in the air stays there.
    fn forget(&mut self) {
        self.known = 0;
        self.version = 0;
        self.waits = false;
    }
}
