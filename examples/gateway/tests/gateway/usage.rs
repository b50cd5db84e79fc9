//! Reports over HTTP: the shapes that older clients rely on, whom they are for, and what is refused.

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate::auth::OperatorSecret;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{
    Author, CallInfo, LedgerStore, Operation, Outcome, Price, Rates, Reserve, Served, Settle,
    Tariff,
};
use llm_gate::tokens::{Tokens, Usage};
use llm_gate_gateway::client::{Answer, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::ledger::{books, tamper};
use super::support::{Gate, PASSWORD, Person, on_both, send, start, start_with};

on_both! {
    days_are_added_up_for_who_asks;
    days_are_those_of_a_zone_and_told_apart_by_what_is_asked_for;
    a_month_is_summed_up;
    calls_are_listed_by_cursor_and_by_offset;
    calls_are_filtered;
    days_and_months_are_filtered_and_no_filter_shows_more;
    reports_of_a_key_have_its_calls_and_no_others;
    a_call_is_reported_as_it_was;
    a_table_has_all_calls_and_no_formulas;
    a_project_is_reported_to_its_members;
    a_project_is_reported_by_month_and_call_by_call;
    admins_read_the_reports_of_anybody_and_of_everybody;
    a_session_is_reported_to_its_owner;
    statistics_are_for_admins_and_at_most_a_minute_old;
    what_makes_no_sense_is_refused_by_name;
    calls_that_cannot_be_read_are_a_failure_and_no_empty_report;
}

/// 2026-01-01 00:00 UTC, when the clock of a gate starts.
const NOW: i64 = 1_767_225_600_000_000;
pub(crate) const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

/// A call beside the gate, some time ago.
pub(crate) struct Call<'a> {
    pub(crate) user: &'a str,
    pub(crate) project: &'a str,
    pub(crate) session: Option<&'a str>,
    pub(crate) model: &'a str,
    pub(crate) ago: i64,
    pub(crate) status: u16,
    pub(crate) stream: bool,
}

impl Default for Call<'_> {
    fn default() -> Self {
        Self {
            user: "",
            project: "",
            session: None,
            model: "tiny",
            ago: HOUR,
            status: 200,
            stream: false,
        }
    }
}

impl<'a> Call<'a> {
    pub(crate) fn of(person: &'a Person, ago: i64) -> Self {
        Self {
            user: &person.id,
            project: &person.project,
            ago,
            ..Self::default()
        }
    }

    /// Lets it happen: 20 tokens of a prompt, 4 of them cached, and 10 generated.
    pub(crate) async fn happen(&self, books: &dyn LedgerStore) -> RequestId {
        let (id, operations) = self.operations();
        let done = books.apply(operations.to_vec()).await.expect("written");
        assert!(matches!(done[0], Outcome::Granted(_)), "{:?}", done[0]);
        id
    }

    fn operations(&self) -> (RequestId, [Operation; 2]) {
        let id = RequestId::new();
        let user: UserId = self.user.parse().expect("an id");
        let project: ProjectId = self.project.parse().expect("an id");
        let at = Timestamp::from_micros(NOW - self.ago);
        let reserve = Reserve {
            id,
            at,
            subjects: vec![Subject::User(user)],
            hold: Tokens::new(60).into(),
            least: Tokens::new(60),
            call: CallInfo::new(user, project, "chat", self.model)
                .session(self.session.map(|name| name.parse().expect("a name")))
                .stream(self.stream)
                .request_bytes(123),
            owner: None,
        };
        let usage = Usage {
            prompt: 20,
            completion: 10,
            cached: 4,
            reasoning: 0,
        };
        let served = Served {
            upstream: "east".parse().ok(),
            response_bytes: 456,
            first_data: Some(Duration::from_millis(20)),
            total: Duration::from_millis(500),
        };
        let settle = Settle {
            status: self.status,
            served: Some(served),
            ..Settle::upstream(id, at, usage)
        };
        (id, [Operation::Reserve(reserve), Operation::Settle(settle)])
    }
}

/// Gives the model a price: a call costs 40 micro-units of its prompt and 40 of what was generated.
pub(crate) async fn price(books: &dyn LedgerStore) {
    let rates = Rates {
        prompt: 2_000_000,
        completion: 4_000_000,
        cached: 2_000_000,
    };
    let tariff = Tariff {
        price: Some(rates),
        ..Tariff::default()
    };
    let model = "tiny".to_owned();
    let at = Timestamp::from_micros(NOW);
    let set = books
        .set_price(Price { model, tariff }, Author::system(at))
        .await;
    set.expect("set");
}

