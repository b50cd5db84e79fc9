//! What was done, by whom, to what (M-52).

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use llm_gate::auth::OperatorSecret;
use serde_json::{Value, json};

use super::support::{Gate, PASSWORD, Person, on_both, start, start_with, start_with_mail};

const AUDIT: &str = "/api/v1/audit";

impl Person {
    /// Lists the events asked for, on one page.
    async fn events(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("{AUDIT}?limit=100{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        assert_eq!(answer.json()["next_cursor"], Value::Null, "one page");
        answer.json()["events"].as_array().expect("a list").clone()
    }

    /// Lists what was done, the oldest first.
    async fn actions(&self, query: &str) -> Vec<String> {
        let events = self.events(query).await;
        let actions = events.iter().rev().map(|event| &event["action"]);
        actions
            .map(|action| action.as_str().expect("a word").to_owned())
            .collect()
    }
}

on_both! {
    a_project_tells_those_who_manage_it_what_was_done_there;
}

async fn a_project_tells_those_who_manage_it_what_was_done_there(gate: Gate) {
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let path = format!("/api/v1/projects/{project}");
    ada.patch(&path, json!({ "name": "Development" })).await;
    ada.patch(&path, json!({ "name": "Development" })).await;
    let admin = json!({ "user_id": eve.id, "role": "admin" });
    ada.post(&format!("{path}/members"), admin).await;
    let keys = format!("{path}/api-keys");
    let key = eve.post(&keys, json!({ "name": "ci" })).await.text("id");
    let one = format!("{keys}/{key}");
    eve.patch(&one, json!({ "name": "cd" })).await;
    eve.post(&format!("{one}/rotate"), json!({})).await;
    ada.post(&format!("{one}/revoke"), json!({})).await;
    // Elsewhere.
    ada.key().await;
    let of_project = format!("&project_id={project}");
    let expected = [
        "project.created",
        "member.added",
        "project.changed",
        "member.added",
        "key.created",
        "key.changed",
        "key.rotated",
        "key.revoked",
    ];
    for person in [&ada, &eve] {
        assert_eq!(
            person.actions(&of_project).await,
            expected,
            "a change to what was so already is none"
        );
    }
    let events = ada
        .events(&format!("{of_project}&action=project.changed"))
        .await;
    let joined = eve
        .events(&format!("{of_project}&action=member.added"))
        .await;
    let after = joined[0]["after"].as_object().expect("facts").keys();
    let shown = [
        "email", "kind", "name", "role", "since", "user_id", "username",
    ];
    let after: BTreeSet<&str> = after.map(String::as_str).collect();
    assert_eq!(
        after,
        BTreeSet::from(shown),
        "what the list of members shows, and no more"
    );
    assert_eq!(events[0]["actor"], "user");
    assert_eq!(events[0]["actor_id"], ada.id);
    assert_eq!(events[0]["target"], "project");
    assert_eq!(events[0]["target_id"], project);
    assert_eq!(events[0]["before"], json!({ "name": "Research" }));
    assert_eq!(events[0]["after"], json!({ "name": "Development" }));
    assert_eq!(events[0]["at"], "2026-01-01T00:00:00Z");
    assert_eq!(events[0]["address"], "127.0.0.1");
    assert!(events[0]["request_id"].is_string());
}

#[tokio::test]
async fn what_a_key_did_names_the_key_and_its_user() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let keys = format!("/api/v1/projects/{}/api-keys", ada.project);
    let made = ada.post(&keys, json!({ "scopes": ["manage"] })).await;
    let key = gate.client.bearer(made.text("api_key"));
    let by_key = key.post("/api/v1/projects", &json!({})).await;
    let project = by_key.expect("an answer").text("id");
    let events = ada.events(&format!("&target_id={project}")).await;
    assert_eq!(events[0]["actor"], "key");
    assert_eq!(events[0]["actor_id"], ada.id);
    assert_eq!(events[0]["key_id"], made.text("id"));
}

#[tokio::test]
async fn everybody_sees_what_they_did_themselves_and_admins_see_all() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    ada.make_project().await;
    assert_eq!(
        ada.actions("").await,
        ["session.created", "project.created", "member.added"]
    );
    assert_eq!(eve.actions("").await, ["session.created"]);
    let own = eve.actions(&format!("&actor_id={}", eve.id)).await;
    assert_eq!(own, ["session.created"]);
    let others = eve.get(&format!("{AUDIT}?actor_id={}", ada.id)).await;
    assert_eq!(
        others.status,
        StatusCode::FORBIDDEN,
        "refused, not answered with something else"
    );
    let nobody = gate.get(AUDIT).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);

    let root = gate.admin().await;
    let all = root.events("&action=user.created").await;
    let by = |actor: &str| all.iter().filter(|event| event["actor"] == actor).count();
    assert_eq!(by("anonymous"), 2, "two registered");
    assert_eq!(by("system"), 1, "the command line made an admin");
    let adas = root.actions(&format!("&actor_id={}", ada.id)).await;
    assert_eq!(adas, ["session.created", "project.created", "member.added"]);
}

