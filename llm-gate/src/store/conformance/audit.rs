//! The rules of [`AuditStore`], over books that a [`LedgerStore`] keeps.

use std::time::Duration;

use super::rules;
use super::support::{
    apply, at, done, granted, later, reserve, settle, settled, somebody, void, with_limit,
};
use crate::identity::{KeyId, RequestId, Subject};
use crate::store::rules::State;
use crate::store::{
    AuditStore, CallInfo, Check, Finding, LedgerStore, Limit, LimitChange, LimitKey, LineQuery,
    Operation, Period, Price, Rates, Refund, Reserve, Served, Settle, Source, Tariff, Unit,
    Verification, Zone,
};
use crate::tokens::{Tokens, Usage};

rules!(__audit_rules where S: LedgerStore|AuditStore;
    books_in_order_are_clean,
    a_hold_without_an_owner_is_found_after_the_grace,
    the_record_is_read_page_by_page,
    a_call_is_on_record_with_how_it_was_served,
    presumed_charges_are_listed,
);

/// The states of the reservations that [`filled`] makes.
#[doc(hidden)]
pub const STATES: [&str; 7] = [
    "pending",
    "settled",
    "void",
    "expired",
    "corrected",
    "refunded",
    "late",
];

fn presume(id: RequestId) -> Operation {
    let source = Source::Presumed;
    Operation::Settle(Settle {
        source,
        ..settle(id, 0)
    })
}

fn refund(id: RequestId) -> Operation {
    Operation::Refund(Refund { id, at: later(2) })
}

/// Makes books with a reservation in each of the [`STATES`], on counters of all units.
#[doc(hidden)]
pub async fn filled<S: LedgerStore>(store: &S) -> Vec<RequestId> {
    let subject = with_limit(store, 1_000_000).await;
    for (unit, period) in [(Unit::Requests, Period::Minute), (Unit::Money, Period::Day)] {
        let limit = Limit {
            key: LimitKey {
                subject,
                model: None,
                unit,
                period,
            },
            zone: Zone::UTC,
            amount: Tokens::new(500_000),
            voluntary: false,
        };
        done(store.change_limit(LimitChange::set(limit, at(0))).await);
    }
    let tariff = Tariff {
        price: Some(Rates::even(2_000_000)),
        ..Tariff::default()
    };
    let model = "model".to_owned();
    done(store.set_price(Price { model, tariff }, at(0)).await);
    let mut ids = Vec::new();
    for state in STATES {
        let hold = reserve(&[subject], 60);
        granted(store, &hold).await;
        let id = hold.id;
        let figures = |charge| Operation::Settle(settle(id, charge));
        let steps = match state {
            "pending" => vec![],
            "settled" => vec![figures(130)],
            "void" => vec![Operation::Settle(void(id))],
            "expired" => vec![presume(id)],
            "corrected" => vec![presume(id), figures(20)],
            "refunded" => vec![presume(id), refund(id)],
            _ => vec![presume(id), refund(id), figures(20)],
        };
        for operation in steps {
            apply(store, vec![operation]).await;
        }
        ids.push(id);
    }
    ids
}

async fn verify<S: AuditStore>(store: &S) -> Verification {
    done(store.verify(Check::new(later(1_000))).await)
}

/// Books in every state are clean, and everything in them is looked at.
pub async fn books_in_order_are_clean<S: LedgerStore + AuditStore>(store: S) {
    let empty = verify(&store).await;
    assert_eq!(empty, Verification::default(), "there is nothing in them");
    let ids = filled(&store).await;
    for (id, state) in ids.iter().zip(STATES) {
        let call = done(store.call(*id).await).expect("it was reserved");
        assert_eq!(call.state.as_str(), state);
    }
    let verification = verify(&store).await;
    assert!(verification.is_clean(), "{verification:?}");
    assert_eq!(verification.counters, 3, "tokens, requests, money");
    assert_eq!(verification.reservations, 7);
    assert_eq!(verification.pending, 1);
    assert!(verification.writers <= 1, "of those that have chains");
    let lines = 3 * (1 + 1 + 2 + 2 + 3) + 3;
    assert_eq!(
        verification.lines, lines,
        "three a charge, three for limits"
    );
}

/// What is pending is counted, and found once its owner was given up for longer than the grace.
pub async fn a_hold_without_an_owner_is_found_after_the_grace<S: LedgerStore + AuditStore>(
    store: S,
) {
    let seconds = |seconds: i64| later(seconds * 1_000_000);
    let (lease, grace) = (Duration::from_secs(15), Duration::from_secs(30));
    let owner = done(store.enlist(seconds(0), lease).await);
    let mut hold = reserve(&[with_limit(&store, 100).await], 60);
    hold.owner = Some(owner);
    granted(&store, &hold).await;
    let found = async |at: i64| {
        let check = Check::new(seconds(at)).grace(grace);
        let verification = done(store.verify(check).await);
        assert_eq!(verification.pending, 1, "it is under way");
        verification.findings
    };
    assert_eq!(found(1_000).await, [], "nobody has given the owner up");
    let orphans = done(store.orphans(seconds(100), grace, 10).await);
    assert_eq!(orphans, [hold.id]);
    assert_eq!(
        found(130).await,
        [],
        "whoever gave it up has the grace to settle it"
    );
    let expected = Finding::Hold {
        id: hold.id,
        owner,
        given_up: seconds(100),
    };
    assert_eq!(found(131).await, [expected]);
}

