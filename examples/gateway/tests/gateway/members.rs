//! Who belongs to a project, and the services it has (M-13, M-15).

use http::StatusCode;
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Author, MAX_SERVICES, NewProject, NewService, ProjectRole};
use llm_gate_gateway::client::Answer;
use llm_gate_gateway::config::Config;
use serde_json::{Value, json};

use super::support::{Gate, Person, on_both, start, start_on_postgres_with, start_with};

/// A project of Ada's with Eve as its admin and Bea as a member.
struct Team {
    gate: Gate,
    ada: Person,
    eve: Person,
    bea: Person,
    project: String,
    members: String,
}

async fn team() -> Team {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let (eve, bea) = (gate.person("eve").await, gate.person("bea").await);
    let project = ada.make_project().await;
    let members = format!("/api/v1/projects/{project}/members");
    for (user, role) in [(&eve, "admin"), (&bea, "member")] {
        let body = json!({ "user_id": user.id, "role": role });
        let added = ada.post(&members, body).await;
        assert_eq!(added.status, StatusCode::OK, "{added:?}");
    }
    Team {
        gate,
        ada,
        eve,
        bea,
        project,
        members,
    }
}

impl Team {
    async fn set(&self, by: &Person, who: &Person, role: &str) -> StatusCode {
        let body = json!({ "user_id": who.id, "role": role });
        by.post(&self.members, body).await.status
    }

    async fn remove(&self, by: &Person, who: &str) -> StatusCode {
        by.delete(&format!("{}/{who}", self.members)).await.status
    }

    async fn roles(&self) -> Vec<(String, String)> {
        let listed = self.ada.get(&self.members).await.json();
        let listed = listed["members"].as_array().expect("a list").clone();
        let text = |member: &Value, name| member[name].as_str().unwrap_or_default().to_owned();
        let mut roles: Vec<_> = listed
            .iter()
            .map(|member| (text(member, "username"), text(member, "role")))
            .collect();
        roles.sort();
        roles
    }
}

fn roles(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, role): &(&str, &str)| ((*name).to_owned(), (*role).to_owned());
    expected.iter().map(owned).collect()
}

