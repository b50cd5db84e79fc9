use serde::{Deserialize, Serialize};

use crate::tokens::{Amount, Tokens, Usage};

use super::{Action, Author, Event, Hold, Target, Unit};

/// How many parts one weight has: a weight of 1,000 counts a token as one.
pub const WEIGHT_SCALE: u64 = 1_000;
/// How many tokens a price is for.
pub const PRICE_SCALE: u64 = 1_000_000;
/// The largest rate: 2^40.
pub const MAX_RATE: u64 = 1 << 40;

/// What a token counts, by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// A token of the prompt.
    pub prompt: u64,
    /// A generated token.
    pub completion: u64,
    /// A token of the prompt that the upstream had in its cache.
    pub cached: u64,
}

impl Rates {
    /// Counts every token alike.
    #[must_use]
    pub const fn even(rate: u64) -> Self {
        Self {
            prompt: rate,
            completion: rate,
            cached: rate,
        }
    }

    /// Returns whether no rate is above [`MAX_RATE`].
    #[must_use]
    pub const fn in_range(&self) -> bool {
        self.prompt <= MAX_RATE && self.completion <= MAX_RATE && self.cached <= MAX_RATE
    }

    /// Adds up what was used, in parts of `scale`, rounded up.
    fn of_usage(&self, usage: &Usage, scale: u64) -> Amount {
        let cached = usage.cached.min(usage.prompt);
        let parts = u128::from(usage.prompt - cached) * u128::from(self.prompt)
            + u128::from(cached) * u128::from(self.cached)
            + u128::from(usage.completion) * u128::from(self.completion);
        rounded_up(parts, scale)
    }

    /// Adds up the most that `hold` can come to, in parts of `scale`, rounded up.
    fn of_hold(&self, hold: &Hold, scale: u64) -> Amount {
        let prompt = (hold.prompt.get(), self.prompt.max(self.cached));
        let completion = (hold.completion.get(), self.completion);
        let (dear, cheap) = if prompt.1 > completion.1 {
            (prompt, completion)
        } else {
            (completion, prompt)
        };
        let total = hold.total.get();
        let first = dear.0.min(total);
        let second = cheap.0.min(total - first);
        // What neither bound has room for is counted at the higher rate.
        let beyond = total - first - second;
        let parts = u128::from(first + beyond) * u128::from(dear.1)
            + u128::from(second) * u128::from(cheap.1);
        rounded_up(parts, scale)
    }
}

fn rounded_up(parts: u128, scale: u64) -> Amount {
    Amount::new(u64::try_from(parts.div_ceil(u128::from(scale))).unwrap_or(u64::MAX))
}

/// How tokens of a model are counted against limits. A reservation keeps the one it was admitted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Which one, where a store has numbers for them.
    pub id: Option<i64>,
    /// What a token counts against limits of tokens, in thousandths.
    pub weights: Rates,
    /// What a million tokens cost, in micro-units of money; `None` for no price.
    pub price: Option<Rates>,
}

impl Default for Tariff {
    /// Every token counts as one, and nothing has a price.
    fn default() -> Self {
        Self {
            id: None,
            weights: Rates::even(WEIGHT_SCALE),
            price: None,
        }
    }
}

impl Tariff {
    /// Returns the most that `hold` can come to.
    #[must_use]
    pub fn of_hold(&self, unit: Unit, hold: &Hold) -> Amount {
        match unit {
            Unit::Tokens if self.is_plain() => hold.total,
            Unit::Tokens => self.weights.of_hold(hold, WEIGHT_SCALE),
            Unit::Requests => Amount::new(1),
            Unit::Money => self
                .price
                .map_or(Amount::ZERO, |price| price.of_hold(hold, PRICE_SCALE)),
        }
    }

    /// Returns what `usage` comes to; `tokens` is its total.
    #[must_use]
    pub fn of_usage(&self, unit: Unit, usage: &Usage, tokens: Tokens) -> Amount {
        match unit {
            Unit::Tokens if self.is_plain() => tokens,
            Unit::Tokens => self.weights.of_usage(usage, WEIGHT_SCALE),
            Unit::Requests => Amount::new(1),
            Unit::Money => self
                .price
                .map_or(Amount::ZERO, |price| price.of_usage(usage, PRICE_SCALE)),
        }
    }

    /// Returns whether it says nothing: every token counts as one, and nothing has a price.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_plain() && self.price.is_none()
    }

    fn is_plain(&self) -> bool {
        self.weights == Rates::even(WEIGHT_SCALE)
    }
}

/// A model's tariff, from a moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The model, as clients name it.
    pub model: String,
    /// What its tokens count and cost. Its `id` is given by the store.
    pub tariff: Tariff,
}

impl Price {
    /// Returns the event that setting it leaves, `before` being the one in force; none where that counts and costs the
    /// same.
    #[must_use]
    pub fn event(&self, before: Option<&Self>, author: &Author) -> Option<Event> {
        let facts = |price: &Self| (price.tariff.weights, price.tariff.price);
        let plain = facts(&Self {
            model: String::new(),
            tariff: Tariff::default(),
        });
        if before.map_or(plain, facts) == facts(self) {
            return None;
        }
        let target = Target::new("model", &self.model);
        let event = Event::new(author, Action::PriceChanged, target);
        let after = (!self.tariff.is_default()).then_some(self);
        Some(event.change(&before, &after))
    }
}
