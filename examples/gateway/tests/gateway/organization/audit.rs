//! What was done.

use std::time::Duration;

use super::super::operations::document;
use super::*;

on_both! {
    what_is_done_here_is_told_by_its_name;
    what_is_told_has_the_members_that_openai_names;
    a_limit_that_is_no_projects_is_no_rate_limit;
    events_are_read_forwards_and_back;
    events_are_found_by_each_filter;
}

const LOGS: &str = "/v1/organization/audit_logs";

impl Admin {
    /// Lists the types of the events that a query finds, oldest first.
    async fn types(&self, query: &str) -> Vec<String> {
        let list = self.get(&format!("{LOGS}?limit=100{query}")).await;
        let data = list["data"].as_array().expect("a list").iter();
        data.rev().map(|event| text(&event["type"])).collect()
    }
}

async fn what_is_done_here_is_told_by_its_name(gate: Gate) {
    let admin = Admin::of(gate).await;
    let project = admin.project("research").await;
    let path = format!("/v1/organization/projects/{project}");
    admin.post(&path, json!({ "name": "science" })).await;
    let services = format!("{path}/service_accounts");
    let service = admin.post(&services, json!({ "name": "ci" })).await;
    let key = text(&service["api_key"]["id"]);
    let service = text(&service["id"]);
    admin
        .post(
            &format!("{services}/{service}"),
            json!({ "name": "nightly" }),
        )
        .await;
    admin
        .post(
            &format!("{path}/rate_limits/rl-tiny"),
            json!({ "max_requests_per_1_day": 9 }),
        )
        .await;
    admin.delete(&format!("{path}/api_keys/{key}")).await;
    admin.delete(&format!("{services}/{service}")).await;
    let ada = admin.gate.person("ada").await;
    admin
        .post(
            &format!("{path}/users"),
            json!({ "user_id": ada.id, "role": "member" }),
        )
        .await;
    admin
        .post(
            &format!("{path}/users/{}", ada.id),
            json!({ "role": "owner" }),
        )
        .await;
    admin.delete(&format!("{path}/users/{}", ada.id)).await;
    admin.post(&format!("{path}/archive"), Value::Null).await;
    let expected = [
        "project.created",
        "role.assignment.created",
        "project.updated",
        "service_account.created",
        "role.assignment.created",
        "api_key.created",
        "service_account.updated",
        "rate_limit.updated",
        "api_key.deleted",
        "role.assignment.deleted",
        "service_account.deleted",
        "role.assignment.created",
        "member.changed",
        "role.assignment.deleted",
        "project.archived",
    ];
    assert_eq!(
        admin.types(&format!("&project_ids[]={project}")).await,
        expected
    );
    let users = "/v1/organization/users";
    admin
        .post(&format!("{users}/{}", ada.id), json!({ "role": "owner" }))
        .await;
    admin.delete(&format!("{users}/{}", ada.id)).await;
    let invite = json!({ "email": "grace@example.org", "role": "reader" });
    let invite = text(&admin.post("/v1/organization/invites", invite).await["id"]);
    admin
        .delete(&format!("/v1/organization/invites/{invite}"))
        .await;
    let of = async |target: &str| admin.types(&format!("&resource_ids[]={target}")).await;
    let persons = ["user.added", "user.updated", "user.deleted"];
    let about: Vec<String> = of(&ada.id).await;
    let about: Vec<&String> = about
        .iter()
        .filter(|name| name.starts_with("user."))
        .collect();
    assert_eq!(about, persons);
    assert_eq!(of(&invite).await, ["invite.sent", "invite.deleted"]);

    let created = admin
        .get(&format!(
            "{LOGS}?event_types[]=project.created&project_ids[]={project}"
        ))
        .await;
    let event = &created["data"][0];
    assert_eq!(
        event["project.created"],
        json!({ "id": project, "data": { "name": "research", "title": "research" } })
    );
    assert_eq!(
        event["project"],
        json!({ "id": project, "name": "science" }),
        "as it is called now"
    );
    assert_eq!(event["effective_at"], 1_767_225_600);
    let user = json!({ "id": admin.root.id, "email": null });
    let actor =
        json!({ "type": "session", "session": { "user": user, "ip_address": "127.0.0.1" } });
    assert_eq!(event["actor"], actor);
    assert_eq!(event["llm_gate"]["action"], "project.created");
    assert_eq!(
        event["llm_gate"]["target"],
        json!({ "kind": "project", "id": project })
    );
    let sent = admin.get(&format!("{LOGS}?event_types=invite.sent")).await;
    let data = json!({ "email": "grace@example.org", "role": "reader" });
    assert_eq!(
        sent["data"][0]["invite.sent"],
        json!({ "id": invite, "data": data })
    );
}

