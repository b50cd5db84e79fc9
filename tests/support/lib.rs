//! What end-to-end tests stand on: a [`World`] with the real gateway, a scripted vLLM and a database of
//! its own, clients that behave and clients that do not, and a look into the books.
//!
//! Nothing here sleeps. What takes time is waited for by its own sign: the upstream's counts, a change of
//! the books, the end of a connection.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! use support::{World, chat};
//!
//! let world = World::start().await;
//! let ada = world.register().await;
//! let answer = ada.post("/v1/chat/completions", &chat("Hello").max_tokens(5).json()).await;
//! assert_eq!(answer.status, 200);
//! world.settle().await;
//! assert_eq!(world.used(&ada).await, world.generated());
//! # }
//! ```

mod ask;
pub mod browser;
mod dice;
mod front;
mod kept;
mod lock;
mod person;
mod program;
pub mod provider;
mod raw;
mod site;
pub mod smtp;
mod store;
mod stream;
mod world;

use std::time::Duration;

pub use llm_gate_gateway::client::{Answer, Client};

pub use self::ask::{Ask, chat, completion, embedding};
pub use self::dice::{Dice, rounds};
pub use self::front::Front;
pub use self::kept::Kept;
pub use self::lock::Lock;
pub use self::person::Person;
pub use self::program::{Finished, Server, program};
pub use self::raw::Raw;
pub use self::site::{Plan, Site, database};
pub use self::store::{Tally, WatchedStore};
pub use self::stream::{Ended, Events, Http2};
pub use self::world::{Builder, World};

/// How long anything may take before a test is given up as hanging. Nothing is measured against it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `event`.
///
/// # Panics
///
/// Panics with `what` where a test would hang.
pub async fn in_time<F: Future>(what: &str, event: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, event).await {
        Ok(output) => output,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