pub(crate) fn fine(answer: &Answer) -> Value {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

/// Reads a table line by line, without the ends.
pub(crate) fn lines(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let kind = answer.headers["content-type"].to_str().expect("text");
    assert!(kind.starts_with("text/csv"), "{kind}");
    let file = answer.headers["content-disposition"]
        .to_str()
        .expect("text");
    assert!(file.starts_with("attachment; filename="), "{file}");
    let text = std::str::from_utf8(&answer.body).expect("UTF-8");
    let text = text.strip_suffix("\r\n").expect("whole lines");
    text.split("\r\n").map(str::to_owned).collect()
}

async fn days_are_added_up_for_who_asks(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let books = books(&gate).await;
    price(&*books).await;
    for ago in [HOUR, 2 * HOUR, 2 * DAY, 29 * DAY, 31 * DAY] {
        Call::of(&ada, ago).happen(&*books).await;
    }
    Call::of(&bob, HOUR).happen(&*books).await;
    let day = |date: &str, calls: u64| {
        json!({
            "date": date, "call_count": calls, "tokens_used": 30 * calls, "prompt_tokens": 20 * calls,
            "completion_tokens": 10 * calls, "cached_tokens": 4 * calls,
            "estimated_cost": format!("0.{:06}", 80 * calls),
        })
    };
    let report = fine(&ada.get("/api/v1/usage/daily").await);
    let expected = json!({
        "user_id": ada.id, "username": "ada", "period_days": 30,
        "daily_usage": [day("2025-12-03", 1), day("2025-12-30", 1), day("2025-12-31", 2)],
        "summary": { "total_calls": 4, "total_tokens": 120, "total_cost": "0.000320" },
    });
    assert_eq!(report, expected, "her own, of thirty days");
    let year = fine(&ada.get("/users/billing/daily?days=366").await);
    assert_eq!(year["summary"]["total_calls"], 5);
    let today = fine(&ada.get("/api/v1/usage/daily?days=1").await);
    assert_eq!(today["daily_usage"], json!([]), "today has just begun");
    let nobody = gate.person("eve").await;
    let none = fine(&nobody.get("/api/v1/usage/daily").await);
    let nothing = json!({ "total_calls": 0, "total_tokens": 0, "total_cost": "0.000000" });
    assert_eq!(
        (&none["daily_usage"], &none["summary"]),
        (&json!([]), &nothing)
    );
}

async fn days_are_those_of_a_zone_and_told_apart_by_what_is_asked_for(gate: Gate) {
    let ada = gate.person("ada").await;
    let books = books(&gate).await;
    Call::of(&ada, HOUR / 2).happen(&*books).await;
    let other = Call {
        model: "other",
        ..Call::of(&ada, 2 * HOUR)
    };
    other.happen(&*books).await;
    let dates = async |query: &str| {
        let path = format!("/api/v1/usage/daily?{query}");
        let report = fine(&ada.get(&path).await);
        let days = report["daily_usage"].as_array().expect("a list").clone();
        let day = |day: &Value| {
            (
                day["date"].clone(),
                day["group"].clone(),
                day["call_count"].clone(),
            )
        };
        days.iter().map(day).collect::<Vec<_>>()
    };
    let row = |date: &str, group: Value, calls: u64| (json!(date), group, json!(calls));
    assert_eq!(dates("days=2").await, [row("2025-12-31", Value::Null, 2)]);
    let berlin = [
        row("2025-12-31", Value::Null, 1),
        row("2026-01-01", Value::Null, 1),
    ];
    assert_eq!(
        dates("days=2&zone=Europe/Berlin").await,
        berlin,
        "half past midnight"
    );
    let models = [
        row("2025-12-31", json!("other"), 1),
        row("2025-12-31", json!("tiny"), 1),
    ];
    assert_eq!(dates("days=2&group=model").await, models);
    let key = [row("2025-12-31", json!("none"), 2)];
    assert_eq!(dates("days=2&group=key").await, key, "by a login");
    let project = [row("2025-12-31", json!(ada.project), 2)];
    assert_eq!(dates("days=2&group=project").await, project);
}

async fn a_month_is_summed_up(gate: Gate) {
    let ada = gate.person("ada").await;
    let books = books(&gate).await;
    price(&*books).await;
    for ago in [HOUR, 2 * HOUR, 30 * DAY, 31 * DAY + HOUR] {
        Call::of(&ada, ago).happen(&*books).await;
    }
    let december = fine(&ada.get("/api/v1/usage/summary?month=12&year=2025").await);
    let expected = json!({
        "user_id": ada.id, "billing_period": "2025-12",
        "summary": {
            "total_calls": 3, "total_tokens": 90, "estimated_cost": "0.000240", "avg_tokens_per_call": 30,
            "first_call": "2025-12-02T00:00:00Z", "last_call": "2025-12-31T23:00:00Z",
        },
        "daily_breakdown": [
            { "date": "2025-12-02", "calls": 1, "tokens": 30 },
            { "date": "2025-12-31", "calls": 2, "tokens": 60 },
        ],
    });
    assert_eq!(december, expected);
    let alias = fine(&ada.get("/users/billing/summary?month=12&year=2025").await);
    assert_eq!(alias, expected);
    let now = fine(&ada.get("/api/v1/usage/summary").await);
    assert_eq!(now["billing_period"], "2026-01", "this month, unless said");
    let nothing = json!({
        "total_calls": 0, "total_tokens": 0, "estimated_cost": "0.000000", "avg_tokens_per_call": 0,
        "first_call": null, "last_call": null,
    });
    assert_eq!(
        (&now["summary"], &now["daily_breakdown"]),
        (&nothing, &json!([]))
    );
    let path = "/api/v1/usage/summary?month=1&year=2026&zone=Europe/Berlin";
    let berlin = fine(&ada.get(path).await);
    assert_eq!(berlin["summary"]["total_calls"], 1, "after midnight there");
    let table = ada
        .get("/api/v1/usage/summary?month=12&year=2025&format=csv")
        .await;
    let rows = lines(&table);
    assert_eq!(rows.len(), 3, "a head and two days: {rows:?}");
    assert_eq!(rows[2], "2025-12-31,2,60,40,20,8,0.000160");
}

async fn calls_are_listed_by_cursor_and_by_offset(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let books = books(&gate).await;
    let mut ids = Vec::new();
    for ago in 1..=5 {
        ids.push(Call::of(&ada, ago * HOUR).happen(&*books).await);
    }
    Call::of(&bob, HOUR).happen(&*books).await;
    let all: Vec<Value> = ids.iter().map(|id| json!(id)).collect();
    let listed = |page: &Value| {
        let calls = page["calls"].as_array().expect("a list");
        calls
            .iter()
            .map(|call| call["id"].clone())
            .collect::<Vec<_>>()
    };
    let whole = fine(&ada.get("/api/v1/usage/calls").await);
    assert_eq!(listed(&whole), all, "the newest first");
    for (field, value) in [
        ("user_id", json!(ada.id)),
        ("total_calls", json!(5)),
        ("calls_returned", json!(5)),
        ("offset", json!(0)),
        ("limit", json!(100)),
        ("next_cursor", Value::Null),
    ] {
        assert_eq!(whole[field], value, "{field}");
    }
    let mut path = "/api/v1/usage/calls?limit=2".to_owned();
    let mut paged = Vec::new();
    loop {
        let page = fine(&ada.get(&path).await);
        assert_eq!(page["total_calls"], 5, "of all pages");
        paged.extend(listed(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/api/v1/usage/calls?limit=2&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, all, "each once");
    let second = fine(&ada.get("/users/billing/calls?limit=2&offset=2").await);
    assert_eq!(listed(&second), all[2..4], "as older clients count");
    assert_eq!(
        (&second["offset"], &second["calls_returned"]),
        (&json!(2), &json!(2))
    );
    let behind = fine(&ada.get("/api/v1/usage/calls?offset=100000").await);
    assert_eq!(
        (listed(&behind), &behind["total_calls"]),
        (vec![], &json!(5))
    );
    // Somebody else's place in a list opens nobody's list.
    let cursor = fine(&ada.get("/api/v1/usage/calls?limit=4").await)["next_cursor"].clone();
    let path = format!(
        "/api/v1/usage/calls?cursor={}",
        cursor.as_str().expect("more")
    );
    let page = fine(&bob.get(&path).await);
    assert_eq!(listed(&page), Vec::<Value>::new(), "his one call is newer");
    assert_eq!(page["total_calls"], 1);
}

async fn calls_are_filtered(gate: Gate) {
    let ada = gate.person("ada").await;
    let books = books(&gate).await;
    let call = |ago| Call::of(&ada, ago);
    let calls = [
        call(HOUR),
        Call {
            model: "other",
            ..call(DAY)
        },
        Call {
            status: 499,
            ..call(DAY + HOUR)
        },
        Call {
            stream: true,
            ..call(2 * DAY)
        },
        Call {
            session: Some("chat"),
            ..call(3 * DAY)
        },
    ];
    for call in &calls {
        call.happen(&*books).await;
    }
    let own = format!("project_id={}", ada.project);
    for (query, count) in [
        ("start_date=2025-12-31&end_date=2025-12-31", 2),
        ("end_date=2025-12-30", 3),
        ("start_date=2025-12-30", 4),
        ("start_date=2025-12-31&zone=Asia/Kolkata", 3),
        ("model=other", 1),
        ("status=499", 1),
        ("stream=true", 1),
        ("stream=false", 4),
        ("session_id=chat", 1),
        ("route=chat", 5),
        ("route=embeddings", 0),
        ("ending=complete", 5),
        ("ending=cut", 0),
        (own.as_str(), 5),
        ("project_id=00000000-0000-7000-8000-000000000001", 0),
        ("user_id=00000000-0000-7000-8000-000000000001", 0),
        ("key_id=00000000-0000-7000-8000-000000000001", 0),
    ] {
        let path = format!("/api/v1/usage/calls?{query}");
        let page = fine(&ada.get(&path).await);
        assert_eq!(page["total_calls"], count, "{query}");
        assert_eq!(page["calls_returned"], count, "{query}");
    }
}

async fn days_and_months_are_filtered_and_no_filter_shows_more(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let root = gate.admin().await;
    let books = books(&gate).await;
    for call in [
        Call::of(&ada, HOUR),
        Call {
            model: "other",
            stream: true,
            ..Call::of(&ada, 2 * HOUR)
        },
        Call {
            status: 499,
            session: Some("chat"),
            ..Call::of(&ada, DAY + HOUR)
        },
        // In her project, and not hers.
        Call {
            project: &ada.project,
            ..Call::of(&bob, HOUR)
        },
        Call::of(&bob, HOUR),
    ] {
        call.happen(&*books).await;
    }
    let of_ada = format!("user_id={}", ada.id);
    let of_bob = format!("user_id={}", bob.id);
    let in_hers = format!("project_id={}", ada.project);
    let in_his = format!("project_id={}", bob.project);
    // Of her own calls, of those of her project, and of everybody's.
    for (query, own, project, all) in [
        ("", 3, 4, 5),
        ("model=other", 1, 1, 1),
        ("status=499", 1, 1, 1),
        ("stream=true", 1, 1, 1),
        ("stream=false", 2, 3, 4),
        ("session_id=chat", 1, 1, 1),
        ("route=embeddings", 0, 0, 0),
        ("route=chat&model=tiny", 2, 3, 4),
        ("ending=complete", 3, 4, 5),
        ("key_id=00000000-0000-7000-8000-000000000001", 0, 0, 0),
        (&of_ada, 3, 3, 3),
        (&of_bob, 0, 1, 2),
        (&in_hers, 3, 4, 4),
        (&in_his, 0, 0, 1),
    ] {
        let of_project = format!("projects/{}/usage", ada.project);
        for (who, daily, monthly, calls) in [
            (&ada, "usage/daily", "usage/summary", own),
            (
                &ada,
                &*of_project,
                &*format!("{of_project}/summary"),
                project,
            ),
            (&root, "platform/usage/daily", "platform/usage/summary", all),
        ] {
            let report = async |path: &str, time: &str| {
                fine(&who.get(&format!("/api/v1/{path}?{time}&{query}")).await)
            };
            let days = report(daily, "days=30").await;
            let summary = &days["summary"];
            assert_eq!(summary["total_calls"], calls, "{daily}?{query}");
            let of_days = days["daily_usage"].as_array().expect("a list").iter();
            let sum: u64 = of_days.filter_map(|day| day["call_count"].as_u64()).sum();
            assert_eq!(sum, calls, "{daily}?{query}: its days too");
            let month = report(monthly, "month=12&year=2025").await;
            let summary = &month["summary"];
            assert_eq!(summary["total_calls"], calls, "{monthly}?{query}");
        }
    }
    let other = fine(&ada.get("/api/v1/usage/daily?group=model&model=other").await);
    let days = other["daily_usage"].as_array().expect("a list");
    assert_eq!((days.len(), &days[0]["group"]), (1, &json!("other")));
    let table = lines(&ada.get("/api/v1/usage/daily?format=csv&status=499").await);
    assert_eq!(table.len(), 2, "a head and a day: {table:?}");
}

/// Makes a call that may generate so many tokens; returns what is charged for it.
async fn charged(gate: &Gate, person: &Person, client: &Client, max_tokens: u64) -> Value {
    let body = json!({
        "model": "tiny", "max_tokens": max_tokens, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let answer = client.post("/v1/chat/completions", &body).await;
    let answer = answer.expect("an answer");
    gate.settled(person).await;
    fine(&answer)["usage"]["total_tokens"].clone()
}

async fn reports_of_a_key_have_its_calls_and_no_others(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let root = gate.admin().await;
    let mut keys = Vec::new();
    for max_tokens in [5, 9] {
        let key = ada.key().await;
        let client = gate.client.bearer(key.text("api_key"));
        let tokens = charged(&gate, &ada, &client, max_tokens).await;
        keys.push((key.text("id"), tokens));
    }
    // By a login, and with none of them.
    charged(&gate, &ada, &ada.session, 3).await;
    assert_ne!(keys[0].1, keys[1].1, "one cannot be taken for the other");
    let whole = fine(&ada.get("/api/v1/usage/calls").await);
    assert_eq!(whole["total_calls"], 3, "{whole}");
    let of_project = format!("projects/{}/usage", ada.project);
    let of_user = format!("users/{}/usage", ada.id);
    for (key, tokens) in &keys {
        for (who, daily, others) in [
            (&ada, "usage/daily", "usage"),
            (&ada, &*of_project, &*of_project),
            (&root, &*format!("{of_user}/daily"), &*of_user),
            (&root, "platform/usage/daily", "platform/usage"),
        ] {
            let report =
                async |path: &str| fine(&who.get(&format!("/api/v1/{path}?key_id={key}")).await);
            let days = report(daily).await;
            let month = report(&format!("{others}/summary")).await;
            for sums in [&days["summary"], &month["summary"]] {
                assert_eq!(sums["total_calls"], 1, "{others}: {sums}");
                assert_eq!(sums["total_tokens"], *tokens, "{others}: {sums}");
            }
            let day = &days["daily_usage"][0];
            assert_eq!(day["tokens_used"], *tokens, "{daily}: {days}");
            let calls = report(&format!("{others}/calls")).await;
            assert_eq!(calls["total_calls"], 1, "{others}: {calls}");
            assert_eq!(calls["calls_returned"], 1, "{others}: {calls}");
            let call = &calls["calls"][0];
            assert_eq!(call["key_id"], key.as_str(), "{others}: {calls}");
            assert_eq!(call["tokens_used"], *tokens, "{others}: {calls}");
        }
        let path = format!("/api/v1/usage/calls?key_id={key}");
        let table = lines(&ada.get(&format!("{path}&format=csv")).await);
        assert_eq!(table.len(), 2, "a head and a call: {table:?}");
        let foreign = fine(&bob.get(&path).await);
        assert_eq!(foreign["total_calls"], 0, "whoever names it sees the own");
    }
}

async fn a_call_is_reported_as_it_was(gate: Gate) {
    let ada = gate.person("ada").await;
    let key = ada.key().await;
    let client = gate.client.bearer(key.text("api_key"));
    let body = json!({
        "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hello!" }],
    });
    let body = body.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("x-session-id", "ses_1"),
    ];
    let path = "/v1/chat/completions";
    let answer = send(&client, Method::POST, path, &headers, body.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    gate.settled(&ada).await;
    let counts = gate.upstream.counts();
    let (input, output) = (counts.prompt_tokens, counts.completion_tokens);
    let page = fine(&ada.get("/api/v1/usage/calls").await);
    let call = &page["calls"][0];
    for (field, value) in [
        ("timestamp", json!("2026-01-01T00:00:00Z")),
        ("endpoint", json!(path)),
        ("method", json!("POST")),
        ("status_code", json!(200)),
        ("tokens_used", json!(input + output)),
        ("prompt_tokens", json!(input)),
        ("completion_tokens", json!(output)),
        ("model", json!("tiny")),
        ("estimated_cost", json!("0.000000")),
        ("request_size", json!(body.len())),
        ("response_size", json!(answer.body.len())),
        ("user_id", json!(ada.id)),
        ("project_id", json!(ada.project)),
        ("key_id", json!(key.text("id"))),
        ("session_id", json!("ses_1")),
        ("stream", json!(false)),
        ("ending", json!("complete")),
        ("source", json!("upstream")),
        ("provider", json!("vllm")),
    ] {
        assert_eq!(call[field], value, "{field}");
    }
    let (first, total) = (call["first_data_us"].as_u64(), call["total_us"].as_u64());
    assert!(first.is_some() && first <= total, "{call}");
    let session = fine(&ada.get("/api/v1/tokens/usage/ses_1").await);
    let expected = json!({
        "session_id": "ses_1", "total_tokens": input + output, "input_tokens": input, "output_tokens": output,
        "records": [{
            "id": call["id"], "session_id": "ses_1", "model": "tiny", "provider": "vllm",
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
            "created_at": "2026-01-01T00:00:00Z",
        }],
        "next_cursor": null,
    });
    assert_eq!(session, expected);
}

async fn a_table_has_all_calls_and_no_formulas(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let books = books(&gate).await;
    let evil = Call {
        model: "=cmd|' /C calc'!A0,\"x\"",
        session: Some("@sum(1)"),
        ..Call::of(&ada, 1)
    };
    let user = Subject::User(ada.id.parse().expect("an id"));
    books.set_limit(user, None).await.expect("set");
    evil.happen(&*books).await;
    Call::of(&bob, 1).happen(&*books).await;
    // More than one page.
    for ago in 1..=1_005 {
        Call::of(&ada, ago * 1_000_000).happen(&*books).await;
    }
    let table = lines(&ada.get("/api/v1/usage/calls?format=csv").await);
    assert!(
        table[0].starts_with("id,timestamp,endpoint,method,status_code,"),
        "{}",
        table[0]
    );
    assert_eq!(
        table.len(),
        1 + 1_006,
        "a head and all that are hers, without pages"
    );
    assert!(
        table[1].contains(",\"'=cmd|' /C calc'!A0,\"\"x\"\"\","),
        "{}",
        table[1]
    );
    assert!(table[1].contains(",'@sum(1),"), "{}", table[1]);
    let ids: std::collections::HashSet<&str> = table[1..]
        .iter()
        .filter_map(|line| line.split(',').next())
        .collect();
    assert_eq!(ids.len(), 1_006, "each once");
    // By what the client would rather have, too.
    for path in ["/api/v1/usage/calls?limit=1", "/users/billing/daily"] {
        let accept = [("accept", "text/csv")];
        let table = send(&ada.session, Method::GET, path, &accept, "").await;
        assert!(lines(&table).len() > 1, "{path}");
        let accept = [("accept", "text/csv")];
        let json = format!(
            "{path}{}format=json",
            if path.contains('?') { '&' } else { '?' }
        );
        fine(&send(&ada.session, Method::GET, &json, &accept, "").await);
    }
    let days = lines(&ada.get("/api/v1/usage/daily?format=csv&group=model").await);
    assert!(days[0].starts_with("date,model,call_count,"), "{}", days[0]);
    assert!(days[1].contains(",\"'=cmd|"), "{}", days[1]);
    let broken = ada.get("/api/v1/usage/calls?format=csv&offset=5").await;
    assert_eq!(
        broken.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{broken:?}"
    );
    for (path, calls) in [
        (
            format!("/api/v1/tokens/project/{}?format=csv", ada.project),
            1_006,
        ),
        ("/api/v1/tokens/usage/@sum(1)?format=csv".to_owned(), 1),
    ] {
        let same = lines(&ada.get(&path).await);
        assert_eq!(same[0], table[0], "{path}: the same columns");
        assert_eq!(
            same.len() - 1,
            calls,
            "{path}: all calls of it, and no others"
        );
    }
}

async fn a_project_is_reported_to_its_members(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let books = books(&gate).await;
    Call::of(&ada, HOUR).happen(&*books).await;
    // Whoever made it.
    let by_bob = Call {
        user: &bob.id,
        session: Some("chat"),
        ..Call::of(&ada, 2 * HOUR)
    };
    by_bob.happen(&*books).await;
    for path in ["/api/v1/projects", "/api/projects"] {
        let report = fine(
            &ada.get(&format!("{path}/{}/usage?days=7", ada.project))
                .await,
        );
        assert_eq!(report["project_id"], json!(ada.project));
        assert_eq!(report["period_days"], 7);
        assert_eq!(report["summary"]["total_tokens"], 60);
        assert_eq!(report["daily_usage"][0]["call_count"], 2);
    }
    let path = format!(
        "/api/v1/projects/{}/usage?group=user&format=csv",
        ada.project
    );
    let table = lines(&ada.get(&path).await);
    assert_eq!(table.len(), 3, "a head and two users: {table:?}");
    let tokens = fine(
        &ada.get(&format!("/api/v1/tokens/project/{}", ada.project))
            .await,
    );
    assert_eq!(tokens["project_id"], json!(ada.project));
    assert_eq!(
        (&tokens["input_tokens"], &tokens["output_tokens"]),
        (&json!(40), &json!(20))
    );
    assert_eq!(tokens["records"].as_array().map(Vec::len), Some(2));
    assert_eq!(tokens["records"][1]["session_id"], "chat");
    let page = fine(
        &ada.get(&format!("/tokens/project/{}?limit=1", ada.project))
            .await,
    );
    assert_eq!(page["records"].as_array().map(Vec::len), Some(1));
    assert_eq!(page["total_tokens"], 60, "of all pages");
    let cursor = page["next_cursor"]
        .as_str()
        .expect("there is more")
        .to_owned();
    let path = format!("/tokens/project/{}?limit=1&cursor={cursor}", ada.project);
    let last = fine(&ada.get(&path).await);
    assert_eq!(
        (&last["records"][0], &last["next_cursor"]),
        (&tokens["records"][1], &Value::Null)
    );
    for project in [&*ada.project, "00000000-0000-7000-8000-000000000001", "x"] {
        for path in [
            format!("/api/v1/projects/{project}/usage"),
            format!("/api/v1/tokens/project/{project}"),
        ] {
            let foreign = bob.get(&path).await;
            assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}: {foreign:?}");
            assert_eq!(
                foreign.json()["detail"],
                "no such project",
                "one like the other"
            );
        }
    }
}

async fn a_project_is_reported_by_month_and_call_by_call(gate: Gate) {
    let (ada, bob, eve) = (
        gate.person("ada").await,
        gate.person("bob").await,
        gate.person("eve").await,
    );
    let path = format!("/api/v1/projects/{}/members", ada.project);
    fine(&ada.post(&path, json!({ "user_id": bob.id })).await);
    let books = books(&gate).await;
    price(&*books).await;
    Call::of(&ada, HOUR).happen(&*books).await;
    let by_bob = Call {
        project: &ada.project,
        session: Some("chat"),
        model: "other",
        ..Call::of(&bob, 2 * HOUR)
    };
    by_bob.happen(&*books).await;
    // Of another project, whoever made it.
    Call::of(&bob, HOUR).happen(&*books).await;
    let usage = format!("/api/v1/projects/{}/usage", ada.project);
    for member in [&ada, &bob] {
        let month = fine(
            &member
                .get(&format!("{usage}/summary?month=12&year=2025"))
                .await,
        );
        let expected = json!({
            "project_id": ada.project, "billing_period": "2025-12",
            "summary": {
                "total_calls": 2, "total_tokens": 60, "estimated_cost": "0.000080", "avg_tokens_per_call": 30,
                "first_call": "2025-12-31T22:00:00Z", "last_call": "2025-12-31T23:00:00Z",
            },
            "daily_breakdown": [{ "date": "2025-12-31", "calls": 2, "tokens": 60 }],
        });
        assert_eq!(month, expected);
        let page = fine(&member.get(&format!("{usage}/calls?limit=1")).await);
        assert_eq!(page["project_id"], json!(ada.project));
        assert_eq!(
            (&page["total_calls"], &page["user_id"]),
            (&json!(2), &Value::Null)
        );
        assert_eq!(
            page["calls"][0]["user_id"],
            json!(ada.id),
            "the newest first"
        );
        let cursor = page["next_cursor"].as_str().expect("more").to_owned();
        let last = fine(
            &member
                .get(&format!("{usage}/calls?limit=1&cursor={cursor}"))
                .await,
        );
        assert_eq!(last["calls"][0]["user_id"], json!(bob.id));
        assert_eq!(last["next_cursor"], Value::Null);
    }
    for (query, count) in [
        (format!("user_id={}", bob.id), 1),
        (format!("user_id={}", eve.id), 0),
        ("session_id=chat".to_owned(), 1),
        ("model=tiny".to_owned(), 1),
        // The filter narrows, and leads nowhere else.
        (format!("project_id={}", bob.project), 0),
    ] {
        let page = fine(&ada.get(&format!("{usage}/calls?{query}")).await);
        assert_eq!(page["total_calls"], count, "{query}");
    }
    let table = lines(&bob.get(&format!("{usage}/calls?format=csv")).await);
    assert_eq!(table.len(), 3, "a head and two calls: {table:?}");
    let table = lines(
        &bob.get(&format!("{usage}/summary?month=12&year=2025&format=csv"))
            .await,
    );
    assert_eq!(table.len(), 2, "a head and a day: {table:?}");
    for path in ["calls", "summary"] {
        let foreign = eve.get(&format!("{usage}/{path}")).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}: {foreign:?}");
    }
}

async fn admins_read_the_reports_of_anybody_and_of_everybody(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let root = gate.admin().await;
    let books = books(&gate).await;
    price(&*books).await;
    for person in [&ada, &bob, &bob] {
        Call::of(person, HOUR).happen(&*books).await;
    }
    for (path, whose, calls) in [
        (
            format!("users/{}/usage", bob.id),
            ("user_id", json!(bob.id)),
            2,
        ),
        ("platform/usage".to_owned(), ("user_id", Value::Null), 3),
    ] {
        let of = |report: &Value| assert_eq!(report[whose.0], whose.1, "{path}: {report}");
        let daily = fine(&root.get(&format!("/api/v1/{path}/daily?days=2")).await);
        of(&daily);
        assert_eq!(daily["daily_usage"][0]["call_count"], calls, "{path}");
        assert_eq!(daily["summary"]["total_tokens"], 30 * calls, "{path}");
        let month = fine(
            &root
                .get(&format!("/api/v1/{path}/summary?month=12&year=2025"))
                .await,
        );
        of(&month);
        assert_eq!(month["summary"]["total_calls"], calls, "{path}");
        let page = fine(
            &root
                .get(&format!("/api/v1/{path}/calls?user_id={}", bob.id))
                .await,
        );
        of(&page);
        assert_eq!(page["total_calls"], 2, "{path}");
        for report in ["daily", "summary?month=12&year=2025", "calls"] {
            let path = format!("/api/v1/{path}/{report}");
            let separator = if path.contains('?') { '&' } else { '?' };
            lines(&root.get(&format!("{path}{separator}format=csv")).await);
            // The own ones are elsewhere.
            for other in [&ada, &bob] {
                let refused = other.get(&path).await;
                assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}: {refused:?}");
            }
        }
    }
    let daily = fine(&root.get("/api/v1/platform/usage/daily?group=user").await);
    let users = daily["daily_usage"].as_array().map(Vec::len);
    assert_eq!(users, Some(2), "told apart by user: {daily}");
    let named = fine(
        &root
            .get(&format!("/api/v1/users/{}/usage/daily", bob.id))
            .await,
    );
    assert_eq!(named["username"], "bob");
    for report in ["daily", "summary", "calls"] {
        let path = format!("/api/v1/users/00000000-0000-7000-8000-000000000001/usage/{report}");
        let unknown = root.get(&path).await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}: {unknown:?}");
    }
}

