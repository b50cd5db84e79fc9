//! Projects, who belongs to them, and what they may use.

use super::*;

const PROJECTS: &str = "/v1/organization/projects";
/// The largest limit there is, which stands for none.
const NONE: u64 = 9_007_199_254_740_991;

#[tokio::test]
async fn a_project_is_made_renamed_and_archived() {
    let admin = Admin::start().await;
    let made = admin.post(PROJECTS, json!({ "name": "research" })).await;
    let id = text(&made["id"]);
    let mut expected = json!({
        "object": "organization.project", "id": id, "name": "research", "created_at": 1_767_225_600,
        "archived_at": null, "status": "active",
    });
    assert_eq!(made, expected);
    let path = format!("{PROJECTS}/{id}");
    assert_eq!(admin.get(&path).await, expected);
    expected["name"] = "science".into();
    assert_eq!(
        admin.post(&path, json!({ "name": "science" })).await,
        expected
    );
    assert_eq!(
        admin.post(&path, json!({})).await,
        expected,
        "nothing asked, nothing changed"
    );
    let owner = admin.get(&format!("{path}/users")).await;
    assert_eq!(
        owner["data"][0]["id"], admin.root.id,
        "who makes it owns it"
    );
    let services = format!("{path}/service_accounts");
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    let key = admin.gate.client.bearer(text(&service["api_key"]["value"]));
    assert!(works(&key).await);
    expected["archived_at"] = 1_767_225_600.into();
    expected["status"] = "archived".into();
    let archive = format!("{path}/archive");
    assert_eq!(admin.post(&archive, Value::Null).await, expected);
    admin.gate.told_everywhere();
    assert!(!works(&key).await, "its keys end with it");
    assert_eq!(admin.get(&path).await, expected, "it can still be seen");
    admin
        .missing(Method::POST, &path, json!({ "name": "again" }))
        .await;
    admin.missing(Method::POST, &archive, Value::Null).await;
    for part in ["users", "service_accounts", "api_keys", "rate_limits"] {
        admin
            .missing(Method::GET, &format!("{path}/{part}"), Value::Null)
            .await;
    }
    let personal = format!("{PROJECTS}/{}/archive", admin.root.project);
    admin
        .refused(Method::POST, &personal, Value::Null, 409)
        .await;
}

#[tokio::test]
async fn projects_of_everybody_are_listed_in_parts() {
    let admin = Admin::start().await;
    let ada = admin.gate.person("ada").await;
    let mut ids = vec![admin.root.project.clone(), ada.project];
    for name in ["a", "b", "c"] {
        ids.push(admin.project(name).await);
    }
    ids.sort();
    assert_eq!(admin.pages(PROJECTS).await, ids);
    let gone = admin.project("gone").await;
    admin
        .post(&format!("{PROJECTS}/{gone}/archive"), Value::Null)
        .await;
    assert_eq!(
        admin.pages(PROJECTS).await,
        ids,
        "archived ones are left out"
    );
    ids.push(gone);
    ids.sort();
    assert_eq!(
        admin
            .pages(&format!("{PROJECTS}?include_archived=true"))
            .await,
        ids,
        "unless asked for"
    );
}

#[tokio::test]
async fn a_bad_project_is_refused() {
    let admin = Admin::start().await;
    admin.wrong(Method::POST, PROJECTS, json!({}), "name").await;
    admin
        .wrong(Method::POST, PROJECTS, json!({ "name": "" }), "name")
        .await;
    let body = json!({ "name": "a", "geography": "EU" });
    admin.wrong(Method::POST, PROJECTS, body, "geography").await;
    let query = format!("{PROJECTS}?include_archived=maybe");
    admin
        .wrong(Method::GET, &query, Value::Null, "include_archived")
        .await;
    for id in [&admin.root.id, "x"] {
        let path = format!("{PROJECTS}/{id}");
        admin.missing(Method::GET, &path, Value::Null).await;
        admin
            .missing(Method::POST, &path, json!({ "name": "a" }))
            .await;
        admin
            .missing(Method::POST, &format!("{path}/archive"), Value::Null)
            .await;
        for part in ["users", "service_accounts", "api_keys", "rate_limits"] {
            admin
                .missing(Method::GET, &format!("{path}/{part}"), Value::Null)
                .await;
        }
    }
}

