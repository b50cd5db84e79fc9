//! Projects, and who is in them.

use http::StatusCode;

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let row = |operation| row(operation, ACCOUNT);
    let member = |is: &Value| json!({ "user_id": is["user"], "role": "member" });
    let owner = |is: &Value| json!({ "user_id": is["user"], "role": "owner" });
    let email = |is: &Value| json!({ "email": is["email"] });
    vec![
        row("GET /api/v1/projects"),
        row("POST /api/v1/projects"),
        row("GET /api/v1/projects/{id}").inside("id", Role::Member),
        row("PATCH /api/v1/projects/{id}").inside("id", Role::Admin),
        row("DELETE /api/v1/projects/{id}")
            .with("id", Thing::SpareProject)
            .place(Role::Owner),
        row("GET /api/v1/projects/{id}/members").inside("id", Role::Member),
        row("POST /api/v1/projects/{id}/members")
            .inside("id", Role::Admin)
            .with("user", Thing::Somebody)
            .body(member),
        row("POST /api/v1/projects/{id}/members")
            .about("as an owner")
            .inside("id", Role::Owner)
            .with("user", Thing::Somebody)
            .body(owner),
        row("DELETE /api/v1/projects/{id}/members/{user}")
            .inside("id", Role::Admin)
            .with("user", Thing::Member),
        row("DELETE /api/v1/projects/{id}/members/{user}")
            .about("who owns it")
            .inside("id", Role::Owner)
            .with("user", Thing::OtherOwner),
        row("DELETE /api/v1/projects/{id}/members/{user}")
            .about("who leaves")
            .with("id", Thing::SpareProject)
            .place(Role::Member)
            .with("user", Thing::Me)
            .for_members(StatusCode::NOT_FOUND),
        row("DELETE /api/v1/projects/{id}/members/{user}")
            .about("who is in another project")
            .with("id", Thing::Home)
            .with("user", Thing::Olga)
            .foreign(),
        row("POST /api/v1/projects/{id}/services").inside("id", Role::Admin),
        row("GET /api/v1/projects/{id}/invites").inside("id", Role::Admin),
        row("POST /api/v1/projects/{id}/invites")
            .inside("id", Role::Admin)
            .with("email", Thing::NewAddress)
            .body(email),
        row("POST /api/v1/projects/{id}/invites")
            .about("as an owner")
            .inside("id", Role::Owner)
            .with("email", Thing::NewAddress)
            .body(|is| json!({ "email": is["email"], "role": "owner" })),
        row("DELETE /api/v1/projects/{id}/invites/{invite}")
            .inside("id", Role::Admin)
            .with("invite", Thing::ProjectInvite),
        row("DELETE /api/v1/projects/{id}/invites/{invite}")
            .about("to another project")
            .with("id", Thing::Home)
            .with("invite", Thing::ProjectInvite)
            .foreign(),
        row("DELETE /api/v1/projects/{id}/invites/{invite}")
            .about("to a stranger's project")
            .inside("id", Role::Admin)
            .with("invite", Thing::InviteElsewhere)
            .foreign(),
    ]
}
