//! How long sessions live, and which of them.

use std::time::Duration;

use http::StatusCode;
use llm_gate::clock::Clock;
use llm_gate::identity::SessionId;
use llm_gate::store::{Author, MAX_SESSIONS, NewSession, TokenHash};

use llm_gate_gateway::config::Config;
use serde_json::json;

use super::support::{Gate, on_both, start_on_postgres_with, start_with};

const DAY: Duration = Duration::from_secs(24 * 3600);
const ME: &str = "/api/v1/users/me";
const REFRESH: &str = "/api/v1/auth/refresh";
const SESSIONS: &str = "/api/v1/users/me/sessions";

on_both! {
    one_login_too_many_ends_the_oldest_session;
    a_disabled_user_is_out_at_once_and_its_sessions_for_good;
    an_admin_who_is_one_no_more_is_none_in_the_sessions_there_are;
}

async fn a_disabled_user_is_out_at_once_and_its_sessions_for_good(gate: Gate) {
    let (root, ada) = (gate.admin().await, gate.person("ada").await);
    let path = format!("/api/v1/users/{}", ada.id);
    let refresh = json!({ "refresh_token": ada.refresh });
    for (disabled, reason) in [
        (true, "it may do nothing"),
        (false, "what has ended has ended"),
    ] {
        let changed = root.patch(&path, json!({ "disabled": disabled })).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        for asked in [ME, "/v1/models"] {
            let answer = ada.get(asked).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{asked}: {reason}");
        }
        let refreshed = gate.post(REFRESH, refresh.clone()).await;
        assert_eq!(refreshed.status, StatusCode::UNAUTHORIZED, "{reason}");
    }
    let again = gate.enter("ada").await;
    assert_eq!(
        again.get(ME).await.status,
        StatusCode::OK,
        "who logs in anew is in"
    );
    assert_eq!(
        ada.get(ME).await.status,
        StatusCode::UNAUTHORIZED,
        "and alone"
    );
}

async fn an_admin_who_is_one_no_more_is_none_in_the_sessions_there_are(gate: Gate) {
    let (root, ada) = (gate.admin().await, gate.person("ada").await);
    let path = format!("/api/v1/users/{}", ada.id);
    let raised = root.patch(&path, json!({ "role": "admin" })).await;
    assert_eq!(raised.status, StatusCode::OK, "{raised:?}");
    // Its access token says so.
    let ada = gate.enter("ada").await;
    let routes = [
        "/api/v1/users",
        "/v1/organization/users",
        "/api/v1/audit?actor_id=",
    ];
    let routes = routes.map(|route| match route.ends_with('=') {
        true => format!("{route}{}", root.id),
        false => route.to_owned(),
    });
    for route in &routes {
        assert_eq!(ada.get(route).await.status, StatusCode::OK, "{route}");
    }
    let lowered = root.patch(&path, json!({ "role": "user" })).await;
    assert_eq!(lowered.status, StatusCode::OK, "{lowered:?}");
    assert_eq!(
        ada.get(ME).await.text("role"),
        "user",
        "the session goes on"
    );
    for route in &routes {
        let answer = ada.get(route).await;
        assert_eq!(
            answer.status,
            StatusCode::FORBIDDEN,
            "{route}: whatever the token says"
        );
    }
    let back = ada.patch(&path, json!({ "role": "admin" })).await;
    assert_eq!(back.status, StatusCode::FORBIDDEN, "{back:?}");
}

/// Refreshes in time, again and again, in sessions that live unused for two days and in all for five.
async fn a_session_ends_however_often_it_is_refreshed(gate: Gate) {
    let ada = gate.person("ada").await;
    let mut token = ada.refresh.clone();
    let mut next = async |reason: &str| {
        let pair = gate.post(REFRESH, json!({ "refresh_token": token })).await;
        if pair.status == StatusCode::OK {
            token = pair.text("refresh_token");
        } else {
            assert_eq!(pair.status, StatusCode::UNAUTHORIZED, "{reason}: {pair:?}");
        }
        pair.status == StatusCode::OK
    };
    for day in 1..5 {
        gate.clock.advance(DAY);
        assert!(next("in time").await, "day {day}");
    }
    gate.clock.advance(DAY - Duration::from_secs(1));
    assert!(next("the last second").await, "it lives for five days");
    gate.clock.advance(Duration::from_secs(1));
    assert!(!next("five days").await, "though it was used a second ago");

    let ada = gate.enter("ada").await;
    gate.clock.advance(2 * DAY);
    let idle = gate
        .post(REFRESH, json!({ "refresh_token": ada.refresh }))
        .await;
    assert_eq!(
        idle.status,
        StatusCode::UNAUTHORIZED,
        "two days unused are its end, too"
    );
}

fn five_days(config: &mut Config) {
    config.auth.refresh_idle_hours = 48;
    config.auth.refresh_total_hours = 5 * 24;
}

#[tokio::test]
async fn a_session_ends_however_often_it_is_refreshed_on_sqlite() {
    a_session_ends_however_often_it_is_refreshed(start_with(five_days).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_however_often_it_is_refreshed_on_postgres() {
    let gate = start_on_postgres_with(five_days).await;
    a_session_ends_however_often_it_is_refreshed(gate).await;
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
