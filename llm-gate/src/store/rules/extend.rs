use super::{Book, State, all, ended, grant, largest, put, sorted};
use crate::store::{CounterKey, Denial, DenialReason, Extend, Hold, Outcome};
use crate::tokens::{Amount, Tokens};

pub(super) fn apply<B: Book>(book: &mut B, extend: &Extend) -> Outcome {
    let Some(known) = book.reservation(extend.id) else {
        return Outcome::Unknown;
    };
    if known.state != State::Pending {
        return ended(known.state);
    }
    let known = known.clone();
    let keys = sorted(&known.counters);
    if extend.version <= known.version {
        return Outcome::Extended(grant(known.hold.total, &all(book, &keys), true));
    }
    let wanted = |key: &CounterKey| known.tariff.of_hold(key.unit, &extend.hold);
    let more = |key: &CounterKey, hold: &Hold| {
        let wanted = known.tariff.of_hold(key.unit, hold);
        wanted.saturating_sub(known.held(key))
    };
    let mut counters = all(book, &keys);
    let fits = |total| {
        let hold = extend.hold.cut(total);
        let mut all = counters.iter();
        all.all(|(key, counter)| more(key, &hold) <= counter.room())
    };
    for (key, counter) in &counters {
        let more = more(key, &extend.hold);
        if more == Amount::ZERO && extend.hold.total <= known.hold.total {
            continue;
        }
        let reason = if counter.frozen {
            DenialReason::Frozen
        } else if counter.room() < more {
            DenialReason::Exhausted
        } else {
            continue;
        };
        return Outcome::Denied(Box::new(Denial {
            counter: (*key).clone(),
            reason,
            asked: more,
            standing: *counter,
            fits: match reason {
                DenialReason::Exhausted => largest(Tokens::ZERO, extend.hold.total, fits),
                _ => Tokens::ZERO,
            },
        }));
    }
    for (key, counter) in &mut counters {
        counter.reserved = counter
            .reserved
            .saturating_sub(known.held(key))
            .saturating_add(wanted(key));
        put(book, key, counter);
    }
    book.hold(extend);
    Outcome::Extended(grant(extend.hold.total, &counters, false))
}
