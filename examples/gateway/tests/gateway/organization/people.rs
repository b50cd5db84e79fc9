//! Accounts and invites.

use llm_gate::auth::InviteToken;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{Role, UserId};
use llm_gate::store::Author;
use llm_gate_gateway::accounts::Names;

use super::*;

const USERS: &str = "/v1/organization/users";
const INVITES: &str = "/v1/organization/invites";

#[tokio::test]
async fn users_are_listed_in_parts_and_found_by_address() {
    let admin = Admin::start().await;
    let mut ids = vec![admin.root.id.clone()];
    for name in ["ada", "bob", "eve", "kim"] {
        ids.push(admin.gate.person(name).await.id);
    }
    let body = json!({ "email": "grace@example.org", "password": PASSWORD });
    let grace = admin
        .gate
        .post("/api/v1/auth/register", body)
        .await
        .text("id");
    ids.push(grace.clone());
    ids.sort();
    assert_eq!(admin.pages(USERS).await, ids);
    let found = admin
        .get(&format!(
            "{USERS}?emails[]=Grace@example.org&emails[]=no@example.org"
        ))
        .await;
    assert_eq!(admin.listed(&found), [grace], "by address, those there are");
    let nobody = admin.get(&format!("{USERS}?emails[]=no@example.org")).await;
    assert_eq!(admin.listed(&nobody), [""; 0]);
    let name = admin.get(&format!("{USERS}?emails=ada@example.org")).await;
    assert_eq!(admin.listed(&name), [""; 0], "a user name is no address");
    admin
        .wrong(
            Method::GET,
            &format!("{USERS}?emails[]=ada"),
            Value::Null,
            "emails",
        )
        .await;
}

#[tokio::test]
async fn a_user_is_shown_given_a_role_and_deleted() {
    let admin = Admin::start().await;
    let ada = admin.gate.person("ada").await;
    let key = admin.gate.client.bearer(ada.key().await.text("api_key"));
    let path = format!("{USERS}/{}", ada.id);
    let shown = admin.get(&path).await;
    let expected = json!({
        "object": "organization.user", "id": ada.id, "name": "ada", "email": null,
        "role": "reader", "added_at": 1_767_225_600, "disabled": false,
    });
    assert_eq!(shown, expected);
    assert_eq!(
        admin.post(&path, json!({ "role": "owner" })).await["role"],
        "owner"
    );
    let others = ada.get("/api/v1/users").await;
    assert_eq!(others.status, StatusCode::OK, "an owner is an admin");
    assert_eq!(
        admin.post(&path, json!({})).await["role"],
        "owner",
        "nothing asked, nothing changed"
    );
    assert_eq!(
        admin.post(&path, json!({ "role": "reader" })).await["role"],
        "reader"
    );
    assert!(works(&key).await);
    let gone = admin.delete(&path).await;
    let expected = json!({ "object": "organization.user.deleted", "id": ada.id, "deleted": true });
    assert_eq!(gone, expected);
    assert!(!works(&key).await, "its keys end with it");
    admin.missing(Method::GET, &path, Value::Null).await;
    admin.missing(Method::DELETE, &path, Value::Null).await;
}

#[tokio::test]
async fn nobody_else_is_a_user() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    for id in [text(&service["id"]), project, "x".to_owned()] {
        let path = format!("{USERS}/{id}");
        admin.missing(Method::GET, &path, Value::Null).await;
        admin
            .missing(Method::POST, &path, json!({ "role": "owner" }))
            .await;
        admin.missing(Method::DELETE, &path, Value::Null).await;
    }
    let path = format!("{USERS}/{}", admin.root.id);
    admin
        .wrong(Method::POST, &path, json!({ "role": "admin" }), "role")
        .await;
    admin
        .wrong(
            Method::POST,
            &path,
            json!({ "technical_level": "high" }),
            "technical_level",
        )
        .await;
}

