use super::{Book, Entry, EntryKind, Reservation, State, counter, ended, put};
use crate::store::{Hold, Outcome, Refund, Settle, Settlement, Source, Unit};
use crate::tokens::{Amount, Tokens, Usage};

pub(super) fn apply<B: Book>(book: &mut B, settle: &Settle) -> Outcome {
    let Some(known) = book.reservation(settle.id) else {
        return Outcome::Unknown;
    };
    let known = known.clone();
    match known.state {
        State::Pending => {}
        // The figures have come to light after all.
        State::Expired(_) if settle.source != Source::Presumed => {}
        State::Refunded if settle.source != Source::Presumed && !settle.is_void() => {
            return late(book, settle, &known);
        }
        state => return ended(state),
    }
    let again = known.state != State::Pending;
    let mut worst = Settlement {
        charged: charge(settle, &known, Unit::Tokens),
        overage: Tokens::ZERO,
        cost: charge(settle, &known, Unit::Money),
        repeated: false,
    };
    let tokens = worst.charged;
    for key in &known.counters {
        let charge = charge(settle, &known, key.unit);
        let mut counter = counter(book, key);
        // Up to the hold is paid for by the hold, whatever became of the limit since; the excess is a
        // further debit, as far as it fits. What was presumed is a hold that has become a charge.
        let held = known.held(key);
        let before = counter;
        if again {
            counter.used = counter.used.saturating_sub(held);
        } else {
            counter.reserved = counter.reserved.saturating_sub(held);
        }
        let within = charge.min(held);
        counter.used = counter.used.saturating_add(within);
        let excess = charge.saturating_sub(within);
        let further = excess.min(counter.room());
        counter.used = counter.used.saturating_add(further);
        let overage = excess.saturating_sub(further);
        counter.overage = counter.overage.saturating_add(overage);
        put(book, key, &counter);
        if again || !settle.is_void() {
            book.post(Entry {
                kind: if again {
                    EntryKind::Correct
                } else {
                    EntryKind::Settle
                },
                reservation: Some(settle.id),
                counter: key.clone(),
                // What was really added: a counter that is full takes no more.
                charge: counter.used.as_i64() - before.used.as_i64(),
                overage: counter.overage.as_i64() - before.overage.as_i64(),
                limit: None,
                at: settle.at,
            });
        }
        if key.unit == Unit::Tokens && overage > worst.overage {
            worst.overage = overage;
            worst.charged = tokens.saturating_sub(overage);
        }
    }
    let state = match settle.source {
        _ if again => State::Corrected(worst),
        Source::Nothing => State::Void,
        Source::Presumed => State::Expired(worst),
        Source::Upstream | Source::Estimated => State::Settled(worst),
    };
    book.close(settle, state);
    Outcome::Settled(worst)
}

/// Books what came to light after a refund: a refund is final, so it is an overage.
fn late<B: Book>(book: &mut B, settle: &Settle, known: &Reservation) -> Outcome {
    let settlement = Settlement {
        charged: Tokens::ZERO,
        overage: charge(settle, known, Unit::Tokens),
        cost: charge(settle, known, Unit::Money),
        repeated: false,
    };
    for key in &known.counters {
        let overage = charge(settle, known, key.unit);
        let mut counter = counter(book, key);
        let before = counter.overage;
        counter.overage = counter.overage.saturating_add(overage);
        put(book, key, &counter);
        book.post(Entry {
            kind: EntryKind::Late,
            reservation: Some(settle.id),
            counter: key.clone(),
            charge: 0,
            overage: counter.overage.as_i64() - before.as_i64(),
            limit: None,
            at: settle.at,
        });
    }
    book.close(settle, State::Late(settlement));
    Outcome::Settled(settlement)
}

pub(super) fn take_back<B: Book>(book: &mut B, refund: &Refund) -> Outcome {
    let Some(known) = book.reservation(refund.id) else {
        return Outcome::Unknown;
    };
    let known = known.clone();
    let State::Expired(_) = known.state else {
        return ended(known.state);
    };
    for key in &known.counters {
        let held = known.held(key);
        let mut counter = counter(book, key);
        counter.used = counter.used.saturating_sub(held);
        put(book, key, &counter);
        book.post(Entry {
            kind: EntryKind::Refund,
            reservation: Some(refund.id),
            counter: key.clone(),
            charge: -held.as_i64(),
            overage: 0,
            limit: None,
            at: refund.at,
        });
    }
    book.refund(refund);
    Outcome::Settled(State::Refunded.settlement())
}

/// Works out what a settlement charges to counters of a unit.
fn charge(settle: &Settle, known: &Reservation, unit: Unit) -> Amount {
    match settle.source {
        // What served nothing charges nothing, whatever the operation says: the ledger has no line for it.
        Source::Nothing => Amount::ZERO,
        Source::Presumed => known.tariff.of_hold(unit, &known.hold),
        Source::Upstream => known.tariff.of_usage(unit, &settle.usage, settle.charge),
        Source::Estimated => estimated(settle, known, unit),
    }
}

/// Works out what an estimate comes to: of the figures there are, what is beyond them was generated; without any, the
/// prompt's bound comes first.
fn estimated(settle: &Settle, known: &Reservation, unit: Unit) -> Amount {
    let reported = settle.usage.total();
    if reported > Tokens::ZERO {
        let beyond = settle.charge.saturating_sub(reported).get();
        let usage = Usage {
            completion: settle.usage.completion.saturating_add(beyond),
            ..settle.usage
        };
        return known.tariff.of_usage(unit, &usage, settle.charge);
    }
    let used = if settle.charge <= known.hold.total {
        known.hold.cut(settle.charge)
    } else {
        Hold {
            total: settle.charge,
            ..known.hold
        }
    };
    known.tariff.of_hold(unit, &used)
}
