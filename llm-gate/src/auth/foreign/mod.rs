//! Tokens of other issuers: checked with the keys that each publishes, and mapped to accounts here.
//!
//! A company that has a login service wants its tokens to be taken as they are. A [`ForeignIssuer`] says
//! whose tokens, for which audience, with which algorithms, and where the public keys are (a JWKS URL,
//! RFC 7517). A token needs `iss`, `sub`, `aud`, `exp` and a `kid`; the rules of RFC 8725 hold. Whose
//! account a `sub` is, your [`Accounts`] says; without an account nobody gets in.
//!
//! Keys are fetched when they are first needed, kept, and fetched again in time. Nobody outside can make
//! the gate fetch more often than [once in a while](ForeignIssuer::pause), however many keys it invents.
//! When the issuer is away, the last keys hold for [a day](ForeignIssuer::stale). Fetches are bounded in
//! size and time, follow no redirect, and go by `https` only, but for loopback addresses.
//!
//! Where people log in with another issuer, an [`IdTokenVerifier`] checks the ID token that a login brings.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use llm_gate::auth::{Account, Accounts, AuthLayer, ForeignIssuer, ForeignVerifier, JwtAlgorithm};
//! use llm_gate::clock::SystemClock;
//! use llm_gate::identity::{ProjectId, UserId};
//! use llm_gate::store::StoreFuture;
//!
//! /// Knows one person.
//! #[derive(Debug)]
//! struct Ada(UserId, ProjectId);
//!
//! impl Accounts for Ada {
//!     fn account<'a>(&'a self, _: &'a str, subject: &'a str) -> StoreFuture<'a, Option<Account>> {
//!         let known = (subject == "ada").then(|| Account::new(self.0, self.1));
//!         Box::pin(async move { Ok(known) })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = "https://login.example/.well-known/jwks.json".parse()?;
//! let issuer = ForeignIssuer::new("https://login.example", "llm-gate", keys, [JwtAlgorithm::Rs256])?;
//! let accounts = Arc::new(Ada(UserId::new(), ProjectId::new()));
//! let verifier = ForeignVerifier::new([issuer], accounts, Arc::new(SystemClock))?;
//! let layer = AuthLayer::new(verifier); // or AnyVerifier::others, beside own tokens and keys
//! # let _: AuthLayer<ForeignVerifier> = layer;
//! # Ok(()) }
//! ```

mod accounts;
mod claims;
mod fetch;
mod id_token;
mod issuer;
mod keys;
mod unproven;
mod verifier;

pub use accounts::{Account, Accounts};
pub use id_token::{IdToken, IdTokenVerifier};
pub use issuer::{ForeignIssuer, InvalidIssuer};
pub use verifier::ForeignVerifier;
