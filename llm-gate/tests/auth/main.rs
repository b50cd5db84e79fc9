//! Authentication through its public API alone.
#![cfg(feature = "aws-lc-rs")]

mod attacks;
mod claims;
mod counters;
mod credentials;
mod foreign;
mod forge;
mod id_token;
mod jwks;
mod jwt;
mod keys;
mod layer;
mod published;
mod races;
mod scene;