async fn a_session_is_reported_to_its_owner(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let books = books(&gate).await;
    for (person, ago) in [(&ada, HOUR), (&ada, 2 * HOUR), (&bob, HOUR)] {
        let call = Call {
            session: Some("chat"),
            ..Call::of(person, ago)
        };
        call.happen(&*books).await;
    }
    let hers = Call {
        session: Some("hers"),
        ..Call::of(&ada, HOUR)
    };
    hers.happen(&*books).await;
    let path = "/api/v1/tokens/usage";
    let session = fine(&ada.get(&format!("{path}/chat")).await);
    assert_eq!(session["total_tokens"], 60, "bob has one of the same name");
    let session = fine(&bob.get(&format!("{path}/chat")).await);
    assert_eq!(session["total_tokens"], 30);
    let alias = fine(&bob.get("/tokens/usage/chat?limit=1000").await);
    assert_eq!(alias, session);
    let long = "x".repeat(129);
    for unknown in ["hers", "cha", "CHAT", "a%20b", long.as_str()] {
        let answer = bob.get(&format!("{path}/{unknown}")).await;
        assert_eq!(
            answer.status,
            StatusCode::NOT_FOUND,
            "{unknown}: {answer:?}"
        );
        assert_eq!(answer.json()["detail"], "no such session", "{unknown}");
    }
}

