//! Diesel.
