//! What only admins may do.

use http::StatusCode;
use serde_json::json;

use super::support::start;

#[tokio::test]
async fn admins_list_users_page_by_page() {
    let gate = start().await;
    for name in ["ada", "bea", "eve"] {
        gate.person(name).await;
    }
    let root = gate.admin().await;
    let first = root.get("/api/v1/users?limit=3").await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    assert_eq!(first.json()["users"].as_array().map(Vec::len), Some(3));
    let cursor = first.text("next_cursor");
    let second = root
        .get(&format!("/api/v1/users?limit=3&cursor={cursor}"))
        .await
        .json();
    assert_eq!(second["users"].as_array().map(Vec::len), Some(1));
    assert!(second["next_cursor"].is_null());
    for wrong in ["limit=0", "limit=101", "limit=x", "cursor=x", "page=2"] {
        let answer = root.get(&format!("/api/v1/users?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn admins_see_anybody_and_set_any_limit() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let path = format!("/api/v1/users/{}", ada.id);
    assert_eq!(root.get(&path).await.text("username"), "ada");
    for limit in [json!(50_000), json!(null)] {
        let answer = root
            .put(
                &format!("{path}/token-limit"),
                json!({ "token_limit": limit }),
            )
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(
            ada.get("/api/v1/users/me").await.json()["token_limit"],
            limit
        );
    }
    let own = root
        .put(
            "/api/v1/users/me/token-limit",
            json!({ "token_limit": 99_999 }),
        )
        .await;
    assert_eq!(
        own.status,
        StatusCode::OK,
        "an admin may raise the own limit"
    );
    for missing in [ada.project.as_str(), "x"] {
        let path = format!("/api/v1/users/{missing}");
        assert_eq!(root.get(&path).await.status, StatusCode::NOT_FOUND);
        let limit = root
            .put(&format!("{path}/token-limit"), json!({ "token_limit": 1 }))
            .await;
        assert_eq!(limit.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn others_may_not() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    assert_eq!(eve.get("/api/v1/users").await.status, StatusCode::FORBIDDEN);
    let path = format!("/api/v1/users/{}", ada.id);
    assert_eq!(eve.get(&path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(gate.get(&path).await.status, StatusCode::UNAUTHORIZED);
    for id in [&ada.id, &eve.id] {
        let path = format!("/api/v1/users/{id}/token-limit");
        let answer = eve.put(&path, json!({ "token_limit": 5 })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}