async fn what_is_told_has_the_members_that_openai_names(gate: Gate) {
    let admin = Admin::of(gate).await;
    let project = admin.project("research").await;
    let path = format!("/v1/organization/projects/{project}");
    admin.post(&path, json!({ "name": "science" })).await;
    let services = format!("{path}/service_accounts");
    let made = admin.post(&services, json!({ "name": "ci" })).await;
    let (service, key) = (text(&made["id"]), text(&made["api_key"]["id"]));
    let body = json!({ "name": "nightly" });
    admin.post(&format!("{services}/{service}"), body).await;
    let keys = format!("{path}/api_keys/{key}");
    admin.post(&keys, json!({ "scopes": ["models"] })).await;
    admin.post(&keys, json!({ "expires_in_seconds": 60 })).await;
    admin.delete(&keys).await;
    admin.delete(&format!("{services}/{service}")).await;
    let rate = format!("{path}/rate_limits/rl-tiny");
    for amount in [9, 9_007_199_254_740_991_i64] {
        let body =
            json!({ "max_requests_per_1_minute": amount, "max_tokens_per_1_minute": amount });
        admin.post(&rate, body).await;
    }
    let ada = admin.gate.person("ada").await;
    let wrong = json!({ "username": "ada", "password": "not this one" });
    admin.gate.post("/api/v1/auth/login", wrong).await;
    ada.delete("/api/v1/users/me/sessions").await;
    let member = format!("{path}/users");
    let body = json!({ "user_id": ada.id, "role": "member" });
    admin.post(&member, body).await;
    admin.delete(&format!("{member}/{}", ada.id)).await;
    let user = format!("/v1/organization/users/{}", ada.id);
    admin.post(&user, json!({ "role": "owner" })).await;
    admin.delete(&user).await;
    let invites = "/v1/organization/invites";
    let body = json!({ "email": "grace@example.org", "role": "owner" });
    let invite = admin.post(invites, body).await;
    let body =
        json!({ "email": "grace@example.org", "password": PASSWORD, "invite": invite["token"] });
    let joined = admin.gate.post("/api/v1/auth/register", body).await;
    assert_eq!(joined.status, StatusCode::CREATED, "{joined:?}");
    let body = json!({ "email": "eve@example.org", "role": "reader" });
    let withdrawn = text(&admin.post(invites, body).await["id"]);
    admin.delete(&format!("{invites}/{withdrawn}")).await;
    admin.post(&format!("{path}/archive"), Value::Null).await;

    let assigned = |who: &str, kind: &str| {
        json!({
            "id": "member", "principal_id": who, "principal_type": kind,
            "resource_id": project, "resource_type": "project",
        })
    };
    let changed = |id: &str, changes: Value| json!({ "id": id, "changes_requested": changes });
    let with = |id: &str, data: Value| json!({ "id": id, "data": data });
    let invited = |id: &Value, email: &str, role: &str| json!({ "id": id, "data": { "email": email, "role": role } });
    let expected = [
        (
            "project.created",
            vec![with(
                &project,
                json!({ "name": "research", "title": "research" }),
            )],
        ),
        (
            "project.updated",
            vec![changed(&project, json!({ "title": "science" }))],
        ),
        ("project.archived", vec![json!({ "id": project })]),
        (
            "service_account.created",
            vec![with(&service, json!({ "role": "member" }))],
        ),
        (
            "service_account.updated",
            vec![changed(&service, json!({ "role": null }))],
        ),
        ("service_account.deleted", vec![json!({ "id": service })]),
        (
            "api_key.created",
            vec![with(&key, json!({ "scopes": ["inference", "models"] }))],
        ),
        (
            "api_key.updated",
            vec![
                changed(&key, json!({ "scopes": ["models"] })),
                changed(&key, json!({ "expires_in_seconds": 60 })),
            ],
        ),
        ("api_key.deleted", vec![json!({ "id": key })]),
        (
            "rate_limit.updated",
            vec![
                changed("rl-tiny", json!({ "max_requests_per_1_minute": 9 })),
                changed("rl-tiny", json!({ "max_tokens_per_1_minute": 9 })),
            ],
        ),
        ("rate_limit.deleted", vec![json!({ "id": "rl-tiny" }); 2]),
        (
            "role.assignment.deleted",
            vec![
                assigned(&service, "service_account"),
                assigned(&ada.id, "user"),
            ],
        ),
        (
            "user.updated",
            vec![changed(&ada.id, json!({ "role": "owner" }))],
        ),
        ("user.deleted", vec![json!({ "id": ada.id })]),
        (
            "login.failed",
            vec![json!({ "error_code": "invalid_credentials", "error_message": null })],
        ),
        ("login.succeeded", vec![json!({}); 2]),
        (
            "invite.sent",
            vec![
                invited(&invite["id"], "grace@example.org", "owner"),
                invited(&json!(withdrawn), "eve@example.org", "reader"),
            ],
        ),
        ("invite.accepted", vec![json!({ "id": invite["id"] })]),
        ("invite.deleted", vec![json!({ "id": withdrawn })]),
    ];
    let all = admin.get(&format!("{LOGS}?limit=100")).await;
    assert_eq!(all["has_more"], false);
    // Her own project ends with her.
    let all = all["data"].as_array().expect("a list").iter();
    let all = all.filter(|event| event["project"]["id"] != ada.project);
    let all: Vec<&Value> = all.collect();
    for (kind, expected) in expected {
        let told = all.iter().rev().filter(|event| event["type"] == kind);
        let told: Vec<&Value> = told.map(|event| &event[kind]).collect();
        assert_eq!(told, expected.iter().collect::<Vec<_>>(), "{kind}");
    }
    // Also those that come with an account, a project and a service account.
    let joined_now = all
        .iter()
        .filter(|event| event["type"] == "role.assignment.created");
    let joined_now: Vec<&Value> = joined_now
        .map(|event| &event["role.assignment.created"])
        .collect();
    for expected in [
        assigned(&ada.id, "user"),
        assigned(&service, "service_account"),
    ] {
        let told = joined_now.iter().filter(|told| ***told == expected).count();
        assert_eq!(told, 1, "{expected}: {joined_now:?}");
    }
    let added = all.iter().filter(|event| event["type"] == "user.added");
    let added: Vec<&Value> = added.map(|event| &event["user.added"]).collect();
    assert!(
        added.contains(&&with(&ada.id, json!({ "role": "reader" }))),
        "{added:?}"
    );
    let grace = joined.text("id");
    assert!(
        added.contains(&&with(&grace, json!({ "role": "owner" }))),
        "{added:?}"
    );
    let out = all.iter().find(|event| event["type"] == "logout.succeeded");
    assert_eq!(out.expect("ada logged out")["logout.succeeded"], json!({}));
}

