use super::{Book, Counter, Reservation, State, all, counters, grant, largest, patience, put};
use crate::store::{CounterKey, Denial, DenialReason, Outcome, Reserve, Unit};
use crate::tokens::{Amount, Tokens};

pub(super) fn apply<B: Book>(book: &mut B, reserve: &Reserve) -> Outcome {
    // The first answer stands: a batch whose acknowledgement was lost is sent again.
    if let Some(known) = book.reservation(reserve.id) {
        return Outcome::Granted(grant(
            Some(reserve.at),
            known.hold.total,
            &all(book, &known.counters),
            true,
        ));
    }
    let tariff = book.tariff(&reserve.call.model);
    let keys = counters(book.limits(), reserve);
    let mut counters = all(book, &keys);
    let denied = |(key, standing): &(&CounterKey, Counter), reason, asked, fits| {
        Outcome::Denied(Box::new(Denial {
            counter: (*key).clone(),
            reason,
            asked,
            standing: *standing,
            at: Some(reserve.at),
            fits,
        }))
    };
    if let Some(frozen) = counters.iter().find(|(_, counter)| counter.frozen) {
        return denied(frozen, DenialReason::Frozen, Amount::ZERO, Tokens::ZERO);
    }
    let unpriced = |key: &CounterKey| key.unit == Unit::Money && tariff.price.is_none();
    if let Some(unpriced) = counters.iter().find(|(key, _)| unpriced(key)) {
        return denied(unpriced, DenialReason::Unpriced, Amount::ZERO, Tokens::ZERO);
    }
    let of = |unit, total| tariff.of_hold(unit, &reserve.hold.cut(total));
    let fits = |total| {
        let mut all = counters.iter();
        all.all(|(key, counter)| of(key.unit, total) <= counter.room())
    };
    let least = reserve.least.min(reserve.hold.total);
    let tight = counters
        .iter()
        .rev()
        .filter(|(key, counter)| of(key.unit, least) > counter.room());
    // Of several the one that is worst to wait for: whoever is told to come back should not be refused then.
    if let Some(tight) = tight.max_by_key(|(key, counter)| patience(counter, of(key.unit, least))) {
        let asked = of(tight.0.unit, least);
        let fits = largest(Tokens::ZERO, least, fits);
        return denied(tight, DenialReason::Exhausted, asked, fits);
    }
    let hold = reserve.hold.cut(largest(least, reserve.hold.total, fits));
    for (key, counter) in &mut counters {
        let held = tariff.of_hold(key.unit, &hold);
        counter.reserved = counter.reserved.saturating_add(held);
        put(book, key, counter);
    }
    let granted = grant(Some(reserve.at), hold.total, &counters, false);
    let reservation = Reservation {
        hold,
        version: 0,
        tariff,
        counters: keys,
        state: State::Pending,
    };
    book.open(reserve, reservation);
    Outcome::Granted(granted)
}
