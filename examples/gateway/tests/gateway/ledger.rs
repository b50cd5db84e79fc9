//! The books, looked into over HTTP and by command.

use std::time::Duration;

use http::StatusCode;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::store::{CallInfo, Ending, LedgerStore, Operation, Reserve, Served, Settle, Source};
use llm_gate::tokens::{Tokens, Usage};
use llm_gate_diesel::{PgConfig, PgStore, SqliteConfig, SqliteStore};
use serde_json::{Value, json};

use super::support::{Gate, PATIENCE, on_both, run_on, unused_database};

on_both! {
    books_in_order_are_verified;
    what_is_wrong_is_said_a_line_each;
    a_presumed_charge_is_refunded_once;
    a_figure_after_a_refund_is_an_overage;
    what_is_not_presumed_is_not_refunded;
    the_ledger_is_exported_row_by_row;
    an_export_has_the_days_that_were_asked_for;
    none_of_it_is_for_others;
}

/// 2026-03-01 12:00 UTC.
const NOON: i64 = 1_772_366_400_000_000;
const DAY: i64 = 24 * 3_600_000_000;

/// The books of a gate, from beside it.
pub(crate) async fn books(gate: &Gate) -> Box<dyn llm_gate::store::Store> {
    gate.books().await
}

/// Runs a statement that no program of ours runs.
pub(crate) async fn tamper(gate: &Gate, sql: &'static str) {
    use diesel::connection::SimpleConnection;
    match &gate.database {
        Some(url) => {
            let patient = PgConfig::new(url).connect_timeout(PATIENCE);
            let store = PgStore::open(patient).await.expect("opened");
            let done = store.on_connection(move |connection| connection.batch_execute(sql));
            done.await.expect("a connection").expect("executed");
        }
        None => {
            let path = gate.folder.path().join("data/llm-gate.db");
            let store = SqliteStore::open(SqliteConfig::new(path)).await;
            let store = store.expect("opened");
            let done = store.on_writer(move |connection| connection.batch_execute(sql));
            done.await.expect("a connection").expect("executed");
        }
    }
}

async fn reserve(books: &dyn LedgerStore, user: UserId, model: &str) -> RequestId {
    let id = RequestId::new();
    let reserve = Reserve {
        id,
        at: Timestamp::from_micros(NOON),
        subjects: vec![Subject::User(user)],
        hold: Tokens::new(60).into(),
        least: Tokens::new(60),
        call: CallInfo::new(user, ProjectId::new(), "chat", model)
            .session("ses_7".parse().ok())
            .stream(true)
            .request_bytes(1_024),
        owner: None,
    };
    books
        .apply(vec![Operation::Reserve(reserve)])
        .await
        .expect("reserved");
    id
}

fn served() -> Served {
    Served {
        upstream: "+east".parse().ok(),
        response_bytes: 4_096,
        first_data: Some(Duration::from_millis(200)),
        total: Duration::from_secs(2),
    }
}

async fn settle(books: &dyn LedgerStore, id: RequestId, source: Source, at: i64) {
    let usage = Usage {
        prompt: 20,
        completion: 5,
        cached: 4,
        reasoning: 3,
    };
    let settle = Settle {
        source,
        ending: Ending::Expired,
        status: 0,
        served: (source == Source::Upstream).then(served),
        ..Settle::upstream(id, Timestamp::from_micros(at), usage)
    };
    books
        .apply(vec![Operation::Settle(settle)])
        .await
        .expect("settled");
}

/// Makes a charge of a user's that is presumed.
pub(crate) async fn presume(books: &dyn LedgerStore, user: UserId) -> RequestId {
    let id = reserve(books, user, "tiny").await;
    settle(books, id, Source::Presumed, NOON).await;
    id
}

async fn presumed_of(gate: &Gate, user: &str) -> RequestId {
    presume(&*books(gate).await, user.parse().expect("an id")).await
}

