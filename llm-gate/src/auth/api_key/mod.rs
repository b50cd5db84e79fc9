//! API keys: their form, their hash, and a verifier that asks the store as rarely as it may.

mod entry;
mod hasher;
mod records;
mod secret;
mod verifier;

pub use hasher::KeyHasher;
pub(super) use secret::PREFIX;
pub use secret::{ApiKeySecret, PresentedKey};
pub use verifier::ApiKeyVerifier;
