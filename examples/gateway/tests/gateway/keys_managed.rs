//! What keys may do, how they change, and who may say so (M-07).

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};

use super::support::{Gate, Person, send, start};

const NEVER: &str = "2027-01-01T00:00:00Z";

/// Where the keys of a project are.
fn keys(project: &str) -> String {
    format!("/api/v1/projects/{project}/api-keys")
}

impl Person {
    async fn wants(&self, body: Value) -> Answer {
        self.post(&keys(&self.project), body).await
    }

    async fn gets(&self, body: Value) -> Answer {
        let made = self.wants(body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made
    }

    /// Where a key of the personal project is.
    fn at(&self, key: &Answer) -> String {
        format!("{}/{}", keys(&self.project), key.text("id"))
    }
}

impl Gate {
    fn key(&self, made: &Answer) -> Client {
        self.client.bearer(made.text("api_key"))
    }
}

async fn post(client: &Client, path: &str, body: Value) -> Answer {
    client.post(path, &body).await.expect("an answer")
}

async fn get(client: &Client, path: &str) -> Answer {
    client.get(path).await.expect("an answer")
}

async fn patch(client: &Client, path: &str, body: Value) -> Answer {
    send(client, Method::PATCH, path, &[], body.to_string()).await
}

#[tokio::test]
async fn a_key_gets_what_is_asked_and_no_more() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let plain = ada.gets(json!({})).await.json();
    assert_eq!(plain["scopes"], json!(["inference", "models"]));
    for all in ["models", "networks", "expires_at"] {
        assert_eq!(plain[all], Value::Null, "{all}");
    }
    assert_eq!(plain["clamps"], false);
    let wanted = json!({
        "name": " ci ", "scopes": ["usage", "inference", "usage"], "models": ["tiny"],
        "networks": ["192.0.2.0/24", "2001:db8::1"], "expires_at": NEVER, "clamps": true,
    });
    let made = ada.gets(wanted).await;
    let shown = ada.get(&ada.at(&made)).await.json();
    assert_eq!(shown["name"], "ci");
    assert_eq!(
        shown["scopes"],
        json!(["inference", "usage"]),
        "each once, in their order"
    );
    assert_eq!(shown["models"], json!(["tiny"]));
    assert_eq!(
        shown["networks"],
        json!(["192.0.2.0/24", "2001:db8::1/128"])
    );
    assert_eq!(shown["expires_at"], NEVER);
    assert_eq!(shown["clamps"], true);
    assert_eq!(shown["api_key"], Value::Null, "it is shown once");
}

#[tokio::test]
async fn grants_that_cannot_be_are_refused_field_by_field() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.gets(json!({})).await;
    let path = ada.at(&made);
    for wrong in [
        json!({ "scopes": [] }),
        json!({ "scopes": ["root"] }),
        json!({ "scopes": "inference" }),
        json!({ "models": [] }),
        json!({ "models": [""] }),
        json!({ "models": ["x".repeat(257)] }),
        json!({ "models": vec!["tiny"; 101] }),
        json!({ "networks": [] }),
        json!({ "networks": ["192.0.2.0/33"] }),
        json!({ "networks": ["example.org"] }),
        json!({ "clamps": "yes" }),
        json!({ "expires_at": "2026-01-01T00:00:00Z" }),
        json!({ "user_id": "x" }),
    ] {
        for answer in [
            ada.wants(wrong.clone()).await,
            ada.patch(&path, wrong.clone()).await,
        ] {
            assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
            let fields = wrong.as_object().expect("an object");
            let field = answer.json()["detail"][0]["loc"][1].clone();
            assert_eq!(fields.keys().next().map(String::as_str), field.as_str());
        }
    }
    assert_eq!(ada.get(&path).await.json()["scopes"], made.json()["scopes"]);
}

