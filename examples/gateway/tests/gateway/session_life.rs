//! How long sessions live, and which of them.

use std::time::Duration;

use http::StatusCode;
use llm_gate::clock::Clock;
use llm_gate::identity::SessionId;
use llm_gate::store::{Author, MAX_SESSIONS, NewSession, TokenHash};
use serde_json::json;

use super::support::{Gate, on_both};

const REFRESH: &str = "/api/v1/auth/refresh";
const SESSIONS: &str = "/api/v1/users/me/sessions";

on_both! {
    one_login_too_many_ends_the_oldest_session;
}

async fn one_login_too_many_ends_the_oldest_session(gate: Gate) {
    let ada = gate.person("ada").await;
    gate.clock.advance(Duration::from_secs(1));
    let (books, now) = (gate.books().await, gate.clock.now());
    for number in 1..MAX_SESSIONS {
        let mut token = [0; 32];
        token[..8].copy_from_slice(&number.to_le_bytes());
        let session = NewSession {
            id: SessionId::new(),
            user: ada.id.parse().expect("an id"),
            token: TokenHash(token),
            idle_until: now.after(Duration::from_secs(3600)),
            ends_at: now.after(Duration::from_secs(3600)),
            agent: None,
            author: Author::system(now),
        };
        books.create_session(session).await.expect("kept");
    }
    assert_eq!(
        ada.get(SESSIONS).await.status,
        StatusCode::OK,
        "there is room for so many"
    );
    gate.clock.advance(Duration::from_secs(1));
    let other = gate.enter("ada").await;
    let listed = other.get(SESSIONS).await.json();
    let listed = listed["sessions"].as_array().map(Vec::len);
    assert_eq!(listed, Some(MAX_SESSIONS), "there are never more");
    let first = ada.get(SESSIONS).await;
    assert_eq!(
        first.status,
        StatusCode::UNAUTHORIZED,
        "the oldest has ended"
    );
    let refreshed = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(
        refreshed.status,
        StatusCode::UNAUTHORIZED,
        "and does not come back"
    );
}