#[tokio::test]
async fn members_are_added_by_their_id_with_a_role() {
    let team = team().await;
    let expected = [("ada", "owner"), ("bea", "member"), ("eve", "admin")];
    assert_eq!(team.roles().await, roles(&expected));
    let seen = team.bea.get("/api/v1/projects").await.json();
    assert_eq!(seen["projects"][1]["id"], team.project);
    assert_eq!(seen["projects"][1]["role"], "member");
    for (body, status) in [
        (json!({ "user_id": team.project }), StatusCode::NOT_FOUND),
        (json!({ "user_id": "x" }), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({}), StatusCode::UNPROCESSABLE_ENTITY),
        (
            json!({ "user_id": team.bea.id, "role": "root" }),
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
    ] {
        let answer = team.ada.post(&team.members, body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
    }
    assert_eq!(team.roles().await, roles(&expected), "nothing has changed");
}

#[tokio::test]
async fn members_come_page_by_page() {
    let team = team().await;
    let first = team.bea.get(&format!("{}?limit=2", team.members)).await;
    assert_eq!(first.json()["members"].as_array().map(Vec::len), Some(2));
    let cursor = first.text("next_cursor");
    let rest = format!("{}?limit=2&cursor={cursor}", team.members);
    let rest = team.bea.get(&rest).await.json();
    assert_eq!(rest["members"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest["next_cursor"], Value::Null);
}

#[tokio::test]
async fn only_owners_make_owners_and_change_what_owners_are() {
    let team = team().await;
    let Team { ada, eve, bea, .. } = &team;
    assert_eq!(team.set(eve, bea, "owner").await, StatusCode::FORBIDDEN);
    assert_eq!(team.set(eve, eve, "owner").await, StatusCode::FORBIDDEN);
    assert_eq!(team.set(eve, ada, "member").await, StatusCode::FORBIDDEN);
    assert_eq!(team.remove(eve, &ada.id).await, StatusCode::FORBIDDEN);
    assert_eq!(
        team.set(eve, bea, "admin").await,
        StatusCode::OK,
        "others are for admins to set"
    );
    assert_eq!(team.set(ada, bea, "owner").await, StatusCode::OK);
    assert_eq!(team.remove(bea, &ada.id).await, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn somebody_owns_a_project_as_long_as_it_is_there() {
    let team = team().await;
    let Team { ada, eve, .. } = &team;
    assert_eq!(team.set(ada, ada, "admin").await, StatusCode::CONFLICT);
    assert_eq!(team.remove(ada, &ada.id).await, StatusCode::CONFLICT);
    assert_eq!(team.set(ada, eve, "owner").await, StatusCode::OK);
    assert_eq!(team.set(ada, ada, "member").await, StatusCode::OK);
    let expected = [("ada", "member"), ("bea", "member"), ("eve", "owner")];
    assert_eq!(team.roles().await, roles(&expected));
}

#[tokio::test]
async fn who_is_put_out_sees_nothing_and_its_keys_stop() {
    let team = team().await;
    let Team { gate, eve, bea, .. } = &team;
    let key = bea.key_in(&team.project).await;
    let elsewhere = bea.key_in(&bea.project).await;
    assert_eq!(gate.with_key(&key).await, StatusCode::OK);
    assert_eq!(team.remove(eve, &bea.id).await, StatusCode::NO_CONTENT);
    assert_eq!(gate.with_key(&key).await, StatusCode::UNAUTHORIZED);
    assert_eq!(gate.with_key(&elsewhere).await, StatusCode::OK);
    assert_eq!(bea.get(&team.members).await.status, StatusCode::NOT_FOUND);
    for nobody in [&*bea.id, "x"] {
        assert_eq!(team.remove(eve, nobody).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(team.set(eve, bea, "member").await, StatusCode::OK);
    assert_eq!(
        gate.with_key(&key).await,
        StatusCode::UNAUTHORIZED,
        "what was revoked stays so"
    );
}

#[tokio::test]
async fn members_leave_by_themselves() {
    let team = team().await;
    let Team { eve, bea, .. } = &team;
    assert_eq!(team.remove(bea, &eve.id).await, StatusCode::FORBIDDEN);
    for who in [bea, eve] {
        assert_eq!(team.remove(who, &who.id).await, StatusCode::NO_CONTENT);
    }
    assert_eq!(team.roles().await, roles(&[("ada", "owner")]));
}

#[tokio::test]
async fn a_service_has_keys_and_nothing_else() {
    let team = team().await;
    let Team { gate, ada, eve, .. } = &team;
    let services = format!("/api/v1/projects/{}/services", team.project);
    gate.allow_services(&team.project).await;
    let made = eve.post(&services, json!({ "name": "ci" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let service = made.text("id");
    let nameless = eve.post(&services, json!({})).await;
    assert_eq!(nameless.status, StatusCode::UNPROCESSABLE_ENTITY);
    let listed = ada.get(&team.members).await.json();
    let listed = listed["members"].as_array().expect("a list").clone();
    let found = listed.iter().find(|member| member["user_id"] == service);
    let found = found.expect("among the members");
    assert_eq!(found["kind"], "service");
    assert_eq!(found["name"], "ci");

    let keys = format!("/api/v1/projects/{}/api-keys", team.project);
    let body = json!({ "service_id": service, "scopes": ["inference", "models"] });
    let key = eve.post(&keys, body.clone()).await;
    assert_eq!(key.status, StatusCode::CREATED, "{key:?}");
    assert_eq!(key.text("user_id"), service);
    let secret = key.text("api_key");
    assert_eq!(gate.with_key(&secret).await, StatusCode::OK);
    let check = gate.client.bearer(&secret).get("/api/v1/auth/check").await;
    assert_eq!(check.expect("an answer").text("user_id"), service);
    for (body, status) in [
        (
            json!({ "service_id": service, "scopes": ["manage"] }),
            StatusCode::FORBIDDEN,
        ),
        (json!({ "service_id": ada.id }), StatusCode::NOT_FOUND),
        (json!({ "service_id": team.project }), StatusCode::NOT_FOUND),
    ] {
        let answer = eve.post(&keys, body.clone()).await;
        assert_eq!(answer.status, status, "{body}");
    }
    let elsewhere = format!("/api/v1/projects/{}/api-keys", eve.project);
    let crossed = eve.post(&elsewhere, body).await;
    assert_eq!(
        crossed.status,
        StatusCode::NOT_FOUND,
        "it belongs to its project"
    );

    assert_eq!(team.remove(eve, &service).await, StatusCode::NO_CONTENT);
    assert_eq!(gate.with_key(&secret).await, StatusCode::UNAUTHORIZED);
    assert_eq!(team.remove(eve, &service).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn services_are_made_where_an_admin_bounds_what_they_use() {
    let (gate, ada, root) = {
        let gate = start().await;
        let (ada, root) = (gate.person("ada").await, gate.admin().await);
        (gate, ada, root)
    };
    let services = format!("/api/v1/projects/{}/services", ada.project);
    let body = json!({ "name": "ci" });
    let limit = |unit: &str, model: Value| {
        json!({
            "subject": "project", "id": ada.project, "unit": unit, "model": model,
            "period": "total", "amount": 1_000,
        })
    };
    let may = async || ada.post(&services, body.clone()).await.status;
    assert_eq!(
        may().await,
        StatusCode::FORBIDDEN,
        "her own limit is passed by"
    );
    let own = ada
        .put("/api/v1/limits", limit("tokens", Value::Null))
        .await;
    assert_eq!(own.status, StatusCode::OK, "{own:?}");
    assert_eq!(
        may().await,
        StatusCode::FORBIDDEN,
        "whatever she sets herself"
    );
    for (unit, model) in [("requests", Value::Null), ("tokens", json!("tiny"))] {
        let set = root.put("/api/v1/limits", limit(unit, model)).await;
        assert_eq!(set.status, StatusCode::OK, "{set:?}");
    }
    assert_eq!(
        may().await,
        StatusCode::FORBIDDEN,
        "these bound not all of it"
    );
    let by_root = root.post(&services, body.clone()).await;
    assert_eq!(by_root.status, StatusCode::CREATED, "{by_root:?}");
    let set = root
        .put("/api/v1/limits", limit("tokens", Value::Null))
        .await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    assert_eq!(may().await, StatusCode::CREATED);
    drop(gate);
}

/// Makes a key of `owner` for each kind of bound, and one with a limit of its own.
async fn bounded_keys(root: &Person, owner: &Person, scope: &str) -> Vec<Answer> {
    let keys = format!("/api/v1/projects/{}/api-keys", owner.project);
    let limited = owner.post(&keys, json!({ "scopes": [scope] })).await;
    let limit = json!({
        "subject": "key", "id": limited.text("id"), "unit": "tokens", "period": "total", "amount": 9,
    });
    let set = root.put("/api/v1/limits", limit).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let mut bounded = vec![limited];
    for mut wanted in [
        json!({ "expires_at": "2026-01-02T00:00:00Z" }),
        json!({ "models": ["tiny"] }),
        json!({ "networks": ["127.0.0.0/8", "::1"] }),
    ] {
        wanted["scopes"] = json!([scope]);
        bounded.push(owner.post(&keys, wanted).await);
    }
    bounded
}

#[tokio::test]
async fn a_key_with_bounds_lets_nobody_manage() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let root = gate.admin().await;
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let members = format!("/api/v1/projects/{}/members", ada.project);
    let plain = ada.post(&keys, json!({ "scopes": ["manage"] })).await;
    let bounded = bounded_keys(&root, &ada, "manage").await;
    let sets = async |key: &Answer, role: &str| {
        let client = gate.client.bearer(key.text("api_key"));
        let body = json!({ "user_id": eve.id, "role": role });
        client
            .post(&members, &body)
            .await
            .expect("an answer")
            .status
    };
    for key in &bounded {
        for role in ["admin", "owner"] {
            assert_eq!(sets(key, role).await, StatusCode::FORBIDDEN, "{role}");
        }
        assert_eq!(
            sets(key, "member").await,
            StatusCode::OK,
            "who manages nothing"
        );
        let client = gate.client.bearer(key.text("api_key"));
        let body = json!({ "email": "grace@example.org", "role": "admin" });
        let invites = format!("/api/v1/projects/{}/invites", ada.project);
        let invited = client.post(&invites, &body).await.expect("an answer");
        assert!(
            !invited.status.is_success(),
            "nor by an invite: {invited:?}"
        );
    }
    assert_eq!(sets(&plain, "admin").await, StatusCode::OK);
}

#[tokio::test]
async fn an_admins_key_with_bounds_lets_nobody_manage_by_either_api() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let root = gate.admin().await;
    let keys = format!("/api/v1/projects/{}/api-keys", root.project);
    let members = format!("/api/v1/projects/{}/members", ada.project);
    let users = format!("/v1/organization/projects/{}/users", ada.project);
    let services = format!("/v1/organization/projects/{}/service_accounts", ada.project);
    let ci = root.post(&services, json!({ "name": "ci" })).await;
    let ci = format!("{services}/{}", ci.text("id"));
    let bounded = bounded_keys(&root, &root, "admin").await;
    let plain = root.post(&keys, json!({ "scopes": ["admin"] })).await;
    let status = async |key: &Answer, path: &str, body: &Value| {
        let client = gate.client.bearer(key.text("api_key"));
        client.post(path, body).await.expect("an answer").status
    };
    let member = json!({ "user_id": eve.id, "role": "member" });
    let of_eve = format!("{users}/{}", eve.id);
    let asks = |role: &str| {
        let place = json!([{ "id": ada.project, "role": role }]);
        [
            (members.clone(), json!({ "user_id": eve.id, "role": role })),
            (users.clone(), json!({ "user_id": eve.id, "role": role })),
            (of_eve.clone(), json!({ "role": role })),
            (ci.clone(), json!({ "role": role })),
            (
                "/v1/organization/invites".to_owned(),
                json!({ "email": "grace@example.org", "role": "reader", "projects": place }),
            ),
        ]
    };
    for key in &bounded {
        let joined = status(key, &users, &member).await;
        assert_eq!(joined, StatusCode::OK, "who manages nothing");
        for role in ["admin", "owner"] {
            for (path, body) in asks(role) {
                let refused = status(key, &path, &body).await;
                assert_eq!(refused, StatusCode::FORBIDDEN, "{path} {body}");
            }
        }
    }
    for (path, body) in asks("admin") {
        let done = status(&plain, &path, &body).await;
        assert_eq!(done, StatusCode::OK, "a key without bounds: {path}");
    }
}

#[tokio::test]
async fn a_service_owns_no_project_in_place_of_a_person() {
    let team = team().await;
    let ada = &team.ada;
    let services = format!("/api/v1/projects/{}/services", team.project);
    team.gate.allow_services(&team.project).await;
    let service = ada.post(&services, json!({ "name": "ci" })).await;
    let body = json!({ "user_id": service.text("id"), "role": "owner" });
    ada.post(&team.members, body).await;
    assert_eq!(
        team.remove(ada, &ada.id).await,
        StatusCode::CONFLICT,
        "nobody could log in and manage it"
    );
}

on_both! {
    a_project_has_no_more_services_than_allowed;
}

async fn a_project_has_no_more_services_than_allowed(gate: Gate) {
    let (root, ada) = (gate.admin().await, gate.person("ada").await);
    let books = gate.books().await;
    let project: ProjectId = ada.project.parse().expect("an id");
    for _ in 0..MAX_SERVICES {
        let new = NewService {
            id: UserId::new(),
            name: "ci".to_owned(),
            project,
            author: Author::now(),
        };
        books.create_service(new).await.expect("there is room");
    }
    let body = json!({ "name": "one more" });
    let services = format!("/api/v1/projects/{project}/services");
    gate.allow_services(&project.to_string()).await;
    let full = ada.post(&services, body.clone()).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let accounts = format!("/v1/organization/projects/{project}/service_accounts");
    let full = root.post(&accounts, body.clone()).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let listed = ada
        .get(&format!("/api/v1/projects/{project}/members"))
        .await
        .json();
    let robot = listed["members"].as_array().expect("a list").iter();
    let robot = robot
        .rev()
        .find(|member| member["kind"] == "service")
        .expect("many");
    let one = format!(
        "/api/v1/projects/{project}/members/{}",
        robot["user_id"].as_str().expect("an id")
    );
    assert_eq!(ada.delete(&one).await.status, StatusCode::NO_CONTENT);
    let room = ada.post(&services, body).await;
    assert_eq!(room.status, StatusCode::CREATED, "one is gone: {room:?}");
}

fn two_an_hour(config: &mut Config) {
    config.rate_limits.invites_per_user = "2/hour".parse().expect("a rate");
}

async fn nobody_is_made_a_member_without_end(gate: Gate) {
    let (root, ada) = (gate.admin().await, gate.person("ada").await);
    let project = ada.make_project().await;
    let path = format!("/api/v1/projects/{project}/members");
    let mut others = Vec::new();
    for number in 0..3 * gate.gateways() {
        others.push(gate.person(&format!("user{number}")).await);
    }
    let (members, outsiders) = others.split_at(2 * gate.gateways());
    let add = async |by: &Person, who: &Person, role: &str| {
        by.post(&path, json!({ "user_id": who.id, "role": role }))
            .await
    };
    // Each gateway allows two.
    for member in members {
        let added = add(&ada, member, "member").await;
        assert_eq!(added.status, StatusCode::OK, "{added:?}");
    }
    let one_more = async || add(&ada, &outsiders[0], "member").await;
    for refused in gate.everywhere(one_more).await {
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let raise = async || add(&ada, &members[0], "admin").await;
    for raised in gate.everywhere(raise).await {
        assert_eq!(
            raised.status,
            StatusCode::OK,
            "who is in is not let in again"
        );
    }
    for outsider in outsiders {
        let by_admin = add(&root, outsider, "member").await;
        assert_eq!(by_admin.status, StatusCode::OK, "admins may");
    }
}

#[tokio::test]
async fn nobody_is_made_a_member_without_end_on_sqlite() {
    nobody_is_made_a_member_without_end(start_with(two_an_hour).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_made_a_member_without_end_on_postgres() {
    nobody_is_made_a_member_without_end(start_on_postgres_with(two_an_hour).await).await;
}

#[tokio::test]
async fn who_is_let_in_elsewhere_makes_projects_all_the_same() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let books = gate.books().await;
    let (victim, owner): (UserId, UserId) = (
        ada.id.parse().expect("an id"),
        eve.id.parse().expect("an id"),
    );
    for _ in 0..500 {
        let new = NewProject {
            id: ProjectId::new(),
            name: "trap".to_owned(),
            owner,
            author: Author::now(),
        };
        let id = new.id;
        books.create_project(new).await.expect("made");
        let role = ProjectRole::Admin;
        let let_in = books.set_member(id, victim, role, Author::now()).await;
        let_in.expect("let in");
    }
    let made = ada.post("/api/v1/projects", json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}