#[tokio::test]
async fn the_last_admin_and_the_only_owner_stay() {
    let admin = Admin::start().await;
    let path = format!("{USERS}/{}", admin.root.id);
    admin
        .refused(Method::POST, &path, json!({ "role": "reader" }), 409)
        .await;
    admin.refused(Method::DELETE, &path, Value::Null, 409).await;
    let (ada, bob) = (
        admin.gate.person("ada").await,
        admin.gate.person("bob").await,
    );
    let made = ada
        .post("/api/v1/projects", json!({ "name": "theirs" }))
        .await;
    let members = format!("/v1/organization/projects/{}/users", made.text("id"));
    admin
        .post(&members, json!({ "user_id": bob.id, "role": "member" }))
        .await;
    admin
        .refused(
            Method::DELETE,
            &format!("{USERS}/{}", ada.id),
            Value::Null,
            409,
        )
        .await;
}

/// Makes the account that an invite is for, beside the gate.
async fn take_up(gate: &Gate, email: &str, token: &str) -> UserId {
    let store = gate.books().await;
    let author = Author::system(Timestamp::from_micros(1_767_225_600_000_000));
    let names = Names::of(email).expect("an address");
    let mut new = names.account(String::new(), Role::User, None, author);
    new.invite = Some(InviteToken::parse(token).expect("a secret").hash());
    store.create_user(new).await.expect("it is good").id
}

#[tokio::test]
async fn an_invite_is_made_listed_taken_up_and_withdrawn() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let places = json!([{ "id": project, "role": "member" }]);
    let body = json!({ "email": "Grace@example.org", "role": "reader", "projects": places });
    let made = admin.post(INVITES, body).await;
    let (id, token) = (text(&made["id"]), text(&made["token"]));
    let path = format!("{INVITES}/{id}");
    let mut expected = json!({
        "object": "organization.invite", "id": id, "email": "grace@example.org", "role": "reader",
        "status": "pending", "created_at": 1_767_225_600, "invited_at": 1_767_225_600,
        "expires_at": 1_767_830_400, "accepted_at": null, "projects": places,
    });
    assert_eq!(admin.get(&path).await, expected, "and no secret any more");
    let grace = take_up(&admin.gate, "grace@example.org", &token).await;
    expected["status"] = "accepted".into();
    expected["accepted_at"] = 1_767_225_600.into();
    assert_eq!(admin.get(&path).await, expected);
    let member = format!("/v1/organization/projects/{project}/users/{grace}");
    assert_eq!(
        admin.get(&member).await["role"],
        "member",
        "and is in the project"
    );
    admin.missing(Method::DELETE, &path, Value::Null).await;

    let mut ids = vec![id];
    for number in 0..4 {
        let body = json!({ "email": format!("{number}@example.org"), "role": "owner" });
        ids.insert(0, text(&admin.post(INVITES, body).await["id"]));
    }
    let path = format!("{INVITES}/{}", ids[1]);
    let gone = admin.delete(&path).await;
    assert_eq!(
        gone,
        json!({ "object": "organization.invite.deleted", "id": ids[1], "deleted": true })
    );
    admin.missing(Method::GET, &path, Value::Null).await;
    ids.remove(1);
    ids.sort_by(|one, other| other.cmp(one));
    assert_eq!(
        admin.pages(INVITES).await,
        ids,
        "the newest first, without what is withdrawn"
    );
    admin
        .gate
        .clock
        .advance(std::time::Duration::from_secs(8 * 24 * 3_600));
    let root = admin.gate.enter("root").await;
    let admin = Admin { root, ..admin };
    let old = admin.get(&format!("{INVITES}/{}", ids[0])).await;
    assert_eq!(old["status"], "expired", "after a week");
}

on_both! {
    an_invite_to_several_projects_is_taken_up_as_a_whole;
}

