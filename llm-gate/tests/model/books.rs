//! The books, kept small, behind the rules that are shipped.

use std::sync::LazyLock;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::rules::{self, Balance, Book, Entry, EntryKind, Reservation, State};
use llm_gate::store::{
    CallInfo, CounterKey, Extend, Limit, LimitKey, Limits, Operation, Outcome, Refund, Reserve,
    Settle, Settlement, Source, Tariff, Zone,
};
use llm_gate::tokens::{Tokens, Usage};
use uuid::Uuid;

use super::{Mutant, REQUESTS};

/// A budget for less than a half of what three requests would like.
pub(crate) const LIMIT: u8 = 4;
/// What is held at first.
pub(crate) const FIRST: u8 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Books {
    pub(crate) used: u8,
    pub(crate) reserved: u8,
    pub(crate) overage: u8,
    pub(crate) rows: [Row; REQUESTS],
}

/// A reservation, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) state: Life,
    pub(crate) hold: u8,
    pub(crate) version: u8,
    pub(crate) charged: u8,
    pub(crate) settlements: u8,
    pub(crate) corrections: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Life {
    #[default]
    Absent,
    Pending,
    Settled,
    Void,
    Expired,
    Corrected,
}

impl Books {
    pub(crate) fn new() -> Self {
        Self {
            used: 0,
            reserved: 0,
            overage: 0,
            rows: [Row::default(); REQUESTS],
        }
    }

    /// Returns whether the hold is taken.
    pub(crate) fn reserve(&mut self, request: usize, mutant: Mutant) -> bool {
        let nobody = Uuid::from_u128(0);
        let operation = Operation::Reserve(Reserve {
            id: id(request),
            at: Timestamp::default(),
            subjects: vec![user()],
            hold: tokens(FIRST).into(),
            least: tokens(FIRST),
            call: CallInfo::new(
                UserId::from_uuid(nobody),
                ProjectId::from_uuid(nobody),
                "chat",
                "",
            )
            .stream(true),
            owner: None,
        });
        matches!(self.apply(&operation, mutant), Outcome::Granted(_))
    }

    /// Returns the hold if it is set.
    pub(crate) fn extend(
        &mut self,
        request: usize,
        version: u8,
        hold: u8,
        mutant: Mutant,
    ) -> Option<u8> {
        let operation = Operation::Extend(Extend {
            id: id(request),
            version: version.into(),
            hold: tokens(hold).into(),
        });
        match self.apply(&operation, mutant) {
            Outcome::Extended(grant) => Some(small(grant.hold)),
            _ => None,
        }
    }

    pub(crate) fn settle(&mut self, request: usize, charge: u8, source: Source, mutant: Mutant) {
        let usage = Usage {
            completion: charge.into(),
            ..Usage::default()
        };
        let operation = Operation::Settle(Settle {
            source,
            ..Settle::upstream(id(request), Timestamp::default(), usage)
        });
        self.apply(&operation, mutant);
    }

    fn apply(&mut self, operation: &Operation, mutant: Mutant) -> Outcome {
        let request = number(operation.id());
        let reservation = self.rows[request].reservation(mutant);
        let mut page = Page {
            books: self,
            request,
            reservation,
            limits: &LIMITS[usize::from(mutant == Mutant::HoldsUnchecked)],
        };
        rules::apply(&mut page, operation)
    }
}

impl Row {
    /// The row as the rules want it.
    fn reservation(&self, mutant: Mutant) -> Option<Reservation> {
        let settlement = Settlement {
            charged: tokens(self.charged),
            overage: Tokens::ZERO,
            cost: Tokens::ZERO,
            repeated: false,
        };
        let state = match self.state {
            Life::Absent => return None,
            Life::Settled if mutant != Mutant::SettlesAgain => State::Settled(settlement),
            Life::Expired => State::Expired(settlement),
            Life::Corrected if mutant == Mutant::CorrectsAgain => State::Expired(settlement),
            Life::Corrected => State::Corrected(settlement),
            Life::Void => State::Void,
            Life::Pending | Life::Settled => State::Pending,
        };
        Some(Reservation {
            version: if mutant == Mutant::IgnoresVersions {
                0
            } else {
                self.version.into()
            },
            hold: tokens(self.hold).into(),
            tariff: Tariff::default(),
            counters: vec![CounterKey::total_tokens(user())],
            state,
        })
    }
}

/// What one operation touches.
struct Page<'a> {
    books: &'a mut Books,
    request: usize,
    reservation: Option<Reservation>,
    limits: &'static Limits,
}

/// The limit of the only user there is, and none at all.
static LIMITS: LazyLock<[Limits; 2]> = LazyLock::new(|| {
    let mut limits = Limits::default();
    limits.put(Limit {
        key: LimitKey::total_tokens(user()),
        zone: Zone::UTC,
        amount: tokens(LIMIT),
        voluntary: false,
    });
    [limits, Limits::default()]
});

impl Book for Page<'_> {
    fn limits(&self) -> &Limits {
        self.limits
    }

    fn tariff(&self, _: &str) -> Tariff {
        Tariff::default()
    }

    fn balance(&self, _: &CounterKey) -> Balance {
        Balance {
            used: tokens(self.books.used),
            reserved: tokens(self.books.reserved),
            overage: tokens(self.books.overage),
            frozen: false,
        }
    }

    fn put_balance(&mut self, _: &CounterKey, balance: Balance) {
        self.books.used = small(balance.used);
        self.books.reserved = small(balance.reserved);
        self.books.overage = small(balance.overage);
    }

    fn reservation(&self, _: RequestId) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    fn open(&mut self, _: &Reserve, reservation: Reservation) {
        let row = &mut self.books.rows[self.request];
        row.state = Life::Pending;
        row.hold = small(reservation.hold.total);
        self.reservation = Some(reservation);
    }

    fn hold(&mut self, extend: &Extend) {
        let row = &mut self.books.rows[self.request];
        row.hold = small(extend.hold.total);
        row.version = u8::try_from(extend.version).expect("few");
    }

    fn close(&mut self, _: &Settle, state: State) {
        self.books.rows[self.request].state = match state {
            State::Void => Life::Void,
            State::Expired(_) => Life::Expired,
            State::Corrected(_) => Life::Corrected,
            _ => Life::Settled,
        };
    }

    fn refund(&mut self, _: &Refund) {
        unreachable!("nothing is refunded in this world");
    }

    fn post(&mut self, entry: Entry) {
        let row = &mut self.books.rows[self.request];
        let charged = i64::from(row.charged) + entry.charge + entry.overage;
        // Less than nothing is as wrong as very much.
        row.charged = u8::try_from(charged).unwrap_or(u8::MAX / 4);
        match entry.kind {
            EntryKind::Correct => row.corrections += 1,
            _ => row.settlements += 1,
        }
    }
}

fn tokens(amount: u8) -> Tokens {
    Tokens::new(amount.into())
}

fn small(tokens: Tokens) -> u8 {
    u8::try_from(tokens.get()).expect("a small world")
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
