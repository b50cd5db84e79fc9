//! API keys of a project.

use http::StatusCode;

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    let row = |operation| row(operation, ACCOUNT);
    let usage = |is: &Value| json!({ "service_id": is["service"], "scopes": ["usage"] });
    let mut rows = vec![
        row("GET /api/v1/projects/{id}/api-keys").inside("id", Role::Member),
        row("GET /api/v1/projects/{id}/api-keys")
            .about("of all")
            .inside("id", Role::Admin)
            .query(|_| "all=true".to_owned()),
        // A key makes none that may do more than itself.
        row("POST /api/v1/projects/{id}/api-keys")
            .inside("id", Role::Member)
            .for_members(StatusCode::CONFLICT)
            .body(|_| json!({ "scopes": ["manage"] })),
        row("POST /api/v1/projects/{id}/api-keys")
            .about("for a service account")
            .inside("id", Role::Admin)
            .with("service", Thing::Service)
            .body(usage),
        row("POST /api/v1/projects/{id}/api-keys")
            .about("for a service account of another project")
            .with("id", Thing::Home)
            .with("service", Thing::Service)
            .body(usage)
            .foreign(),
    ];
    type Way = fn(Row) -> Row;
    let same: Way = |row| row;
    let named: Way = |row| row.body(|_| json!({ "name": "desktop" }));
    let ways: [(&'static str, Way, Thing); 4] = [
        (
            "GET /api/v1/projects/{id}/api-keys/{key}",
            same,
            Thing::OthersKey,
        ),
        (
            "PATCH /api/v1/projects/{id}/api-keys/{key}",
            named,
            Thing::OthersKey,
        ),
        (
            "POST /api/v1/projects/{id}/api-keys/{key}/revoke",
            same,
            Thing::OthersKey,
        ),
        // Whoever has the new secret may do what the key may, so it is one that may do little.
        (
            "POST /api/v1/projects/{id}/api-keys/{key}/rotate",
            same,
            Thing::ServiceKey,
        ),
    ];
    for (operation, way, others) in ways {
        let of = |about, key| way(row(operation)).about(about).with("key", key);
        rows.extend([
            of("of one's own", Thing::OwnKey).inside("id", Role::Member),
            of("of another member", others)
                .inside("id", Role::Member)
                .seen_from(Role::Admin),
            of("of a stranger", Thing::KeyElsewhere)
                .inside("id", Role::Member)
                .foreign(),
            of("of another project", others)
                .with("id", Thing::Home)
                .foreign(),
        ]);
    }
    rows
}
