//! Projects: made, renamed, closed, and out of sight for others (M-15 to M-18).

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::{Gate, Person, send, start};

const PROJECTS: &str = "/api/v1/projects";

impl Person {
    /// Makes a project.
    pub(crate) async fn make_project(&self) -> String {
        let made = self.post(PROJECTS, json!({ "name": "Research" })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.text("id")
    }

    /// Makes a key in a project.
    pub(crate) async fn key_in(&self, project: &str) -> String {
        let path = format!("{PROJECTS}/{project}/api-keys");
        let made = self.post(&path, json!({})).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.text("api_key")
    }
}

impl Gate {
    /// Asks what a key is good for: a status.
    pub(crate) async fn with_key(&self, key: &str) -> StatusCode {
        self.told_everywhere();
        let client = self.client.bearer(key);
        let ask = async || client.get("/v1/models").await.expect("an answer").status;
        self.agreed(ask).await
    }
}

#[tokio::test]
async fn a_project_is_its_makers_and_has_a_name_that_can_be_read() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let nameless = ada.post(PROJECTS, json!({})).await;
    assert_eq!(nameless.status, StatusCode::CREATED, "{nameless:?}");
    assert_eq!(nameless.text("name").split('-').count(), 3, "{nameless:?}");
    assert_eq!(nameless.text("role"), "owner");
    let named = ada.post(PROJECTS, json!({ "name": " Research " })).await;
    assert_eq!(named.text("name"), "Research");
    let path = format!("{PROJECTS}/{}", named.text("id"));
    assert_eq!(ada.get(&path).await.json(), named.json());
    for body in [
        json!({ "name": "" }),
        json!({ "name": "x".repeat(101) }),
        json!({ "owner": "eve" }),
    ] {
        let answer = ada.post(PROJECTS, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let nobody = gate.post(PROJECTS, json!({})).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn projects_come_page_by_page_and_each_once() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let mut made = vec![ada.project.clone()];
    for _ in 0..4 {
        gate.clock.advance(Duration::from_secs(1));
        made.push(ada.make_project().await);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = ada.get(&format!("{PROJECTS}?limit=2{cursor}")).await.json();
        let projects = page["projects"].as_array().expect("a list").clone();
        assert!(projects.len() <= 2, "{page}");
        seen.extend(projects.iter().map(|project| project["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    made.sort();
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, made);
    for wrong in ["limit=0", "limit=101", "cursor=x", "offset=1"] {
        let answer = ada.get(&format!("{PROJECTS}?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn those_who_manage_a_project_give_it_another_name() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let path = format!("{PROJECTS}/{}", ada.make_project().await);
    let members = format!("{path}/members");
    ada.post(&members, json!({ "user_id": eve.id })).await;
    let name = json!({ "name": "Development" });
    let member = eve.patch(&path, name.clone()).await;
    assert_eq!(member.status, StatusCode::FORBIDDEN, "members use it only");
    let admin = json!({ "user_id": eve.id, "role": "admin" });
    ada.post(&members, admin).await;
    let renamed = eve.patch(&path, name).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    assert_eq!(renamed.text("role"), "admin", "as the caller sees it");
    assert_eq!(ada.get(&path).await.text("name"), "Development");
    for body in [json!({}), json!({ "name": null }), json!({ "name": "" })] {
        let answer = ada.patch(&path, body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
}

#[tokio::test]
async fn a_closed_project_is_gone_with_its_keys_for_everybody() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let path = format!("{PROJECTS}/{project}");
    let admin = json!({ "user_id": eve.id, "role": "admin" });
    ada.post(&format!("{path}/members"), admin).await;
    let keys = [ada.key_in(&project).await, eve.key_in(&project).await];
    let own = ada.key_in(&ada.project).await;
    for key in &keys {
        assert_eq!(gate.with_key(key).await, StatusCode::OK);
    }
    assert_eq!(
        eve.delete(&path).await.status,
        StatusCode::FORBIDDEN,
        "only owners close it"
    );
    assert_eq!(ada.delete(&path).await.status, StatusCode::NO_CONTENT);
    for key in &keys {
        assert_eq!(gate.with_key(key).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(gate.with_key(&own).await, StatusCode::OK);
    for person in [&ada, &eve] {
        assert_eq!(person.get(&path).await.status, StatusCode::NOT_FOUND);
        let listed = person.get(PROJECTS).await.json().to_string();
        assert!(!listed.contains(&project), "{listed}");
    }
    assert_eq!(
        ada.delete(&path).await.status,
        StatusCode::NOT_FOUND,
        "once"
    );
}

#[tokio::test]
async fn a_personal_project_lives_as_long_as_its_user() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = format!("{PROJECTS}/{}", ada.project);
    assert_eq!(ada.delete(&path).await.status, StatusCode::CONFLICT);
    let leave = format!("{path}/members/{}", ada.id);
    assert_eq!(ada.delete(&leave).await.status, StatusCode::CONFLICT);
    let demoted = json!({ "user_id": ada.id, "role": "member" });
    let demoted = ada.post(&format!("{path}/members"), demoted).await;
    assert_eq!(demoted.status, StatusCode::CONFLICT);
    assert_eq!(ada.get(&path).await.text("role"), "owner");
}

/// Every route below a project, with a body that is good elsewhere.
fn routes(project: &str, user: &str) -> Vec<(Method, String, Value)> {
    let path = format!("{PROJECTS}/{project}");
    let key = format!("{path}/api-keys/{user}");
    vec![
        (Method::GET, path.clone(), Value::Null),
        (Method::PATCH, path.clone(), json!({ "name": "Mine" })),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::GET, format!("{path}/members"), Value::Null),
        (
            Method::POST,
            format!("{path}/members"),
            json!({ "user_id": user, "role": "owner" }),
        ),
        (
            Method::DELETE,
            format!("{path}/members/{user}"),
            Value::Null,
        ),
        (
            Method::POST,
            format!("{path}/services"),
            json!({ "name": "ci" }),
        ),
        (Method::GET, format!("{path}/invites"), Value::Null),
        (
            Method::POST,
            format!("{path}/invites"),
            json!({ "email": "eve@example.org" }),
        ),
        (
            Method::DELETE,
            format!("{path}/invites/{user}"),
            Value::Null,
        ),
        (Method::GET, format!("{path}/api-keys"), Value::Null),
        (Method::POST, format!("{path}/api-keys"), json!({})),
        (Method::GET, key.clone(), Value::Null),
        (Method::PATCH, key.clone(), json!({ "name": "mine" })),
        (Method::POST, format!("{key}/rotate"), json!({})),
        (Method::POST, format!("{key}/revoke"), Value::Null),
        (Method::GET, format!("{path}/usage"), Value::Null),
        (
            Method::GET,
            format!("/api/v1/audit?project_id={project}"),
            Value::Null,
        ),
    ]
}

/// Sends a body if there is one.
async fn ask(person: &Person, (method, path, body): (Method, String, Value)) -> (u16, String) {
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let answer = send(&person.session, method, &path, &[], body).await;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    (answer.status.as_u16(), text)
}

#[tokio::test]
async fn a_foreign_project_looks_as_if_it_did_not_exist_on_every_route() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let foreign = routes(&project, &eve.id);
    let nowhere = routes(&eve.id, &eve.id);
    let nonsense = routes("x", &eve.id);
    for ((foreign, nowhere), nonsense) in foreign.into_iter().zip(nowhere).zip(nonsense) {
        let route = format!("{} {}", foreign.0, foreign.1);
        let (found, not_found) = (ask(&eve, foreign).await, ask(&eve, nowhere).await);
        assert_eq!(found.0, 404, "{route}");
        assert_eq!(found, not_found, "{route}");
        let (nonsense, words) = ask(&eve, nonsense).await;
        assert!(matches!(nonsense, 404 | 422), "{route}: {nonsense} {words}");
    }
    let members = ada.get(&format!("{PROJECTS}/{project}/members")).await;
    assert_eq!(
        members.json()["members"].as_array().map(Vec::len),
        Some(1),
        "nothing has happened to it"
    );
}

#[tokio::test]
async fn members_without_a_role_manage_nothing() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let path = format!("{PROJECTS}/{project}");
    let member = json!({ "user_id": eve.id });
    ada.post(&format!("{path}/members"), member).await;
    for (method, route, body) in [
        (Method::PATCH, path.clone(), json!({ "name": "Mine" })),
        (Method::DELETE, path.clone(), Value::Null),
        (
            Method::POST,
            format!("{path}/members"),
            json!({ "user_id": eve.id, "role": "owner" }),
        ),
        (
            Method::DELETE,
            format!("{path}/members/{}", ada.id),
            Value::Null,
        ),
        (
            Method::POST,
            format!("{path}/services"),
            json!({ "name": "ci" }),
        ),
        (Method::GET, format!("{path}/invites"), Value::Null),
        (
            Method::POST,
            format!("{path}/invites"),
            json!({ "email": "eve@example.org" }),
        ),
        (
            Method::DELETE,
            format!("{path}/invites/{}", eve.id),
            Value::Null,
        ),
        (
            Method::GET,
            format!("{path}/api-keys?all=true"),
            Value::Null,
        ),
        (
            Method::POST,
            format!("{path}/api-keys"),
            json!({ "service_id": ada.id }),
        ),
        (
            Method::GET,
            format!("/api/v1/audit?project_id={project}"),
            Value::Null,
        ),
    ] {
        let words = format!("{method} {route}");
        assert_eq!(ask(&eve, (method, route, body)).await.0, 403, "{words}");
    }
    assert_eq!(
        eve.get(&format!("{path}/members")).await.status,
        StatusCode::OK,
        "they see with whom they are"
    );
}

#[tokio::test]
async fn admins_of_the_platform_manage_every_project_member_or_not() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let strange = format!("{PROJECTS}/{}", ada.make_project().await);
    let joined = format!("{PROJECTS}/{}", ada.make_project().await);
    let member = json!({ "user_id": root.id, "role": "member" });
    let member = ada.post(&format!("{joined}/members"), member).await;
    assert_eq!(member.status, StatusCode::OK, "{member:?}");
    for path in [strange, joined] {
        let renamed = root.patch(&path, json!({ "name": "Watched" })).await;
        assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
        let owner = json!({ "user_id": root.id, "role": "owner" });
        let owner = root.post(&format!("{path}/members"), owner).await;
        assert_eq!(owner.status, StatusCode::OK, "{owner:?}");
        let closed = root.delete(&path).await;
        assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
        assert_eq!(root.get(&path).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn nobody_makes_projects_without_end() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    // The personal one is the first of 500.
    for count in [20; 24].into_iter().chain([19]) {
        let made = (0..count).map(|_| ada.post(PROJECTS, json!({})));
        futures_util::future::join_all(made).await;
    }
    let full = ada.post(PROJECTS, json!({})).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let page = ada.get(&format!("{PROJECTS}?limit=1")).await.json();
    let oldest = page["next_cursor"].as_str().expect("more").to_owned();
    let next = ada
        .get(&format!("{PROJECTS}?limit=1&cursor={oldest}"))
        .await;
    let next = next.json()["projects"][0]["id"].clone();
    let path = format!("{PROJECTS}/{}", next.as_str().expect("an id"));
    assert_eq!(ada.delete(&path).await.status, StatusCode::NO_CONTENT);
    let room = ada.post(PROJECTS, json!({})).await;
    assert_eq!(room.status, StatusCode::CREATED, "{room:?}");
}
