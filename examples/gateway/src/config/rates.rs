use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use llm_gate::limit::Rate;
use serde::de::{Deserialize, Deserializer, Error};

/// How often something may happen: a rate such as `100/minute`, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateSetting {
    /// As often as one likes.
    Off,
    /// That often.
    At(Rate),
}

impl RateSetting {
    /// Returns the rate, if there is one.
    #[must_use]
    pub const fn rate(self) -> Option<Rate> {
        match self {
            Self::Off => None,
            Self::At(rate) => Some(rate),
        }
    }
}

impl FromStr for RateSetting {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse().map(Self::At).map_err(|_| {
            "must be off, or a rate such as 100/minute: 1 to 1000000 a second, minute, hour or day"
        })
    }
}

impl fmt::Display for RateSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(rate) => rate.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for RateSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// How many requests are let through in which time. Counted by each process for itself.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Requests from one address, before anybody is asked who it is.
    pub per_address: RateSetting,
    /// Requests with one API key, or of one login.
    pub per_identity: RateSetting,
    /// Requests from one address to register or log in: each costs a password hash. As many with other providers, as many for
    /// reset letters, and as many logins of each device that has entered the account, or proofs of each session.
    pub logins_per_address: RateSetting,
    /// Wrong credentials from one address.
    pub failures_per_address: RateSetting,
    /// Wrong passwords for one account by one device or session that has entered it, and by strangers from one address; by all
    /// strangers together, and in all sessions of a user together, ten times that.
    pub login_failures: RateSetting,
    /// Letters to one e-mail address that somebody asked for: anybody can name anybody's.
    pub letters_per_receiver: RateSetting,
    /// Invites of one user to projects, and members whom one adds.
    pub invites_per_user: RateSetting,
}

impl RateLimitConfig {
    /// Limits nothing: for trials, and where something in front of the gateway does.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            per_address: RateSetting::Off,
            per_identity: RateSetting::Off,
            logins_per_address: RateSetting::Off,
            failures_per_address: RateSetting::Off,
            login_failures: RateSetting::Off,
            letters_per_receiver: RateSetting::Off,
            invites_per_user: RateSetting::Off,
        }
    }
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        const fn some(amount: u32) -> NonZeroU32 {
            NonZeroU32::new(amount).expect("not zero")
        }
        Self {
            per_address: RateSetting::At(Rate::per_minute(const { some(6000) })),
            per_identity: RateSetting::At(Rate::per_minute(const { some(1200) })),
            logins_per_address: RateSetting::At(Rate::per_minute(const { some(60) })),
            failures_per_address: RateSetting::At(Rate::per_minute(const { some(120) })),
            login_failures: RateSetting::At(Rate::per_hour(const { some(10) })),
            letters_per_receiver: RateSetting::At(Rate::per_hour(const { some(10) })),
            invites_per_user: RateSetting::At(Rate::per_hour(const { some(60) })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_as_it_is_shown() {
        for text in ["off", "100/minute"] {
            let setting: RateSetting = text.parse().expect(text);
            assert_eq!(setting.to_string(), text);
        }
        assert!("never".parse::<RateSetting>().is_err());
        assert!("100".parse::<RateSetting>().is_err());
    }
}