/// The record of the ledger is read page by page, with what each line is about.
pub async fn the_record_is_read_page_by_page<S: LedgerStore + AuditStore>(store: S) {
    let subject = with_limit(&store, 1_000).await;
    let key = KeyId::new();
    let mut holds = Vec::new();
    for at in 1..=5 {
        let hold = reserve(&[subject, Subject::Key(key)], 60);
        granted(&store, &hold).await;
        let usage = Usage {
            prompt: 20,
            completion: 10,
            cached: 7,
            reasoning: 3,
        };
        let at = later(at * 10);
        let end = Settle {
            at,
            usage,
            ..settle(hold.id, 30)
        };
        apply(&store, vec![Operation::Settle(end)]).await;
        holds.push(hold);
    }
    let all = done(store.lines(LineQuery::all(1_000)).await);
    assert_eq!(all.next, None, "that is all");
    assert_eq!(all.lines.len(), 11, "a limit, and two a call");
    let mut paged = Vec::new();
    let mut query = LineQuery::all(3);
    loop {
        let page = done(store.lines(query).await);
        assert!(page.lines.len() <= 3, "never more than asked for");
        paged.extend(page.lines);
        match page.next {
            Some(next) => query.after = next,
            None => break,
        }
    }
    assert_eq!(paged, all.lines, "each once, in the same order");
    let some = LineQuery {
        from: later(20),
        to: later(40),
        ..LineQuery::all(1_000)
    };
    let some = done(store.lines(some).await).lines;
    assert_eq!(some.len(), 4, "the end is not in it");
    let line = &some[0];
    assert_eq!(line.entry.reservation, Some(holds[1].id));
    assert_eq!((line.entry.charge, line.entry.overage), (30, 0));
    let call = line.call.as_ref().expect("it is about one");
    assert_eq!((call.id, call.key), (holds[1].id, Some(key)));
    assert_eq!(call.model, "model");
    assert_eq!((call.usage.cached, call.usage.reasoning), (7, 3));
    assert!(matches!(call.state, State::Settled(_)), "{:?}", call.state);
    assert_eq!(call.ended_at, Some(later(20)));
}

/// A call is on record with all that is known of it, and with nothing where nobody knows.
pub async fn a_call_is_on_record_with_how_it_was_served<S: LedgerStore + AuditStore>(store: S) {
    let session = "chat-7".parse().ok();
    let call = |hold: &Reserve| {
        let call = &hold.call;
        let info = CallInfo::new(call.user, call.project, "chat", "model");
        info.session(session.clone()).request_bytes(1_234)
    };
    let served = Served {
        upstream: "vllm-east".parse().ok(),
        response_bytes: 56_789,
        first_data: Some(Duration::from_micros(250_001)),
        total: Duration::from_micros(3_000_002),
    };
    let nothing_delivered = Served {
        upstream: None,
        response_bytes: 0,
        first_data: None,
        total: Duration::from_micros(7),
    };
    for end in [Some(served), Some(nothing_delivered), None] {
        let mut hold = reserve(&[somebody()], 60);
        hold.call = call(&hold);
        granted(&store, &hold).await;
        let record = done(store.call(hold.id).await).expect("it is on record");
        assert_eq!(
            (record.session, record.request_bytes),
            (session.clone(), 1_234)
        );
        assert_eq!(record.served, None, "it has not ended");
        let settle = Settle {
            served: end.clone(),
            ..settle(hold.id, 30)
        };
        settled(&store, &settle).await;
        let record = done(store.call(hold.id).await).expect("it is on record");
        assert_eq!(record.served, end);
        assert_eq!(record.session, session);
        settled(
            &store,
            &Settle {
                served: None,
                ..settle
            },
        )
        .await;
        let record = done(store.call(hold.id).await).expect("it is on record");
        assert_eq!(record.served, end, "a repetition changes nothing");
    }
    let hold = reserve(&[somebody()], 60);
    granted(&store, &hold).await;
    apply(&store, vec![presume(hold.id)]).await;
    let record = done(store.call(hold.id).await).expect("it is on record");
    assert_eq!(
        (record.session, record.served),
        (None, None),
        "nobody knows"
    );
    let late = Served {
        total: Duration::from_micros(9),
        ..Served::default()
    };
    let figures = Settle {
        served: Some(late.clone()),
        ..settle(hold.id, 30)
    };
    settled(&store, &figures).await;
    let record = done(store.call(hold.id).await).expect("it is on record");
    assert_eq!(record.served, Some(late), "it came to light");
}

/// Presumed charges are listed the oldest first, page by page, until they are refunded or corrected.
pub async fn presumed_charges_are_listed<S: LedgerStore + AuditStore>(store: S) {
    let subject = with_limit(&store, 1_000).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let hold = reserve(&[subject], 60);
        granted(&store, &hold).await;
        apply(&store, vec![presume(hold.id)]).await;
        ids.push(hold.id);
    }
    let listed = async |after, count| {
        let calls = done(store.presumed(after, count).await);
        let ids: Vec<RequestId> = calls.iter().map(|call| call.id).collect();
        ids
    };
    assert_eq!(listed(None, 10).await, ids);
    assert_eq!(listed(None, 3).await, ids[..3]);
    assert_eq!(listed(Some(ids[1]), 10).await, ids[2..]);
    let figures = Operation::Settle(settle(ids[1], 5));
    apply(&store, vec![refund(ids[0]), figures]).await;
    assert_eq!(listed(None, 10).await, ids[2..]);
    assert_eq!(done(store.call(RequestId::new()).await), None);
}
