//! The conversations of a project: by the names that clients give, for members, and nobody else.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::ledger::books;
use super::support::{Gate, Person, on_both, send};
use super::usage::{Call, HOUR, fine, lines, price};

on_both! {
    conversations_of_a_project_are_listed_to_its_members;
    conversations_are_those_of_the_last_days;
    a_conversation_has_its_calls_and_what_they_come_to;
    what_a_client_names_is_a_conversation_of_the_project_it_is_in;
    a_foreign_conversation_is_none;
    what_is_asked_wrongly_is_refused_by_name;
}

fn path(person: &Person) -> String {
    format!("/api/v1/projects/{}/conversations", person.project)
}

fn called<'a>(person: &'a Person, project: &'a str, session: &'a str, ago: i64) -> Call<'a> {
    Call {
        project,
        session: Some(session),
        ..Call::of(person, ago)
    }
}

/// Two members, in the project of the first, with two conversations of each.
async fn scene(gate: &Gate) -> (Person, Person) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let members = format!("/api/v1/projects/{}/members", ada.project);
    fine(&ada.post(&members, json!({ "user_id": bob.id })).await);
    let books = books(gate).await;
    price(&*books).await;
    for (person, session, ago) in [
        (&ada, "plan", 9 * HOUR),
        (&ada, "plan", 2 * HOUR),
        (&bob, "plan", 5 * HOUR),
        (&bob, "tests", HOUR),
        (&ada, "docs", 3 * HOUR),
    ] {
        called(person, &ada.project, session, ago)
            .happen(&*books)
            .await;
    }
    // Not of this project, and without a name.
    called(&bob, &bob.project, "plan", HOUR)
        .happen(&*books)
        .await;
    Call::of(&ada, HOUR).happen(&*books).await;
    (ada, bob)
}

fn names(page: &Value) -> Vec<(&str, &str)> {
    let all = page["conversations"].as_array().expect("a list").iter();
    all.map(|one| {
        let text = |name: &str| one[name].as_str().expect("text");
        (text("session_id"), text("user_id"))
    })
    .collect()
}