#[tokio::test]
async fn project_users_are_members() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let users = format!("{PROJECTS}/{project}/users");
    let body = json!({ "email": "grace@example.org", "password": PASSWORD });
    let grace = admin
        .gate
        .post("/api/v1/auth/register", body)
        .await
        .text("id");
    let by_email = json!({ "email": "grace@example.org", "role": "member" });
    let expected = json!({
        "object": "organization.project.user", "id": grace, "name": null,
        "email": "grace@example.org", "role": "member", "added_at": 1_767_225_600,
    });
    assert_eq!(admin.post(&users, by_email).await, expected);
    let path = format!("{users}/{grace}");
    assert_eq!(admin.get(&path).await, expected);
    assert_eq!(
        admin.post(&path, json!({ "role": "owner" })).await["role"],
        "owner"
    );
    assert_eq!(admin.post(&path, json!({})).await["role"], "owner");
    let mut ids = vec![admin.root.id.clone(), grace.clone()];
    for name in ["ada", "bob", "eve"] {
        let id = admin.gate.person(name).await.id;
        admin
            .post(&users, json!({ "user_id": id, "role": "member" }))
            .await;
        ids.push(id);
    }
    let services = format!("{PROJECTS}/{project}/service_accounts");
    let service = text(&admin.post(&services, json!({ "name": "ci" })).await["id"]);
    ids.sort();
    assert_eq!(admin.pages(&users).await, ids, "persons, in parts");
    let gone = admin.delete(&path).await;
    let expected =
        json!({ "object": "organization.project.user.deleted", "id": grace, "deleted": true });
    assert_eq!(gone, expected);
    for id in [&grace, &service, "x"] {
        let path = format!("{users}/{id}");
        admin.missing(Method::GET, &path, Value::Null).await;
        admin
            .missing(Method::POST, &path, json!({ "role": "member" }))
            .await;
        admin.missing(Method::DELETE, &path, Value::Null).await;
    }
    let last = format!("{users}/{}", admin.root.id);
    admin
        .refused(Method::POST, &last, json!({ "role": "member" }), 409)
        .await;
    admin.refused(Method::DELETE, &last, Value::Null, 409).await;
    admin
        .wrong(Method::POST, &users, json!({ "role": "member" }), "user_id")
        .await;
    admin
        .wrong(Method::POST, &users, json!({ "user_id": grace }), "role")
        .await;
    admin
        .wrong(Method::POST, &last, json!({ "role": "reader" }), "role")
        .await;
    for body in [
        json!({ "user_id": project, "role": "member" }),
        json!({ "user_id": service, "role": "member" }),
        json!({ "email": "no@example.org", "role": "member" }),
    ] {
        admin.missing(Method::POST, &users, body).await;
    }
}

#[tokio::test]
async fn who_manages_a_project_is_an_owner_by_openais_words() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let path = format!("{PROJECTS}/{project}");
    let ada = admin.gate.person("ada").await;
    let body = json!({ "user_id": ada.id, "role": "admin" });
    let joined = admin.post(&format!("{path}/users"), body).await;
    let services = format!("{path}/service_accounts");
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    let service = format!("{services}/{}", text(&service["id"]));
    let changed = admin.post(&service, json!({ "role": "admin" })).await;
    let shown = admin.get(&service).await;
    let places = json!([{ "id": project, "role": "admin" }]);
    let body = json!({ "email": "grace@example.org", "role": "reader", "projects": places });
    let invite = admin.post("/v1/organization/invites", body).await;
    let keys = admin.get(&format!("{path}/api_keys")).await;
    let owner = &keys["data"][0]["owner"]["service_account"];
    for view in [&joined, &changed, &shown, &invite["projects"][0], owner] {
        assert_eq!(view["role"], "owner", "{view}");
        let own = json!({ "role": "admin" });
        assert_eq!(view["llm_gate"], own, "which it is: {view}");
    }
    let member = format!("{path}/users/{}", ada.id);
    for role in ["member", "owner"] {
        let changed = admin.post(&member, json!({ "role": role })).await;
        assert_eq!(changed["role"], role, "means what it says");
        assert_eq!(changed.get("llm_gate"), None, "there is no more to say");
    }
}