#[tokio::test]
async fn a_key_changes_by_what_is_named_and_by_nothing_else() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada
        .gets(json!({ "name": "ci", "models": ["tiny"], "expires_at": NEVER, "clamps": true }))
        .await;
    let path = ada.at(&made);
    let renamed = ada.patch(&path, json!({ "name": "cd" })).await;
    assert_eq!(renamed.status, StatusCode::OK, "{renamed:?}");
    let mut expected = made.json();
    expected["name"] = "cd".into();
    expected
        .as_object_mut()
        .expect("an object")
        .remove("api_key");
    assert_eq!(renamed.json(), expected);
    let widened = json!({ "models": null, "expires_at": null, "scopes": ["models"] });
    let widened = ada.patch(&path, widened).await.json();
    assert_eq!(widened["models"], Value::Null);
    assert_eq!(widened["expires_at"], Value::Null);
    assert_eq!(widened["scopes"], json!(["models"]));
    assert_eq!(widened["clamps"], true, "it was not named");

    let revoked = ada.post(&format!("{path}/revoke"), json!({})).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked:?}");
    let late = ada.patch(&path, json!({ "name": "late" })).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND, "it is no key any more");
    let late = ada.post(&format!("{path}/rotate"), json!({})).await;
    assert_eq!(late.status, StatusCode::NOT_FOUND);
    let shown = ada.get(&path).await;
    assert_eq!(shown.json()["revoked"], true, "it is still on record");
}

