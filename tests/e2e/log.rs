//! The log: a line a request, on standard error and in files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use scripted_vllm::ScriptedVllm;
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
            let lines = text.lines().map(serde_json::from_str);
            lines
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
