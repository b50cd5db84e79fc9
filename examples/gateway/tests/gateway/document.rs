//! The OpenAPI document says what the gateway does.

use std::collections::BTreeSet;
use std::path::Path;

use http::{Method, StatusCode};
use llm_gate_gateway::api::document;
use llm_gate_gateway::client::Answer;
use llm_gate_gateway::config::RateLimitConfig;
use serde_json::{Map, Value, json};

use super::operations::{Operation, Shapes, document, lacks, operations, plenty};
use super::support::{Gate, send, start, start_with};

/// Set to write the committed document anew instead of comparing it.
const REWRITE: &str = "LLM_GATE_REWRITE_OPENAPI";

#[test]
fn the_committed_document_is_that_of_the_gateway() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/openapi.json");
    if std::env::var_os(REWRITE).is_some() {
        std::fs::write(&file, document::text()).expect("written");
    }
    let committed = std::fs::read_to_string(&file).expect("docs/openapi.json is there");
    assert!(
        committed == document::text(),
        "docs/openapi.json is not up to date: run the tests once with {REWRITE}=1 and commit what changes"
    );
}

#[test]
fn every_operation_has_an_id_of_its_own_and_words() {
    let mut ids = BTreeSet::new();
    let tags = document()["tags"].clone();
    for operation in operations() {
        let (path, is) = (&operation.path, &operation.is);
        let id = is["operationId"].as_str().expect("an id").to_owned();
        assert!(ids.insert(id), "{path}: its id is taken");
        let summary = is["summary"].as_str().unwrap_or_default();
        assert!(!summary.is_empty(), "{path}: what does it do?");
        let tag = &is["tags"][0];
        let known = tags
            .as_array()
            .expect("tags")
            .iter()
            .any(|known| known["name"] == *tag);
        assert!(known, "{path}: {tag} is described nowhere");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, whole: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                    assert!(
                        whole.pointer(target.trim_start_matches('#')).is_some(),
                        "{target}"
                    );
                }
                members.values().for_each(|member| walk(member, whole));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, whole)),
            _ => {}
        }
    }
    walk(&document(), &document());
}

#[test]
fn an_alias_is_what_it_stands_for() {
    let all = operations();
    for alias in &all {
        let Some(original) = alias.is["x-alias-of"].as_str() else {
            assert!(
                !alias.path.starts_with("/auth"),
                "{} is an alias",
                alias.path
            );
            continue;
        };
        let original = all
            .iter()
            .find(|other| other.path == original && other.method == alias.method);
        let original = original.expect("an alias stands for a route");
        for member in ["security", "responses", "requestBody", "parameters"] {
            assert_eq!(alias.is[member], original.is[member], "{}", alias.path);
        }
    }
}

#[tokio::test]
async fn only_what_is_documented_is_routed() {
    let gate = start_with(|config| config.rate_limits = plenty()).await;
    let admin = gate.admin().await;
    let all = operations();
    let paths: BTreeSet<&str> = all.iter().map(|operation| &*operation.path).collect();
    for path in paths {
        let known: Vec<&Operation> = all.iter().filter(|one| one.path == path).collect();
        for method in [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let documented = known.iter().any(|one| one.method == method);
            let body = json!({}).to_string();
            let json = [("content-type", "application/json")];
            let at = known[0].somewhere();
            let answer = send(&admin.session, method.clone(), &at, &json, body).await;
            assert_eq!(
                answer.status != StatusCode::METHOD_NOT_ALLOWED,
                documented,
                "{method} {path}"
            );
            let missing = lacks(path, &answer);
            assert!(
                missing.is_empty(),
                "{method} {path} is answered like all others, routed or not: {missing:?}"
            );
        }
    }
}

/// Says for each field of an answer to a bad request whether it is named.
fn named(answer: &Answer) -> BTreeSet<String> {
    let error = &answer.json()["error"];
    if let Some(message) = error["message"].as_str() {
        // As OpenAI says it: the words have all of them, and `param` is the first.
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
        let words = message.split("; ");
        let names: Vec<&str> = words.filter_map(|part| part.split(' ').next()).collect();
        assert_eq!(error["param"], names[0], "{answer:?}");
        return names.into_iter().map(str::to_owned).collect();
    }
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let detail = answer.json()["detail"].clone();
    let errors = detail.as_array().expect("a list of fields").iter();
    errors
        .map(|error| error["loc"][1].as_str().expect("a name").to_owned())
        .collect()
}

fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// A value that has none of the types of a field.
fn of_another_type(schema: &Value) -> Value {
    let types = types(schema);
    let others = [
        ("string", json!("x")),
        ("integer", json!(7)),
        ("boolean", json!(true)),
    ];
    let other = others.into_iter().find(|(name, _)| !types.contains(name));
    other.expect("no field takes everything").1
}

#[tokio::test]
async fn a_body_is_read_as_the_document_says() {
    // Hundreds of bodies from one address.
    let gate = start_with(|config| config.rate_limits = RateLimitConfig::off()).await;
    let admin = gate.admin().await;
    let mut seen = 0;
    for operation in operations() {
        let Some(schema) = operation.json().filter(|_| !operation.is_call()) else {
            continue;
        };
        seen += 1;
        let at = format!("{} {}", operation.method, operation.path);
        assert_eq!(schema["additionalProperties"], false, "{at}");
        let fields = schema["properties"].as_object().expect("fields");
        // Where it is checked first whether there is a project, there is one.
        let path = operation.within(&admin.project);
        let ask = async |body: Value| operation.send_to(&admin.session, &path, &body).await;

        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !required.is_empty() {
            let empty = named(&ask(json!({})).await);
            for name in required {
                assert!(empty.contains(name), "{at}: {name} is required");
            }
        }
        let unknown = named(&ask(json!({ "unheard_of": 1 })).await);
        assert!(unknown.contains("unheard_of"), "{at}: nobody asked for it");

        let example = ask(schema["examples"][0].clone()).await;
        let refused = [400, 415, 422].contains(&example.status.as_u16());
        assert!(!refused, "{at}: the example is a good one: {example:?}");

        let mut wrong = Map::new();
        for (name, field) in fields {
            wrong.insert(name.clone(), of_another_type(field));
            let alone = named(&ask(json!({ name: of_another_type(field) })).await);
            assert!(alone.contains(name), "{at}: {name} has another type");
        }
        let together = named(&ask(Value::Object(wrong)).await);
        for name in fields.keys() {
            assert!(
                together.contains(name),
                "{at}: {name} is named beside the others"
            );
        }
        for (name, field) in fields {
            let takes_null = types(field).contains(&"null");
            // Beside a field that is wrong, so that nothing is done.
            let null = ask(json!({ name: null, "unheard_of": 1 })).await.json();
            let refused = match null["error"]["message"].as_str() {
                Some(message) => message
                    .split("; ")
                    .any(|part| part == format!("{name} is required")),
                None => null["detail"]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .any(|error| error["loc"][1] == **name && error["msg"] == "is required"),
            };
            assert_eq!(refused, !takes_null, "{at}: {name} is null");
        }
    }
    assert!(seen > 10, "there are bodies: {seen}");
}

#[test]
fn every_list_says_what_is_in_it() {
    fn look(value: &Value, place: &str) {
        match value {
            Value::Object(members) => {
                let kinds = types(value);
                let list = kinds.contains(&"array") && !kinds.contains(&"string");
                assert!(!list || members.contains_key("items"), "{place}: {value}");
                for (name, member) in members {
                    look(member, &format!("{place}/{name}"));
                }
            }
            Value::Array(all) => all.iter().for_each(|one| look(one, place)),
            _ => {}
        }
    }
    look(&document(), "");
    let invite = document()["components"]["schemas"]["OrganizationNewInvite"].clone();
    let projects = &invite["properties"]["projects"];
    assert_eq!(projects["items"]["required"], json!(["id", "role"]));
    assert_eq!(
        (&projects["minItems"], &projects["maxItems"]),
        (&json!(0), &json!(20))
    );
}

