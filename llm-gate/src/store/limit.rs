use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::identity::Subject;
use crate::tokens::Amount;

use crate::words::words;

/// How many limits a subject may have.
pub const MAX_LIMITS: usize = 1000;
/// Up to how many a subject gets from those who may only lower its limits. The others are for admins.
pub const MAX_VOLUNTARY_LIMITS: usize = 200;

words! {
    /// What a limit counts.
    Unit {
        /// Tokens of prompt and completion, weighted where the model has weights.
        Tokens = "tokens",
        /// Requests that were served.
        Requests = "requests",
        /// Micro-units of money.
        Money = "money",
    }
}

words! {
    /// How long what was counted counts.
    Period {
        /// For ever.
        Total = "total",
        /// Until the month ends in the limit's zone.
        Month = "month",
        /// Until the day ends in the limit's zone.
        Day = "day",
        /// Until the minute ends.
        Minute = "minute",
    }
}

/// A time zone of the IANA database, which is compiled in: the same on every host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(Option<TimeZone>);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(None);

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0
            .as_ref()
            .and_then(TimeZone::iana_name)
            .unwrap_or("UTC")
    }

    pub(super) fn time_zone(&self) -> TimeZone {
        self.0.clone().unwrap_or(TimeZone::UTC)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::UTC
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'de, str>::deserialize(deserializer)?;
        name.parse().map_err(serde::de::Error::custom)
    }
}

/// The name is of no time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the name of a time zone such as Europe/Berlin")]
pub struct UnknownZone;

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        if name == "UTC" {
            return Ok(Self::UTC);
        }
        let zone = TimeZone::get(name).map_err(|_| UnknownZone)?;
        // Without a name of its own it could not be read back.
        zone.iana_name().ok_or(UnknownZone)?;
        Ok(Self(Some(zone)))
    }
}

/// The stretch of time that one counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its first microsecond.
    pub start: Timestamp,
    /// The first microsecond behind it; `None` where it never ends.
    pub end: Option<Timestamp>,
}

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

impl Period {
    /// Returns the window that `at` lies in.
    ///
    /// Days and months begin at midnight on the clocks of `zone`, or at the first moment of that day where
    /// they skip midnight. A day may have 23 or 25 hours.
    #[must_use]
    pub fn window(self, zone: &Zone, at: Timestamp) -> Window {
        let even = |length: i64| {
            let start = at.as_micros().div_euclid(length).saturating_mul(length);
            Window {
                start: Timestamp::from_micros(start),
                end: Some(Timestamp::from_micros(start.saturating_add(length))),
            }
        };
        match self {
            Self::Total => Window {
                start: Timestamp::from_micros(0),
                end: None,
            },
            Self::Minute => even(MINUTE),
            Self::Day if *zone == Zone::UTC => even(DAY),
            // Beyond the calendar's range, year 9999, one window is as good as another.
            Self::Day | Self::Month => self.calendar(zone, at).unwrap_or_else(|| even(DAY)),
        }
    }

    fn calendar(self, zone: &Zone, at: Timestamp) -> Option<Window> {
        let now = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
        let date = now.to_zoned(zone.time_zone()).date();
        let (first, next) = if self == Self::Day {
            (date, date.tomorrow().ok()?)
        } else {
            let first = date.first_of_month();
            (first, first.checked_add(1.month()).ok()?)
        };
        // Where clocks are set forward over midnight, the first moment behind the gap.
        let begins = |date: jiff::civil::Date| {
            let midnight = date.to_datetime(Time::midnight());
            let moment = zone.time_zone().to_ambiguous_timestamp(midnight);
            Some(Timestamp::from_micros(
                moment.compatible().ok()?.as_microsecond(),
            ))
        };
        Some(Window {
            start: begins(first)?,
            end: Some(begins(next)?),
        })
    }
}

/// A rule: how much of a unit a subject may use in a period, of one model or of all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// What it limits.
    pub key: LimitKey,
    /// Whose clocks its days and months follow.
    pub zone: Zone,
    /// How much.
    pub amount: Amount,
    /// Whether it was set by those whom it binds, who may only lower what binds them. It stands in place of the limit
    /// for each of its kind only while it is as strict as that.
    #[serde(default)]
    pub voluntary: bool,
}

impl Limit {
    /// Returns whether it allows no more than another one of the same use.
    ///
    /// One by the clocks of another zone begins another day or month, in which nothing is used yet: it is more.
    #[must_use]
    pub fn within(&self, other: &Self) -> bool {
        let windows = matches!(self.key.period, Period::Day | Period::Month);
        self.amount <= other.amount && (!windows || self.zone == other.zone)
    }

    /// Returns whether it is of the same use as another one, whoever's.
    fn is_like(&self, other: &Self) -> bool {
        let (one, other) = (&self.key, &other.key);
        one.unit == other.unit && one.period == other.period && one.model == other.model
    }

    /// Returns whether it stands in place of what holds for each of its kind.
    fn replaces(&self, each: &Self) -> bool {
        self.is_like(each) && (!self.voluntary || self.within(each))
    }
}

/// What a limit limits. There is one limit under each key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LimitKey {
    /// Whose use. [`Subject::EACH_USER`] and its like stand for each one that has no limit of its own
    /// with the same model, unit and period, or only a [voluntary](Limit::voluntary) one that is less strict.
    pub subject: Subject,
    /// Of which model, `None` for all together.
    pub model: Option<Arc<str>>,
    /// Counted in what.
    pub unit: Unit,
    /// For how long.
    pub period: Period,
}

