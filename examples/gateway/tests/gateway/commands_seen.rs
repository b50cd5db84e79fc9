//! What commands do, as it is seen in what they print, over HTTP, and in the list of what was done.

use std::time::Duration;

use http::StatusCode;
use llm_gate::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::commands::{after, has};
use super::support::{Gate, PASSWORD, Person, on_both};

on_both! {
    a_price_set_by_command_is_the_one_that_is_listed_everywhere;
    a_limit_set_by_command_is_in_force_for_whom_it_names;
    a_limit_is_removed_by_all_that_names_it_and_the_others_stay;
    what_somebody_may_spend_in_total_is_set_by_command;
    who_is_stopped_by_command_is_out_until_enabled_by_command;
    keys_are_listed_with_what_became_of_them;
    a_key_is_rotated_and_revoked_by_its_id;
    what_a_command_does_is_told_without_secrets_and_done_by_the_gate_itself;
    what_a_command_does_to_an_account_is_told_without_secrets_and_done_by_the_gate_itself;
}

/// What stands before a key that is printed.
const SHOWN: &str = "key, shown this once: ";

/// Turns the gate's clock to where the machine's is, by which commands go, and past what the gate remembers of keys.
fn catch_up(gate: &Gate) {
    let behind = SystemClock.now().since(gate.clock.now());
    gate.clock.advance(behind + Duration::from_secs(2));
}

/// Lists the limits in force for somebody as each gateway has them, sorted.
async fn limits(gate: &Gate, root: &Person, whose: &str) -> Vec<String> {
    let path = format!("/api/v1/limits?limit=100&{whose}");
    let listed = gate.agreed(async || found(root, &path).await).await;
    let line = |limit: &Value| {
        let word = |name: &str| limit[name].as_str().unwrap_or("all").to_owned();
        let (period, unit) = (word("period"), word("unit"));
        let (model, zone) = (word("model"), word("zone"));
        format!("{period} {unit} of {model} in {zone}: {}", limit["amount"])
    };
    let all = listed["limits"].as_array().expect("a list").iter();
    let mut lines: Vec<String> = all.map(line).collect();
    lines.sort_unstable();
    lines
}

/// Gets what is there.
async fn found(by: &Person, path: &str) -> Value {
    let found = by.get(path).await;
    assert_eq!(found.status, StatusCode::OK, "{path}: {found:?}");
    found.json()
}

async fn a_price_set_by_command_is_the_one_that_is_listed_everywhere(gate: Gate) {
    let root = gate.admin().await;
    let listed = async || {
        let prices = gate.agreed(async || found(&root, "/api/v1/prices").await);
        prices.await["prices"].clone()
    };
    for (flags, line, shown) in [
        (
            &[
                "--prompt",
                "5",
                "--completion",
                "7",
                "--cached",
                "2",
                "--weight-prompt",
                "500",
                "--weight-completion",
                "3000",
            ][..],
            "tiny\t5\t7\t2\t500/3000/1000",
            json!({
                "model": "tiny", "prompt": 5, "completion": 7, "cached": 2,
                "weight_prompt": 500, "weight_completion": 3_000, "weight_cached": 1_000,
            }),
        ),
        // As a whole: what is not said is as if nothing had been set before.
        (
            &["--weight-completion", "4000", "--weight-cached", "0"],
            "tiny\tnone\tnone\tnone\t1000/4000/0",
            json!({
                "model": "tiny", "prompt": null, "completion": null, "cached": null,
                "weight_prompt": 1_000, "weight_completion": 4_000, "weight_cached": 0,
            }),
        ),
        (
            &["--prompt", "6", "--completion", "0"],
            "tiny\t6\t0\t6\t1000/1000/1000",
            json!({
                "model": "tiny", "prompt": 6, "completion": 0, "cached": 6,
                "weight_prompt": 1_000, "weight_completion": 1_000, "weight_cached": 1_000,
            }),
        ),
    ] {
        let set = [&["price", "set", "tiny"][..], flags].concat();
        assert_eq!(gate.does(&set).await, format!("{line}\n"), "{flags:?}");
        let printed = gate.does(&["price", "list"]).await;
        let lines: Vec<&str> = printed.lines().skip(1).collect();
        assert_eq!(lines, [line], "{flags:?}: the one there is");
        assert_eq!(listed().await, json!([shown]), "{flags:?}");
    }
    let before = listed().await;
    for wrong in [
        &["--cached", "2"][..],
        &["--prompt", "5", "--cached", "2"],
        &["--weight-prompt", "x"],
        &["--weight-prompt", "1000"],
        &["--prompt", "-5", "--completion", "7"],
    ] {
        let set = [&["price", "set", "tiny"][..], wrong].concat();
        gate.fails(&set, 2).await;
        assert_eq!(listed().await, before, "{wrong:?}: nothing was set");
    }
    gate.does(&["price", "remove", "tiny"]).await;
    assert_eq!(listed().await, json!([]));
}