#[tokio::test]
async fn a_role_that_was_read_and_is_written_back_changes_nothing() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let path = format!("{PROJECTS}/{project}");
    let ada = admin.gate.person("ada").await;
    let (users, services) = (format!("{path}/users"), format!("{path}/service_accounts"));
    let put = json!({ "user_id": ada.id, "role": "admin" });
    admin.post(&users, put).await;
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    let (member, service) = (
        format!("{users}/{}", ada.id),
        format!("{services}/{}", text(&service["id"])),
    );
    admin.post(&service, json!({ "role": "admin" })).await;
    let events = async || {
        admin
            .get(&format!("/api/v1/audit?project_id={project}"))
            .await
    };
    let before = events().await;
    for one in [&member, &service] {
        let read = admin.get(one).await;
        assert_eq!(read["role"], "owner", "their word for who manages it");
        let back = admin.post(one, json!({ "role": read["role"] })).await;
        assert_eq!(back, read, "an admin stays one");
    }
    let read = admin.get(&member).await;
    let put = json!({ "user_id": ada.id, "role": read["role"] });
    assert_eq!(admin.post(&users, put).await, read, "however it is written");
    assert_eq!(events().await, before, "what was so leaves no event");
    let members = format!("/api/v1/projects/{project}/members");
    let put = json!({ "user_id": ada.id, "role": "owner" });
    admin.post(&members, put).await;
    let read = admin.get(&member).await;
    assert_eq!(read.get("llm_gate"), None, "an owner is made by our words");
    admin.post(&service, json!({ "role": "member" })).await;
    let made = admin.post(&service, json!({ "role": "owner" })).await;
    assert_eq!(made.get("llm_gate"), None, "or of a member");
}

#[tokio::test]
async fn a_service_account_has_a_key_that_is_shown_once() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let services = format!("{PROJECTS}/{project}/service_accounts");
    let body = json!({ "name": "ci", "expires_in_seconds": 60 });
    let made = admin.post(&services, body).await;
    let (id, key) = (text(&made["id"]), &made["api_key"]);
    assert_eq!(
        key["object"],
        "organization.project.service_account.api_key"
    );
    assert_eq!(key["expires_at"], 1_767_225_660);
    let mut expected = json!({
        "object": "organization.project.service_account", "id": id, "name": "ci", "role": "member",
        "created_at": 1_767_225_600,
    });
    let path = format!("{services}/{id}");
    assert_eq!(admin.get(&path).await, expected, "no secret any more");
    let client = admin.gate.client.bearer(text(&key["value"]));
    assert!(works(&client).await);
    expected["name"] = "nightly".into();
    expected["role"] = "owner".into();
    let body = json!({ "name": "nightly", "role": "owner" });
    assert_eq!(admin.post(&path, body).await, expected);
    assert_eq!(admin.post(&path, json!({})).await, expected);
    let mut ids = vec![id.clone()];
    for name in ["a", "b", "c", "d"] {
        let body = json!({ "name": name, "create_service_account_only": true });
        let made = admin.post(&services, body).await;
        assert_eq!(made["api_key"], Value::Null, "none was wanted");
        ids.push(text(&made["id"]));
    }
    ids.sort();
    assert_eq!(admin.pages(&services).await, ids);
    let keys = admin.get(&format!("{PROJECTS}/{project}/api_keys")).await;
    assert_eq!(admin.listed(&keys), [text(&key["id"])], "one key in all");
    let gone = admin.delete(&path).await;
    assert_eq!(
        gone["object"],
        "organization.project.service_account.deleted"
    );
    assert!(!works(&client).await, "its key ends with it");
    for id in [&id, &admin.root.id, "x"] {
        let path = format!("{services}/{id}");
        admin.missing(Method::GET, &path, Value::Null).await;
        admin
            .missing(Method::POST, &path, json!({ "name": "a" }))
            .await;
        admin.missing(Method::DELETE, &path, Value::Null).await;
    }
    for (body, param) in [
        (json!({}), "name"),
        (
            json!({ "name": "a", "expires_in_seconds": 0 }),
            "expires_in_seconds",
        ),
        (
            json!({ "name": "a", "create_service_account_only": true, "expires_in_seconds": 9 }),
            "expires_in_seconds",
        ),
    ] {
        admin.wrong(Method::POST, &services, body, param).await;
    }
}

