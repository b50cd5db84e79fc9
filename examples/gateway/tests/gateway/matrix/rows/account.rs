//! The own account.

use super::*;
use crate::support::PASSWORD;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let login = |operation| row(operation, Door::Login);
    let steward = Door::ScopedOrOperator(Scope::Manage);
    let audit = |about| row("GET /api/v1/audit", steward).about(about);
    let token = |is: &Value| json!({ "token": is["token"] });
    let password = |_: &Value| json!({ "password": PASSWORD });
    vec![
        row("GET /api/v1/users/me", ACCOUNT),
        row("PUT /api/v1/users/me/token-limit", ACCOUNT).body(|_| json!({ "token_limit": 9_000 })),
        login("PATCH /api/v1/users/me"),
        login("DELETE /api/v1/users/me")
            .by_a_double()
            .body(password),
        login("PUT /api/v1/users/me/password").by_a_double().body(
            |_| json!({ "current_password": PASSWORD, "new_password": "battery horse correct" }),
        ),
        login("GET /api/v1/users/me/sessions"),
        login("DELETE /api/v1/users/me/sessions").by_a_double(),
        login("DELETE /api/v1/users/me/sessions/{id}").with("id", Thing::Session),
        login("DELETE /api/v1/users/me/sessions/{id}")
            .about("of somebody else")
            .with("id", Thing::OthersSession)
            .foreign(),
        login("GET /api/v1/users/me/identities"),
        login("POST /api/v1/users/me/identities")
            .body(|_| json!({ "provider": "google", "password": PASSWORD })),
        login("DELETE /api/v1/users/me/identities/{id}").with("id", Thing::Identity),
        login("DELETE /api/v1/users/me/identities/{id}")
            .about("of somebody else")
            .with("id", Thing::OthersIdentity)
            .foreign(),
        login("POST /api/v1/users/me/email/verification").with("email", Thing::Unconfirmed),
        login("POST /api/v1/auth/email/verify")
            .with("token", Thing::VerifyToken)
            .body(token),
        login("POST /api/v1/invites/accept")
            .with("token", Thing::InviteForMe)
            .body(token),
        audit("of the own doings, or of everybody's"),
        audit("of a project")
            .inside("id", Role::Admin)
            .query(|is| format!("project_id={}", text(&is["id"]))),
        audit("of somebody else")
            .with("id", Thing::Olga)
            .query(|is| format!("actor_id={}", text(&is["id"])))
            .for_admins(),
    ]
}