async fn a_limit_set_by_command_is_in_force_for_whom_it_names(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let (key, other) = (ada.key().await, ada.key().await);
    let id = key.text("id");
    let by_id = format!("key:{id}");
    let by_prefix = format!("key:{}", key.text("prefix"));
    for (command, line) in [
        (
            &["limit", "set", &by_id, "100", "--period", "day"][..],
            format!("day tokens of key {id}: 100\n"),
        ),
        (
            &[
                "limit", "set", &by_prefix, "50", "--unit", "requests", "--period", "minute",
                "--model", "tiny",
            ],
            format!("minute requests of key {id} for tiny: 50\n"),
        ),
        (
            &["limit", "set", &by_prefix, "70", "--period", "day"],
            format!("day tokens of key {id}: 70\n"),
        ),
        (
            &[
                "limit",
                "set",
                "platform",
                "300",
                "--period",
                "month",
                "--zone",
                "Europe/Berlin",
            ],
            "month tokens of platform: 300\n".to_owned(),
        ),
    ] {
        assert_eq!(gate.does(command).await, line, "{command:?}");
    }
    let expected = [
        "day tokens of all in UTC: 70",
        "minute requests of tiny in UTC: 50",
    ];
    let of_key = limits(&gate, &root, &format!("subject=key&id={id}")).await;
    assert_eq!(of_key, expected, "both names are those of one key");
    let of_other = format!("subject=key&id={}", other.text("id"));
    let of_other = limits(&gate, &root, &of_other).await;
    assert!(of_other.is_empty(), "nobody named it: {of_other:?}");
    assert_eq!(
        limits(&gate, &root, "subject=platform").await,
        ["month tokens of all in Europe/Berlin: 300"]
    );
    for who in [&by_id, &by_prefix] {
        let printed = gate.does(&["limit", "list", who]).await;
        let line = format!("key {id}\tall\ttokens\tday\tUTC\t70\t0\t0\t70");
        assert!(has(&printed, &line), "{printed}");
        assert_eq!(printed.lines().count(), 3, "a head and two: {printed}");
    }
    for (who, code) in [
        (format!("key:{}", ada.id), 1),
        ("key:lg_000000000000".to_owned(), 1),
        ("key:00000000-0000-0000-0000-000000000000".to_owned(), 2),
    ] {
        gate.fails(&["limit", "set", &who, "5"], code).await;
    }
}

