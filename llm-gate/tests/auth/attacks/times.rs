//! When a token is good, to the second, with clocks that differ by 5 s.

use serde_json::json;

use super::{Variant, bad, good, shared};
use crate::forge::{NOW, claims};

const DAY: i64 = 24 * 3600;

pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    let now = i128::from(NOW);
    let largest = i128::from(u64::MAX);
    for (iat, nbf, exp, is_good) in [
        (-10, -10, 1, true),
        (-10, -10, 0, true),
        (-10, -10, -4, true),
        (-10, -10, -5, false),
        (-10, -10, -6, false),
        (-10, -10, -9, false),
        (-10, -10, -10, false),
        (-10, -10, -11, false),
        (0, 4, 60, true),
        (0, 5, 60, true),
        (0, 6, 60, false),
        (0, 59, 60, false),
        (0, 60, 60, false),
        (0, 3600, 7200, false),
        (5, 0, 60, true),
        (6, 0, 60, false),
        (4, 4, 5, true),
        (60, 0, 120, false),
        (0, 0, 0, false),
        (1, 1, 0, false),
        (0, 0, 86_400, true),
        (0, 0, 86_401, false),
        (5, 5, 86_405, true),
        (5, 5, 86_406, false),
        (-3600, 0, 82_800, true),
        (-3600, 0, 82_801, false),
        (-86_399, 0, 1, true),
        (-86_400, 0, 1, false),
        (-86_401, -86_401, -1, true),
        (-86_404, -86_404, -4, true),
        (-86_405, -86_405, -5, false),
        (0, -now, 60, true),
        (-now, 0, 60, false),
        (-now, -now, -now, false),
        (-now, -now, 1 - now, false),
        (0, 0, largest - now, false),
        (0, largest - now, 60, false),
        (largest - now, 0, largest - now, false),
        (0, 0, (1 << 53) - now, false),
        (0, 0, i128::from(i64::MAX) - now, false),
        (0, 0, i128::from(i64::MAX) + 1 - now, false),
        (0, 0, i128::from(u32::MAX) - now, false),
        (0, 0, i128::from(i32::MAX) - now, false),
        // In milliseconds, as some would have it.
        (0, 0, (now + 60) * 1000 - now, false),
        (now * 999, now * 999, (now + 60) * 1000 - now, false),
    ] {
        // Each is a token of its own, also where two say the same.
        let mut claims = claims();
        for (name, offset) in [("iat", iat), ("nbf", nbf), ("exp", exp)] {
            let moment = u64::try_from(now + offset).expect("not before 1970");
            claims[name] = json!(moment);
        }
        let name = format!("made {iat}, from {nbf}, to {exp}");
        let jwt = shared(&claims.to_string());
        all.push(if is_good {
            good(name, jwt)
        } else {
            bad(name, jwt)
        });
    }
    for past in [DAY, 7 * DAY, 365 * DAY] {
        let mut old = claims();
        for (name, moment) in [
            ("iat", NOW - past),
            ("nbf", NOW - past),
            ("exp", NOW - past + 60),
        ] {
            old[name] = json!(moment);
        }
        all.push(bad(format!("good {past} s ago"), shared(&old.to_string())));
    }
    all
}