#[tokio::test]
async fn a_service_account_may_do_no_more_than_the_key_that_made_it() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let services = format!("{PROJECTS}/{project}/service_accounts");
    let keys = format!("/api/v1/projects/{}/api-keys", admin.root.project);
    let key = async |grants: Value| {
        let key = admin.root.post(&keys, grants).await;
        admin.gate.client.bearer(key.text("api_key"))
    };
    let narrow = key(json!({ "scopes": ["admin", "models"] })).await;
    let body = json!({ "name": "ci" });
    let refused = ask(&narrow, Method::POST, &services, &body).await;
    assert_eq!(
        refused.status,
        StatusCode::FORBIDDEN,
        "it cannot call: {refused:?}"
    );
    assert_eq!(
        admin.pages(&services).await,
        [""; 0],
        "and nothing was made"
    );
    let other = json!({ "scopes": ["admin", "inference", "models"], "models": ["other"] });
    let other = key(other).await;
    let made = ask(&other, Method::POST, &services, &body).await;
    assert_eq!(made.status, StatusCode::OK, "{made:?}");
    let id = made.json()["api_key"]["id"].clone();
    let path = format!("/api/v1/projects/{project}/api-keys/{}", text(&id));
    let shown = admin.root.get(&path).await.json();
    assert_eq!(shown["models"], json!(["other"]), "the same models");
    assert_eq!(
        shown["scopes"],
        json!(["inference", "models"]),
        "calls and no more"
    );
}

#[tokio::test]
async fn rate_limits_are_those_of_the_project_on_each_model() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let rates = format!("{PROJECTS}/{project}/rate_limits");
    let listed = admin.get(&rates).await;
    let mut expected = json!({
        "object": "project.rate_limit", "id": "rl-tiny", "model": "tiny",
        "max_requests_per_1_minute": NONE, "max_tokens_per_1_minute": NONE,
        "max_requests_per_1_day": NONE,
    });
    assert_eq!(
        listed["data"],
        json!([expected]),
        "every model that is served"
    );
    let path = format!("{rates}/rl-tiny");
    let body = json!({ "max_requests_per_1_minute": 1, "max_requests_per_1_day": 50 });
    expected["max_requests_per_1_minute"] = 1.into();
    expected["max_requests_per_1_day"] = 50.into();
    assert_eq!(admin.post(&path, body).await, expected);
    assert_eq!(admin.get(&rates).await["data"][0], expected);

    let services = format!("{PROJECTS}/{project}/service_accounts");
    let made = admin.post(&services, json!({ "name": "ci" })).await;
    let key = admin.gate.client.bearer(text(&made["api_key"]["value"]));
    let chat = json!({ "model": "tiny", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 5 });
    let statuses = [
        ask(&key, Method::POST, "/v1/chat/completions", &chat)
            .await
            .status,
        ask(&key, Method::POST, "/v1/chat/completions", &chat)
            .await
            .status,
    ];
    assert_eq!(
        statuses,
        [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS],
        "it is in force"
    );
    let body = json!({ "max_requests_per_1_minute": NONE });
    expected["max_requests_per_1_minute"] = NONE.into();
    assert_eq!(
        admin.post(&path, body).await,
        expected,
        "the largest number takes it away"
    );
    let again = ask(&key, Method::POST, "/v1/chat/completions", &chat).await;
    assert_eq!(again.status, StatusCode::OK);
    let limits = admin
        .root
        .get(&format!("/api/v1/limits?subject=project&id={project}"))
        .await;
    let limits = limits.json()["limits"].clone();
    let left = limits.as_array().expect("a list");
    assert_eq!(left.len(), 1, "one rule is left: {limits}");
    assert_eq!(
        (&left[0]["unit"], &left[0]["period"]),
        (&json!("requests"), &json!("day"))
    );

    let each = json!({ "subject": "project", "model": "tiny", "unit": "tokens", "period": "minute", "amount": 9_000 });
    admin.root.put("/api/v1/limits", each).await;
    expected["max_tokens_per_1_minute"] = 9_000.into();
    assert_eq!(
        admin.get(&rates).await["data"][0],
        expected,
        "what holds for each project shows too"
    );
}

