use std::hash::{BuildHasher, RandomState};

/// Chances that a seed decides, so that a failure can be looked at again.
///
/// The same seed throws the same dice; what tasks make of them at the same time is up to the scheduler.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Takes the seed from `SEED` if that is set, and says which it is: a test that fails shows it.
    ///
    /// # Panics
    ///
    /// Panics when `SEED` is no number.
    #[must_use]
    pub fn seeded() -> Self {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            // Any number will do, as long as it is another one each time.
            Err(_) => RandomState::new().hash_one("seed") >> 32,
        };
        println!("SEED={seed}");
        Self(seed)
    }

    /// Returns dice of their own for one of many.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.number())
    }

    /// Returns a number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// Returns one of `choices`.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = self.below(choices.len() as u64);
        &choices[usize::try_from(at).expect("it is below a length")]
    }

    /// SplitMix64.
    const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How many rounds to go: what the variable `name` says, or `usual`.
///
/// # Panics
///
/// Panics when it says something else than a number.
#[must_use]
pub fn rounds(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number of rounds"))
}
