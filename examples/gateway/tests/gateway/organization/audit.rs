//! What was done.

use std::time::Duration;

use super::*;

on_both! {
    what_is_done_here_is_told_by_its_name;
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
    for (query, param) in [
        ("event_types[]=certificate.created", "event_types"),
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