#[tokio::test]
async fn what_holds_for_each_project_is_lifted_for_one() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let path = format!("{PROJECTS}/{project}/rate_limits/rl-tiny");
    let each = json!({
        "subject": "project", "model": "tiny", "unit": "requests", "period": "minute", "amount": 60,
    });
    let set = admin.root.put("/api/v1/limits", each).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let name = "max_requests_per_1_minute";
    let mut lowered = json!({});
    lowered[name] = json!(5);
    assert_eq!(admin.post(&path, lowered.clone()).await[name], 5);
    lowered[name] = json!(NONE);
    let lifted = admin.post(&path, lowered).await;
    assert_eq!(lifted[name], NONE, "not 60, which holds for the others");
    let other = admin.project("another").await;
    let rates = admin.get(&format!("{PROJECTS}/{other}/rate_limits")).await;
    assert_eq!(rates["data"][0][name], 60);
}

#[tokio::test]
async fn rate_limits_are_listed_in_both_directions_and_bad_ones_refused() {
    let admin = Admin::start().await;
    let project = admin.project("research").await;
    let rates = format!("{PROJECTS}/{project}/rate_limits");
    // Models that are not served, but limited.
    for model in ["a/b", "m", "x", "z"] {
        let limit = json!({
            "subject": "project", "id": project, "model": model, "unit": "tokens", "period": "minute", "amount": 5,
        });
        admin.root.put("/api/v1/limits", limit).await;
    }
    let all = ["rl-a/b", "rl-m", "rl-tiny", "rl-x", "rl-z"];
    assert_eq!(admin.pages(&rates).await, all);
    let back = admin.get(&format!("{rates}?before=rl-x&limit=2")).await;
    assert_eq!(admin.listed(&back), all[1..3], "next to where it was");
    assert_eq!(back["has_more"], true);
    let first = admin.get(&format!("{rates}?before=rl-tiny&limit=2")).await;
    assert_eq!(
        (admin.listed(&first), &first["has_more"]),
        (vec!["rl-a/b".to_owned(), "rl-m".to_owned()], &json!(false))
    );
    let slash = admin
        .post(
            &format!("{rates}/rl-a%2Fb"),
            json!({ "max_tokens_per_1_minute": NONE }),
        )
        .await;
    assert_eq!(slash["id"], "rl-a/b", "its last limit is gone");
    assert_eq!(admin.pages(&rates).await, all[1..], "and it with it");
    for id in ["rl-none", "tiny", "rl-"] {
        let path = format!("{rates}/{id}");
        admin
            .missing(
                Method::POST,
                &path,
                json!({ "max_requests_per_1_minute": 1 }),
            )
            .await;
    }
    let path = format!("{rates}/rl-tiny");
    for (body, param) in [
        (
            json!({ "max_requests_per_1_minute": -1 }),
            "max_requests_per_1_minute",
        ),
        (
            json!({ "max_tokens_per_1_minute": NONE + 1 }),
            "max_tokens_per_1_minute",
        ),
        (
            json!({ "max_images_per_1_minute": 1 }),
            "max_images_per_1_minute",
        ),
    ] {
        admin.wrong(Method::POST, &path, body, param).await;
    }
}