async fn statistics_are_for_admins_and_at_most_a_minute_old(gate: Gate) {
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let root = gate.admin().await;
    let books = books(&gate).await;
    price(&*books).await;
    for (person, session) in [(&ada, Some("chat")), (&bob, Some("chat")), (&bob, None)] {
        let call = Call {
            session,
            ..Call::of(person, HOUR)
        };
        call.happen(&*books).await;
    }
    // Each gateway remembers by itself, and none for longer.
    let statistics = async |path: &'static str| {
        let answers = gate.everywhere(async || root.get(path).await).await;
        answers.iter().map(fine).collect::<Vec<_>>()
    };
    let expected = json!({
        "total_calls": 3, "total_tokens": 90, "total_input_tokens": 60, "total_output_tokens": 30,
        "total_cost": "0.000240", "total_sessions": 2, "models_used": ["tiny"], "providers_used": ["east"],
        "last_updated": "2026-01-01T00:00:00Z",
    });
    let expected = vec![expected; gate.gateways()];
    assert_eq!(statistics("/api/v1/tokens/stats").await, expected);
    Call::of(&ada, HOUR).happen(&*books).await;
    gate.clock.advance(Duration::from_secs(59));
    assert_eq!(
        statistics("/tokens/stats").await,
        expected,
        "not asked again"
    );
    gate.clock.advance(Duration::from_secs(1));
    for later in statistics("/api/v1/tokens/stats").await {
        assert_eq!(later["total_calls"], 4);
        assert_eq!(later["last_updated"], "2026-01-01T00:01:00Z");
    }
    let refused = ada.get("/api/v1/tokens/stats").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
}