async fn a_limit_that_is_no_projects_is_no_rate_limit(gate: Gate) {
    let admin = Admin::of(gate).await;
    let limit =
        json!({ "subject": "user", "id": admin.root.id, "unit": "requests", "period": "minute" });
    let mut set = limit.clone();
    set["amount"] = json!(9);
    assert_eq!(
        admin.root.put("/api/v1/limits", set).await.status,
        StatusCode::OK
    );
    let gone = admin.root.delete_with("/api/v1/limits", limit).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let about = format!("&resource_ids[]={}", admin.root.id);
    // That of whoever is new is set, too.
    for (name, count) in [("limit.changed", 2), ("limit.removed", 1)] {
        let found = admin.types(&format!("{about}&event_types[]={name}")).await;
        assert_eq!(found, vec![name; count]);
    }
    let rates = "&event_types[]=rate_limit.updated&event_types[]=rate_limit.deleted";
    assert_eq!(admin.types(&format!("{about}{rates}")).await, [""; 0]);
    let project = admin.project("research").await;
    let limit = json!({ "subject": "project", "id": project, "unit": "tokens", "period": "total", "amount": 9 });
    assert_eq!(
        admin.root.put("/api/v1/limits", limit).await.status,
        StatusCode::OK
    );
    let path = format!("{LOGS}?event_types=rate_limit.updated&project_ids={project}");
    assert_eq!(
        admin.get(&path).await["data"][0]["rate_limit.updated"],
        json!({ "id": null, "changes_requested": {} }),
        "one of a project that their API has not"
    );
}

async fn events_are_read_forwards_and_back(gate: Gate) {
    let admin = Admin::of(gate).await;
    for name in ["a", "b", "c", "d", "e"] {
        admin.project(name).await;
    }
    let path = format!("{LOGS}?event_types[]=project.created");
    let all = admin.listed(&admin.get(&path).await);
    assert_eq!(all.len(), 5, "those of persons come with their accounts");
    assert_eq!(admin.pages(&path).await, all);
    let back = admin
        .get(&format!("{path}&before={}&limit=2", all[3]))
        .await;
    assert_eq!(
        admin.listed(&back),
        all[1..3],
        "next to where it was, the newest first"
    );
    assert_eq!(back["has_more"], true);
    let first = admin
        .get(&format!("{path}&before={}&limit=2", all[1]))
        .await;
    assert_eq!(admin.listed(&first), all[..1]);
    assert_eq!(first["has_more"], false);
    let between = admin
        .get(&format!("{path}&after={}&before={}", all[0], all[4]))
        .await;
    assert_eq!(admin.listed(&between), all[1..4]);
}

