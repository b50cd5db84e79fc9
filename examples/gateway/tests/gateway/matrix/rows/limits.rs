//! Limits, and what models cost.

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    const STEWARD: Door = Door::ScopedOrOperator(Scope::Manage);
    let list = |about| row("GET /api/v1/limits", STEWARD).about(about);
    let set = |about| row("PUT /api/v1/limits", STEWARD).about(about);
    let remove = |about| row("DELETE /api/v1/limits", STEWARD).about(about);
    let of_user = |is: &Value| named("user", is);
    let of_project = |is: &Value| named("project", is);
    let of_key = |is: &Value| named("key", is);
    vec![
        list("of everybody").for_admins(),
        list("of oneself").with("id", Thing::Me).query(of_user),
        list("of somebody else")
            .with("id", Thing::Olga)
            .query(of_user)
            .seen_from(Role::Platform),
        list("of a project")
            .inside("id", Role::Admin)
            .query(of_project),
        list("of an own key")
            .with("id", Thing::OwnKey)
            .query(of_key)
            .seen_from(Role::Member),
        list("of another's key")
            .with("id", Thing::OthersKey)
            .query(of_key)
            .seen_from(Role::Admin),
        set("of everybody")
            .for_admins()
            .body(|_| limit(json!({ "subject": "platform" }))),
        set("of oneself")
            .with("id", Thing::Me)
            .body(|is| limit(json!({ "subject": "user", "id": is["id"] }))),
        set("of somebody else")
            .with("id", Thing::Olga)
            .body(|is| limit(json!({ "subject": "user", "id": is["id"] })))
            .seen_from(Role::Platform),
        set("of a project")
            .inside("id", Role::Owner)
            .body(|is| limit(json!({ "subject": "project", "id": is["id"] }))),
        set("of an own key")
            .with("id", Thing::OwnKey)
            .body(|is| limit(json!({ "subject": "key", "id": is["id"] })))
            .seen_from(Role::Member),
        set("of another's key")
            .with("id", Thing::OthersKey)
            .body(|is| limit(json!({ "subject": "key", "id": is["id"] })))
            .seen_from(Role::Admin),
        remove("of everybody")
            .with("limit", Thing::PlatformLimit)
            .for_admins()
            .query(|_| "subject=platform&unit=tokens&period=month".to_owned()),
        // Who may lower a limit does not remove it.
        remove("of oneself")
            .with("limit", Thing::OwnLimit)
            .with("id", Thing::Me)
            .for_admins()
            .query(|is| one(named("user", is))),
        remove("of somebody else")
            .with("limit", Thing::OlgasLimit)
            .with("id", Thing::Olga)
            .seen_from(Role::Platform)
            .query(|is| one(named("user", is))),
        remove("of a project")
            .with("limit", Thing::ProjectLimit)
            .inside("id", Role::Platform)
            .query(|is| one(named("project", is))),
        // A key lowers limits and does no more.
        remove("of a key")
            .with("id", Thing::LimitedKey)
            .place(Role::Admin)
            .without_key()
            .query(|is| one(named("key", is))),
        row("GET /api/v1/prices", STEWARD),
        row("PUT /api/v1/prices", Door::AdminOrOperator),
        row("DELETE /api/v1/prices", Door::AdminOrOperator)
            .with("model", Thing::Price)
            .query(|is| format!("model={}", text(&is["model"]))),
    ]
}

fn named(subject: &str, is: &Value) -> String {
    format!("subject={subject}&id={}", text(&is["id"]))
}

fn one(named: String) -> String {
    format!("{named}&unit=tokens&period=month")
}

/// A limit that stops nobody.
fn limit(mut of: Value) -> Value {
    of["unit"] = "tokens".into();
    of["period"] = "month".into();
    of["amount"] = 1_000_000_000.into();
    of
}