async fn what_makes_no_sense_is_refused_by_name(gate: Gate) {
    let ada = gate.person("ada").await;
    let project = format!("/api/v1/projects/{}/usage", ada.project);
    for (path, wrong, field) in [
        ("/api/v1/usage/daily", "days=0", "days"),
        ("/api/v1/usage/daily", "days=367", "days"),
        ("/api/v1/usage/daily", "zone=Mars/Olympus", "zone"),
        ("/api/v1/usage/daily", "group=colour", "group"),
        ("/api/v1/usage/daily", "format=xml", "format"),
        ("/api/v1/usage/daily", "month=1", "month"),
        ("/api/v1/usage/daily", "status=600", "status"),
        ("/api/v1/usage/summary", "ending=happy", "ending"),
        (&project, "days=367", "days"),
        ("/api/v1/usage/summary", "month=0", "month"),
        ("/api/v1/usage/summary", "month=13", "month"),
        ("/api/v1/usage/summary", "month=may", "month"),
        ("/api/v1/usage/summary", "year=1999", "year"),
        ("/api/v1/usage/summary", "year=2100", "year"),
        ("/api/v1/usage/calls", "limit=0", "limit"),
        ("/api/v1/usage/calls", "limit=1001", "limit"),
        ("/api/v1/usage/calls", "offset=-1", "offset"),
        ("/api/v1/usage/calls", "offset=100001", "offset"),
        ("/api/v1/usage/calls", "cursor=x", "cursor"),
        ("/api/v1/usage/calls", "start_date=2026-02-30", "start_date"),
        ("/api/v1/usage/calls", "end_date=yesterday", "end_date"),
        (
            "/api/v1/usage/calls",
            "start_date=2026-01-02&end_date=2026-01-01",
            "end_date",
        ),
        ("/api/v1/usage/calls", "status=600", "status"),
        ("/api/v1/usage/calls", "ending=happy", "ending"),
        ("/api/v1/usage/calls", "stream=1", "stream"),
        ("/api/v1/usage/calls", "route=v1", "route"),
        ("/api/v1/usage/calls", "key_id=x", "key_id"),
        ("/api/v1/usage/calls", "session_id=", "session_id"),
        ("/api/v1/usage/calls", "user_id=1", "user_id"),
        ("/api/v1/usage/calls", "tenant=1", "tenant"),
        ("/api/v1/tokens/usage/chat", "limit=1001", "limit"),
        ("/api/v1/tokens/usage/chat", "cursor=x", "cursor"),
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
    let id = RequestId::new();
    let both = format!("/api/v1/usage/calls?offset=1&cursor=7.{id}");
    let refused = ada.get(&both).await;
    assert_eq!(
        refused.json()["detail"][0]["loc"][1],
        "offset",
        "one or the other"
    );
    Call::of(&ada, HOUR).happen(&*books(&gate).await).await;
    let none = fine(&ada.get("/api/v1/usage/calls?start_date=9999-12-31").await);
    assert_eq!(none["total_calls"], 0, "nothing has happened then");
    // The bounds themselves are fine.
    for path in [
        "usage/daily?days=366",
        "usage/calls?limit=1000&offset=100000",
        "usage/summary?month=12&year=2099",
        // Where the calendar ends some days have no midnight.
        "usage/calls?start_date=0000-01-01&end_date=9999-12-31&zone=Pacific/Kiritimati",
        "usage/calls?start_date=9999-12-31&end_date=9999-12-31&zone=Etc/GMT%2B12",
    ] {
        fine(&ada.get(&format!("/api/v1/{path}")).await);
    }
}

async fn calls_that_cannot_be_read_are_a_failure_and_no_empty_report(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    tamper(&gate, "ALTER TABLE reservations RENAME TO elsewhere").await;
    let of_project = format!("projects/{}/usage", ada.project);
    let tokens = format!("tokens/project/{}", ada.project);
    let talks = format!("projects/{}/conversations", ada.project);
    for path in [
        "usage/daily",
        "usage/daily?format=csv",
        "usage/calls",
        "usage/calls?format=csv",
        "usage/summary",
        "tokens/usage/chat",
        &of_project,
        &format!("{of_project}/calls"),
        &format!("{of_project}/summary"),
        &talks,
        &format!("{talks}/chat"),
        &tokens,
    ] {
        let failed = ada.get(&format!("/api/v1/{path}")).await;
        assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        let said = String::from_utf8_lossy(&failed.body).into_owned();
        assert!(!said.contains("reservations"), "{path}: {said}");
    }
    let failed = root.get("/api/v1/tokens/stats").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    tamper(&gate, "ALTER TABLE elsewhere RENAME TO reservations").await;
    let statistics = fine(&root.get("/api/v1/tokens/stats").await);
    assert_eq!(statistics["total_calls"], 0, "a failure is not remembered");
}

/// Puts so many calls on record that no buffer between the two ends holds a table of them.
pub(crate) async fn many_calls(gate: &Gate, person: &Person) {
    let books = books(gate).await;
    let user = Subject::User(person.id.parse().expect("an id"));
    books.set_limit(user, None).await.expect("set");
    let call = Call::of(person, HOUR);
    for _ in 0..MANY / 300 {
        let some = (0..300).flat_map(|_| call.operations().1).collect();
        books.apply(some).await.expect("written");
    }
}

const MANY: usize = 30_000;

async fn token(gate: &Gate, name: &str) -> String {
    let login = json!({ "username": name, "password": PASSWORD });
    let pair = gate.post("/api/v1/auth/login", login).await;
    pair.text("access_token").to_owned()
}

/// An answer of many parts of which only the first bytes are read.
pub(crate) struct Unread(TcpStream);

impl Unread {
    pub(crate) async fn begin(gate: &Gate, path: &str, bearer: &str) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small one");
        let address = gate.url().replace("http://", "");
        let connected = socket.connect(address.parse().expect("an address")).await;
        let mut reader = connected.expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gate\r\nauthorization: Bearer {bearer}\r\nconnection: close\r\n\r\n"
        );
        reader.write_all(request.as_bytes()).await.expect("sent");
        let mut status = [0; 12];
        reader.read_exact(&mut status).await.expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 200", "{}", status.escape_ascii());
        Self(reader)
    }

    /// Reads the rest, as far as it comes; returns how many lines that is, and whether it looks whole.
    pub(crate) async fn rest(mut self) -> (usize, bool) {
        let mut rest = Vec::new();
        // The connection may be reset.
        let _ = self.0.read_to_end(&mut rest).await;
        let lines = rest.iter().filter(|byte| **byte == b'\n').count();
        (lines, rest.ends_with(b"\r\n0\r\n\r\n"))
    }

    pub(crate) async fn breaks_off(self) {
        let (lines, whole) = self.rest().await;
        assert!(lines < MANY, "not all of them: {lines}");
        assert!(!whole, "and it does not look whole");
    }
}

