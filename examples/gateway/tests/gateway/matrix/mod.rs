//! Who may do what: every operation of the document, in every way it is used, asked for as everybody, with what there is
//! of theirs and of others. Each answer has one status, and what every answer has: an id, security headers, and what is left
//! of a rate.
//!
//! [`rows`] says for each operation whom it is for, and how it is asked for; an alias goes by what it stands for.
//! What each caller is told follows from that and from who they are ([`access`]). [`things`] are what requests name.

mod access;
mod callers;
mod rows;
mod scene;
mod things;

use llm_gate_gateway::client::Answer;
use serde_json::Value;

use self::access::{Body, Row};
use self::callers::Caller;
use self::scene::Scene;
use crate::operations::{Operation, Shapes, lacks, operations};

/// Makes two tests of each group of rows, and one that nothing is in none.
macro_rules! groups {
    ($($group:ident;)+) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $group() {
                super::everybody_is_told_what_the_rows_say(false, super::rows::$group::rows()).await;
            })+
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $group() {
                super::everybody_is_told_what_the_rows_say(true, super::rows::$group::rows()).await;
            })+
        }

        fn all() -> Vec<Vec<Row>> {
            vec![$(rows::$group::rows()),+]
        }
    };
}

groups! {
    account;
    entering;
    keys;
    limits;
    open;
    organization;
    platform;
    projects;
    reports;
}

#[test]
fn every_operation_has_rows_in_one_group_and_every_row_an_operation() {
    let (groups, operations) = (all(), operations());
    for operation in &operations {
        let mut having = groups.iter().filter(|rows| has_row(rows, operation));
        let (method, path) = (&operation.method, &operation.path);
        assert!(
            having.next().is_some(),
            "{method} {path} has no row below matrix/rows: who may do it?"
        );
        assert!(having.next().is_none(), "{method} {path} is in two groups");
    }
    for row in groups.iter().flatten() {
        let known = operations.iter().any(|operation| row.is_of(operation));
        assert!(known, "{} {} is no operation", row.method, row.path);
    }
}

#[test]
fn the_rows_let_those_in_whom_the_document_does() {
    let groups = all();
    for operation in operations() {
        let rows = groups.iter().flatten().filter(|row| row.is_of(&operation));
        for row in rows {
            assert_eq!(
                row.door.security(),
                operation.is["security"],
                "{} {}",
                operation.method,
                operation.path
            );
        }
    }
}

fn has_row(rows: &[Row], operation: &Operation) -> bool {
    rows.iter().any(|row| row.is_of(operation))
}

async fn everybody_is_told_what_the_rows_say(on_postgres: bool, rows: Vec<Row>) {
    let mut scene = Scene::set(on_postgres).await;
    let callers = std::mem::take(&mut scene.callers);
    let mut shapes = Shapes::new();
    let (mut cells, mut wrong) = (0, Vec::new());
    for operation in operations() {
        let mut done = 0;
        for row in rows.iter().filter(|row| row.is_of(&operation)) {
            scene.stock.clear();
            let good = access::good(&operation, row);
            for caller in &callers {
                let expected = row.expected(caller, good);
                let answer = ask(&mut scene, &operation, row, caller, expected == good).await;
                let status = answer.status;
                cells += 1;
                if let Some(why) = shapes.wrong(&operation, &answer) {
                    wrong.push(format!("{} {}: {why}", row.method, operation.path));
                }
                let missing = lacks(&operation.path, &answer).into_iter();
                wrong.extend(missing.map(|what| format!("{} {what}", row.method)));
                done += u32::from(status == good && row.succeeds());
                if status.is_success() && row.uses_up() {
                    scene.stock.clear();
                }
                if status != expected {
                    let (method, path, about) = (&row.method, &operation.path, row.about);
                    let name = &caller.name;
                    wrong.push(format!(
                        "{method} {path} {about} by {name}: {status}, expected {expected}"
                    ));
                }
            }
        }
        let (method, path) = (&operation.method, &operation.path);
        if has_row(&rows, &operation) && done == 0 {
            wrong.push(format!("{method} {path}: nobody has done it"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {cells}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cells >= callers.len(), "somebody has tried something");
}

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// Sends the request of a row as somebody.
async fn ask(
    scene: &mut Scene,
    operation: &Operation,
    row: &Row,
    caller: &Caller,
    granted: bool,
) -> Answer {
    let client = if granted && row.by_a_double {
        scene.double(caller).await
    } else {
        caller.client.clone()
    };
    let given = scene.give(row, caller.person).await;
    let path = path(operation, row, &given);
    let example = operation.json().filter(|_| row.query.is_none());
    let example = example.map(|schema| schema["examples"][0].to_string());
    let (media, body) = match &row.body {
        Some(Body::Form(form)) => (FORM, (*form).to_owned()),
        Some(Body::Json(body)) => (JSON, body(&given).to_string()),
        None => (JSON, example.unwrap_or_default()),
    };
    let mut request = client
        .request(operation.method.clone(), &path, body)
        .expect("a request");
    let mut headers = Vec::from_iter(caller.header.clone());
    headers.extend(row.header.map(|(name, value)| (name, value(&given))));
    headers.push(("content-type", media.to_owned()));
    for (name, value) in headers {
        let value = value.parse().expect("a header");
        request.headers_mut().insert(name, value);
    }
    client.send(request).await.expect("an answer")
}

/// Puts what is given in its places.
fn path(operation: &Operation, row: &Row, given: &Value) -> String {
    let parts = operation.path.split('/').map(|part| {
        let name = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'));
        let Some(name) = name else {
            return part.to_owned();
        };
        let value = given[name].as_str();
        value
            .unwrap_or_else(|| panic!("{} names no {name}", row.path))
            .to_owned()
    });
    let path = parts.collect::<Vec<_>>().join("/");
    match row.query {
        Some(query) => format!("{path}?{}", query(given)),
        None => path,
    }
}
