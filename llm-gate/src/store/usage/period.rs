use jiff::tz::TimeZone;

use crate::clock::Timestamp;
use crate::store::{Period, Zone};

use super::UsagePeriod;

/// The years that have days: 1970 to 2099. Nothing is called outside of them.
const YEARS: (i64, i64) = (0, 4_102_444_800_000_000);
const DAY: i64 = 24 * 3_600_000_000;

/// A stretch of time in which the clocks of a zone are not changed: there a local day is a division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment behind it.
    pub to: Timestamp,
    /// What the clocks are ahead of UTC, in microseconds.
    pub offset: i64,
}

impl Stretch {
    /// Returns a moment of the stretch that lies on a local day, which is counted from 1970-01-01 on.
    #[must_use]
    pub fn moment(&self, day: i64) -> Timestamp {
        let midnight = day.saturating_mul(DAY).saturating_sub(self.offset);
        self.from.max(Timestamp::from_micros(midnight))
    }
}

impl Zone {
    /// Cuts a time into stretches in which the clocks of the zone are not changed, within the years 1970 to 2099.
    #[must_use]
    pub fn stretches(&self, from: Timestamp, to: Timestamp) -> Vec<Stretch> {
        let within = |at: Timestamp| at.as_micros().clamp(YEARS.0, YEARS.1);
        let (mut from, to) = (within(from), within(to));
        let zone = self.time_zone();
        let mut stretches = Vec::new();
        while from < to {
            let (offset, until) = stretch(&zone, from);
            let until = until.filter(|until| *until < to).unwrap_or(to);
            stretches.push(Stretch {
                from: Timestamp::from_micros(from),
                to: Timestamp::from_micros(until),
                offset,
            });
            from = until;
        }
        stretches
    }
}

/// Returns how far the clocks are ahead at a moment, and when they are next.
fn stretch(zone: &TimeZone, from: i64) -> (i64, Option<i64>) {
    let Ok(moment) = jiff::Timestamp::from_microsecond(from) else {
        return (0, None);
    };
    let offset = i64::from(zone.to_offset(moment).seconds()) * 1_000_000;
    let mut following = zone.following(moment);
    let next = following.find(|change| change.timestamp() > moment);
    (
        offset,
        next.map(|change| change.timestamp().as_microsecond()),
    )
}

impl UsagePeriod {
    /// Returns the first moment of the stretch that `at` lies in; `None` where all of it is one.
    #[must_use]
    pub fn start(self, zone: &Zone, at: Timestamp) -> Option<Timestamp> {
        let period = match self {
            Self::All => return None,
            Self::Month => Period::Month,
            Self::Day => Period::Day,
        };
        Some(period.window(zone, at).start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().expect("a moment");
        Timestamp::from_micros(moment.as_microsecond())
    }

    #[test]
    fn a_zone_without_changes_is_one_stretch() {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let all = Zone::UTC.stretches(from, to);
        let offset = 0;
        assert_eq!(all, [Stretch { from, to, offset }]);
        assert_eq!(
            Zone::UTC.stretches(to, from),
            [],
            "nor is there less than none"
        );
        let ever = |micros| Timestamp::from_micros(micros);
        let all = Zone::UTC.stretches(ever(i64::MIN), ever(i64::MAX));
        assert_eq!(all.len(), 1, "however long");
    }

    #[test]
    fn stretches_follow_each_other_and_agree_with_the_calendar() {
        for name in [
            "Europe/Berlin",
            "America/Sao_Paulo",
            "Australia/Lord_Howe",
            "Africa/Casablanca",
        ] {
            let zone: Zone = name.parse().expect("a zone");
            let (from, to) = (
                at("2017-06-01T12:34:56.000007Z"),
                at("2027-06-01T00:00:00Z"),
            );
            let all = zone.stretches(from, to);
            assert_eq!((all[0].from, all[all.len() - 1].to), (from, to), "{name}");
            assert!(all.windows(2).all(|two| two[0].to == two[1].from), "{name}");
            for stretch in all {
                for moment in [
                    stretch.from,
                    Timestamp::from_micros(stretch.to.as_micros() - 1),
                ] {
                    let day = (moment.as_micros() + stretch.offset) / DAY;
                    let start = |at| UsagePeriod::Day.start(&zone, at);
                    let there = stretch.moment(day);
                    assert!(stretch.from <= there && there < stretch.to, "{name}");
                    assert_eq!(start(there), start(moment), "{name}: the same day");
                }
            }
        }
    }
}
