//! Readable names for what nobody has named (M-18).
//!
//! ```
//! let name = llm_gate_gateway::names::project();
//! assert_eq!(name.split('-').count(), 3);
//! ```

use rand::RngExt;
use rand::seq::IndexedRandom;

const FIRST: [&str; 32] = [
    "amber", "brave", "bright", "calm", "clear", "coral", "crisp", "early", "eager", "fair",
    "fresh", "gentle", "golden", "green", "happy", "honest", "jolly", "keen", "light", "lively",
    "lucky", "mellow", "merry", "misty", "noble", "quiet", "rapid", "silver", "steady", "sunny",
    "swift", "warm",
];
const SECOND: [&str; 32] = [
    "acorn", "badger", "beacon", "birch", "breeze", "brook", "canyon", "cedar", "cloud", "comet",
    "falcon", "fern", "finch", "forest", "harbor", "heron", "island", "lagoon", "lantern", "maple",
    "meadow", "otter", "pebble", "pine", "prairie", "raven", "reef", "river", "sparrow", "summit",
    "valley", "willow",
];

/// Makes up a name for a project, such as `quiet-otter-417`. It is no secret and not unique.
#[must_use]
pub fn project() -> String {
    let mut random = rand::rng();
    let mut one = |words: &[&'static str]| words.choose(&mut random).copied().unwrap_or("plain");
    let (first, second) = (one(&FIRST), one(&SECOND));
    let number = rand::rng().random_range(100..1000);
    format!("{first}-{second}-{number}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_made_up_name_can_be_read_and_typed() {
        for _ in 0..100 {
            let name = super::project();
            assert!(name.len() <= 24, "{name}");
            let good = name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            assert!(good, "{name}");
        }
    }
}