async fn a_limit_is_removed_by_all_that_names_it_and_the_others_stay(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = ada.key().await.text("id");
    let who = format!("key:{key}");
    let whose = format!("subject=key&id={key}");
    for which in [
        &["--model", "tiny", "--period", "day"][..],
        &["--model", "tiny", "--period", "month"],
        &["--model", "other", "--period", "day"],
        &["--period", "day"],
        &["--model", "tiny", "--period", "day", "--unit", "requests"],
    ] {
        let set = [&["limit", "set", &who, "100"][..], which].concat();
        gate.does(&set).await;
    }
    let mut left = limits(&gate, &root, &whose).await;
    left.retain(|limit| limit != "day tokens of tiny in UTC: 100");
    assert_eq!(left.len(), 4, "five were set: {left:?}");
    let remove = [
        "limit", "remove", &who, "--model", "tiny", "--period", "day",
    ];
    assert_eq!(
        gate.does(&remove).await,
        format!("day tokens of key {key} for tiny: no limit\n")
    );
    assert_eq!(
        limits(&gate, &root, &whose).await,
        left,
        "that one, and no other"
    );
    let again = gate.fails(&remove, 1).await;
    assert!(again.contains("there is no limit"), "{again}");
    assert_eq!(
        limits(&gate, &root, &whose).await,
        left,
        "it is gone already"
    );
}

async fn what_somebody_may_spend_in_total_is_set_by_command(gate: Gate) {
    let ada = gate.person("ada").await;
    let call = json!({
        "model": "tiny",
        "max_tokens": 5,
        "messages": [{ "role": "user", "content": "hi" }],
    });
    for (amount, shown, limit, status) in [
        ("5000", "5000", json!(5_000), StatusCode::OK),
        ("0", "0", json!(0), StatusCode::TOO_MANY_REQUESTS),
        ("none", "no limit", Value::Null, StatusCode::OK),
    ] {
        let set = gate.does(&["user", "set-limit", "ada", amount]).await;
        assert_eq!(set, format!("ada: {shown}\n"));
        let me = gate.agreed(async || found(&ada, "/api/v1/users/me").await);
        let me = me.await;
        assert_eq!(me["token_limit"], limit, "{amount}: {me}");
        let printed = gate.does(&["user", "list"]).await;
        let line = format!("\t{shown}\tactive");
        assert!(after(&printed, "ada\tuser\t").ends_with(&line), "{printed}");
        let ask = async || ada.post("/v1/chat/completions", call.clone()).await.status;
        assert_eq!(gate.agreed(ask).await, status, "{amount}");
        gate.settled(&ada).await;
    }
    gate.fails(&["user", "set-limit", "nobody", "1"], 1).await;
    gate.fails(&["user", "set-limit", "ada", "-5"], 2).await;
}

async fn who_is_stopped_by_command_is_out_until_enabled_by_command(gate: Gate) {
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let key = ada.key().await.text("api_key");
    assert_eq!(gate.with_key(&key).await, StatusCode::OK);
    let path = format!("/api/v1/users/{}", ada.id);
    for (command, state, status) in [
        ("disable", "disabled", StatusCode::UNAUTHORIZED),
        ("enable", "active", StatusCode::OK),
    ] {
        let done = gate.does(&["user", command, "ada"]).await;
        assert_eq!(done, format!("ada: {command}d\n"));
        let printed = gate.does(&["user", "list"]).await;
        let line = format!("ada\tuser\t0\t10000\t{state}");
        assert!(has(&printed, &line), "{printed}");
        let shown = gate.agreed(async || found(&root, &path).await).await;
        assert_eq!(shown["disabled"], state == "disabled", "{shown}");
        // Past what the gate remembers of keys.
        gate.clock.advance(Duration::from_secs(2));
        assert_eq!(gate.with_key(&key).await, status, "{command}");
        let body = json!({ "username": "ada", "password": PASSWORD });
        let enter = async || gate.post("/auth/login", body.clone()).await.status;
        assert_eq!(gate.agreed(enter).await, status, "{command}");
    }
    gate.fails(&["user", "enable", "nobody"], 1).await;
}

