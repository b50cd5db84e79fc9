//! Books that are checked, and hands that are laid on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use llm_gate::clock::Timestamp;
use llm_gate::identity::{Subject, UserId};
use llm_gate::store::conformance::audit::{STATES, filled};
use llm_gate::store::rules::EntryKind;
use llm_gate::store::{
    AuditStore, Check, Finding, LedgerStore, LineFault, LineQuery, Operation, Outcome, Verification,
};

use super::{limited, reserve, settle};

/// A database that statements are run on from outside of the store.
pub trait Hands {
    /// Runs statements.
    async fn run(&self, sql: String);

    /// Takes away what keeps the ledger from being changed.
    async fn unlock(&self);

    /// Spells bytes.
    fn bytes(&self, byte: u8, count: usize) -> String;
}

pub async fn verify<S: AuditStore>(store: &S) -> Verification {
    let check = Check::new(Timestamp::from_micros(1_000));
    store.verify(check).await.unwrap()
}

/// Checks that nothing is found.
async fn clean<S: AuditStore>(store: &S, reason: &str) {
    let verification = verify(store).await;
    assert!(verification.is_clean(), "{reason}: {verification:?}");
}

/// Whichever column of whichever line is changed, the line is named.
pub async fn a_changed_line_is_named<S: LedgerStore + AuditStore>(store: S, hands: impl Hands) {
    // A counter that no reservation has.
    limited(&store, 5).await;
    filled(&store).await;
    hands.unlock().await;
    let all = store.lines(LineQuery::all(100)).await.unwrap().lines;
    let middle = all
        .iter()
        .find(|line| line.entry.kind == EntryKind::Correct);
    let last = all.last().expect("there are some");
    let (other, hash) = (hands.bytes(7, 16), hands.bytes(7, 32));
    for line in [middle.expect("one was corrected"), last] {
        for (column, value) in [
            ("id", "0".to_owned()),
            ("id", "1000000".to_owned()),
            ("writer", other.clone()),
            ("sequence", "sequence + 100".to_owned()),
            ("kind", "'limit'".to_owned()),
            ("reservation_id", "NULL".to_owned()),
            (
                "reservation_id",
                "(SELECT id FROM reservations WHERE state = 'pending')".to_owned(),
            ),
            ("counter_id", "(SELECT min(id) FROM counters)".to_owned()),
            ("reservation_id", other.clone()),
            ("reservation_id", hands.bytes(255, 16)),
            ("counter_id", "1000000".to_owned()),
            ("charge", "charge + 1".to_owned()),
            ("charge", "9223372036854775807".to_owned()),
            ("overage", "overage + 1".to_owned()),
            ("amount", "0".to_owned()),
            ("at", "at + 1".to_owned()),
            ("hash", hash.clone()),
        ] {
            let id = line.id;
            let change = format!("UPDATE ledger SET {column} = {value} WHERE id = {id}");
            hands.run(change).await;
            let verification = verify(&store).await;
            let id = if column == "id" {
                value.parse().expect("a number")
            } else {
                id
            };
            let named = |finding: &Finding| finding.line().is_some_and(|line| line.id == id);
            assert!(
                verification.findings.iter().any(named),
                "{column} of row {id} to {value}: {verification:?}"
            );
            hands.run(RESTORE.to_owned()).await;
            clean(&store, "as it was").await;
        }
    }
    let middle = middle.expect("one was corrected").id;
    for (change, id, fault) in [
        (
            format!("counter_id = 1000000 WHERE id = {middle}"),
            middle,
            LineFault::NoCounter,
        ),
        (
            format!("reservation_id = {other} WHERE id = {middle}"),
            middle,
            LineFault::NoRequest,
        ),
        // Then the one behind it is not behind it any more.
        (
            format!("id = 1000000 WHERE id = {middle}"),
            middle + 1,
            LineFault::Misplaced,
        ),
    ] {
        hands.run(format!("UPDATE ledger SET {change}")).await;
        let verification = verify(&store).await;
        let named = |finding: &Finding| matches!(finding, Finding::Line { line, fault: found } if line.id == id && *found == fault);
        assert!(
            verification.findings.iter().any(named),
            "{change}: {verification:?}"
        );
        hands.run(RESTORE.to_owned()).await;
    }
}

/// Makes the ledger what it was when it was unlocked.
const RESTORE: &str = "DELETE FROM ledger; INSERT INTO ledger SELECT * FROM saved;";

