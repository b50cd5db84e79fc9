use super::{Book, Counter, State, all, ended, grant, largest, patience, put, sorted};
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
        return Outcome::Extended(grant(None, known.hold.total, &all(book, &keys), true));
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
    let refuses = |(key, counter): &&(&CounterKey, Counter)| {
        let more = more(key, &extend.hold);
        let grows = more > Amount::ZERO || extend.hold.total > known.hold.total;
        grows && (counter.frozen || counter.room() < more)
    };
    let worst = |(key, counter): &&(&CounterKey, Counter)| {
        (counter.frozen, patience(counter, more(key, &extend.hold)))
    };
    if let Some((key, counter)) = counters.iter().rev().filter(refuses).max_by_key(worst) {
        let more = more(key, &extend.hold);
        let reason = if counter.frozen {
            DenialReason::Frozen
        } else {
            DenialReason::Exhausted
        };
        return Outcome::Denied(Box::new(Denial {
            counter: (*key).clone(),
            reason,
            asked: more,
            standing: *counter,
            at: None,
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
    Outcome::Extended(grant(None, extend.hold.total, &counters, false))
}