#[tokio::test]
async fn a_query_is_read_as_the_document_says() {
    let gate = start().await;
    let admin = gate.admin().await;
    let mut seen = 0;
    for operation in operations() {
        let parameters = operation.is["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let query: Vec<&Value> = parameters
            .iter()
            .filter(|one| one["in"] == "query")
            .collect();
        if query.is_empty() {
            continue;
        }
        seen += 1;
        let at = format!("{} {}", operation.method, operation.path);
        let ask = async |query: &str| {
            let path = format!("{}?{query}", operation.somewhere());
            send(&admin.session, operation.method.clone(), &path, &[], "").await
        };
        let unknown = ask("unheard_of=1").await;
        let named_there = named(&unknown);
        // A protocol may let others say more: then there is a parameter for whatever there is.
        let (others, query): (Vec<&Value>, Vec<&Value>) = query
            .into_iter()
            .partition(|one| one["schema"]["type"] == "object");
        assert_eq!(
            named_there.contains("unheard_of"),
            others.is_empty(),
            "{at}: nobody asked for it"
        );
        for parameter in query {
            let name = parameter["name"].as_str().expect("a name");
            if parameter["schema"]["type"] == "integer" {
                for wrong in ["x", "-1", "1.5", ""] {
                    let answer = ask(&format!("{name}={wrong}")).await;
                    assert!(named(&answer).contains(name), "{at}: {name}={wrong}");
                }
                for bound in ["minimum", "maximum"] {
                    let bound = parameter["schema"][bound].as_i64().expect("bounded");
                    let good = ask(&format!("{name}={bound}")).await;
                    let refused = match good.status.as_u16() {
                        400 | 422 => named(&good).contains(name),
                        _ => false,
                    };
                    assert!(!refused, "{at}: {name}={bound}");
                }
                let most = parameter["schema"]["maximum"].as_i64().expect("bounded");
                let answer = ask(&format!("{name}={}", most + 1)).await;
                assert!(named(&answer).contains(name), "{at}: {name} beyond {most}");
            }
            if parameter["schema"]["type"] == "array" {
                let empty = ask(&format!("{name}=&{name}[]=")).await;
                assert!(named(&empty).contains(name), "{at}: {name} is empty");
                continue;
            }
            let twice = ask(&format!("{name}=1&{name}=1")).await;
            assert!(named(&twice).contains(name), "{at}: {name} twice");
        }
    }
    assert!(seen > 5, "there are queries: {seen}");
}

#[tokio::test]
async fn the_gateway_shows_its_document() {
    let gate = start().await;
    let shown = gate.get("/openapi.json").await;
    assert_eq!(shown.status, StatusCode::OK);
    assert_eq!(shown.headers["content-type"], "application/json");
    assert_eq!(shown.json(), document());
    let printed = gate.command(&["openapi"]).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert_eq!(
        printed.stdout,
        document::text(),
        "the command prints the same"
    );
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let gate = start().await;
    let page = gate.get("/docs").await;
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("text");
    for forbidden in ["unsafe", "http:", "https:", "data:", "*"] {
        assert!(!policy.contains(forbidden), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let html = String::from_utf8_lossy(&page.body).into_owned();
    for inline in [
        "<style",
        "style=",
        "onclick=",
        "onload=",
        "javascript:",
        "http://",
        "https://",
    ] {
        assert!(!html.contains(inline), "{inline}");
    }
    for script in html.split("<script").skip(1) {
        assert!(
            script.trim_start().starts_with("src=\"/docs/"),
            "no inline script: {script}"
        );
    }
    for (path, media) in [
        ("/docs/page.js", "text/javascript; charset=utf-8"),
        ("/docs/page.css", "text/css; charset=utf-8"),
    ] {
        assert!(html.contains(path), "the page uses {path}");
        let file = gate.get(path).await;
        assert_eq!(file.status, StatusCode::OK, "{path}");
        assert_eq!(file.headers["content-type"], media);
        assert_eq!(file.headers["x-content-type-options"], "nosniff");
        let text = String::from_utf8_lossy(&file.body).into_owned();
        for elsewhere in ["http://", "https://", "@import", "innerHTML", "eval("] {
            assert!(!text.contains(elsewhere), "{path}: {elsewhere}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_unchanged_is_not_sent_again() {
    let gate = start().await;
    for path in ["/openapi.json", "/docs", "/docs/page.js", "/docs/page.css"] {
        let first = gate.get(path).await;
        assert_eq!(
            first.headers["cache-control"], "no-cache",
            "asked about each time"
        );
        let tag = first.headers["etag"].to_str().expect("text").to_owned();
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let again = [("if-none-match", &*known)];
            let again = send(&gate.client, Method::GET, path, &again, "").await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{path}");
            assert!(again.body.is_empty());
        }
        let other = [("if-none-match", "\"other\"")];
        let other = send(&gate.client, Method::GET, path, &other, "").await;
        assert_eq!(other.status, StatusCode::OK, "{path}");
    }
}

/// Bodies are read before anything is asked, also where none is wanted.
#[tokio::test]
async fn a_body_that_is_too_long_is_refused_as_documented_on_every_route() {
    let gate = start_with(|config| config.rate_limits = plenty()).await;
    let mut shapes = Shapes::new();
    let json = [("content-type", "application/json")];
    for operation in operations() {
        let models = operation.path.starts_with("/v1/models");
        if operation.is_call() && !models {
            continue;
        }
        let (method, path) = (operation.method.clone(), operation.somewhere());
        let refused = send(&gate.client, method, &path, &json, "x".repeat(65 * 1024)).await;
        let what = format!("{} {path}", operation.method);
        assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{what}");
        let wrong = shapes.wrong(&operation, &refused);
        assert_eq!(wrong, None, "{what}: {refused:?}");
        let missing = lacks(&path, &refused);
        assert!(
            missing.is_empty(),
            "{what}: what is not read is counted and hardened too: {missing:?}"
        );
        assert_eq!(
            in_chunks(&gate, &operation.method, &path).await,
            "413",
            "{what}"
        );
    }
}

/// Sends as long a body without saying how long it is; returns the status.
async fn in_chunks(gate: &Gate, method: &Method, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = gate.url().replace("http://", "");
    let connected = tokio::net::TcpStream::connect(address).await;
    let mut connection = connected.expect("it listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        65 * 1024,
        "x".repeat(65 * 1024)
    );
    // It may have answered before it has all of it.
    let _ = connection.write_all(request.as_bytes()).await;
    let mut head = [0; 12];
    let read = connection.read_exact(&mut head).await;
    read.expect("an answer");
    String::from_utf8_lossy(&head[9..]).into_owned()
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_as_the_route_does() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let gate = start().await;
    for (path, shape) in [
        ("/v1/models", r#"{"error":{"#),
        ("/v1/models/tiny", r#"{"error":{"#),
        ("/v1/organization/projects", r#"{"error":{"#),
        ("/api/v1/users/me", r#"{"detail":"#),
    ] {
        let address = gate.url().replace("http://", "");
        let connected = tokio::net::TcpStream::connect(address).await;
        let mut connection = connected.expect("it listens");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\nno length\r\n"
        );
        let sent = connection.write_all(request.as_bytes()).await;
        sent.expect("sent");
        let mut answer = Vec::new();
        // It may be reset behind the answer.
        let _ = connection.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
        assert!(answer.contains(shape), "{path}: {answer}");
    }
}

/// What is left unread when the connection ends may reset it, and with it what the client has not read of the answer.
#[tokio::test]
async fn a_body_that_nobody_wants_is_read_before_the_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let gate = start().await;
    for path in ["/openapi.json", "/docs", "/health"] {
        let address = gate.url().replace("http://", "");
        let connected = tokio::net::TcpStream::connect(address).await;
        let mut connection = connected.expect("it listens");
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: gate\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\
             connection: close\r\n\r\n"
        );
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("sent");
        let mut interim = [0; 25];
        let asked = connection.read_exact(&mut interim).await;
        asked.expect("an interim answer");
        let interim = String::from_utf8_lossy(&interim).into_owned();
        assert!(interim.starts_with("HTTP/1.1 100 "), "{path}: {interim}");
        connection.write_all(b"{}").await.expect("it is read");
        let mut answer = Vec::new();
        let read = connection.read_to_end(&mut answer).await;
        read.expect("to its end");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(
            length,
            Some(body.len().to_string().as_str()),
            "{path}: {head}"
        );
    }
}