async fn keys_are_listed_with_what_became_of_them(gate: Gate) {
    let ada = gate.person("ada").await;
    // Nothing is printed of nobody, not even a head.
    gate.fails(&["key", "list", "nobody"], 1).await;
    gate.fails(&["limit", "list", "user:nobody"], 1).await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    // In the future by the gate's clock, and in the past by the machine's, by which the command goes.
    let ends = "2026-01-01T01:00:00Z";
    let mut expected = Vec::new();
    for (body, state) in [
        (json!({ "name": "kept" }), "active"),
        (
            json!({ "name": "guest", "expires_at": "2200-01-01T00:00:00Z" }),
            "active",
        ),
        (json!({ "name": "old", "expires_at": ends }), "expired"),
        (json!({ "name": "lost" }), "revoked"),
        (json!({ "name": "both", "expires_at": ends }), "revoked"),
    ] {
        let made = ada.post(&path, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let (id, prefix) = (made.text("id"), made.text("prefix"));
        if state == "revoked" {
            let revoked = gate.does(&["key", "revoke", "ada", &id]).await;
            assert_eq!(revoked, format!("revoked {prefix}\n"));
        }
        let (name, project) = (made.text("name"), &ada.project);
        expected.push(format!(
            "{id}\t{prefix}\t{name}\t{state}\tinference,models\t{project}"
        ));
    }
    let printed = gate.does(&["key", "list", "ada"]).await;
    for line in &expected {
        assert!(has(&printed, line), "{line:?} in {printed}");
    }
    assert_eq!(
        printed.lines().count(),
        1 + expected.len(),
        "a head, and each once: {printed}"
    );
}

async fn a_key_is_rotated_and_revoked_by_its_id(gate: Gate) {
    let ada = gate.person("ada").await;
    gate.person("eve").await;
    let made = ada.key().await;
    let (id, old) = (made.text("id"), made.text("api_key"));
    assert_eq!(gate.with_key(&old).await, StatusCode::OK);
    let rotate = ["key", "rotate", "ada", &id, "--overlap", "0"];
    let printed = gate.does(&rotate).await;
    let line = format!("rotated {id}; the old secret works 0 s more");
    assert!(has(&printed, &line), "{printed}");
    let new = after(&printed, SHOWN);
    catch_up(&gate);
    assert_eq!(
        gate.with_key(&old).await,
        StatusCode::UNAUTHORIZED,
        "without an overlap it is over at once"
    );
    assert_eq!(gate.with_key(new).await, StatusCode::OK);
    let prefix = &new[.."lg_".len() + 12];
    let listed = gate.does(&["key", "list", "ada"]).await;
    let is = |state: &str| format!("{id}\t{prefix}\tlaptop\t{state}\t");
    assert!(listed.contains(&is("active")), "{listed}");

    for verb in ["rotate", "revoke"] {
        gate.fails(&["key", verb, "eve", &id], 1).await;
        gate.fails(&["key", verb, "ada", &ada.id], 1).await;
    }
    catch_up(&gate);
    assert_eq!(
        gate.with_key(new).await,
        StatusCode::OK,
        "it is none of eve's"
    );
    let revoke = ["key", "revoke", "ada", &id];
    assert_eq!(gate.does(&revoke).await, format!("revoked {prefix}\n"));
    catch_up(&gate);
    for key in [&*old, new] {
        assert_eq!(gate.with_key(key).await, StatusCode::UNAUTHORIZED);
    }
    let listed = gate.does(&["key", "list", "ada"]).await;
    assert!(listed.contains(&is("revoked")), "{listed}");
}

/// Lists what was done, the oldest first, on one page, which is the same at each gateway.
async fn told(gate: &Gate, root: &Person, query: &str) -> Vec<Value> {
    let path = format!("/api/v1/audit?limit=100{query}");
    let page = gate.agreed(async || found(root, &path).await).await;
    assert_eq!(page["next_cursor"], Value::Null, "one page");
    let mut events = page["events"].as_array().expect("a list").clone();
    events.reverse();
    events
}

/// Checks that events are about such a thing, and done by the gate itself.
fn by_the_gate(events: &[Value], target: &str) {
    for event in events {
        assert_eq!(event["actor"], "system", "{event}");
        assert_eq!(event["target"], target, "{event}");
        for nobody in ["actor_id", "key_id", "address", "request_id"] {
            assert_eq!(event[nobody], Value::Null, "{nobody}: {event}");
        }
    }
}

async fn what_a_command_does_is_told_without_secrets_and_done_by_the_gate_itself(gate: Gate) {
    let (_, eve) = (gate.person("ada").await, gate.person("eve").await);
    let root = gate.admin().await;
    let create = ["project", "create", "ada", "--name", "Research"];
    let made = gate.does(&create).await;
    let project = made.split(['(', ')']).nth(1).expect("an id");
    let printed = gate.does(&["key", "create", "ada", "--name", "ci"]).await;
    let key = after(&printed, "created ").split(' ').next();
    let key = key.expect("an id");
    let rotated = gate.does(&["key", "rotate", "ada", key]).await;
    let who = format!("key:{key}");
    for command in [
        &["project", "members", "set", project, "eve"][..],
        &[
            "project", "members", "set", project, "eve", "--role", "admin",
        ],
        &["project", "members", "remove", project, "eve"],
        &["project", "rename", project, "Development"],
        &["project", "archive", project],
        &["limit", "set", &who, "100", "--period", "day"],
        &["limit", "set", &who, "200", "--period", "day"],
        &["limit", "remove", &who, "--period", "day"],
        &["limit", "set", "platform", "300"],
        &["limit", "remove", "platform"],
        &["price", "set", "tiny", "--prompt", "5", "--completion", "7"],
        &["price", "remove", "tiny"],
        &["key", "revoke", "ada", key],
    ] {
        gate.does(command).await;
    }
    let of_project = format!("&target_id={project}");
    let of_member = format!("&target_id={}&project_id={project}", eve.id);
    let of_key = format!("&target_id={key}");
    let of_platform = "&target_id=00000000-0000-0000-0000-000000000000";
    let of_model = "&target_id=tiny";
    for (query, target, actions) in [
        (
            &*of_project,
            "project",
            &["project.created", "project.changed", "project.archived"][..],
        ),
        (
            &of_member,
            "user",
            &["member.added", "member.changed", "member.removed"],
        ),
        (
            &of_key,
            "key",
            &[
                "key.created",
                "key.rotated",
                "limit.changed",
                "limit.changed",
                "limit.removed",
                "key.revoked",
            ],
        ),
        (of_platform, "platform", &["limit.changed", "limit.removed"]),
        (of_model, "model", &["price.changed", "price.changed"]),
    ] {
        let events = told(&gate, &root, query).await;
        let found: Vec<&Value> = events.iter().map(|event| &event["action"]).collect();
        assert_eq!(found, actions, "{target}");
        by_the_gate(&events, target);
    }
    let renamed = told(
        &gate,
        &root,
        &format!("{of_project}&action=project.changed"),
    )
    .await;
    assert_eq!(renamed[0]["before"], json!({ "name": "Research" }));
    assert_eq!(renamed[0]["after"], json!({ "name": "Development" }));
    let limited = told(&gate, &root, &format!("{of_key}&action=limit.changed")).await;
    assert_eq!(limited[0]["before"], Value::Null, "there was none");
    assert_eq!(limited[0]["after"]["amount"], 100);
    assert_eq!(limited[1]["before"]["amount"], 100);
    assert_eq!(limited[1]["after"]["amount"], 200);
    let priced = told(&gate, &root, of_model).await;
    assert_eq!(priced[0]["after"]["tariff"]["price"]["prompt"], 5);
    assert_eq!(priced[1]["after"], Value::Null, "there is none any more");

    let text = Value::Array(told(&gate, &root, "").await).to_string();
    for printed in [&printed, &rotated] {
        let secret = after(printed, SHOWN).rsplit('_').next().expect("parts");
        assert!(secret.len() > 40, "the part that nobody may know");
        assert!(!text.contains(secret), "{text}");
    }
    for word in ["hash\":", "argon2"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}

async fn what_a_command_does_to_an_account_is_told_without_secrets_and_done_by_the_gate_itself(
    gate: Gate,
) {
    catch_up(&gate);
    let root = gate.admin().await;
    let created = gate.does(&["user", "create", "bob"]).await;
    let bob = created.split(['(', ')']).nth(1).expect("an id");
    let of_bob = format!("&target_id={bob}");
    let actions = |events: &[Value]| {
        let action = |event: &Value| event["action"].as_str().expect("a word").to_owned();
        let mut all: Vec<String> = events.iter().map(action).collect();
        // What one command does is done at once.
        all.sort_unstable();
        all
    };
    let events = told(&gate, &root, &of_bob).await;
    let expected = ["limit.changed", "member.added", "user.created"];
    assert_eq!(actions(&events), expected, "with a project and a limit");
    let mut seen = events.len();

    let shown = "password, shown this once: ";
    let first = after(&created, shown);
    // Whose session ends with the password.
    gate.enter_with("bob", first).await;
    let mut printed = String::new();
    for (command, expected) in [
        (&["set-limit", "bob", "500"][..], &["limit.changed"][..]),
        (&["set-role", "bob", "admin"], &["user.changed"]),
        (&["set-role", "bob", "user"], &["user.changed"]),
        (&["reset-password", "bob"], &["password.changed"]),
        (&["reset-link", "bob"], &["password.reset_requested"]),
        (&["disable", "bob"], &["user.changed"]),
        (&["enable", "bob"], &["user.changed"]),
        (&["set-limit", "bob", "none"], &["limit.removed"]),
        (&["delete", "bob"], &["member.removed", "user.deleted"]),
    ] {
        let command = [&["user"][..], command].concat();
        printed.push_str(&gate.does(&command).await);
        let events = told(&gate, &root, &of_bob).await;
        assert_eq!(actions(&events[seen..]), expected, "{command:?}");
        seen = events.len();
    }
    by_the_gate(&told(&gate, &root, &of_bob).await, "user");

    let changed = told(&gate, &root, &format!("{of_bob}&action=user.changed")).await;
    for (event, before, now) in [
        (
            &changed[0],
            json!({ "role": "user" }),
            json!({ "role": "admin" }),
        ),
        (
            &changed[1],
            json!({ "role": "admin" }),
            json!({ "role": "user" }),
        ),
        (
            &changed[2],
            json!({ "disabled": false }),
            json!({ "disabled": true }),
        ),
        (
            &changed[3],
            json!({ "disabled": true }),
            json!({ "disabled": false }),
        ),
    ] {
        assert_eq!((&event["before"], &event["after"]), (&before, &now));
    }
    let of = async |action: &str| told(&gate, &root, &format!("{of_bob}&action={action}")).await;
    let limited = of("limit.changed").await;
    assert_eq!(limited[0]["before"], Value::Null, "there was none");
    let given = &limited[0]["after"]["amount"];
    assert_eq!(limited[1]["before"]["amount"], *given, "that was it");
    assert_eq!(limited[1]["after"]["amount"], 500);
    assert_eq!(of("limit.removed").await[0]["before"]["amount"], 500);
    let another = of("password.changed").await;
    for side in ["before", "after"] {
        let told = &another[0][side];
        assert_eq!(*told, Value::Null, "of a password nothing is told");
    }
    assert_eq!(of("user.created").await[0]["after"]["username"], "bob");
    let gone = of("user.deleted").await;
    assert_eq!(gone[0]["before"]["username"], "bob", "who it was");
    assert_eq!(gone[0]["after"], Value::Null);
    for (action, target, which) in [
        ("session.revoked", "session", "the one there was"),
        ("project.archived", "project", "the own one"),
    ] {
        let events = told(&gate, &root, &format!("&action={action}")).await;
        assert_eq!(events.len(), 1, "{which}: {events:?}");
        by_the_gate(&events, target);
    }

    let text = Value::Array(told(&gate, &root, "").await).to_string();
    for secret in [first, after(&printed, shown)] {
        assert!(secret.len() > 30, "nobody may know it: {secret}");
        assert!(!text.contains(secret), "{text}");
    }
    for word in ["hash\":", "argon2"] {
        assert!(!text.contains(word), "{word}: {text}");
    }
}
