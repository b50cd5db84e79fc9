//! The OpenAI Admin API.

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    const PROJECT: &str = "project_id";
    // What makes something that is an account's: the operator has none.
    let owned = |operation| row(operation, Door::Admin);
    let row = |operation| row(operation, Door::AdminOrOperator);
    let within = |operation| row(operation).with(PROJECT, Thing::Project);
    // 2026-01-01, when the clock of a gate starts.
    let since = |_: &Value| "start_time=1767225600".to_owned();
    vec![
        row("GET /v1/organization/users"),
        row("GET /v1/organization/users/{user_id}").with("user_id", Thing::Somebody),
        row("POST /v1/organization/users/{user_id}").with("user_id", Thing::Somebody),
        row("DELETE /v1/organization/users/{user_id}").with("user_id", Thing::Somebody),
        row("GET /v1/organization/invites"),
        row("POST /v1/organization/invites")
            .with("email", Thing::NewAddress)
            .body(|is| json!({ "email": is["email"], "role": "reader" })),
        row("GET /v1/organization/invites/{invite_id}").with("invite_id", Thing::Invite),
        row("DELETE /v1/organization/invites/{invite_id}").with("invite_id", Thing::Invite),
        row("GET /v1/organization/projects"),
        owned("POST /v1/organization/projects"),
        within("GET /v1/organization/projects/{project_id}"),
        within("POST /v1/organization/projects/{project_id}"),
        row("POST /v1/organization/projects/{project_id}/archive")
            .with(PROJECT, Thing::SpareProject),
        within("GET /v1/organization/projects/{project_id}/users"),
        within("POST /v1/organization/projects/{project_id}/users")
            .with("user", Thing::Somebody)
            .body(|is| json!({ "user_id": is["user"], "role": "member" })),
        within("GET /v1/organization/projects/{project_id}/users/{user_id}")
            .with("user_id", Thing::Member),
        within("POST /v1/organization/projects/{project_id}/users/{user_id}")
            .with("user_id", Thing::Member),
        within("DELETE /v1/organization/projects/{project_id}/users/{user_id}")
            .with("user_id", Thing::Member),
        within("GET /v1/organization/projects/{project_id}/service_accounts"),
        // A key for calls could do more than some of those that make it.
        within("POST /v1/organization/projects/{project_id}/service_accounts")
            .body(|_| json!({ "name": "ci", "create_service_account_only": true })),
        within("GET /v1/organization/projects/{project_id}/service_accounts/{service_account_id}")
            .with("service_account_id", Thing::Service),
        within("POST /v1/organization/projects/{project_id}/service_accounts/{service_account_id}")
            .with("service_account_id", Thing::Service),
        within(
            "DELETE /v1/organization/projects/{project_id}/service_accounts/{service_account_id}",
        )
        .with("service_account_id", Thing::Service),
        // For calls it could do more than some of those that make it.
        within(
            "POST /v1/organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys",
        )
        .with("service_account_id", Thing::Service)
        .body(|_| json!({ "name": "nightly", "scopes": ["usage"] })),
        within("GET /v1/organization/projects/{project_id}/api_keys"),
        within("POST /v1/organization/projects/{project_id}/api_keys/{api_key_id}")
            .with("api_key_id", Thing::ServiceKey)
            .body(|_| json!({ "scopes": ["usage"] })),
        within("GET /v1/organization/projects/{project_id}/api_keys/{api_key_id}")
            .with("api_key_id", Thing::OthersKey),
        within("DELETE /v1/organization/projects/{project_id}/api_keys/{api_key_id}")
            .with("api_key_id", Thing::OthersKey),
        within("GET /v1/organization/projects/{project_id}/rate_limits"),
        within("POST /v1/organization/projects/{project_id}/rate_limits/{rate_limit_id}")
            .with("rate_limit_id", Thing::Word("rl-tiny"))
            .body(|_| json!({ "max_requests_per_1_minute": 1_000_000 })),
        row("GET /v1/organization/admin_api_keys"),
        owned("POST /v1/organization/admin_api_keys"),
        row("GET /v1/organization/admin_api_keys/{key_id}").with("key_id", Thing::AdminKey),
        row("GET /v1/organization/admin_api_keys/{key_id}")
            .about("of another admin")
            .with("key_id", Thing::OthersAdminKey),
        row("DELETE /v1/organization/admin_api_keys/{key_id}").with("key_id", Thing::AdminKey),
        row("DELETE /v1/organization/admin_api_keys/{key_id}")
            .about("of another admin")
            .with("key_id", Thing::OthersAdminKey),
        row("GET /v1/organization/usage/completions").query(since),
        row("GET /v1/organization/usage/embeddings").query(since),
        row("GET /v1/organization/costs").query(since),
        row("GET /v1/organization/audit_logs"),
    ]
}