async fn events_are_found_by_each_filter(gate: Gate) {
    let admin = Admin::of(gate).await;
    let body = json!({ "email": "grace@example.org", "password": PASSWORD });
    let grace = admin
        .gate
        .post("/api/v1/auth/register", body.clone())
        .await
        .text("id");
    admin.gate.clock.advance(Duration::from_secs(100));
    let made = admin
        .post("/v1/organization/admin_api_keys", json!({ "name": "ops" }))
        .await;
    let key = admin.gate.client.bearer(text(&made["value"]));
    let body = json!({ "name": "by key" });
    let project = ask(&key, Method::POST, "/v1/organization/projects", &body)
        .await
        .text("id");
    let mine = format!(
        "&actor_ids[]={}&event_types[]=project.created",
        admin.root.id
    );
    assert_eq!(
        admin.types(&mine).await,
        ["project.created"],
        "by login and by key"
    );
    let by_key = format!("&actor_ids[]={}", text(&made["id"]));
    assert_eq!(
        admin.types(&by_key).await,
        ["project.created", "role.assignment.created"],
        "by the key alone"
    );
    let event = admin.get(&format!("{LOGS}?limit=1{by_key}")).await["data"][0].clone();
    let user = json!({ "id": admin.root.id, "email": null });
    let actor =
        json!({ "type": "api_key", "api_key": { "id": made["id"], "type": "user", "user": user } });
    assert_eq!(
        (&event["actor"], &event["project"]["id"]),
        (&actor, &json!(project))
    );

    let login = json!({ "username": "grace@example.org", "password": PASSWORD });
    let pair = admin.gate.post("/api/v1/auth/login", login).await;
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    let email = "&actor_emails[]=grace@example.org";
    assert_eq!(admin.types(email).await, ["login.succeeded"], "by address");
    assert_eq!(
        admin.types(&format!("{email}&actor_ids[]={grace}")).await,
        ["login.succeeded"]
    );
    let other = format!("{email}&actor_ids[]={}", admin.root.id);
    assert_eq!(admin.types(&other).await, [""; 0], "both have to hold");
    assert_eq!(
        admin.types("&actor_emails[]=no@example.org").await,
        [""; 0],
        "nobody did nothing"
    );
    assert_eq!(
        admin.types(&format!("&actor_ids[]={project}")).await,
        [""; 0]
    );
    let typed =
        "&event_types[]=login.succeeded&event_types[]=invite.sent&effective_at[gte]=1767225700";
    assert_eq!(admin.types(typed).await, ["login.succeeded"]);
    let services = format!("/v1/organization/projects/{project}/service_accounts");
    admin.post(&services, json!({ "name": "ci" })).await;
    let persons = admin.types("&event_types[]=user.added").await;
    assert_eq!(persons, ["user.added"; 2], "a service account is no user");
    let services = admin.types("&event_types[]=service_account.created").await;
    assert_eq!(services, ["service_account.created"]);
    for (query, some) in [
        ("gt]=1767225600", true),
        ("gt]=1767225700", false),
        ("gte]=1767225700", true),
        ("lt]=1767225700", false),
        ("lte]=1767225700", true),
    ] {
        let found = admin
            .types(&format!(
                "&event_types=service_account.created&effective_at[{query}"
            ))
            .await;
        assert_eq!(!found.is_empty(), some, "{query}");
    }
    assert_eq!(
        admin.types("&tenant_only=true").await,
        [""; 0],
        "there is none"
    );
    let all = admin.types("").await;
    assert_eq!(admin.types("&tenant_only=false").await, all);
    let never = "&event_types[]=certificate.created&event_types[]=tenant.policy.created";
    assert_eq!(
        admin.types(never).await,
        [""; 0],
        "words of theirs for what is never done here"
    );
    let both = format!("{never}&event_types[]=user.added");
    assert_eq!(admin.types(&both).await, persons, "beside what is");
    let document = document();
    let parameters = &document["paths"][LOGS]["get"]["parameters"];
    let mut parameters = parameters.as_array().expect("parameters").iter();
    let types = parameters.find(|parameter| parameter["name"] == "event_types");
    let words = &types.expect("it is there")["schema"]["items"]["enum"];
    let words = words.as_array().expect("words").iter();
    let each: Vec<String> = words
        .map(|word| format!("&event_types[]={}", text(word)))
        .collect();
    assert!(each.len() > 149, "those of the packages and more");
    assert_eq!(admin.types(&each.concat()).await, all, "all at once");
    for (query, param) in [
        ("event_types[]=certificate.invented", "event_types"),
        ("effective_at[gt]=now", "effective_at[gt]"),
        ("effective_at=5", "effective_at"),
        ("actor_ids[]=x", "actor_ids"),
        ("actor_emails[]=x", "actor_emails"),
        ("project_ids[]=x", "project_ids"),
        ("resource_ids[]=", "resource_ids"),
        ("before=x", "before"),
        ("limit=101", "limit"),
    ] {
        admin
            .wrong(Method::GET, &format!("{LOGS}?{query}"), Value::Null, param)
            .await;
    }
}