async fn an_invite_to_several_projects_is_taken_up_as_a_whole(gate: Gate) {
    let admin = Admin::of(gate).await;
    let mut projects = Vec::new();
    for name in ["one", "two", "three"] {
        projects.push(admin.project(name).await);
    }
    // They are told in this order.
    projects.sort();
    let roles = ["owner", "admin", "member"];
    let places = || projects.iter().zip(roles);
    let asked: Vec<Value> = places()
        .map(|(id, role)| json!({ "id": id, "role": role }))
        .collect();
    let body = json!({ "email": "grace@example.org", "role": "reader", "projects": asked });
    let made = admin.post(INVITES, body).await;
    let mut told = asked.clone();
    told[1] = json!({ "id": projects[1], "role": "owner", "llm_gate": { "role": "admin" } });
    assert_eq!(made["projects"], json!(told), "as it was asked for");
    let shown = admin.get(&format!("{INVITES}/{}", text(&made["id"]))).await;
    assert_eq!(shown["projects"], json!(told));
    let listed = admin.get(INVITES).await;
    assert_eq!(listed["data"], json!([shown]));
    let body = json!({
        "username": "grace", "email": "grace@example.org", "password": PASSWORD, "invite": made["token"],
    });
    let account = admin.gate.post("/api/v1/auth/register", body).await;
    assert_eq!(account.status, StatusCode::CREATED, "{account:?}");
    let grace = admin.gate.enter("grace").await;
    let role_in = async |project: &str| {
        let shown = grace.get(&format!("/api/v1/projects/{project}")).await;
        shown.json()["role"].clone()
    };
    for (project, role) in places() {
        assert_eq!(role_in(project).await, role, "who is new is in each");
    }

    let more = admin.project("four").await;
    let asked = json!([
        { "id": projects[0], "role": "member" }, { "id": projects[2], "role": "admin" }, { "id": more, "role": "member" },
    ]);
    let body = json!({ "email": "grace@example.org", "role": "reader", "projects": asked });
    let token = admin.post(INVITES, body).await["token"].clone();
    let accepted = grace
        .post("/api/v1/invites/accept", json!({ "token": token }))
        .await;
    assert_eq!(accepted.status, StatusCode::OK, "{accepted:?}");
    let accepted = accepted.json();
    assert_eq!(accepted["project_id"], Value::Null, "they are several");
    assert_eq!(accepted["projects"].as_array().map(Vec::len), Some(3));
    for (project, role) in [
        (&projects[0], "owner"),
        (&projects[2], "admin"),
        (&more, "member"),
    ] {
        assert_eq!(role_in(project).await, role, "the higher of two roles");
    }
}

#[tokio::test]
async fn a_bad_invite_is_refused() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let place = |id: &str, role| json!({ "id": id, "role": role });
    let with =
        |places: Value| json!({ "email": "a@example.org", "role": "owner", "projects": places });
    for (body, param) in [
        (json!({ "role": "reader" }), "email"),
        (json!({ "email": "a", "role": "reader" }), "email"),
        (json!({ "email": "a@example.org" }), "role"),
        (json!({ "email": "a@example.org", "role": "user" }), "role"),
        (with(json!([place(&project, "reader")])), "projects"),
        (with(json!([place("x", "member")])), "projects"),
        (
            with(json!([{ "id": project, "role": "member", "more": 1 }])),
            "projects",
        ),
        (with(json!(vec![place(&project, "member"); 21])), "projects"),
        (with(json!("x")), "projects"),
    ] {
        admin.wrong(Method::POST, INVITES, body, param).await;
    }
    let twice = with(json!([place(&project, "member"), place(&project, "owner")]));
    let error = admin.refused(Method::POST, INVITES, twice, 400).await;
    assert_eq!(error["param"], "projects");
    let message = text(&error["message"]);
    assert!(message.contains("each project once"), "{message}");
    let archived = admin.project("old").await;
    let archive = format!("/v1/organization/projects/{archived}/archive");
    admin.post(&archive, Value::Null).await;
    for none in [&admin.root.id, &archived] {
        let nowhere = with(json!([place(&project, "member"), place(none, "member")]));
        admin.missing(Method::POST, INVITES, nowhere).await;
    }
    for id in [&admin.root.id, "x"] {
        let path = format!("{INVITES}/{id}");
        admin.missing(Method::GET, &path, Value::Null).await;
        admin.missing(Method::DELETE, &path, Value::Null).await;
    }
}
