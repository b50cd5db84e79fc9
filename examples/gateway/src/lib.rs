//! The reference gateway of llm-gate: user management and metering in front of vLLM.
#![deny(missing_docs)]

pub mod config;
pub mod passwords;
pub mod secrets;