#[tokio::test]
async fn an_answer_under_way_ends_where_its_reader_loses_the_right() {
    let operator = OperatorSecret::generate();
    let hash = operator.hash().to_string();
    let gate = start_with(|config| config.auth.api_token_hash = Some(hash.into())).await;
    let (ada, bob) = (gate.person("ada").await, gate.person("bob").await);
    let root = gate.admin().await;
    many_calls(&gate, &ada).await;
    let project = format!("/api/v1/projects/{}", ada.project);

    let table = "/api/v1/usage/calls?format=csv";
    let key = ada
        .post(
            &format!("{project}/api-keys"),
            json!({ "scopes": ["usage"] }),
        )
        .await;
    let export = "/api/v1/ledger/export?format=jsonl";
    for (path, bearer) in [
        (table, token(&gate, "ada").await),
        (table, key.text("api_key")),
        (export, operator.expose().to_owned()),
    ] {
        let slow = Unread::begin(&gate, path, &bearer).await;
        let (lines, whole) = slow.rest().await;
        assert!(
            lines > MANY && whole,
            "who keeps the right gets all: {lines}"
        );
    }

    let unread = Unread::begin(&gate, table, &key.text("api_key")).await;
    let revoke = format!("{project}/api-keys/{}/revoke", key.text("id"));
    assert_eq!(ada.post(&revoke, json!({})).await.status, StatusCode::OK);
    unread.breaks_off().await;

    let key = ada
        .post(
            &format!("{project}/api-keys"),
            json!({ "scopes": ["usage"] }),
        )
        .await;
    let unread = Unread::begin(&gate, table, &key.text("api_key")).await;
    let kept = format!("{project}/api-keys/{}", key.text("id"));
    let elsewhere = json!({ "networks": ["192.0.2.0/24"] });
    let bound = ada.patch(&kept, elsewhere).await;
    assert_eq!(bound.status, StatusCode::OK, "{bound:?}");
    unread.breaks_off().await;

    let member = json!({ "user_id": bob.id, "role": "member" });
    let added = ada.post(&format!("{project}/members"), member).await;
    assert_eq!(added.status, StatusCode::OK, "{added:?}");
    let table = format!("{project}/usage/calls?format=csv");
    let unread = Unread::begin(&gate, &table, &token(&gate, "bob").await).await;
    let removed = ada.delete(&format!("{project}/members/{}", bob.id)).await;
    assert!(removed.status.is_success(), "{removed:?}");
    unread.breaks_off().await;

    for path in [
        "/api/v1/platform/usage/calls?format=csv".to_owned(),
        format!("/api/v1/users/{}/usage/calls?format=csv", ada.id),
        "/api/v1/ledger/export?format=jsonl".to_owned(),
    ] {
        let place = format!("/api/v1/users/{}", bob.id);
        let raised = root.patch(&place, json!({ "role": "admin" })).await;
        assert_eq!(raised.status, StatusCode::OK, "{raised:?}");
        let unread = Unread::begin(&gate, &path, &token(&gate, "bob").await).await;
        let lowered = root.patch(&place, json!({ "role": "user" })).await;
        assert_eq!(lowered.status, StatusCode::OK, "{lowered:?}");
        unread.breaks_off().await;
    }

    let table = "/api/v1/usage/calls?format=csv";
    let slow = Unread::begin(&gate, table, &token(&gate, "ada").await).await;
    gate.clock.advance(Duration::from_secs(11 * 60));
    let (_, whole) = slow.rest().await;
    assert!(whole, "a login lasts longer than its access token");
}

#[tokio::test]
async fn a_report_that_would_be_too_long_is_refused_and_not_cut_off() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let books = books(&gate).await;
    let user = Subject::User(ada.id.parse().expect("an id"));
    books.set_limit(user, None).await.expect("set");
    let models: Vec<String> = (0..10_001).map(|number| format!("m{number}")).collect();
    for some in models.chunks(1_000) {
        let call = |model| Call {
            model,
            ..Call::of(&ada, HOUR)
        };
        let batch = some.iter().flat_map(|model| call(model).operations().1);
        books.apply(batch.collect()).await.expect("written");
    }
    let refused = ada.get("/api/v1/usage/daily?group=model").await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    assert_eq!(refused.json()["detail"][0]["loc"], json!(["query", "days"]));
    let whole = fine(&ada.get("/api/v1/usage/daily").await);
    assert_eq!(whole["summary"]["total_calls"], 10_001);
}
