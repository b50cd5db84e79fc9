//! Usage and costs in buckets.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyId, RequestId, Subject};
use llm_gate::store::{
    Author, CallInfo, LedgerStore, Operation, Outcome, Price, Rates, Reserve, Settle, Tariff,
};
use llm_gate::tokens::{Tokens, Usage};

use super::super::ledger::books;
use super::*;

on_both! {
    buckets_hold_what_was_used_in_them;
    buckets_are_told_apart_and_narrowed;
    costs_are_exact;
    pages_have_no_more_buckets_than_openai_lets_them;
    usage_that_makes_no_sense_is_refused_by_name;
}

/// 2026-01-01 00:00 UTC, when the clock of a gate starts.
const NOW: i64 = 1_767_225_600;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const COMPLETIONS: &str = "/v1/organization/usage/completions";
const EMBEDDINGS: &str = "/v1/organization/usage/embeddings";
const COSTS: &str = "/v1/organization/costs";

/// Lets a call happen some seconds ago: 20 tokens of a prompt, 4 of them cached, and 10 generated.
async fn call(
    books: &dyn LedgerStore,
    who: &Person,
    key: Option<KeyId>,
    (route, model): (&'static str, &str),
    ago: i64,
) {
    let id = RequestId::new();
    let at = Timestamp::from_micros((NOW - ago) * 1_000_000);
    let user = who.id.parse().expect("an id");
    let project = who.project.parse().expect("an id");
    let mut subjects = vec![Subject::User(user), Subject::Project(project)];
    subjects.extend(key.map(Subject::Key));
    let reserve = Reserve {
        id,
        at,
        subjects,
        hold: Tokens::new(60).into(),
        least: Tokens::new(60),
        call: CallInfo::new(user, project, route, model),
        owner: None,
    };
    let usage = Usage {
        prompt: 20,
        completion: 10,
        cached: 4,
        reasoning: 0,
    };
    let settle = Settle {
        status: 200,
        ..Settle::upstream(id, at, usage)
    };
    let done = books.apply(vec![Operation::Reserve(reserve), Operation::Settle(settle)]);
    let done = done.await.expect("written");
    assert!(matches!(done[0], Outcome::Granted(_)), "{:?}", done[0]);
}

/// Lists the buckets of a page: when they begin and end, and how many requests each holds.
fn buckets(page: &Value) -> Vec<(i64, i64, i64)> {
    assert_eq!(page["object"], "page");
    let data = page["data"].as_array().expect("buckets").iter();
    let bucket = |bucket: &Value| {
        assert_eq!(bucket["object"], "bucket");
        let results = bucket["results"].as_array().expect("results").iter();
        let calls = results.map(|result| result["num_model_requests"].as_i64().expect("a number"));
        let time = |name: &str| bucket[name].as_i64().expect("a number") - NOW;
        (time("start_time"), time("end_time"), calls.sum())
    };
    data.map(bucket).collect()
}

async fn buckets_hold_what_was_used_in_them(gate: Gate) {
    let admin = Admin::of(gate).await;
    let books = books(&admin.gate).await;
    let ada = admin.gate.person("ada").await;
    for ago in [1, MINUTE, HOUR, 2 * DAY] {
        call(&*books, &ada, None, ("chat", "tiny"), ago).await;
    }
    call(&*books, &ada, None, ("completions", "tiny"), 2).await;
    call(&*books, &ada, None, ("embeddings", "tiny"), 3).await;

    let from = NOW - 3 * DAY;
    let days = admin
        .get(&format!("{COMPLETIONS}?start_time={from}&end_time={NOW}"))
        .await;
    assert_eq!(
        buckets(&days),
        [(-3 * DAY, -2 * DAY, 0), (-2 * DAY, -DAY, 1), (-DAY, 0, 4)],
        "days of UTC, those without calls too"
    );
    assert_eq!(
        (&days["has_more"], &days["next_page"]),
        (&json!(false), &Value::Null)
    );
    let result = json!({
        "object": "organization.usage.completions.result", "input_tokens": 80, "output_tokens": 40,
        "input_cached_tokens": 16, "num_model_requests": 4, "project_id": null, "user_id": null,
        "api_key_id": null, "model": null, "batch": null,
        "service_tier": null, "api_source": null,
    });
    assert_eq!(days["data"][2]["results"], json!([result]));
    assert_eq!(days["data"][0]["results"], json!([]));
    for (batch, expected) in [("false", &days["data"][2]["results"]), ("true", &json!([]))] {
        let query = format!("?start_time={from}&end_time={NOW}&batch={batch}");
        let found = admin.get(&format!("{COMPLETIONS}{query}")).await;
        assert_eq!(
            &found["data"][2]["results"], expected,
            "none is a batch: {batch}"
        );
    }
    let embeddings = admin
        .get(&format!("{EMBEDDINGS}?start_time={from}&end_time={NOW}"))
        .await;
    let result = json!({
        "object": "organization.usage.embeddings.result", "input_tokens": 20, "num_model_requests": 1,
        "project_id": null, "user_id": null, "api_key_id": null, "model": null,
    });
    assert_eq!(embeddings["data"][2]["results"], json!([result]));

    let cut = NOW - DAY - HOUR;
    let cut = admin
        .get(&format!(
            "{COMPLETIONS}?start_time={cut}&end_time={}",
            NOW - MINUTE
        ))
        .await;
    let expected = [(-DAY - HOUR, -DAY, 0), (-DAY, -MINUTE, 1)];
    assert_eq!(
        buckets(&cut),
        expected,
        "the first and the last are as long as what is asked for"
    );
    let minutes = format!("{COMPLETIONS}?bucket_width=1m&start_time={}", NOW - 90);
    let expected = [(-90, -MINUTE, 0), (-MINUTE, 0, 3)];
    assert_eq!(buckets(&admin.get(&minutes).await), expected, "until now");
    let coming = admin
        .get(&format!("{COMPLETIONS}?start_time={}", NOW + 1))
        .await;
    assert_eq!(
        (buckets(&coming), &coming["has_more"]),
        (vec![], &json!(false)),
        "nothing has come yet"
    );

    let mut seen = Vec::new();
    let path = format!(
        "{COMPLETIONS}?bucket_width=1h&limit=30&start_time={}&end_time={NOW}",
        NOW - 50 * HOUR - 5
    );
    let mut page = admin.get(&path).await;
    loop {
        assert!(buckets(&page).len() <= 30, "never more than asked for");
        seen.extend(buckets(&page));
        let Some(next) = page["next_page"].as_str() else {
            break;
        };
        assert_eq!(page["has_more"], true);
        page = admin.get(&format!("{path}&page={next}")).await;
    }
    assert_eq!(seen.len(), 51, "each hour once");
    assert!(
        seen.windows(2).all(|two| two[0].1 == two[1].0),
        "without a gap"
    );
    let used: Vec<_> = seen.into_iter().filter(|bucket| bucket.2 > 0).collect();
    assert_eq!(used, [(-48 * HOUR, -47 * HOUR, 1), (-HOUR, 0, 4)]);
    let defaults = [("1m", 60), ("1h", 24), ("1d", 7)];
    for (width, count) in defaults {
        let path = format!(
            "{COMPLETIONS}?bucket_width={width}&start_time={}",
            NOW - 60 * DAY
        );
        assert_eq!(
            buckets(&admin.get(&path).await).len(),
            count,
            "{width}, unless asked for"
        );
    }
}

async fn buckets_are_told_apart_and_narrowed(gate: Gate) {
    let admin = Admin::of(gate).await;
    let books = books(&admin.gate).await;
    let (ada, bob) = (
        admin.gate.person("ada").await,
        admin.gate.person("bob").await,
    );
    let key = ada.key().await.text("id");
    let by_key: Option<KeyId> = key.parse().ok();
    call(&*books, &ada, by_key, ("chat", "tiny"), 1).await;
    call(&*books, &ada, None, ("chat", "other"), 2).await;
    call(&*books, &bob, None, ("chat", "tiny"), 3).await;
    let results = async |query: &str| {
        let path = format!("{COMPLETIONS}?start_time={}{query}", NOW - HOUR);
        let page = admin.get(&path).await;
        page["data"][0]["results"]
            .as_array()
            .expect("results")
            .clone()
    };
    let calls = |results: &[Value]| -> i64 {
        results
            .iter()
            .map(|result| result["num_model_requests"].as_i64().expect("a number"))
            .sum()
    };
    for (query, rows) in [
        ("", 1),
        ("&group_by[]=user_id", 2),
        ("&group_by=model&group_by=user_id", 3),
        (
            "&group_by[]=project_id&group_by[]=user_id&group_by[]=api_key_id&group_by[]=model",
            3,
        ),
    ] {
        let found = results(query).await;
        assert_eq!((found.len(), calls(&found)), (rows, 3), "{query}");
    }
    let same = results("&group_by[]=batch&group_by[]=service_tier&group_by[]=api_source").await;
    assert_eq!((same.len(), calls(&same)), (1, 3), "tells none apart");
    assert_eq!(
        (
            &same[0]["batch"],
            &same[0]["service_tier"],
            &same[0]["api_source"]
        ),
        (&json!(false), &Value::Null, &json!("unlabeled"))
    );
    let source = results("&group_by=api_source&group_by=user_id").await;
    assert_eq!((source.len(), calls(&source)), (2, 3), "beside what does");
    assert_eq!(source[0]["batch"], Value::Null, "was not asked for");
    let all = results("&group_by[]=api_key_id&group_by[]=model").await;
    let mut all: Vec<(Value, Value)> = all
        .iter()
        .map(|row| (row["model"].clone(), row["api_key_id"].clone()))
        .collect();
    all.sort_by_key(|row| format!("{row:?}"));
    let mut expected = vec![
        (json!("other"), Value::Null),
        (json!("tiny"), Value::Null),
        (json!("tiny"), json!(key)),
    ];
    expected.sort_by_key(|row| format!("{row:?}"));
    assert_eq!(all, expected);
    for (query, count) in [
        (format!("&user_ids[]={}", ada.id), 2),
        (format!("&user_ids={}&user_ids={}", ada.id, bob.id), 3),
        (format!("&project_ids[]={}", bob.project), 1),
        (format!("&api_key_ids[]={key}"), 1),
        ("&models[]=other".to_owned(), 1),
        ("&models[]=other&models[]=tiny".to_owned(), 3),
        (format!("&models[]=other&user_ids[]={}", bob.id), 0),
        (format!("&user_ids[]={}", ada.project), 0),
    ] {
        assert_eq!(calls(&results(&query).await), count, "{query}");
    }
}

async fn costs_are_exact(gate: Gate) {
    let admin = Admin::of(gate).await;
    let books = books(&admin.gate).await;
    let ada = admin.gate.person("ada").await;
    for (model, prompt) in [("tiny", 50_000), ("large", 1_000_000_000_000)] {
        // Millionths for a million tokens: a call of 20 costs one, or twenty whole ones.
        let rates = Rates {
            prompt,
            completion: 0,
            cached: prompt,
        };
        let tariff = Tariff {
            price: Some(rates),
            ..Tariff::default()
        };
        let price = Price {
            model: model.to_owned(),
            tariff,
        };
        let author = Author::system(Timestamp::from_micros(NOW * 1_000_000));
        books.set_price(price, author).await.expect("set");
    }
    for _ in 0..3 {
        call(&*books, &ada, None, ("chat", "tiny"), 5).await;
    }
    call(&*books, &ada, None, ("embeddings", "large"), 5).await;
    let costs = async |query: &str| {
        let path = format!("{COSTS}?start_time={}{query}", NOW - DAY);
        let answer = ask(&admin.root.session, Method::GET, &path, &Value::Null).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        (
            String::from_utf8_lossy(&answer.body).into_owned(),
            answer.json(),
        )
    };
    let (written, page) = costs("").await;
    assert!(
        written.contains(r#""amount":{"value":20.000003,"currency":"usd"}"#),
        "{written}"
    );
    assert_eq!(
        page["data"][0]["results"][0]["object"],
        "organization.costs.result"
    );
    assert_eq!(
        (&page["data"][0]["start_time"], &page["has_more"]),
        (&json!(NOW - DAY), &json!(false))
    );
    let sold = |result: &Value| (result["quantity"].clone(), result["quantity_unit"].clone());
    assert_eq!(
        sold(&page["data"][0]["results"][0]),
        (Value::Null, Value::Null),
        "of line items alone"
    );
    let (written, page) = costs("&group_by[]=line_item&group_by[]=project_id").await;
    let results = page["data"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), 2, "{written}");
    assert!(
        results
            .iter()
            .all(|result| result["project_id"] == ada.project),
        "{written}"
    );
    assert_eq!(
        (&results[0]["line_item"], &results[1]["line_item"]),
        (&json!("large"), &json!("tiny"))
    );
    assert_eq!(
        [sold(&results[0]), sold(&results[1])],
        [(json!(30), json!("tokens")), (json!(90), json!("tokens"))],
        "what was read and what was generated"
    );
    assert!(
        written.contains(r#""value":20,"#) && written.contains(r#""value":0.000003,"#),
        "{written}"
    );
    let (_, page) = costs("&group_by[]=api_source").await;
    let results = page["data"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), 1, "what all calls share splits nothing");
    assert_eq!(results[0]["api_source"], "unlabeled");
    for (query, value) in [
        ("&line_items[]=tiny".to_owned(), json!(0.000003)),
        (format!("&project_ids[]={}", ada.project), json!(20.000003)),
    ] {
        let (_, page) = costs(&query).await;
        assert_eq!(
            page["data"][0]["results"][0]["amount"]["value"], value,
            "{query}"
        );
    }
    let (_, page) = costs(&format!(
        "&api_key_ids[]={}&limit=180&bucket_width=1d",
        ada.id
    ))
    .await;
    assert_eq!(page["data"][0]["results"], json!([]), "no such key");
}

async fn pages_have_no_more_buckets_than_openai_lets_them(gate: Gate) {
    let admin = Admin::of(gate).await;
    for (path, width, most) in [
        (COMPLETIONS, "1m", 1_440),
        (COMPLETIONS, "1h", 168),
        (COMPLETIONS, "1d", 31),
        (EMBEDDINGS, "1m", 1_440),
        (EMBEDDINGS, "1h", 168),
        (EMBEDDINGS, "1d", 31),
        (COSTS, "1d", 180),
    ] {
        let from = NOW - 200 * DAY;
        let path = format!("{path}?bucket_width={width}&start_time={from}");
        let page = admin.get(&format!("{path}&limit={most}")).await;
        let data = page["data"].as_array().expect("buckets");
        assert_eq!(data.len(), most, "{path}");
        let more = format!("{path}&limit={}", most + 1);
        admin.wrong(Method::GET, &more, Value::Null, "limit").await;
    }
    let days = format!("{COMPLETIONS}?start_time={}&limit=32", NOW - DAY);
    admin.wrong(Method::GET, &days, Value::Null, "limit").await;
}

async fn usage_that_makes_no_sense_is_refused_by_name(gate: Gate) {
    let admin = Admin::of(gate).await;
    for path in [COMPLETIONS, EMBEDDINGS, COSTS] {
        admin
            .wrong(Method::GET, path, Value::Null, "start_time")
            .await;
        for (query, param) in [
            ("end_time=5", "end_time"),
            ("end_time=4", "end_time"),
            ("limit=0", "limit"),
            ("limit=1441", "limit"),
            ("bucket_width=1w", "bucket_width"),
            ("group_by[]=size", "group_by"),
            ("project_ids[]=x", "project_ids"),
            ("api_key_ids=", "api_key_ids"),
            ("page=x", "page"),
            ("page=page_4", "page"),
            ("page=page_6", "page"),
            ("end_time=86400&page=page_86400", "page"),
            ("size=1", "size"),
        ] {
            let path = format!("{path}?start_time=5&{query}");
            admin.wrong(Method::GET, &path, Value::Null, param).await;
        }
    }
    // The packages have no such groups there.
    for (path, group) in [
        (EMBEDDINGS, "batch"),
        (EMBEDDINGS, "api_source"),
        (COSTS, "batch"),
        (COSTS, "service_tier"),
    ] {
        let path = format!("{path}?start_time=5&group_by={group}");
        admin
            .wrong(Method::GET, &path, Value::Null, "group_by")
            .await;
    }
    let hours = format!("{COSTS}?start_time=5&bucket_width=1h");
    admin
        .wrong(Method::GET, &hours, Value::Null, "bucket_width")
        .await;
}