#[tokio::test]
async fn admins_of_all_kinds_read_all_of_any_project_and_of_one_that_is_closed() {
    let key = OperatorSecret::generate();
    let hash = key.hash().to_string();
    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let project = ada.make_project().await;
    let closed = ada.delete(&format!("/api/v1/projects/{project}")).await;
    assert_eq!(closed.status, StatusCode::NO_CONTENT, "{closed:?}");
    let keys = format!("/api/v1/projects/{}/api-keys", root.project);
    let made = root.post(&keys, json!({ "scopes": ["admin"] })).await;
    for client in [
        &root.session,
        &gate.client.bearer(made.text("api_key")),
        &gate.client.bearer(key.expose()),
    ] {
        let read = async |query: &str| {
            let answer = client.get(&format!("{AUDIT}?{query}")).await;
            answer.expect("an answer")
        };
        let all = read("action=user.created").await.json();
        assert_eq!(all["events"].as_array().map(Vec::len), Some(2), "{all}");
        let told = read(&format!("project_id={project}&action=project.archived")).await;
        assert_eq!(
            told.json()["events"][0]["target_id"],
            project.as_str(),
            "{told:?}"
        );
        let nowhere = read(&format!("project_id={}", ada.id)).await;
        assert_eq!(nowhere.status, StatusCode::NOT_FOUND);
    }
    let owner = ada.get(&format!("{AUDIT}?project_id={project}")).await;
    assert_eq!(owner.status, StatusCode::NOT_FOUND, "to others it is gone");
}

#[tokio::test]
async fn events_are_filtered_by_what_and_when_and_come_page_by_page() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let mut made = Vec::new();
    for _ in 0..3 {
        gate.clock.advance(Duration::from_secs(10));
        made.insert(0, ada.make_project().await);
    }
    let targets = async |query: &str| {
        let events = ada.events(query).await;
        let targets = events.iter().map(|event| &event["target_id"]);
        targets
            .map(|id| id.as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets("&action=project.created").await, made);
    let from = "&action=project.created&from=2026-01-01T00:00:20Z";
    assert_eq!(targets(from).await, made[..2], "from then on");
    let until = format!("{from}&until=2026-01-01T00:00:30Z");
    assert_eq!(targets(&until).await, made[1..2], "the end left out");
    assert_eq!(targets(&format!("&target_id={}", made[2])).await, made[2..]);
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("{AUDIT}?limit=1&action=project.created{cursor}");
        let page = ada.get(&path).await.json();
        let events = page["events"].as_array().expect("a list").clone();
        assert_eq!(events.len(), 1);
        seen.push(events[0]["target_id"].as_str().expect("an id").to_owned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, made, "the newest first");
    for wrong in [
        "action=key.eaten",
        "from=yesterday",
        "actor_id=x",
        "project_id=x",
        "cursor=x",
        "limit=0",
        "who=ada",
    ] {
        let answer = ada.get(&format!("{AUDIT}?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
}

#[tokio::test]
async fn who_has_letters_sent_leaves_from_where() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let body = json!({ "username": "bob", "email": "bob@example.org", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    sink.next().await;
    let bob = gate.enter("bob").await;
    for email in ["nobody@example.org", "ada@example.org"] {
        let forgot = json!({ "email": email });
        gate.post("/api/v1/auth/password/forgot", forgot).await;
    }
    assert_eq!(sink.next().await.to, "ada@example.org");
    bob.post("/api/v1/users/me/email/verification", json!({}))
        .await;
    assert_eq!(sink.next().await.to, "bob@example.org");
    let root = gate.admin().await;
    for (action, of, actor, by) in [
        (
            "password.reset_requested",
            &ada.id,
            "anonymous",
            json!(null),
        ),
        (
            "email.verification_requested",
            &bob.id,
            "user",
            json!(bob.id),
        ),
    ] {
        let events = root.events(&format!("&action={action}")).await;
        assert_eq!(events.len(), 1, "{events:?}");
        let event = &events[0];
        assert_eq!(
            (&event["target"], &event["target_id"]),
            (&json!("user"), &json!(of))
        );
        assert_eq!((&event["actor"], &event["actor_id"]), (&json!(actor), &by));
        assert_eq!(event["address"], "127.0.0.1");
        assert!(event["request_id"].is_string(), "{event}");
    }
}

#[tokio::test]
async fn no_event_has_a_secret_or_a_hash_in_it() {
    const OTHER: &str = "battery horse correct";
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let mut secrets = vec![PASSWORD.to_owned(), OTHER.to_owned(), ada.refresh.clone()];
    let made = ada.key().await;
    let path = format!(
        "/api/v1/projects/{}/api-keys/{}",
        ada.project,
        made.text("id")
    );
    let rotated = ada.post(&format!("{path}/rotate"), json!({})).await;
    for key in [&made, &rotated] {
        let secret = key.text("api_key");
        secrets.push(secret.rsplit('_').next().expect("parts").to_owned());
    }
    let forgot = json!({ "email": "ada@example.org" });
    gate.post("/api/v1/auth/password/forgot", forgot).await;
    let letter = sink.next().await;
    secrets.push(letter.token().to_owned());
    let reset = json!({ "token": letter.token(), "password": OTHER });
    gate.post("/api/v1/auth/password/reset", reset).await;
    let changed = sink.next().await;
    assert!(changed.text.contains("password"));
    let root = gate.admin().await;
    let invite = json!({ "email": "eve@example.org" });
    let invite = root.post("/api/v1/invites", invite).await;
    secrets.push(invite.text("token"));
    let all = root.get(&format!("{AUDIT}?limit=100")).await;
    let text = String::from_utf8_lossy(&all.body).into_owned();
    for action in [
        "key.rotated",
        "password.changed",
        "invite.created",
        "session.revoked",
    ] {
        assert!(text.contains(action), "{action}: {text}");
    }
    for secret in &secrets {
        assert!(
            !secret.is_empty() && !text.contains(secret.as_str()),
            "{text}"
        );
    }
    for word in ["hash", "argon2", "lgm_", "lgi_", "lgr_"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}
