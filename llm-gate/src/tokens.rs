//! What is counted: [`Amount`] of any unit, [`Tokens`] of the most usual one, the [`Usage`] an upstream
//! reports, and the [`Metered`] handle that carries it from the meter to whoever settles.
//!
//! ```
//! use llm_gate::tokens::{Metered, Tokens, Usage};
//!
//! let metered = Metered::new();
//! metered.report(Usage { prompt: 11, completion: 17, ..Usage::default() });
//! assert_eq!(metered.usage().map(|usage| usage.total()), Some(Tokens::new(28)));
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// An amount of one unit (tokens, requests or micro-units of money), at most 2^53 - 1, so that every JSON
/// reader can hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Amount(u64);

/// An amount of tokens.
pub type Tokens = Amount;

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The largest amount: 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// Wraps a number, [`Amount::MAX`] if it is larger.
    #[must_use]
    pub const fn new(amount: u64) -> Self {
        if amount > Self::MAX.0 {
            Self::MAX
        } else {
            Self(amount)
        }
    }

    /// Wraps a number, `None` if it is negative or larger than [`Amount::MAX`].
    #[must_use]
    pub fn try_new(amount: i64) -> Option<Self> {
        u64::try_from(amount)
            .ok()
            .filter(|&amount| amount <= Self::MAX.0)
            .map(Self)
    }

    /// Returns the bare number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the bare number as databases keep it.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        // At most 2^53 - 1 by construction.
        self.0.cast_signed()
    }

    /// Adds, and stops at [`Amount::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::new(self.0.saturating_add(other.0))
    }

    /// Subtracts, and stops at zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Multiplies, and stops at [`Amount::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self::new(self.0.saturating_mul(factor))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let amount = u64::deserialize(deserializer)?;
        if amount > Self::MAX.0 {
            return Err(serde::de::Error::custom("at most 9007199254740991"));
        }
        Ok(Self(amount))
    }
}

/// What one request used, as its upstream counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt: u64,
    /// Tokens that were generated, reasoning included.
    pub completion: u64,
    /// The part of the prompt that came out of the upstream's cache.
    pub cached: u64,
    /// The part of the completion that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Returns prompt and completion together, which is what is charged.
    #[must_use]
    pub const fn total(&self) -> Tokens {
        Tokens::new(self.prompt.saturating_add(self.completion))
    }
}

/// The running usage of one response, written by the meter and read by whoever settles.
///
/// The meter puts a handle into the response's extensions. It is written just before an event is handed
/// on, so at any moment it holds what the upstream had reported up to the last event delivered.
#[derive(Clone, Debug, Default)]
pub struct Metered(Arc<Cell>);

/// One writer; readers sit on the same task or get the handle after the writer is gone, so relaxed
/// accesses see what they must.
#[derive(Debug, Default)]
struct Cell {
    prompt: AtomicU64,
    completion: AtomicU64,
    cached: AtomicU64,
    reasoning: AtomicU64,
    unreported_bytes: AtomicU64,
    reported: AtomicBool,
    unreported: AtomicBool,
    complete: AtomicBool,
}

impl Metered {
    /// Makes a handle that nothing was reported to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the running usage. What was counted as unreported before is in it.
    pub fn report(&self, usage: Usage) {
        let cell = &*self.0;
        cell.unreported_bytes.store(0, Ordering::Relaxed);
        cell.prompt.store(usage.prompt, Ordering::Relaxed);
        cell.completion.store(usage.completion, Ordering::Relaxed);
        cell.cached.store(usage.cached, Ordering::Relaxed);
        cell.reasoning.store(usage.reasoning, Ordering::Relaxed);
        cell.reported.store(true, Ordering::Relaxed);
    }

    /// Returns what was reported last, `None` if nothing was.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let cell = &*self.0;
        cell.reported.load(Ordering::Relaxed).then(|| Usage {
            prompt: cell.prompt.load(Ordering::Relaxed),
            completion: cell.completion.load(Ordering::Relaxed),
            cached: cell.cached.load(Ordering::Relaxed),
            reasoning: cell.reasoning.load(Ordering::Relaxed),
        })
    }

    /// Counts the bytes of generated text, none or more, of an event that is delivered without any usage
    /// reported with it.
    pub fn add_unreported_bytes(&self, bytes: u64) {
        self.0.unreported.store(true, Ordering::Relaxed);
        self.0.unreported_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes of generated text that were delivered since something was reported, or ever, if
    /// nothing was.
    #[must_use]
    pub fn unreported_bytes(&self) -> u64 {
        self.0.unreported_bytes.load(Ordering::Relaxed)
    }

    /// Returns whether any event was delivered without usage reported with it.
    #[must_use]
    pub fn has_unreported(&self) -> bool {
        self.0.unreported.load(Ordering::Relaxed)
    }

    /// Notes that the upstream finished its answer.
    pub fn complete(&self) {
        self.0.complete.store(true, Ordering::Relaxed);
    }

    /// Returns whether the upstream finished its answer.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Relaxed)
    }
}

/// Marks a response, in its extensions, that stands for no answer at all: the request was sent, and the
/// upstream said nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unanswered;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_never_leave_their_range() {
        assert_eq!(Tokens::new(u64::MAX), Tokens::MAX);
        assert_eq!(Tokens::MAX.saturating_add(Tokens::new(1)), Tokens::MAX);
        assert_eq!(Tokens::ZERO.saturating_sub(Tokens::new(1)), Tokens::ZERO);
        assert_eq!(Tokens::try_new(-1), None);
        assert_eq!(Tokens::try_new(1 << 53), None);
        assert!(serde_json::from_str::<Tokens>("9007199254740992").is_err());
    }

    #[test]
    fn nothing_reported_is_not_zero_reported() {
        let metered = Metered::new();
        assert_eq!(metered.usage(), None);
        metered.report(Usage::default());
        assert_eq!(metered.usage(), Some(Usage::default()));
    }
}