async fn books_in_order_are_verified(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    presumed_of(&gate, &ada.id).await;
    let output = gate.command(&["ledger", "verify"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        output.stdout.ends_with("ledger and counters agree\n"),
        "{output:?}"
    );
    let verified = root.get("/api/v1/ledger/verify").await;
    assert_eq!(verified.status, StatusCode::OK, "{verified:?}");
    let verified = verified.json();
    assert_eq!(verified["clean"], true, "{verified}");
    assert_eq!(
        (&verified["reservations"], &verified["findings"]),
        (&json!(1), &json!([]))
    );
}

async fn what_is_wrong_is_said_a_line_each(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    presumed_of(&gate, &ada.id).await;
    tamper(
        &gate,
        "UPDATE counters SET used = used + 1 WHERE used > 0; UPDATE chains SET sequence = sequence + 1 \
         WHERE sequence = 1",
    )
    .await;
    let output = gate.command(&["ledger", "verify"]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("do not agree"), "{output:?}");
    let found = |start: &str, end: &str| {
        let mut lines = output.stdout.lines();
        lines.any(|line| line.starts_with(start) && line.ends_with(end))
    };
    let balance = format!("balance: total tokens of user {}: used is 61", ada.id);
    assert!(found(&balance, ", its rows add up to 60"), "{output:?}");
    assert!(
        found("gap: writer ", ": sequence 2 to 2 is missing at the end"),
        "{output:?}"
    );
    let verified = root.get("/api/v1/ledger/verify").await.json();
    assert_eq!(verified["clean"], false);
    let all = verified["findings"].as_array().expect("a list");
    let of = |kind: &str| all.iter().find(|finding| finding["kind"] == kind);
    let gap = of("gap").expect("a line is missing");
    assert_eq!(
        (&gap["sequence"], &gap["ledger_row"]),
        (&json!(2), &Value::Null),
        "{gap}"
    );
    let balance = of("balance").expect("a counter differs");
    let message = balance["message"].as_str().expect("words");
    assert!(
        output.stdout.contains(message),
        "in the same words: {message}"
    );
}

#[tokio::test]
async fn books_that_cannot_be_read_are_not_said_to_be_in_order() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (data, database) = (folder.path().join("data"), unused_database().await);
    let refused = async |database: Option<&str>, words: &str| {
        let output = run_on(database, &folder, &["ledger", "verify"], "").await;
        assert_eq!(output.code, Some(2), "{words}: {output:?}");
        assert_eq!(output.stdout, "", "{words}");
        assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
        for words in ["cannot be checked", words] {
            assert!(output.stderr.contains(words), "{words}: {output:?}");
        }
    };
    if let Some(url) = &database {
        for _ in 0..2 {
            // It makes none, or they would be in order the second time.
            refused(Some(url), "no tables").await;
        }
        let nowhere = format!("{url}_that_nobody_made");
        refused(Some(&nowhere), "cannot be opened").await;
        return;
    }
    refused(None, "there is no database").await;
    assert!(!data.exists(), "and none were made");
    std::fs::create_dir(&data).expect("a folder");
    let file = data.join("llm-gate.db");
    std::fs::write(&file, "").expect("written");
    refused(None, "no tables").await;
    std::fs::write(&file, "this is no database, however long one looks at it").expect("written");
    refused(None, "cannot be opened").await;
}

