//! What a token says: types, absence, repetition.

use serde_json::{Value, json};

use super::{Variant, bad, good, shared};
use crate::forge::{AUDIENCE, ISSUER, NOW, PROJECT, USER, claims, with};

const TEXTS: [&str; 3] = ["iss", "jti", "client_id"];
const IDS: [&str; 2] = ["sub", "project"];
const TIMES: [&str; 3] = ["exp", "iat", "nbf"];

pub(super) fn variants() -> Vec<Variant> {
    let mut all = Vec::new();
    let names: Vec<String> = claims()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    for name in &names {
        let mut without = claims();
        without.as_object_mut().expect("an object").remove(name);
        all.push(bad(format!("without {name}"), shared(&without.to_string())));
        let mut other = without.clone();
        other[name.to_uppercase()] = claims()[name].clone();
        all.push(bad(
            format!("{name} in capitals"),
            shared(&other.to_string()),
        ));
    }
    types(&mut all);
    values(&mut all);
    repeated(&names, &mut all);
    allowed(&mut all);
    all
}

fn types(all: &mut Vec<Variant>) {
    let mut wrong = |name: &str, value: Value| {
        all.push(bad(
            format!("{name}: {value}"),
            shared(&with(name, value.clone())),
        ));
    };
    for name in TEXTS
        .iter()
        .chain(&IDS)
        .chain(&TIMES)
        .chain(&["aud", "role", "sid"])
    {
        for value in [
            json!(null),
            json!(true),
            json!(false),
            json!(-1),
            json!(1.5),
            json!(""),
            json!([]),
            json!({}),
            json!([null]),
            json!([[claims()[name]]]),
            json!({ "value": claims()[name] }),
        ] {
            wrong(name, value);
        }
    }
    for name in TEXTS.iter().chain(&IDS).chain(&["role"]) {
        wrong(name, json!([claims()[name]]));
        wrong(name, json!(7));
    }
    for name in TIMES {
        wrong(name, json!(claims()[name].to_string()));
        wrong(name, json!([claims()[name]]));
    }
    for number in [
        "1767225900.0",
        "1767225900.5",
        "1.7672259e9",
        "17672259e2",
        "-0",
        "18446744073709551616",
        "1e400",
    ] {
        for name in TIMES {
            let text = with(name, json!("NUMBER")).replace("\"NUMBER\"", number);
            all.push(bad(format!("{name}: {number}"), shared(&text)));
        }
    }
}

fn values(all: &mut Vec<Variant>) {
    for (name, value) in [
        ("iss", json!("https://gate.test/")),
        ("iss", json!("https://gate.tes")),
        ("iss", json!("HTTPS://GATE.TEST")),
        ("iss", json!("https://evil.test")),
        ("iss", json!("https://gate.test\u{0}")),
        ("iss", json!(" https://gate.test")),
        ("aud", json!("llm-gat")),
        ("aud", json!("llm-gate-2")),
        ("aud", json!("LLM-GATE")),
        ("aud", json!("llm-gate ")),
        ("aud", json!("llm-gate,other")),
        ("aud", json!(["other"])),
        ("aud", json!(["llm-gate-2", "llm"])),
        ("aud", json!([AUDIENCE, 1])),
        ("aud", json!([AUDIENCE, null])),
        ("sub", json!("admin")),
        ("sub", json!("../../etc/passwd")),
        ("sub", json!("' OR 1=1 --")),
        ("sub", json!(format!("{USER}0"))),
        ("sub", json!(format!(" {USER}"))),
        ("project", json!("*")),
        ("project", json!(format!("{PROJECT}\u{0}"))),
        ("role", json!("Admin")),
        ("role", json!("ADMIN")),
        ("role", json!("root")),
        ("role", json!("admin ")),
        ("role", json!("user,admin")),
        ("role", json!({ "admin": null })),
        ("role", json!(["user", "admin"])),
    ] {
        all.push(bad(
            format!("{name}: {value}"),
            shared(&with(name, value.clone())),
        ));
    }
}

/// The last of equal members wins with some readers, the first with others.
fn repeated(names: &[String], all: &mut Vec<Variant>) {
    let text = claims().to_string();
    for name in names {
        let value = &claims()[name];
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        for (how, member) in [
            ("again", format!("\"{name}\":{value}")),
            ("null too", format!("\"{name}\":null")),
            ("escaped too", format!("\"{escaped}\":{value}")),
        ] {
            let before = format!("{{{member},{}", &text[1..]);
            let after = format!("{},{member}}}", &text[..text.len() - 1]);
            all.push(bad(format!("{name} {how}, before"), shared(&before)));
            all.push(bad(format!("{name} {how}, after"), shared(&after)));
        }
    }
    for member in [
        r#""scope":1,"scope":1"#,
        r#""":1,"":2"#,
        r#""a\tb":1,"a\u0009b":1"#,
        r#""é":1,"\u00e9":1"#,
    ] {
        let unread = format!("{{{member},{}", &text[1..]);
        all.push(bad(format!("unread twice: {member}"), shared(&unread)));
    }
}

fn allowed(all: &mut Vec<Variant>) {
    for (name, value) in [
        ("aud", json!([AUDIENCE])),
        ("aud", json!(["other", AUDIENCE])),
        ("aud", json!([AUDIENCE, AUDIENCE])),
        ("role", json!("admin")),
        ("jti", json!("é\u{1f511}")),
        ("client_id", json!("another client")),
        ("sid", json!(PROJECT)),
        ("scope", json!("read write")),
        ("scope", json!(null)),
        ("nested", json!({ "exp": 1, "role": "admin", "iss": [] })),
        ("list", json!([1, "x", null, {}])),
        ("cnf", json!({ "jkt": "x" })),
        ("", json!("no name")),
        ("Role", json!("admin")),
        ("iat", json!(NOW - 10)),
    ] {
        all.push(good(
            format!("{name}: {value}"),
            shared(&with(name, value.clone())),
        ));
    }
    let text = claims().to_string();
    let escaped = text.replace("\"exp\"", "\"\\u0065xp\"");
    all.push(good("a name with an escape", shared(&escaped)));
    let escaped = text.replace(ISSUER, "https:\\/\\/gate.test");
    all.push(good("a value with escapes", shared(&escaped)));
    let spaced = text.replace(',', " ,\r\n\t").replace(':', " : ");
    let spaced = spaced.replace("https : //", "https://");
    all.push(good(
        "blanks between members",
        shared(&format!(" {spaced}\n")),
    ));
    let backwards: Vec<String> = claims()
        .as_object()
        .expect("an object")
        .iter()
        .rev()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    let backwards = format!("{{{}}}", backwards.join(","));
    all.push(good("members in another order", shared(&backwards)));
    let many = json!((0..500).collect::<Vec<_>>());
    all.push(good("much that nobody reads", shared(&with("list", many))));
}