#[tokio::test]
async fn an_end_that_is_moved_holds_at_once() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.gets(json!({})).await;
    let secret = made.text("api_key");
    assert_eq!(gate.with_key(&secret).await, StatusCode::OK);
    let soon = json!({ "expires_at": "2026-01-01T00:00:10Z" });
    let changed = ada.patch(&ada.at(&made), soon).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(gate.with_key(&secret).await, StatusCode::OK);
    gate.clock.advance(Duration::from_secs(10));
    assert_eq!(gate.with_key(&secret).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_old_secret_works_beside_the_new_one_until_the_overlap_ends() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.gets(json!({ "name": "ci", "clamps": true })).await;
    let rotate = format!("{}/rotate", ada.at(&made));
    let old = made.text("api_key");
    let rotated = ada.post(&rotate, json!({ "overlap_seconds": 60 })).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let new = rotated.text("api_key");
    assert_ne!(new, old);
    for same in ["id", "name", "clamps", "scopes", "user_id", "created_at"] {
        assert_eq!(rotated.json()[same], made.json()[same], "{same}");
    }
    assert!(new.starts_with(&rotated.text("prefix")));
    for secret in [&old, &new] {
        assert_eq!(gate.with_key(secret).await, StatusCode::OK);
    }
    gate.clock.advance(Duration::from_secs(60));
    assert_eq!(gate.with_key(&old).await, StatusCode::UNAUTHORIZED);
    assert_eq!(gate.with_key(&new).await, StatusCode::OK);

    let at_once = ada.post(&rotate, json!({ "overlap_seconds": 0 })).await;
    assert_eq!(gate.with_key(&new).await, StatusCode::UNAUTHORIZED);
    let third = at_once.text("api_key");
    assert_eq!(gate.with_key(&third).await, StatusCode::OK);
    let fourth = ada.post(&rotate, json!({})).await.text("api_key");
    assert_eq!(gate.with_key(&third).await, StatusCode::OK);
    ada.post(&rotate, json!({})).await;
    assert_eq!(
        gate.with_key(&third).await,
        StatusCode::UNAUTHORIZED,
        "two secrets at most"
    );
    assert_eq!(gate.with_key(&fourth).await, StatusCode::OK);
    for wrong in [json!(-1), json!(604_801), json!("60"), json!(1.5)] {
        let answer = ada.post(&rotate, json!({ "overlap_seconds": wrong })).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn revoking_ends_the_secret_that_overlaps_too() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada.gets(json!({})).await;
    let path = ada.at(&made);
    let rotated = ada.post(&format!("{path}/rotate"), json!({})).await;
    let secrets = [made.text("api_key"), rotated.text("api_key")];
    for secret in &secrets {
        assert_eq!(gate.with_key(secret).await, StatusCode::OK);
    }
    let revoke = format!("{path}/revoke");
    for _ in 0..2 {
        let revoked = ada.post(&revoke, json!({})).await;
        assert_eq!(revoked.status, StatusCode::OK, "twice is as good as once");
        assert_eq!(revoked.json()["revoked"], true);
    }
    for secret in &secrets {
        assert_eq!(gate.with_key(secret).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn keys_come_page_by_page_the_newest_first() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(ada.gets(json!({})).await.text("id"));
    }
    made.sort();
    made.reverse();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{}?limit=2{cursor}", keys(&ada.project));
        let page = ada.get(&path).await.json();
        let listed = page["keys"].as_array().expect("a list").clone();
        seen.extend(listed.iter().map(|key| key["id"].clone()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn nobody_has_more_keys_in_a_project_than_the_cap_and_revoked_ones_do_not_count() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let mut last = ada.gets(json!({})).await;
    for _ in 1..200 {
        last = ada.gets(json!({})).await;
    }
    let full = ada.wants(json!({})).await;
    assert_eq!(full.status, StatusCode::CONFLICT, "{full:?}");
    let revoke = format!("{}/revoke", ada.at(&last));
    assert_eq!(ada.post(&revoke, json!({})).await.status, StatusCode::OK);
    ada.gets(json!({})).await;
    let full = ada.wants(json!({})).await;
    assert_eq!(full.status, StatusCode::CONFLICT);
    let other = ada.make_project().await;
    ada.key_in(&other).await;
}

#[tokio::test]
async fn members_see_their_own_keys_and_those_who_manage_see_all() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let members = format!("/api/v1/projects/{project}/members");
    ada.post(&members, json!({ "user_id": eve.id })).await;
    let path = keys(&project);
    let own = ada.post(&path, json!({ "name": "owner's" })).await;
    let members = eve.post(&path, json!({ "name": "member's" })).await;
    let names = async |person: &Person, query: &str| {
        let listed = person.get(&format!("{path}{query}")).await.json();
        let listed = listed["keys"].as_array().expect("a list").clone();
        let mut names: Vec<String> = listed
            .iter()
            .map(|key| key["name"].as_str().expect("a name").to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&eve, "").await, ["member's"]);
    assert_eq!(names(&ada, "").await, ["owner's"]);
    assert_eq!(names(&ada, "?all=true").await, ["member's", "owner's"]);
    let one = |key: &Answer| format!("{path}/{}", key.text("id"));
    for (route, body) in [("rotate", json!({})), ("revoke", json!({}))] {
        let path = format!("{}/{route}", one(&own));
        let answer = eve.post(&path, body).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{route}");
    }
    assert_eq!(eve.get(&one(&own)).await.status, StatusCode::NOT_FOUND);
    let changed = eve.patch(&one(&own), json!({ "name": "mine" })).await;
    assert_eq!(changed.status, StatusCode::NOT_FOUND);
    let changed = ada
        .patch(&one(&members), json!({ "models": ["tiny"] }))
        .await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    let revoke = format!("{}/revoke", one(&members));
    assert_eq!(ada.post(&revoke, json!({})).await.status, StatusCode::OK);
    let dead = gate.with_key(&members.text("api_key")).await;
    assert_eq!(dead, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_manages_a_project_does_not_let_others_keys_manage_accounts() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let members = format!("/api/v1/projects/{project}/members");
    ada.post(&members, json!({ "user_id": eve.id })).await;
    let path = keys(&project);
    let plain = eve.post(&path, json!({})).await;
    let manages = eve.post(&path, json!({ "scopes": ["manage"] })).await;
    assert_eq!(manages.status, StatusCode::CREATED, "{manages:?}");
    let one = |key: &Answer| format!("{path}/{}", key.text("id"));
    for scope in ["manage", "admin"] {
        let body = json!({ "scopes": [scope] });
        let given = ada.patch(&one(&plain), body).await;
        assert_eq!(given.status, StatusCode::FORBIDDEN, "{scope}");
    }
    let rotate = format!("{}/rotate", one(&manages));
    let taken = ada.post(&rotate, json!({})).await;
    assert_eq!(
        taken.status,
        StatusCode::FORBIDDEN,
        "its secret would let her act as Eve everywhere"
    );
    let less = json!({ "scopes": ["models"] });
    let less = ada.patch(&one(&manages), less).await;
    assert_eq!(less.status, StatusCode::OK, "less is always possible");
}

#[tokio::test]
async fn the_scope_of_admins_is_for_their_own_keys() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let body = json!({ "scopes": ["admin"] });
    let refused = ada.wants(body.clone()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let key = gate.key(&root.gets(body).await);
    assert_eq!(get(&key, "/api/v1/users").await.status, StatusCode::OK);
    let manages = gate.key(&root.gets(json!({ "scopes": ["manage"] })).await);
    let users = get(&manages, "/api/v1/users").await;
    assert_eq!(
        users.status,
        StatusCode::FORBIDDEN,
        "a key is as narrow as its scopes, whoever has it"
    );
}

#[tokio::test]
async fn a_key_with_bounds_makes_and_changes_no_admins() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let other = gate.made("other").await;
    let raised = root
        .patch(
            &format!("/api/v1/users/{}", other.id),
            json!({ "role": "admin" }),
        )
        .await;
    assert_eq!(raised.status, StatusCode::OK, "{raised:?}");
    let wanted = |name: &str, role: &str| json!({ "username": name, "password": super::support::PASSWORD, "role": role });
    let user = |person: &Person| format!("/api/v1/users/{}", person.id);
    for bound in [
        json!({ "expires_at": NEVER }),
        json!({ "networks": ["127.0.0.0/8"] }),
        json!({ "models": ["tiny"] }),
    ] {
        let mut body = json!({ "scopes": ["admin"] });
        for (name, value) in bound.as_object().expect("a bound") {
            body[name] = value.clone();
        }
        let key = gate.key(&root.gets(body).await);
        for refused in [
            post(&key, "/api/v1/users", wanted("eve", "admin")).await,
            patch(&key, &user(&ada), json!({ "role": "admin" })).await,
            // Letters to the address of an admin set the password of one.
            patch(&key, &user(&root), json!({ "email": "eve@example.org" })).await,
            // And to that of anybody who manages a project.
            patch(&key, &user(&ada), json!({ "email": "eve@example.org" })).await,
            patch(&key, &user(&ada), json!({ "email_verified": true })).await,
            // Nor is the password of anybody set by a link.
            post(&key, &format!("{}/reset-link", user(&ada)), json!({})).await,
            post(
                &key,
                "/api/v1/invites",
                json!({ "email": "eve@example.org", "role": "admin" }),
            )
            .await,
            post(
                &key,
                "/v1/organization/invites",
                json!({ "email": "eve@example.org", "role": "owner" }),
            )
            .await,
            post(
                &key,
                &format!("/v1/organization/users/{}", ada.id),
                json!({ "role": "owner" }),
            )
            .await,
            send(&key, Method::DELETE, &user(&other), &[], "").await,
            send(
                &key,
                Method::DELETE,
                &format!("/v1/organization/users/{}", other.id),
                &[],
                "",
            )
            .await,
        ] {
            assert_eq!(
                refused.status,
                StatusCode::FORBIDDEN,
                "{bound}: {refused:?}"
            );
        }
        let renamed = patch(&key, &user(&ada), json!({ "name": "Ada" })).await;
        assert_eq!(
            renamed.status,
            StatusCode::OK,
            "{bound}: others as before: {renamed:?}"
        );
        let (bounded_by, _) = bound
            .as_object()
            .and_then(|bound| bound.iter().next())
            .expect("one");
        let made = post(
            &key,
            "/api/v1/users",
            wanted(&format!("{bounded_by}-1"), "user"),
        )
        .await;
        assert_eq!(
            made.status,
            StatusCode::CREATED,
            "{bound}: accounts are what the scope is for: {made:?}"
        );
    }
    let key = gate.key(&root.gets(json!({ "scopes": ["admin"] })).await);
    let made = post(&key, "/api/v1/users", wanted("grace", "admin")).await;
    assert_eq!(
        made.status,
        StatusCode::CREATED,
        "a key without bounds: {made:?}"
    );
    let raised = patch(&key, &user(&ada), json!({ "role": "admin" })).await;
    assert_eq!(raised.status, StatusCode::OK, "{raised:?}");
    let link = post(&key, &format!("{}/reset-link", user(&ada)), json!({})).await;
    assert_eq!(link.status, StatusCode::CREATED, "{link:?}");
}

#[tokio::test]
async fn a_key_makes_no_key_that_may_do_more_than_itself() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = ada
        .gets(json!({
            "scopes": ["inference", "manage"], "models": ["tiny", "small"],
            "networks": ["127.0.0.0/8"], "expires_at": NEVER,
        }))
        .await;
    let key = gate.key(&made);
    let path = keys(&ada.project);
    let good = json!({
        "scopes": ["inference", "usage"], "models": ["tiny"], "networks": ["127.0.0.1"],
        "expires_at": "2026-06-01T00:00:00Z",
    });
    let but = |field: &str, value: Value| {
        let mut body = good.clone();
        match value {
            Value::Null => drop(body.as_object_mut().expect("an object").remove(field)),
            value => body[field] = value,
        }
        body
    };
    let narrower = post(&key, &path, good.clone()).await;
    assert_eq!(narrower.status, StatusCode::CREATED, "{narrower:?}");
    let (wide, narrow) = (ada.gets(json!({})).await, ada.at(&narrower));
    for (field, value) in [
        ("scopes", json!(["models"])),
        ("scopes", Value::Null),
        ("models", json!(["large"])),
        ("models", Value::Null),
        ("networks", json!(["127.0.0.0/7"])),
        ("networks", json!(["192.0.2.1"])),
        ("networks", Value::Null),
        ("expires_at", json!("2027-01-01T00:00:01Z")),
        ("expires_at", Value::Null),
    ] {
        let wider = post(&key, &path, but(field, value.clone())).await;
        assert_eq!(wider.status, StatusCode::FORBIDDEN, "{field}: {value}");
        if field == "scopes" && value.is_null() {
            // Missing, it changes nothing.
            continue;
        }
        let body = json!({ field: value });
        let wider = patch(&key, &narrow, body.clone()).await;
        assert_eq!(wider.status, StatusCode::FORBIDDEN, "{body}");
        let wider = patch(&key, &ada.at(&made), body.clone()).await;
        assert_eq!(wider.status, StatusCode::FORBIDDEN, "itself: {body}");
    }
    let taken = post(&key, &format!("{}/rotate", ada.at(&wide)), json!({})).await;
    assert_eq!(
        taken.status,
        StatusCode::FORBIDDEN,
        "the secret of one that may do more"
    );
    let rotated = post(&key, &format!("{narrow}/rotate"), json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let renamed = patch(&key, &ada.at(&wide), json!({ "name": "desktop" })).await;
    assert_eq!(renamed.status, StatusCode::OK, "a name lets nobody do more");
}

#[tokio::test]
async fn a_key_makes_no_key_that_works_longer_than_itself_by_a_rotation() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let scopes = json!(["inference", "models", "manage"]);
    let short = ada
        .gets(json!({ "scopes": scopes, "expires_at": NEVER }))
        .await;
    let long = ada.gets(json!({})).await;
    let rotate = format!("{}/rotate", ada.at(&long));
    let refused = post(&gate.key(&short), &rotate, json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let rotated = ada.post(&rotate, json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "a login may");
}

#[tokio::test]
async fn a_key_that_manages_does_so_everywhere_its_user_may_and_one_without_nowhere() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let project = ada.make_project().await;
    let manages = gate.key(&ada.gets(json!({ "scopes": ["manage"] })).await);
    let plain = gate.key(&ada.gets(json!({})).await);
    let usage = gate.key(&ada.gets(json!({ "scopes": ["usage"] })).await);
    for path in [
        "/api/v1/projects".to_owned(),
        format!("/api/v1/projects/{project}"),
        format!("/api/v1/projects/{project}/members"),
        keys(&project),
        "/api/v1/audit".to_owned(),
        "/api/v1/users/me".to_owned(),
    ] {
        assert_eq!(get(&manages, &path).await.status, StatusCode::OK, "{path}");
        for key in [&plain, &usage] {
            let refused = get(key, &path).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
}

#[tokio::test]
async fn a_key_for_reports_reads_those_of_its_own_project() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let project = ada.make_project().await;
    let made = ada.gets(json!({ "scopes": ["usage"] })).await;
    let key = gate.key(&made);
    for path in [
        format!("/api/v1/projects/{}/usage", ada.project),
        "/api/v1/users/me/usage".to_owned(),
        "/api/v1/usage/daily".to_owned(),
    ] {
        assert_eq!(get(&key, &path).await.status, StatusCode::OK, "{path}");
    }
    let other = get(&key, &format!("/api/v1/projects/{project}/usage")).await;
    assert_eq!(
        other.status,
        StatusCode::NOT_FOUND,
        "a project of its user that is not the key's"
    );
}

#[tokio::test]
async fn admins_who_are_no_members_have_no_keys_in_a_project() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let project = ada.make_project().await;
    let own = root.post(&keys(&project), json!({})).await;
    assert_eq!(own.status, StatusCode::CONFLICT, "{own:?}");
    let services = format!("/api/v1/projects/{project}/services");
    let service = root
        .post(&services, json!({ "name": "ci" }))
        .await
        .text("id");
    let body = json!({ "service_id": service });
    let of_service = root.post(&keys(&project), body).await;
    assert_eq!(of_service.status, StatusCode::CREATED, "{of_service:?}");
}

/// A project of ada's with bob as admin, and a key of ada's there.
async fn shared(gate: &Gate, grants: Value) -> (Person, Person, String, Answer) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let project = ada.post("/api/v1/projects", json!({})).await.text("id");
    let member = json!({ "user_id": bob.id, "role": "admin" });
    let joined = ada
        .post(&format!("/api/v1/projects/{project}/members"), member)
        .await;
    assert_eq!(joined.status, StatusCode::OK, "{joined:?}");
    let made = ada.post(&keys(&project), grants).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let path = format!("{}/{}", keys(&project), made.text("id"));
    (ada, bob, path, made)
}

#[tokio::test]
async fn an_end_is_not_moved_by_who_could_not_make_the_key() {
    let gate = start().await;
    let grants = json!({ "scopes": ["manage"], "expires_at": "2026-01-01T01:00:00Z" });
    let (ada, bob, path, _) = shared(&gate, grants).await;
    for later in [json!("2026-01-02T00:00:00Z"), Value::Null] {
        let moved = patch(&bob.session, &path, json!({ "expires_at": later })).await;
        assert_eq!(moved.status, StatusCode::FORBIDDEN, "{later}: {moved:?}");
    }
    let earlier = json!({ "expires_at": "2026-01-01T00:30:00Z" });
    let moved = patch(&bob.session, &path, earlier).await;
    assert_eq!(
        moved.status,
        StatusCode::OK,
        "less is for those who manage: {moved:?}"
    );
    let named = patch(&bob.session, &path, json!({ "name": "hers" })).await;
    assert_eq!(
        named.json()["scopes"],
        json!(["manage"]),
        "a name is a name: {named:?}"
    );

    // By a key that ends: what may do more for longer than itself.
    let ends = json!({ "scopes": ["manage", "inference"], "expires_at": "2026-01-01T02:00:00Z" });
    let ends = gate.key(&ada.gets(ends).await);
    let other = ada.gets(json!({ "scopes": ["inference"] })).await;
    let wider = json!({ "scopes": ["inference", "manage"] });
    let wider = patch(&ends, &ada.at(&other), wider).await;
    assert_eq!(
        wider.status,
        StatusCode::FORBIDDEN,
        "it would manage for ever: {wider:?}"
    );
}

#[tokio::test]
async fn anothers_key_stops_where_it_is_rotated_and_tells_nothing_of_its_user() {
    let gate = start().await;
    let (_ada, bob, path, made) = shared(&gate, json!({})).await;
    let told = json!({ "scopes": ["inference", "models", "usage"] });
    let told = patch(&bob.session, &path, told).await;
    assert_eq!(
        told.status,
        StatusCode::FORBIDDEN,
        "reports are of all that she used: {told:?}"
    );
    let hers = gate.key(&made);
    assert_eq!(get(&hers, "/v1/models").await.status, StatusCode::OK);
    let rotated = bob
        .post(&format!("{path}/rotate"), json!({ "overlap_seconds": 600 }))
        .await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    gate.told_everywhere();
    let old = get(&hers, "/v1/models").await.status;
    assert_eq!(
        old,
        StatusCode::UNAUTHORIZED,
        "she notices that others have its secret"
    );
    let new = gate.key(&rotated);
    assert_eq!(get(&new, "/v1/models").await.status, StatusCode::OK);
}
