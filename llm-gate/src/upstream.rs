//! [`UpstreamName`]: which upstream an answer is of.
//!
//! Whoever sends a request on puts it into the response's extensions, and whoever writes the call down takes it
//! from there.
//!
//! ```
//! use llm_gate::upstream::UpstreamName;
//!
//! let name: UpstreamName = "vllm-east".parse().unwrap();
//! assert_eq!(name.as_str(), "vllm-east");
//! assert!("".parse::<UpstreamName>().is_err());
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an upstream is called on record: 1 to 64 bytes of text without control characters.
/// Whoever reads reports sees it, so it is no address. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UpstreamName(Arc<str>);

/// A text that cannot name an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "an upstream is named by 1 to {} bytes without control characters",
    UpstreamName::MAX_LENGTH
)]
pub struct InvalidName;

impl UpstreamName {
    /// The most bytes.
    pub const MAX_LENGTH: usize = 64;

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UpstreamName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = (1..=Self::MAX_LENGTH).contains(&text.len());
        if fits && !text.contains(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName)
        }
    }
}

impl TryFrom<String> for UpstreamName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_has_a_short_name_of_one_line() {
        for name in ["vllm", "Our GPUs", &"x".repeat(UpstreamName::MAX_LENGTH)] {
            let named: UpstreamName = name.parse().expect("short enough");
            assert_eq!(named.as_str(), name);
        }
        let long = "x".repeat(UpstreamName::MAX_LENGTH + 1);
        for name in ["", "a\nb", "a\0", &long] {
            assert_eq!(name.parse::<UpstreamName>(), Err(InvalidName), "{name:?}");
            let read = serde_json::from_value::<UpstreamName>(name.into());
            assert!(read.is_err(), "nor is it read from JSON: {name:?}");
        }
    }
}
