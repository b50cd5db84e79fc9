//! What was done.

use std::time::Duration;

use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{Action, Author, Event, Target};

use super::super::operations::document;
use super::*;

on_both! {
    what_is_done_here_is_told_by_its_name;
    what_is_told_has_the_members_that_openai_names;
    a_limit_that_openai_has_not_has_no_id;
    each_event_has_a_type_of_openais_or_is_left_out;
    what_is_left_out_takes_no_place_in_a_list;
    who_has_another_role_has_received_it;
    what_openai_has_no_word_for_goes_by_the_nearest;
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

/// Lists the types that can be asked for, which are OpenAI's.
fn known_types() -> Vec<String> {
    let document = document();
    let parameters = &document["paths"][LOGS]["get"]["parameters"];
    let mut parameters = parameters.as_array().expect("parameters").iter();
    let types = parameters.find(|parameter| parameter["name"] == "event_types");
    let words = &types.expect("it is there")["schema"]["items"]["enum"];
    let words = words.as_array().expect("words").iter();
    words.map(text).collect()
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
        "role.assignment.created",
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
    let user = json!({ "id": admin.root.id });
    let actor =
        json!({ "type": "session", "session": { "user": user, "ip_address": "127.0.0.1" } });
    assert_eq!(event["actor"], actor);
    assert_eq!(event["llm_gate"]["action"], "project.created");
    assert_eq!(
        event["llm_gate"]["target"],
        json!({ "kind": "project", "id": project })
    );
    let sent = admin.get(&format!("{LOGS}?event_types=invite.sent")).await;
    let data = json!({ "email": "grace@example.org", "role": "member" });
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

    let assigned = |who: &str| {
        json!({
            "id": format!("{project}/{who}"), "principal_id": who, "principal_type": "user",
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
            vec![changed(&service, json!({}))],
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
            vec![assigned(&service), assigned(&ada.id)],
        ),
        (
            "user.updated",
            vec![changed(&ada.id, json!({ "role": "owner" }))],
        ),
        ("user.deleted", vec![json!({ "id": ada.id })]),
        (
            "login.failed",
            vec![json!({ "error_code": "invalid_credentials" })],
        ),
        ("login.succeeded", vec![json!({}); 2]),
        (
            "invite.sent",
            vec![
                invited(&invite["id"], "grace@example.org", "owner"),
                invited(&json!(withdrawn), "eve@example.org", "member"),
            ],
        ),
        ("invite.accepted", vec![json!({ "id": invite["id"] })]),
        ("invite.deleted", vec![json!({ "id": withdrawn })]),
    ];
    let all = admin.get(&format!("{LOGS}?limit=100")).await;
    assert_eq!(all["has_more"], false);
    // Her own project ends with her, and whoever is new has limits.
    let all = all["data"].as_array().expect("a list").iter();
    let all = all.filter(|event| event["project"]["id"] != ada.project);
    let all = all.filter(|event| {
        let limit = text(&event["type"]).starts_with("rate_limit.");
        !limit || event["project"]["id"] == json!(project)
    });
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
    for expected in [assigned(&ada.id), assigned(&service)] {
        let told = joined_now.iter().filter(|told| ***told == expected).count();
        assert_eq!(told, 1, "{expected}: {joined_now:?}");
    }
    let added = all.iter().filter(|event| event["type"] == "user.added");
    let added: Vec<&Value> = added.map(|event| &event["user.added"]).collect();
    assert!(
        added.contains(&&with(&ada.id, json!({ "role": "member" }))),
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

async fn a_limit_that_openai_has_not_has_no_id(gate: Gate) {
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
    let told = async |about: &str, kind: &str| {
        let path = format!("{LOGS}?{about}&event_types[]={kind}");
        let list = admin.get(&path).await;
        let data = list["data"].as_array().expect("a list").iter();
        data.map(|event| event[kind].clone()).collect::<Vec<_>>()
    };
    let about = format!("resource_ids[]={}", admin.root.id);
    let changed = json!({ "changes_requested": {} });
    // That of whoever is new is set, too.
    let set = told(&about, "rate_limit.updated").await;
    assert_eq!(set, vec![changed.clone(); 2]);
    assert_eq!(told(&about, "rate_limit.deleted").await, [json!({})]);
    let project = admin.project("research").await;
    let limit = json!({ "subject": "project", "id": project, "unit": "tokens", "period": "total", "amount": 9 });
    assert_eq!(
        admin.root.put("/api/v1/limits", limit).await.status,
        StatusCode::OK
    );
    let of_project = told(&format!("project_ids={project}"), "rate_limit.updated").await;
    assert_eq!(
        of_project,
        [changed],
        "one of a project that their API has not"
    );
}

async fn each_event_has_a_type_of_openais_or_is_left_out(gate: Gate) {
    let admin = Admin::of(gate).await;
    let books = admin.gate.books().await;
    let project: ProjectId = admin.project("research").await.parse().expect("an id");
    let known = known_types();
    let nameless = [
        Action::PasswordResetRequested,
        Action::EmailVerificationRequested,
        Action::InviteChanged,
        Action::UsageReset,
        Action::ChargeRefunded,
    ];
    for action in Action::ALL {
        for project in [None, Some(project)] {
            let target = Target::new("user", UserId::new());
            let about = format!("&resource_ids[]={}", target.id);
            let event = Event::new(&Author::now(), *action, target).of(project);
            let id = event.id.to_string();
            books.note(event).await.expect("noted");
            let list = admin.get(&format!("{LOGS}?limit=9{about}")).await;
            if nameless.contains(action) {
                assert_eq!(list["data"], json!([]), "{action:?}");
                continue;
            }
            assert_eq!(admin.listed(&list), [id], "{action:?}");
            let event = &list["data"][0];
            let kind = text(&event["type"]);
            assert!(known.contains(&kind), "{action:?}: {kind}");
            assert!(event[&kind].is_object(), "what is told of it: {event}");
            assert_eq!(event["llm_gate"]["action"], json!(action), "{event}");
            for other in [
                "user.updated",
                "api_key.updated",
                "logout.succeeded",
                kind.as_str(),
            ] {
                let found = admin.types(&format!("{about}&event_types[]={other}")).await;
                let expected = Vec::from_iter((other == kind).then_some(other));
                assert_eq!(found, expected, "{action:?} is no other's");
            }
        }
    }
    let document = document();
    let shown = &document["components"]["schemas"]["OrganizationEvent"]["properties"]["type"];
    let shown = shown["enum"].as_array().expect("words").iter();
    for word in shown {
        assert!(known.contains(&text(word)), "{word}");
    }
}

async fn what_is_left_out_takes_no_place_in_a_list(gate: Gate) {
    let admin = Admin::of(gate).await;
    let books = admin.gate.books().await;
    let target = Target::new("user", UserId::new());
    let mut ids = Vec::new();
    for _ in 0..6 {
        for action in [Action::UsageReset, Action::UserChanged, Action::UsageReset] {
            let event = Event::new(&Author::now(), action, target.clone());
            if action == Action::UserChanged {
                ids.push(event.id.to_string());
            }
            books.note(event).await.expect("noted");
        }
    }
    ids.sort_by(|one, other| other.cmp(one));
    let path = format!("{LOGS}?resource_ids={}", target.id);
    assert_eq!(admin.pages(&path).await, ids, "each page is full");
    let all = admin.get(&format!("{path}&limit=6")).await;
    assert_eq!(admin.listed(&all), ids);
    assert_eq!(all["has_more"], false, "of those that are left out");
    let back = admin
        .get(&format!("{path}&before={}&limit=3", ids[3]))
        .await;
    assert_eq!(admin.listed(&back), ids[..3]);
    assert_eq!(back["has_more"], false);
}

async fn who_has_another_role_has_received_it(gate: Gate) {
    let admin = Admin::of(gate).await;
    let project = admin.project("research").await;
    let path = format!("/v1/organization/projects/{project}");
    let ada = admin.gate.person("ada").await;
    let body = json!({ "user_id": ada.id, "role": "member" });
    admin.post(&format!("{path}/users"), body).await;
    let services = format!("{path}/service_accounts");
    let service = text(&admin.post(&services, json!({ "name": "ci" })).await["id"]);
    let owner = json!({ "role": "owner" });
    let member = format!("{path}/users/{}", ada.id);
    admin.post(&member, owner.clone()).await;
    admin.post(&format!("{services}/{service}"), owner).await;
    for (id, kind) in [(&ada.id, "person"), (&service, "service")] {
        let about = format!("resource_ids={id}&project_ids={project}");
        let query = format!("{LOGS}?event_types=role.assignment.created&{about}");
        let event = admin.get(&query).await["data"][0].clone();
        let own = &event["llm_gate"];
        assert_eq!(own["action"], "member.changed");
        assert_eq!(
            (&own["kind"], &own["after"]["role"]),
            (&json!(kind), &json!("owner"))
        );
        let expected = json!({
            "id": format!("{project}/{id}"), "principal_id": id, "principal_type": "user",
            "resource_id": project, "resource_type": "project",
        });
        assert_eq!(event["role.assignment.created"], expected);
    }
}

async fn what_openai_has_no_word_for_goes_by_the_nearest(gate: Gate) {
    let admin = Admin::of(gate).await;
    let ada = admin.gate.person("ada").await;
    let price = json!({ "model": "tiny", "prompt": 1, "completion": 1 });
    let set = admin.root.put("/api/v1/prices", price).await;
    assert_eq!(set.status, StatusCode::OK, "{set:?}");
    let key = ada.key().await.text("id");
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let rotated = ada.post(&format!("{keys}/{key}/rotate"), json!({})).await;
    assert_eq!(rotated.status, StatusCode::OK, "{rotated:?}");
    let words = json!({ "current_password": PASSWORD, "new_password": "another one altogether" });
    let changed = ada.put("/api/v1/users/me/password", words).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    let nothing = json!({});
    for (target, kind, action, expected) in [
        (
            "tiny",
            "organization.updated",
            "price.changed",
            json!({ "changes_requested": nothing }),
        ),
        (
            &*key,
            "api_key.updated",
            "key.rotated",
            json!({ "id": key, "changes_requested": nothing }),
        ),
        (
            &*ada.id,
            "user.updated",
            "password.changed",
            json!({ "id": ada.id, "changes_requested": nothing }),
        ),
    ] {
        let query = format!("{LOGS}?resource_ids={target}&event_types={kind}");
        let list = admin.get(&query).await;
        let events = list["data"].as_array().expect("a list");
        assert_eq!(events.len(), 1, "{kind}: {list}");
        assert_eq!(events[0][kind], expected);
        assert_eq!(events[0]["llm_gate"]["action"], action);
    }
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
    let user = json!({ "id": admin.root.id });
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
    let known = known_types();
    assert_eq!(known.len(), 149, "those of the packages and no other");
    let each: Vec<String> = known
        .iter()
        .map(|word| format!("&event_types[]={word}"))
        .collect();
    assert_eq!(admin.types(&each.concat()).await, all, "all at once");
    for (query, param) in [
        ("event_types[]=certificate.invented", "event_types"),
        ("event_types[]=member.changed", "event_types"),
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
