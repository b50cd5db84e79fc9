//! The reference gateway of llm-gate: user management and metering in front of vLLM.
//!
//! A library, so that tests start the real thing:
//!
//! ```
//! use llm_gate_gateway::Gateway;
//! use llm_gate_gateway::config::Config;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut config = Config::default();
//! config.server.port = 0;
//! config.metrics.port = 0;
//! config.database.url = Some("sqlite::memory:".into());
//! config.auth.jwt_secret = Some("thirty-two bytes or more, in secret".into());
//! config.auth.api_key_pepper = Some("thirty-two other bytes, also in secret".into());
//! let running = Gateway::new(config).start().await?;
//! println!("{}/v1", running.url());
//! running.shutdown().await;
//! # Ok(()) }
//! ```
#![deny(missing_docs)]

pub mod accounts;
pub mod api;
pub mod app;
pub mod books;
pub mod catalog;
pub mod client;
pub mod commands;
pub mod config;
pub mod database;
pub mod devices;
pub mod edge;
mod error;
pub mod export;
pub mod foreign;
mod gateway;
pub mod housekeeping;
pub mod last_use;
pub mod logins;
pub mod mail;
pub mod names;
pub mod oauth;
pub mod observability;
pub mod passwords;
pub mod presumed;
pub mod rates;
pub mod secrets;
pub mod server;
pub mod signing;
pub mod stack;
pub mod vouch;

pub use self::error::StartError;
pub use self::gateway::{Gateway, Running};
