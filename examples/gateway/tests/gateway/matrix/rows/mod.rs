//! The rows, in groups that are tried beside one another.
//!
//! A new operation is a row in the file that it fits in: `row("METHOD /path", Door::…)`, then what one has to be in which
//! project, and what the request names. Where the same operation is used in several ways it has several rows.

pub(super) mod account;
pub(super) mod entering;
pub(super) mod keys;
pub(super) mod limits;
pub(super) mod open;
pub(super) mod organization;
pub(super) mod platform;
pub(super) mod projects;
pub(super) mod reports;

use llm_gate::identity::Scope;
use serde_json::{Value, json};

use super::access::{Door, Role, Row, row};
use super::things::Thing;

/// A login, or a key that may manage.
const ACCOUNT: Door = Door::Scoped(Scope::Manage);
/// A login, or a key that may read reports.
const READER: Door = Door::Scoped(Scope::Usage);

/// A call that costs little.
pub(super) fn chat(_: &Value) -> Value {
    json!({ "model": "tiny", "max_tokens": 1, "messages": [{ "role": "user", "content": "Hello!" }] })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
