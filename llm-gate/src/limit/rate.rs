use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

/// The most requests a rate may allow in its period.
const MAX_AMOUNT: u32 = 1_000_000;

/// How many requests are let through in which time, written `100/minute`.
///
/// All of them may come at once, and what was used comes back evenly: of `100/minute`, one more every 0.6 s.
/// So a minute that begins rested passes up to 200 requests, an hour up to 6,100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    amount: NonZeroU32,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
    Day,
}

impl Period {
    const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    const fn name(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

/// A text that is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rate is written like 100/minute: from 1 to {MAX_AMOUNT} a second, minute, hour or day")]
pub struct RateError;

impl Rate {
    /// Allows `amount` a second, at most 1,000,000.
    #[must_use]
    pub const fn per_second(amount: NonZeroU32) -> Self {
        Self::of(amount, Period::Second)
    }

    /// Allows `amount` a minute, at most 1,000,000.
    #[must_use]
    pub const fn per_minute(amount: NonZeroU32) -> Self {
        Self::of(amount, Period::Minute)
    }

    /// Allows `amount` an hour, at most 1,000,000.
    #[must_use]
    pub const fn per_hour(amount: NonZeroU32) -> Self {
        Self::of(amount, Period::Hour)
    }

    /// Allows `amount` a day, at most 1,000,000.
    #[must_use]
    pub const fn per_day(amount: NonZeroU32) -> Self {
        Self::of(amount, Period::Day)
    }

    const fn of(amount: NonZeroU32, period: Period) -> Self {
        let amount = if amount.get() > MAX_AMOUNT {
            NonZeroU32::new(MAX_AMOUNT).expect("not zero")
        } else {
            amount
        };
        Self { amount, period }
    }

    /// Returns how many requests it allows.
    #[must_use]
    pub const fn amount(&self) -> u32 {
        self.amount.get()
    }

    /// Returns in which time.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_secs(self.period.seconds())
    }

    /// Returns a rate of `times` as many requests, at most 1,000,000.
    #[must_use]
    pub const fn times(self, times: NonZeroU32) -> Self {
        Self::of(self.amount.saturating_mul(times), self.period)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (amount, period) = text.split_once('/').ok_or(RateError)?;
        // What the library reads beside digits, a sign, is not how a rate is written.
        if !amount.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(RateError);
        }
        let amount: NonZeroU32 = amount.parse().map_err(|_| RateError)?;
        let period = Period::ALL.into_iter().find(|known| known.name() == period);
        match period {
            Some(period) if amount.get() <= MAX_AMOUNT => Ok(Self { amount, period }),
            _ => Err(RateError),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.amount, self.period.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_written() {
        for text in ["1/second", "100/minute", "5000/hour", "1000000/day"] {
            let rate: Rate = text.parse().expect(text);
            assert_eq!(rate.to_string(), text);
        }
        let rate: Rate = "100/minute".parse().expect("a rate");
        assert_eq!((rate.amount(), rate.period().as_secs()), (100, 60));
    }

    #[test]
    fn what_is_no_rate_is_refused() {
        for text in [
            "",
            "/",
            "100",
            "100/",
            "/minute",
            "0/minute",
            "-1/minute",
            "+1/minute",
            "1.5/minute",
            "100/minutes",
            "100/Minute",
            "100 / minute",
            "100/week",
            "1000001/day",
            "99999999999/day",
        ] {
            assert_eq!(text.parse::<Rate>(), Err(RateError), "{text:?}");
        }
    }

    #[test]
    fn a_multiple_is_never_too_large_to_be_written() {
        let ten = NonZeroU32::new(10).expect("not zero");
        let rate: Rate = "10/hour".parse().expect("a rate");
        assert_eq!(rate.times(ten).to_string(), "100/hour");
        let most: Rate = "1000000/hour".parse().expect("a rate");
        assert_eq!(most.times(NonZeroU32::MAX), most);
        assert_eq!(Rate::per_hour(NonZeroU32::MAX), most);
    }
}
