//! The log: a line a request, on standard error and in files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use scripted_vllm::{Answer, ScriptedVllm};
use serde_json::{Value, json};
use support::{Client, Finished, Server, in_time, program};
use tempfile::TempDir;

/// Returns the lines of all files in a folder.
fn lines(folder: &Path) -> Vec<Value> {
    let files = std::fs::read_dir(folder).expect("the folder is made");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("a file").path()));
    texts
        .flat_map(|text| {
            let text = text.expect("text");
            // One without an end is still being written.
            let lines = text
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'));
            lines
                .map(serde_json::from_str)
                .collect::<Result<Vec<Value>, _>>()
                .expect("JSON, line by line")
        })
        .collect()
}

#[tokio::test]
async fn each_request_is_a_line_in_the_files_too_with_who_and_how_much() {
    let data = TempDir::new().expect("a temporary folder");
    let folder = data.path().join("logs");
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default()).await;
    let vllm = vllm.expect("a free port");
    let place = folder.to_str().expect("text");
    let environment = [
        ("LLM_GATE_LOG__FOLDER", place),
        ("LLM_GATE_LOG__ROTATION", "never"),
    ];
    let server = Server::start_with(data.path(), &vllm.url(), &environment).await;
    let client = Client::new(server.address);
    let body =
        json!({ "username": "ada", "password": "correct horse battery", "create_api_key": true });
    let ada = client
        .post("/api/v1/auth/register", &body)
        .await
        .expect("an answer");
    let chat = json!({ "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hi" }] });
    let key = client.bearer(ada.text("api_key"));
    let answer = key
        .post("/v1/chat/completions", &chat)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.headers["x-request-id"].to_str().expect("text");
    let of = |lines: Vec<Value>| {
        lines
            .into_iter()
            .map(|line| line["fields"].clone())
            .find(|fields| fields["message"] == "request" && fields["id"] == id)
    };
    let line = in_time("the line of the request", async {
        loop {
            if let Some(line) = of(lines(&folder)) {
                return line;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        (&line["route"], &line["status"]),
        (&json!("/v1/chat/completions"), &json!(200))
    );
    assert_eq!(line["user"], ada.text("id"), "who it was");
    assert_eq!(
        line["tokens"],
        answer.json()["usage"]["total_tokens"],
        "and how much"
    );
    assert!(line["latency_ms"].is_u64(), "and how long");
    assert!(server.log().contains(id), "standard error has it as well");
    let mode = std::fs::metadata(&folder)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700, "it is the owner's alone");
}

#[tokio::test]
async fn a_log_that_rotates_is_in_the_file_of_its_period_and_keeps_so_many() {
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default()).await;
    let vllm = vllm.expect("a free port");
    for (rotation, digits) in [("hourly", "0000-00-00-00"), ("daily", "0000-00-00")] {
        let data = TempDir::new().expect("a temporary folder");
        let folder = data.path().join("logs");
        std::fs::create_dir(&folder).expect("a new folder");
        let old = (1..=5).map(|day| format!("llm-gate.2020-01-0{day}.log"));
        for name in old.chain(["other.log".to_owned(), "llm-gate.notes".to_owned()]) {
            std::fs::write(folder.join(name), "").expect("written");
        }
        let place = folder.to_str().expect("text");
        let environment = [
            ("LLM_GATE_LOG__FOLDER", place),
            ("LLM_GATE_LOG__ROTATION", rotation),
            ("LLM_GATE_LOG__FILES", "3"),
        ];
        let server = Server::start_with(data.path(), &vllm.url(), &environment).await;
        let client = Client::new(server.address);
        let answer = client.get("/").await.expect("an answer");
        let id = answer.headers["x-request-id"].to_str().expect("text");
        let names = || {
            let files = std::fs::read_dir(&folder).expect("a folder");
            let names = files.map(|file| file.expect("a file").file_name());
            names
                .map(|name| name.into_string().expect("text"))
                .collect::<Vec<_>>()
        };
        let logs = |names: Vec<String>| {
            let ours = |name: &String| name.starts_with("llm-gate.") && name.ends_with(".log");
            names.into_iter().filter(ours).collect::<Vec<_>>()
        };
        assert_eq!(
            logs(names()).len(),
            3,
            "{rotation}: the new one and two before it"
        );
        for foreign in ["other.log", "llm-gate.notes"] {
            assert!(
                names().iter().any(|name| name == foreign),
                "{foreign} is no log"
            );
        }
        let written = in_time("the line of the request", async {
            loop {
                let holds = |name: &String| {
                    let text = std::fs::read_to_string(folder.join(name));
                    text.is_ok_and(|text| text.contains(id))
                };
                if let Some(name) = logs(names()).into_iter().find(holds) {
                    return name;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let period = written
            .trim_start_matches("llm-gate.")
            .trim_end_matches(".log");
        let shape: String = period
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, digits, "named after when it begins");
        assert!(
            !period.starts_with("2020"),
            "and none of the old ones: {written}"
        );
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_said_and_nothing_is_served() {
    let data = TempDir::new().expect("a temporary folder");
    let file = data.path().join("logs");
    std::fs::write(&file, "in the way").expect("written");
    let mut serve = program(data.path());
    serve
        .args(["serve", "--port", "0"])
        .env("LLM_GATE_LOG__FOLDER", &file);
    let ended = Finished::of(serve, "").await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("the log cannot be written"), "{ended:?}");
}

#[tokio::test]
async fn what_was_refused_is_on_record_and_costs_nothing() {
    let data = TempDir::new().expect("a temporary folder");
    let vllm = ScriptedVllm::start(scripted_vllm::Config::default()).await;
    let vllm = vllm.expect("a free port");
    let server = Server::start(data.path(), &vllm.url()).await;
    let client = Client::new(server.address);
    let names =
        json!({ "username": "ada", "password": "correct horse battery", "create_api_key": true });
    let ada = client
        .post("/api/v1/auth/register", &names)
        .await
        .expect("an answer");
    let login = json!({ "username": "ada", "password": "correct horse battery" });
    let pair = client
        .post("/api/v1/auth/login", &login)
        .await
        .expect("an answer");
    let session = client.bearer(pair.text("access_token"));
    let key = client.bearer(ada.text("api_key"));
    let chat = json!({ "model": "tiny", "max_tokens": 5, "messages": [{ "role": "user", "content": "Hi" }] });
    let call = async || {
        key.post("/v1/chat/completions", &chat)
            .await
            .expect("an answer")
    };

    // By the model server, and by its failure: a row each.
    vllm.push(Answer::error(400, "BadRequestError", "no"));
    vllm.push(Answer::error(500, "InternalServerError", "no"));
    for status in [400, 500] {
        assert_eq!(call().await.status, status);
    }
    let rows = in_time("both are written", async {
        loop {
            let calls = session
                .get("/api/v1/usage/calls")
                .await
                .expect("an answer")
                .json();
            if calls["total_calls"] == 2 {
                return calls;
            }
        }
    })
    .await;
    for row in rows["calls"].as_array().expect("a list") {
        assert_eq!(row["tokens_used"], 0, "{row}");
        assert_eq!(row["estimated_cost"], "0.000000", "{row}");
    }
    let statuses = [
        &rows["calls"][1]["status_code"],
        &rows["calls"][0]["status_code"],
    ];
    assert_eq!(
        statuses,
        [&json!(400), &json!(500)],
        "with what became of them"
    );

    // By a limit: nothing was held, so the books have nothing; the log and the metrics do.
    let limit = json!({ "token_limit": 1 });
    let lowered = session.put("/api/v1/users/me/token-limit", &limit).await;
    assert_eq!(lowered.expect("an answer").status, 200);
    let refused = call().await;
    assert_eq!(refused.status, 429, "{refused:?}");
    let usage = session
        .get("/api/v1/users/me/usage")
        .await
        .expect("an answer")
        .json();
    assert_eq!(
        (&usage["tokens_used"], &usage["reserved"]),
        (&json!(0), &json!(0))
    );
    let metrics = Client::new(server.metrics)
        .get("/metrics")
        .await
        .expect("an answer");
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let counted = r#"llm_gate_quota_refused_total{reason="exhausted"} 1"#;
    assert!(metrics.lines().any(|line| line == counted), "it is counted");
    let id = refused.headers["x-request-id"]
        .to_str()
        .expect("text")
        .to_owned();
    let line = in_time("the line of the request", async {
        loop {
            let log = server.log();
            let lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut fields = lines.map(|line| line["fields"].clone());
            if let Some(line) =
                fields.find(|line| line["message"] == "request" && line["id"] == id.as_str())
            {
                return line;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(
        (&line["status"], &line["user"]),
        (&json!(429), &json!(ada.text("id"))),
        "it is in the log"
    );
}
