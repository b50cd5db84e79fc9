//! What admins of the platform do.

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let row = |operation| row(operation, Door::AdminOrOperator);
    vec![
        row("GET /api/v1/users"),
        row("POST /api/v1/users")
            .with("name", Thing::NewName)
            .body(|is| json!({ "username": is["name"], "password": "battery horse correct" })),
        row("GET /api/v1/users/{id}").with("id", Thing::Somebody),
        row("PATCH /api/v1/users/{id}").with("id", Thing::Somebody),
        row("DELETE /api/v1/users/{id}").with("id", Thing::Somebody),
        row("PUT /api/v1/users/{id}/token-limit").with("id", Thing::Somebody),
        row("POST /api/v1/users/{id}/reset-usage").with("id", Thing::Somebody),
        row("POST /api/v1/users/{id}/reset-link").with("id", Thing::Somebody),
        row("GET /api/v1/invites"),
        row("POST /api/v1/invites")
            .with("email", Thing::NewAddress)
            .body(|is| json!({ "email": is["email"] })),
        row("DELETE /api/v1/invites/{id}").with("id", Thing::Invite),
        row("GET /api/v1/ledger/verify"),
        row("GET /api/v1/ledger/export"),
        row("GET /api/v1/ledger/presumed"),
        row("POST /api/v1/ledger/presumed/{id}/refund").with("id", Thing::Presumed),
    ]
}
