//! Models and calls of them, and what was used.

use super::*;

pub(in crate::matrix) fn rows() -> Vec<Row> {
    const CALLER: Door = Door::Scoped(Scope::Inference);
    let models = Scope::Models;
    let admin = |operation| row(operation, Door::AdminOrOperator);
    vec![
        row("GET /api/v1/models", Door::ScopedOrOperator(models)),
        row("GET /v1/models", Door::Scoped(models)),
        row("GET /v1/models/{id}", Door::Scoped(models)).with("id", Thing::Word("tiny")),
        row("POST /v1/chat/completions", CALLER).body(chat),
        row("POST /v1/completions", CALLER)
            .body(|_| json!({ "model": "tiny", "max_tokens": 1, "prompt": "Once" })),
        row("POST /v1/embeddings", CALLER).body(|_| json!({ "model": "tiny", "input": "Once" })),
        row("GET /api/v1/users/me/usage", READER),
        row("GET /api/v1/usage/daily", READER),
        row("GET /api/v1/usage/calls", READER),
        row("GET /api/v1/usage/summary", READER),
        row("GET /api/v1/projects/{id}/usage", READER).inside("id", Role::Member),
        row("GET /api/v1/tokens/project/{project}", READER).inside("project", Role::Member),
        row("GET /api/v1/tokens/usage/{session}", READER).with("session", Thing::Conversation),
        row("GET /api/v1/tokens/usage/{session}", READER)
            .about("of somebody else")
            .with("session", Thing::OthersConversation)
            .foreign(),
        row("GET /api/v1/projects/{id}/usage/calls", READER).inside("id", Role::Member),
        row("GET /api/v1/projects/{id}/usage/summary", READER).inside("id", Role::Member),
        row("GET /api/v1/projects/{id}/conversations", READER).inside("id", Role::Member),
        row("GET /api/v1/projects/{id}/conversations/{session}", READER)
            .inside("id", Role::Member)
            .with("session", Thing::ProjectConversation),
        row("GET /api/v1/projects/{id}/conversations/{session}", READER)
            .about("of another project")
            .inside("id", Role::Member)
            .with("session", Thing::ConversationElsewhere)
            .foreign(),
        admin("GET /api/v1/users/{id}/usage/daily").with("id", Thing::Olga),
        admin("GET /api/v1/users/{id}/usage/calls").with("id", Thing::Olga),
        admin("GET /api/v1/users/{id}/usage/summary").with("id", Thing::Olga),
        admin("GET /api/v1/platform/usage/daily"),
        admin("GET /api/v1/platform/usage/calls"),
        admin("GET /api/v1/platform/usage/summary"),
        admin("GET /api/v1/tokens/stats"),
    ]
}