async fn conversations_of_a_project_are_listed_to_its_members(gate: Gate) {
    let (ada, bob) = scene(&gate).await;
    let page = fine(&bob.get(&path(&ada)).await);
    assert_eq!(page["project_id"], json!(ada.project));
    let all = [
        ("tests", &*bob.id),
        ("plan", &*ada.id),
        ("docs", &*ada.id),
        ("plan", &*bob.id),
    ];
    assert_eq!(names(&page), all, "who was gone on with last comes first");
    assert_eq!(
        page["conversations"][1],
        json!({
            "session_id": "plan", "user_id": ada.id, "call_count": 2, "tokens_used": 60,
            "prompt_tokens": 40, "completion_tokens": 20, "cached_tokens": 8,
            "estimated_cost": "0.000160", "first_call": "2025-12-31T15:00:00Z",
            "last_call": "2025-12-31T22:00:00Z",
        }),
    );
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(fine(&ada.get(&path(&ada)).await), page, "to all members");

    let mut paged = Vec::new();
    let mut next = format!("{}?limit=1", path(&ada));
    loop {
        let page = fine(&ada.get(&next).await);
        paged.extend(page["conversations"].as_array().expect("a list").clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        next = format!("{}?limit=1&cursor={cursor}", path(&ada));
    }
    assert_eq!(json!(paged), page["conversations"], "each once");

    let hers = format!("{}?user_id={}", path(&ada), ada.id);
    let hers = fine(&bob.get(&hers).await);
    assert_eq!(names(&hers), [("plan", &*ada.id), ("docs", &*ada.id)]);
}

async fn conversations_are_those_of_the_last_days(gate: Gate) {
    let ada = gate.person("ada").await;
    let books = books(&gate).await;
    for (session, hours) in [
        ("plan", 0),
        ("plan", 5),
        ("docs", 40 * 24),
        ("plan", 400 * 24),
    ] {
        called(&ada, &ada.project, session, hours * HOUR)
            .happen(&*books)
            .await;
    }
    let listed = async |query: &str| {
        let page = fine(&ada.get(&format!("{}{query}", path(&ada))).await);
        let all = page["conversations"].as_array().expect("a list").iter();
        let one = |one: &Value| (one["session_id"].clone(), one["call_count"].clone());
        (
            page["period_days"].clone(),
            all.map(one).collect::<Vec<_>>(),
        )
    };
    let (plan, docs) = (json!("plan"), json!("docs"));
    let month = vec![(plan.clone(), json!(2))];
    assert_eq!(listed("").await, (json!(30), month), "a month unless said");
    let today = vec![(plan.clone(), json!(1))];
    assert_eq!(listed("?days=1").await, (json!(1), today));
    let zone = "?days=1&zone=America/New_York";
    let both = vec![(plan.clone(), json!(2))];
    assert_eq!(listed(zone).await.1, both, "there it is still yesterday");
    let year = vec![(plan, json!(2)), (docs, json!(1))];
    assert_eq!(listed("?days=366").await.1, year);
    let all = fine(&ada.get(&format!("{}/plan", path(&ada))).await);
    assert_eq!(all["call_count"], 3, "the conversation itself has all");
}

async fn a_conversation_has_its_calls_and_what_they_come_to(gate: Gate) {
    let (ada, bob) = scene(&gate).await;
    let plan = format!("{}/plan", path(&ada));
    let listed = fine(&ada.get(&path(&ada)).await)["conversations"].clone();
    let usage = format!(
        "/api/v1/projects/{}/usage/calls?session_id=plan",
        ada.project
    );
    for (person, other, entry) in [(&ada, &bob, &listed[1]), (&bob, &ada, &listed[3])] {
        let own = fine(&person.get(&plan).await);
        assert_eq!(own["project_id"], json!(ada.project));
        for (name, figure) in entry.as_object().expect("an object") {
            assert_eq!(own[name], *figure, "{name}: as it is listed");
        }
        let reported = fine(&ada.get(&format!("{usage}&user_id={}", person.id)).await);
        assert_eq!(own["calls"], reported["calls"], "as they are reported");
        let seen = fine(&other.get(&format!("{plan}?user_id={}", person.id)).await);
        assert_eq!(seen, own, "by all members");
    }
    let calls = fine(&ada.get(&plan).await)["calls"].clone();
    let first = fine(&ada.get(&format!("{plan}?limit=1")).await);
    assert_eq!(first["call_count"], 2, "of all pages");
    assert_eq!(first["calls"], json!([calls[0]]), "the newest first");
    let cursor = first["next_cursor"].as_str().expect("there is more");
    let last = fine(&ada.get(&format!("{plan}?limit=1&cursor={cursor}")).await);
    assert_eq!(last["calls"], json!([calls[1]]));
    assert_eq!(last["next_cursor"], Value::Null);

    let table = lines(&ada.get(&format!("{plan}?format=csv")).await);
    assert_eq!(table.len(), 3, "a head and all calls: {table:?}");
}

async fn what_a_client_names_is_a_conversation_of_the_project_it_is_in(gate: Gate) {
    let ada = gate.person("ada").await;
    let key = ada.key().await;
    let client = gate.client.bearer(key.text("api_key"));
    let headers = [
        ("content-type", "application/json"),
        ("x-session-id", "0199-a:b/c d"),
    ];
    let call = json!({
        "model": "tiny", "max_tokens": 3, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let chat = "/v1/chat/completions";
    let refused = send(&client, Method::POST, chat, &headers, call.to_string()).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
    let headers = [headers[0], ("x-session-id", "0199-a:b/c?d%")];
    let answer = fine(&send(&client, Method::POST, chat, &headers, call.to_string()).await);
    while fine(&ada.get("/users/usage").await)["reserved"] != 0 {
        tokio::task::yield_now().await;
    }
    let page = fine(&ada.get(&path(&ada)).await);
    assert_eq!(names(&page), [("0199-a:b/c?d%", &*ada.id)]);
    let found = fine(
        &ada.get(&format!("{}/0199-a:b%2Fc%3Fd%25", path(&ada)))
            .await,
    );
    assert_eq!(
        found["session_id"], "0199-a:b/c?d%",
        "as it is written in a path"
    );
    assert_eq!(found["tokens_used"], answer["usage"]["total_tokens"]);
    assert_eq!(found["calls"][0]["key_id"], key.json()["id"]);
}

async fn a_foreign_conversation_is_none(gate: Gate) {
    let (ada, bob) = scene(&gate).await;
    let eve = gate.person("eve").await;
    let none = "00000000-0000-7000-8000-000000000001";
    for project in [&*ada.project, none, "x"] {
        let all = format!("/api/v1/projects/{project}/conversations");
        for path in [format!("{all}/plan"), format!("{all}/nobodys"), all] {
            let foreign = eve.get(&path).await;
            assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}: {foreign:?}");
            assert_eq!(foreign.json()["detail"], "no such project", "{path}");
        }
    }
    let long = "x".repeat(129);
    let others = format!("plan?user_id={}", eve.id);
    for unknown in ["nobodys", "docs", "PLAN", "pla", "a%20b", &long, &others] {
        let answer = bob.get(&format!("{}/{unknown}", path(&ada))).await;
        assert_eq!(
            answer.status,
            StatusCode::NOT_FOUND,
            "{unknown}: {answer:?}"
        );
        assert_eq!(answer.json()["detail"], "no such conversation", "{unknown}");
    }
    let gone = format!("/api/v1/projects/{}/members/{}", ada.project, bob.id);
    assert_eq!(ada.delete(&gone).await.status, StatusCode::NO_CONTENT);
    let answer = bob.get(&path(&ada)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "no member any more");
    let page = fine(&ada.get(&path(&ada)).await);
    assert_eq!(names(&page).len(), 4, "what was called stays on record");
}

async fn what_is_asked_wrongly_is_refused_by_name(gate: Gate) {
    let (ada, _) = scene(&gate).await;
    let all = path(&ada);
    let plan = format!("{all}/plan");
    for (path, wrong, field) in [
        (&all, "limit=0", "limit"),
        (&all, "limit=101", "limit"),
        (&all, "cursor=x", "cursor"),
        (&all, "user_id=1", "user_id"),
        (&all, "days=0", "days"),
        (&all, "days=367", "days"),
        (&all, "zone=Mars/Olympus", "zone"),
        (&all, "session_id=plan", "session_id"),
        (&plan, "limit=1001", "limit"),
        (&plan, "cursor=x", "cursor"),
        (&plan, "user_id=1", "user_id"),
        (&plan, "format=xml", "format"),
    ] {
        let refused = ada.get(&format!("{path}?{wrong}")).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{path}?{wrong}"
        );
        let named = refused.json()["detail"][0]["loc"].clone();
        assert_eq!(named, json!(["query", field]), "{path}?{wrong}");
    }
}