impl LimitKey {
    /// Names the limit of all tokens that a subject ever uses.
    #[must_use]
    pub const fn total_tokens(subject: Subject) -> Self {
        Self {
            subject,
            model: None,
            unit: Unit::Tokens,
            period: Period::Total,
        }
    }
}

/// A counter: one window of what a subject uses. It is there whether or not a limit is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CounterKey {
    /// Whose use.
    pub subject: Subject,
    /// The first moment of the window; 0 where it never ends.
    pub start: Timestamp,
    /// Of which model, `None` for all together.
    pub model: Option<Arc<str>>,
    /// Counted in what.
    pub unit: Unit,
    /// How long the window is.
    pub period: Period,
}

impl Hash for CounterKey {
    /// Hashes what tells most counters apart; the rest is compared.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.subject.parts().1.as_u128());
        state.write_i64(self.start.as_micros());
    }
}

impl CounterKey {
    /// Names the counter of all tokens that a subject ever uses. Every subject of a call has one, limited or
    /// not; it is the one that is frozen.
    #[must_use]
    pub const fn total_tokens(subject: Subject) -> Self {
        Self {
            subject,
            start: Timestamp::from_micros(0),
            model: None,
            unit: Unit::Tokens,
            period: Period::Total,
        }
    }

    /// Returns whether it is the one that every subject has.
    #[must_use]
    pub fn is_total_tokens(&self) -> bool {
        self.unit == Unit::Tokens && self.period == Period::Total && self.model.is_none()
    }

    /// Names the counter that a limit is on for a subject at a moment.
    #[must_use]
    pub fn of(subject: Subject, limit: &Limit, at: Timestamp) -> Self {
        Self {
            subject,
            start: limit.key.period.window(&limit.zone, at).start,
            model: limit.key.model.clone(),
            unit: limit.key.unit,
            period: limit.key.period,
        }
    }
}

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.period, self.unit, self.subject)?;
        match &self.model {
            Some(model) => write!(f, " for {model}"),
            None => Ok(()),
        }
    }
}

/// The limits that concern some subjects: what a [`Book`](super::rules::Book) has to know of them.
#[derive(Clone, Debug, Default)]
pub struct Limits(HashMap<Subject, Vec<Limit>>);

impl Limits {
    /// Keeps a limit, in place of the one under the same key.
    pub fn put(&mut self, limit: Limit) {
        let all = self.0.entry(limit.key.subject).or_default();
        // Stores read them in orders of their own, and all decide alike.
        match all.binary_search_by(|other| other.key.cmp(&limit.key)) {
            Ok(place) => all[place] = limit,
            Err(place) => all.insert(place, limit),
        }
    }

    /// Forgets a limit.
    pub fn remove(&mut self, key: &LimitKey) {
        if let Some(all) = self.0.get_mut(&key.subject) {
            all.retain(|limit| limit.key != *key);
        }
    }

    /// Returns the limit under a key.
    #[must_use]
    pub fn get(&self, key: &LimitKey) -> Option<&Limit> {
        self.set(key.subject).iter().find(|limit| limit.key == *key)
    }

    /// Lists the limits that were set for `subject` itself.
    #[must_use]
    pub fn set(&self, subject: Subject) -> &[Limit] {
        self.0.get(&subject).map_or(&[], Vec::as_slice)
    }

    /// Lists all of them.
    pub fn all(&self) -> impl Iterator<Item = &Limit> {
        self.0.values().flatten()
    }

    /// Lists the limits in force for `subject`: its own, and those for each of its kind that it has none of
    /// its own in place of. A [voluntary](Limit::voluntary) one that is less strict than that gives way to it.
    pub fn in_force(&self, subject: Subject) -> impl Iterator<Item = &Limit> {
        let own = self.set(subject);
        let each = subject.each().filter(|each| *each != subject);
        let each = each.map_or(&[][..], |each| self.set(each));
        let stands = |own: &&Limit| {
            let like = each.iter().find(|each| own.is_like(each));
            like.is_none_or(|each| own.replaces(each))
        };
        let own_in_force = own.iter().filter(stands);
        let rest = each
            .iter()
            .filter(move |each| !own.iter().any(|own| own.replaces(each)));
        own_in_force.chain(rest)
    }

    /// Returns the limit in force on a counter.
    #[must_use]
    pub fn on(&self, counter: &CounterKey) -> Option<&Limit> {
        self.in_force(counter.subject).find(|limit| {
            let key = &limit.key;
            key.unit == counter.unit && key.period == counter.period && key.model == counter.model
        })
    }

    /// Lists the counters, beside that of all its tokens, on which a call of `subject` to `model` counts at a
    /// moment.
    pub fn counters<'a>(
        &'a self,
        subject: Subject,
        model: &'a str,
        at: Timestamp,
    ) -> impl Iterator<Item = CounterKey> + 'a {
        self.in_force(subject)
            .filter(move |limit| limit.key.model.as_deref().is_none_or(|only| only == model))
            .map(move |limit| CounterKey::of(subject, limit, at))
            .filter(move |counter| subject == Subject::Platform || !counter.is_total_tokens())
    }
}
