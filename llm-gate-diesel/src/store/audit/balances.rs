//! Counters against what their rows add up to.

use std::collections::HashMap;

use llm_gate::store::Verification;

use super::{Connection, PAGE, audit};
use crate::error::Failure;

pub(super) fn verify(
    connection: &mut Connection,
    verification: &mut Verification,
) -> Result<(), Failure> {
    // As many as hold something now: those of the requests under way.
    let held: HashMap<i64, i128> = audit::held(connection)?
        .into_iter()
        .map(|(counter, upper, lower)| (counter, whole(upper, lower)))
        .collect();
    let mut after = i64::MIN;
    loop {
        let counters = audit::counters_after(connection, after, PAGE)?;
        let Some((first, last)) = counters.first().zip(counters.last()) else {
            return Ok(());
        };
        after = last.id;
        let mut charged = HashMap::new();
        for (counter, upper, lower, over_upper, over_lower) in
            audit::charges(connection, first.id, last.id)?
        {
            charged.insert(
                counter,
                [whole(upper, lower), whole(over_upper, over_lower)],
            );
        }
        for row in &counters {
            let [used, overage] = charged.get(&row.id).copied().unwrap_or_default();
            let reserved = held.get(&row.id).copied().unwrap_or_default();
            let kept = [row.used, row.overage, row.reserved].map(i128::from);
            let key = row.key()?;
            verification.compare(|| key, kept, [used, overage, reserved]);
        }
        verification.counters += counters.len() as u64;
    }
}

/// Puts a sum together again.
fn whole(upper: i64, lower: i64) -> i128 {
    (i128::from(upper) << 32) + i128::from(lower)
}