/// Lines that were taken out or put in are found, wherever.
pub async fn a_line_more_or_less_is_found<S: LedgerStore + AuditStore>(
    store: S,
    hands: impl Hands,
) {
    filled(&store).await;
    hands.unlock().await;
    let all = store.lines(LineQuery::all(100)).await.unwrap().lines;
    let count = all.len();
    let writer = all[0].link.expect("it is in a chain").writer;
    let gap = |from: usize, to: usize, before: Option<i64>| {
        move |finding: &Finding| match finding {
            Finding::Gap {
                writer: of,
                first,
                last,
                before: behind,
            } => {
                (*of, *first, *last) == (writer, from as i64, to as i64)
                    && behind.map(|line| line.id) == before
            }
            _ => false,
        }
    };
    let without = |ids: &[i64]| {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        format!("DELETE FROM ledger WHERE id IN ({})", ids.join(", "))
    };
    let id = |sequence: usize| all[sequence - 1].id;
    type Test<'a> = Box<dyn Fn(&Finding) -> bool + 'a>;
    let deletions: [(Vec<i64>, Test<'_>); 4] = [
        (vec![id(1)], Box::new(gap(1, 1, Some(id(2))))),
        (vec![id(5), id(6)], Box::new(gap(5, 6, Some(id(7))))),
        (vec![id(count)], Box::new(gap(count, count, None))),
        ((1..=count).map(id).collect(), Box::new(gap(1, count, None))),
    ];
    for (ids, found) in deletions {
        hands.run(without(&ids)).await;
        let verification = verify(&store).await;
        assert!(
            verification.findings.iter().any(found),
            "{ids:?}: {verification:?}"
        );
        hands.run(RESTORE.to_owned()).await;
        clean(&store, "as it was").await;
    }
    let (unknown, hash) = (hands.bytes(7, 16), hands.bytes(7, 32));
    for (writer, sequence, fault) in [
        ("writer", "sequence + 1", LineFault::BeyondHead),
        (&unknown, "1", LineFault::NoHead),
    ] {
        let insert = format!(
            "INSERT INTO ledger (id, writer, sequence, kind, reservation_id, counter_id, charge, overage, at, hash) \
             SELECT 1000, {writer}, {sequence}, 'limit', NULL, counter_id, 0, 0, at, {hash} \
             FROM ledger WHERE id = {}",
            id(count)
        );
        hands.run(insert).await;
        let verification = verify(&store).await;
        let named = |finding: &Finding| matches!(finding, Finding::Line { line, fault: found } if line.id == 1_000 && *found == fault);
        assert!(
            verification.findings.iter().any(named),
            "{fault:?}: {verification:?}"
        );
        hands.run(RESTORE.to_owned()).await;
    }
    let forge = format!("UPDATE chains SET hash = {hash}");
    hands.run(forge).await;
    let verification = verify(&store).await;
    let named = |finding: &Finding| matches!(finding, Finding::Line { line, fault: LineFault::NotHead } if line.id == id(count));
    assert!(verification.findings.iter().any(named), "{verification:?}");
    hands.run("DELETE FROM chains".to_owned()).await;
    let verification = verify(&store).await;
    let named = |finding: &Finding| matches!(finding, Finding::Line { line, fault: LineFault::NoHead } if line.id == id(1));
    assert!(verification.findings.iter().any(named), "{verification:?}");
}

/// A counter that says something else than its rows is named, with both figures.
pub async fn a_counter_that_differs_is_named<S: LedgerStore + AuditStore>(
    store: S,
    hands: impl Hands,
) {
    filled(&store).await;
    for (figure, unit, sum) in [
        ("used", "tokens", 130 + 60 + 20),
        ("overage", "tokens", 20),
        ("reserved", "requests", 1),
    ] {
        for by in ["+ 1", "- 1"] {
            hands
                .run(format!(
                    "UPDATE counters SET {figure} = {figure} {by} WHERE unit = '{unit}'"
                ))
                .await;
            let verification = verify(&store).await;
            let [found] = &verification.findings[..] else {
                panic!("one figure differs: {verification:?}")
            };
            let kept = if by == "+ 1" { sum + 1 } else { sum - 1 };
            let words = found.to_string();
            let figures = format!(": {figure} is {kept}, its rows add up to {sum}");
            assert!(
                words.starts_with("balance: ") && words.ends_with(&figures),
                "{words}"
            );
            assert!(words.contains(&format!(" {unit} of user ")), "{words}");
            let back = if by == "+ 1" { "- 1" } else { "+ 1" };
            hands
                .run(format!(
                    "UPDATE counters SET {figure} = {figure} {back} WHERE unit = '{unit}'"
                ))
                .await;
        }
    }
    clean(&store, "as it was").await;
}

/// A reservation whose state and lines do not go together is named.
pub async fn a_request_that_differs_is_named<S: LedgerStore + AuditStore>(
    store: S,
    hands: impl Hands,
) {
    let ids = filled(&store).await;
    for (from, to) in [
        ("settled", "void"),
        ("void", "settled"),
        ("expired", "corrected"),
        ("refunded", "expired"),
        ("late", "refunded"),
        ("corrected", "pending"),
    ] {
        let place = STATES.iter().position(|state| *state == from);
        let id = ids[place.expect("one of them")];
        let set = |from: &str, to: &str| {
            format!("UPDATE reservations SET state = '{to}' WHERE state = '{from}'")
        };
        if to == "pending" || STATES.contains(&to) {
            // Apart from the other one in that state.
            let mark = format!("UPDATE reservations SET route = 'marked' WHERE state = '{from}'");
            hands.run(mark).await;
        }
        hands.run(set(from, to)).await;
        let verification = verify(&store).await;
        let named = |finding: &Finding| matches!(finding, Finding::Request { id: of, state, .. } if *of == id && *state == to);
        assert!(
            verification.findings.iter().any(named),
            "{from}: {verification:?}"
        );
        let back = format!(
            "UPDATE reservations SET state = '{from}', route = 'chat' WHERE route = 'marked'"
        );
        hands.run(back).await;
        clean(&store, "as it was").await;
    }
    hands
        .run("UPDATE reservation_counters SET charged = charged + 1".to_owned())
        .await;
    let verification = verify(&store).await;
    let charged = |finding: &&Finding| matches!(finding, Finding::Charge { .. });
    let found = verification.findings.iter().filter(charged).count();
    assert_eq!(found, 7 * 3, "every one on every counter: {verification:?}");
}

/// Pages leave nothing out and count nothing twice.
pub async fn many_rows_are_checked_page_by_page<S: LedgerStore + AuditStore>(
    store: S,
    hands: impl Hands,
) {
    const MANY: usize = 4_500;
    let holds: Vec<_> = (0..MANY)
        .map(|_| reserve(Subject::User(UserId::new()), 10))
        .collect();
    let reserves = holds.iter().cloned().map(Operation::Reserve).collect();
    store.apply(reserves).await.unwrap();
    let settles = holds.iter().map(|hold| settle(hold.id, 7)).collect();
    store.apply(settles).await.unwrap();
    let verification = verify(&store).await;
    assert!(verification.is_clean(), "{verification:?}");
    let many = MANY as u64;
    assert_eq!(
        (
            verification.counters,
            verification.lines,
            verification.reservations
        ),
        (many, many, many)
    );
    hands.unlock().await;
    // Around the ends of pages, whatever their size.
    for sequence in [1, 1_000, 1_999, 2_000, 2_001, 4_000, 4_500] {
        let change = format!("UPDATE ledger SET overage = overage - 1 WHERE sequence = {sequence}");
        hands.run(change).await;
    }
    let verification = verify(&store).await;
    let changed = |finding: &&Finding| matches!(finding, Finding::Line { .. });
    let balance = |finding: &&Finding| matches!(finding, Finding::Balance { .. });
    assert_eq!(verification.findings.iter().filter(changed).count(), 7);
    assert_eq!(verification.findings.iter().filter(balance).count(), 7);
    // Sums beyond every number that a database has.
    hands
        .run("UPDATE ledger SET charge = 9223372036854775807".to_owned())
        .await;
    let verification = verify(&store).await;
    assert_eq!(verification.findings.len(), Verification::MAX_FINDINGS);
    // Each line, each counter, and each reservation whose record says another charge.
    assert_eq!(verification.found(), 3 * many + 7, "and the seven overages");
}

/// Books that are written meanwhile are checked as they were at one moment.
pub async fn writing_does_not_disturb_a_check<S: LedgerStore + AuditStore + Clone>(store: S) {
    let subject = limited(&store, 1_000_000).await;
    let writer = store.clone();
    let (written, enough) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let (count, ends) = (written.clone(), enough.clone());
    let writing = tokio::spawn(async move {
        while !ends.load(Relaxed) {
            let hold = reserve(subject, 10);
            let id = hold.id;
            let outcome = writer.apply(vec![Operation::Reserve(hold)]).await.unwrap();
            assert!(
                matches!(outcome[..], [Outcome::Granted(_)]),
                "there is room"
            );
            writer.apply(vec![settle(id, 7)]).await.unwrap();
            count.fetch_add(1, Relaxed);
        }
    });
    let mut checks = 0;
    while !writing.is_finished() && (checks < 3 || written.load(Relaxed) < 150) {
        clean(&store, "at every moment").await;
        checks += 1;
    }
    enough.store(true, Relaxed);
    writing.await.unwrap();
    clean(&store, "at the end").await;
}