async fn a_presumed_charge_is_refunded_once(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let ids = [
        presumed_of(&gate, &ada.id).await,
        presumed_of(&gate, &ada.id).await,
        presumed_of(&gate, &ada.id).await,
    ];
    let page = root.get("/api/v1/ledger/presumed?limit=2").await.json();
    assert_eq!(page["presumed"].as_array().map(Vec::len), Some(2), "{page}");
    let first = &page["presumed"][0];
    assert_eq!(first["id"], json!(ids[0]), "the oldest first");
    assert_eq!(
        (&first["charged"], &first["state"]),
        (&json!(60), &json!("expired"))
    );
    let cursor = page["next_cursor"].as_str().expect("there is more");
    let path = format!("/api/v1/ledger/presumed?limit=2&cursor={cursor}");
    let page = root.get(&path).await.json();
    assert_eq!(page["presumed"][0]["id"], json!(ids[2]));
    assert_eq!(page["next_cursor"], Value::Null);
    for wrong in ["limit=0", "limit=101", "cursor=x", "page=2"] {
        let path = format!("/api/v1/ledger/presumed?{wrong}");
        let refused = root.get(&path).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    let used = async || {
        let ask = async || ada.get("/api/v1/users/me/usage").await.json()["tokens_used"].clone();
        gate.agreed(ask).await
    };
    assert_eq!(used().await, 180);
    let path = |id| format!("/api/v1/ledger/presumed/{id}/refund");
    for reason in ["once", "again, which changes nothing"] {
        let refunded = root.post(&path(ids[0]), json!({})).await;
        assert_eq!(refunded.status, StatusCode::OK, "{reason}: {refunded:?}");
        assert_eq!(refunded.text("state"), "refunded", "{reason}");
        assert_eq!(used().await, 120, "{reason}");
    }
    let id = ids[1].to_string();
    let refund = ["ledger", "presumed", "refund", &id];
    for reason in ["by command", "by command again"] {
        let output = gate.command(&refund).await;
        assert_eq!(output.code, Some(0), "{reason}: {output:?}");
        assert_eq!(used().await, 60, "{reason}");
    }
    let both = root.post(&path(ids[1]), json!({})).await;
    assert_eq!(both.status, StatusCode::OK, "whoever did it: {both:?}");
    assert_eq!(used().await, 60, "it is done once");
    let listed = gate.command(&["ledger", "presumed", "list"]).await;
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let lines: Vec<&str> = listed.stdout.lines().skip(1).collect();
    let [line] = lines[..] else {
        panic!("one is left: {listed:?}")
    };
    assert!(
        line.starts_with(&ids[2].to_string()) && line.ends_with("\t\"tiny\"\t60\t0"),
        "{line}"
    );
    assert_eq!(gate.command(&["ledger", "verify"]).await.code, Some(0));
}

async fn a_figure_after_a_refund_is_an_overage(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let id = presumed_of(&gate, &ada.id).await;
    let path = format!("/api/v1/ledger/presumed/{id}/refund");
    assert_eq!(root.post(&path, json!({})).await.status, StatusCode::OK);
    settle(&*books(&gate).await, id, Source::Upstream, NOON).await;
    let again = root.post(&path, json!({})).await;
    assert_eq!(again.status, StatusCode::OK, "the refund stands: {again:?}");
    assert_eq!(
        (again.text("state"), again.json()["overage"].clone()),
        ("late".to_owned(), json!(25))
    );
    let standing = root
        .get(&format!("/api/v1/limits?subject=user&id={}", ada.id))
        .await
        .json();
    let total = &standing["limits"][0];
    assert_eq!(
        (&total["used"], &total["overage"]),
        (&json!(0), &json!(25)),
        "{standing}"
    );
    assert_eq!(gate.command(&["ledger", "verify"]).await.code, Some(0));
}

async fn what_is_not_presumed_is_not_refunded(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let books = books(&gate).await;
    let user: UserId = ada.id.parse().expect("an id");
    let corrected = presumed_of(&gate, &ada.id).await;
    settle(&*books, corrected, Source::Upstream, NOON).await;
    let settled = reserve(&*books, user, "tiny").await;
    settle(&*books, settled, Source::Upstream, NOON).await;
    let void = reserve(&*books, user, "tiny").await;
    settle(&*books, void, Source::Nothing, NOON).await;
    let pending = reserve(&*books, user, "tiny").await;
    for id in [corrected, settled, void, pending] {
        let path = format!("/api/v1/ledger/presumed/{id}/refund");
        let refused = root.post(&path, json!({})).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
        let output = gate
            .command(&["ledger", "presumed", "refund", &id.to_string()])
            .await;
        assert_eq!(output.code, Some(1), "{output:?}");
    }
    let used = ada.get("/api/v1/users/me/usage").await.json();
    assert_eq!(used["tokens_used"], 50, "nothing was taken back");
    let unknown = RequestId::new().to_string();
    for unknown in [&unknown, "x"] {
        let path = format!("/api/v1/ledger/presumed/{unknown}/refund");
        assert_eq!(
            root.post(&path, json!({})).await.status,
            StatusCode::NOT_FOUND
        );
    }
    let refund = ["ledger", "presumed", "refund", &unknown];
    assert_eq!(gate.command(&refund).await.code, Some(1));
}

async fn the_ledger_is_exported_row_by_row(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let books = books(&gate).await;
    let user = ada.id.parse().expect("an id");
    let model = "=cmd|' /C calc'!A0,\"x\"";
    let id = reserve(&*books, user, model).await;
    settle(&*books, id, Source::Upstream, NOON).await;
    // More than one page.
    for _ in 0..1_200 {
        let id = reserve(&*books, user, "tiny").await;
        settle(&*books, id, Source::Presumed, NOON).await;
    }
    let jsonl = gate
        .command(&["ledger", "export", "--format", "jsonl"])
        .await;
    assert_eq!(jsonl.code, Some(0), "{}", jsonl.stderr);
    let rows: Vec<Value> = jsonl
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let about = |row: &&Value| row["reservation"] == json!(id);
    let all: Vec<&Value> = rows.iter().filter(about).collect();
    let [row] = all[..] else {
        panic!("one counter, one row: {all:?}")
    };
    for (name, value) in [
        ("time", json!("2026-03-01T12:00:00Z")),
        ("kind", json!("settle")),
        ("user", json!(ada.id)),
        ("key", Value::Null),
        ("session", json!("ses_7")),
        ("route", json!("chat")),
        ("model", json!(model)),
        ("stream", json!(true)),
        ("request_bytes", json!(1_024)),
        ("subject_kind", json!("user")),
        ("subject", json!(ada.id)),
        ("unit", json!("tokens")),
        ("window", json!("total")),
        ("charge", json!(25)),
        ("overage", json!(0)),
        ("limit", Value::Null),
        ("prompt", json!(20)),
        ("completion", json!(5)),
        ("cached", json!(4)),
        ("reasoning", json!(3)),
        ("source", json!("upstream")),
        ("ending", json!("expired")),
        ("status", json!(0)),
        ("state", json!("settled")),
        ("cost", json!(0)),
        ("upstream", json!("+east")),
        ("response_bytes", json!(4_096)),
        ("first_data_us", json!(200_000)),
        ("total_us", json!(2_000_000)),
    ] {
        assert_eq!(row[name], value, "{name}");
    }
    assert_eq!(row["hash"].as_str().map(str::len), Some(64), "{row}");
    let total: i64 = rows.iter().filter_map(|row| row["charge"].as_i64()).sum();
    let used = ada.get("/api/v1/users/me/usage").await.json();
    assert_eq!(used["tokens_used"], total, "each row once");

    let file = gate.folder.path().join("ledger.csv");
    let file = file.to_str().expect("text");
    let csv = gate.command(&["ledger", "export", "--out", file]).await;
    assert_eq!(
        (csv.code, csv.stdout.as_str()),
        (Some(0), ""),
        "{}",
        csv.stderr
    );
    let written = std::fs::read_to_string(file).expect("written");
    assert!(
        written.starts_with("id,time,kind,reservation,"),
        "{}",
        &written[..100]
    );
    assert_eq!(
        written.matches("\r\n").count(),
        rows.len() + 1,
        "a row each, and the head"
    );
    assert!(
        written.contains(",\"'=cmd|' /C calc'!A0,\"\"x\"\"\","),
        "no formula, and one cell"
    );
    assert!(written.contains(",'+east,"), "nor is an upstream one");
    let presumed = rows.iter().find(|row| row["model"] == "tiny");
    let presumed = presumed.expect("it is in there");
    for name in ["upstream", "response_bytes", "first_data_us", "total_us"] {
        assert_eq!(presumed[name], Value::Null, "nobody knows: {name}");
    }

    for (format, text, media) in [
        ("csv", &written, "text/csv"),
        ("jsonl", &jsonl.stdout, "application/jsonl"),
    ] {
        let path = format!("/api/v1/ledger/export?format={format}");
        let export = root.get(&path).await;
        assert_eq!(export.status, StatusCode::OK);
        let media_type = export.headers["content-type"].to_str().expect("text");
        assert!(media_type.starts_with(media), "{media_type}");
        assert!(
            export.body == text.as_bytes(),
            "the same as the command writes"
        );
    }
}

async fn an_export_has_the_days_that_were_asked_for(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let books = books(&gate).await;
    let user = ada.id.parse().expect("an id");
    for day in 0..4 {
        let id = reserve(&*books, user, "tiny").await;
        settle(&*books, id, Source::Upstream, NOON + day * DAY).await;
    }
    for (query, flags, days) in [
        (
            "from=2026-03-02&to=2026-03-03",
            &["--from", "2026-03-02", "--to", "2026-03-03"][..],
            2,
        ),
        (
            "to=2026-03-01",
            &["--from", "2026-03-01", "--to", "2026-03-01"],
            1,
        ),
        ("from=2026-03-04", &["--from", "2026-03-04"], 1),
        (
            "from=2026-03-09&to=9999-12-31",
            &["--from", "2026-03-09", "--to", "9999-12-31"],
            0,
        ),
        ("from=9999-12-31", &["--from", "9999-12-31"], 0),
    ] {
        let charges = |text: &str| text.matches(",\"kind\":\"settle\",").count();
        let path = format!("/api/v1/ledger/export?format=jsonl&{query}");
        let export = root.get(&path).await;
        assert_eq!(export.status, StatusCode::OK, "{query}: {export:?}");
        assert_eq!(
            charges(&String::from_utf8_lossy(&export.body)),
            days,
            "{query}"
        );
        let mut command = vec!["ledger", "export", "--format", "jsonl"];
        command.extend(flags);
        let output = gate.command(&command).await;
        assert_eq!(charges(&output.stdout), days, "{flags:?}: {output:?}");
    }
    for wrong in [
        "format=xml",
        "from=yesterday",
        "to=2026-02-30",
        "day=2026-01-01",
        "from=2026-03-02&to=2026-03-01",
    ] {
        let refused = root.get(&format!("/api/v1/ledger/export?{wrong}")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    for wrong in [
        &["--from", "yesterday"][..],
        &["--from", "2026-03-02", "--to", "2026-03-01"],
    ] {
        let mut command = vec!["ledger", "export"];
        command.extend(wrong);
        let refused = gate.command(&command).await;
        assert_eq!(refused.code, Some(2), "{wrong:?}: {refused:?}");
    }
}

async fn none_of_it_is_for_others(gate: Gate) {
    let ada = gate.person("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    for path in ["verify", "export", "presumed"] {
        let path = format!("/api/v1/ledger/{path}");
        assert_eq!(ada.get(&path).await.status, StatusCode::FORBIDDEN, "{path}");
        let by_key = key.get(&path).await.expect("an answer");
        assert_eq!(by_key.status, StatusCode::FORBIDDEN, "{path} with a key");
        let by_nobody = gate.get(&path).await;
        assert_eq!(by_nobody.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    let id = presumed_of(&gate, &ada.id).await;
    let path = format!("/api/v1/ledger/presumed/{id}/refund");
    let refused = ada.post(&path, json!({})).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let usage = ada.get("/api/v1/users/me/usage").await.json();
    assert_eq!(usage["tokens_used"], 60, "nothing was taken back");
}
