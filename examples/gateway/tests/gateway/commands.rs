//! The commands that manage accounts, projects and keys beside a gateway (M-63, M-65).

use std::time::Duration;

use http::StatusCode;
use llm_gate::clock::{Clock, SystemClock};
use serde_json::json;

use super::support::{Gate, Output, PASSWORD, start};

const OTHER: &str = "battery horse correct";

impl Gate {
    /// Runs a command that does what it should, and returns what it prints.
    pub(crate) async fn does(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        output.stdout
    }

    /// Runs a command that fails with one line of words and this code.
    pub(crate) async fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.command(arguments).await;
        assert_eq!(output.code, Some(code), "{arguments:?}: {output:?}");
        assert_eq!(output.stdout, "", "{arguments:?}");
        output.stderr
    }
}

/// Returns what stands behind words at the beginning of a line.
pub(crate) fn after<'a>(printed: &'a str, words: &str) -> &'a str {
    let found = printed.lines().find_map(|line| line.strip_prefix(words));
    found.unwrap_or_else(|| panic!("no {words:?} in {printed}"))
}

pub(crate) fn has(printed: &str, line: &str) -> bool {
    printed.lines().any(|found| found == line)
}

#[tokio::test]
async fn a_user_is_made_with_a_role_and_gets_another() {
    let gate = start().await;
    gate.does(&["user", "create", "ada", "--role", "admin"])
        .await;
    let listed = gate.does(&["user", "list"]).await;
    assert!(has(&listed, "ada\tadmin\t0\t10000\tactive"), "{listed}");
    let refused = gate.fails(&["user", "set-role", "ada", "user"], 1).await;
    assert!(refused.contains("last admin"), "{refused}");
    gate.fails(&["user", "disable", "ada"], 1).await;
    gate.fails(&["user", "delete", "ada"], 1).await;
    let eve = gate.made("eve").await;
    let users = async || eve.get("/api/v1/users").await.status;
    assert_eq!(gate.agreed(&users).await, StatusCode::FORBIDDEN);
    assert_eq!(
        gate.does(&["user", "set-role", "eve", "admin"]).await,
        "eve: admin\n"
    );
    assert_eq!(gate.agreed(&users).await, StatusCode::OK, "at once");
    assert_eq!(
        gate.does(&["user", "set-role", "ada", "user"]).await,
        "ada: user\n"
    );
    gate.fails(&["user", "set-role", "ada", "root"], 2).await;
    gate.fails(&["user", "set-role", "nobody", "admin"], 1)
        .await;
    gate.fails(&["user", "create", "bea", "--admin", "--role", "user"], 2)
        .await;
}

#[tokio::test]
async fn a_password_is_reset_for_somebody_and_ends_the_sessions() {
    let gate = start().await;
    // The command goes by the machine's clock: by that, the sessions of long ago are over already.
    let behind = SystemClock.now().as_micros() - gate.clock.now().as_micros();
    let behind = Duration::from_micros(behind.try_into().expect("the test's clock is behind"));
    gate.clock.advance(behind);
    let ada = gate.person("ada").await;
    let printed = gate.does(&["user", "reset-password", "ada"]).await;
    let password = after(&printed, "password, shown this once: ");
    for me in gate
        .everywhere(async || ada.get("/api/v1/users/me").await)
        .await
    {
        let out = "whoever has the old one is out";
        assert_eq!(me.status, StatusCode::UNAUTHORIZED, "{out}");
    }
    let enter = async |password: &str| {
        let body = json!({ "username": "ada", "password": password });
        gate.agreed(async || gate.post("/auth/login", body.clone()).await.status)
            .await
    };
    assert_eq!(enter(PASSWORD).await, StatusCode::UNAUTHORIZED);
    assert_eq!(enter(password).await, StatusCode::OK);

    let arguments = ["user", "reset-password", "ada", "--password-stdin"];
    let weak = gate.run(&arguments, "short\n").await;
    assert_eq!(weak.code, Some(2), "{weak:?}");
    let typed = gate.run(&arguments, OTHER).await;
    assert_eq!(typed.code, Some(0), "{typed:?}");
    assert!(!typed.stdout.contains(OTHER) && !typed.stderr.contains(OTHER));
    assert_eq!(enter(OTHER).await, StatusCode::OK);
    gate.fails(&["user", "reset-password", "nobody"], 1).await;
}

#[tokio::test]
async fn a_user_is_deleted_but_not_the_only_owner_of_a_project_with_others() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let set = ["project", "members", "set", &project, "eve"];
    gate.does(&set).await;
    let refused = gate.fails(&["user", "delete", "ada"], 1).await;
    assert!(refused.contains(&project), "{refused}");
    gate.does(&[&set[..], &["--role", "owner"]].concat()).await;
    let gone = gate.does(&["user", "delete", &ada.id]).await;
    assert_eq!(gone, format!("deleted ada ({})\n", ada.id));
    gate.fails(&["user", "delete", "ada"], 1).await;
    let path = format!("/api/v1/projects/{project}");
    for (person, path, status) in [
        (&ada, "/api/v1/users/me", StatusCode::UNAUTHORIZED),
        (&eve, path.as_str(), StatusCode::OK),
    ] {
        let found = gate.agreed(async || person.get(path).await.status).await;
        assert_eq!(found, status, "{path}");
    }
}

#[tokio::test]
async fn projects_are_made_listed_renamed_and_closed() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let made = gate.does(&["project", "create", "ada", "--name", "Research"]);
    let made = made.await;
    let id = made.split(['(', ')']).nth(1).expect("an id").to_owned();
    assert_eq!(made, format!("created Research ({id}) for ada\n"));
    gate.does(&["project", "create", "ada"]).await;
    let own = gate.does(&["project", "list", "ada"]).await;
    assert_eq!(own.lines().count(), 4, "with the personal one: {own}");
    assert!(has(&own, &format!("{id}\tResearch\towner")), "{own}");
    gate.does(&["project", "rename", &id, "Development"]).await;
    let all = gate.does(&["project", "list"]).await;
    assert!(has(&all, &format!("{id}\tDevelopment\tactive")), "{all}");
    let names = async || {
        let listed = ada.get("/api/v1/projects").await.json();
        let all = listed["projects"].as_array().expect("a list").iter();
        all.map(|project| project["name"].to_string())
            .collect::<Vec<_>>()
    };
    let name = "\"Development\"".to_owned();
    assert!(gate.agreed(&names).await.contains(&name), "renamed");
    let key = ada.key_in(&id).await;
    gate.does(&["project", "archive", &id]).await;
    assert!(!gate.agreed(&names).await.contains(&name), "archived");
    gate.clock.advance(Duration::from_secs(2));
    assert_eq!(gate.with_key(&key).await, StatusCode::UNAUTHORIZED);
    assert!(!gate.does(&["project", "list"]).await.contains(&id));
    let all = gate.does(&["project", "list", "--archived"]).await;
    assert!(has(&all, &format!("{id}\tDevelopment\tarchived")), "{all}");
    for (arguments, code) in [
        (vec!["project", "archive", &id], 1),
        (vec!["project", "archive", &ada.project], 1),
        (vec!["project", "archive", &ada.id], 1),
        (vec!["project", "archive", "x"], 2),
        (vec!["project", "rename", &id, "Late"], 1),
        (vec!["project", "members", "list", &id], 1),
        (vec!["project", "create", "nobody"], 1),
        (vec!["project", "create", "ada", "--name", ""], 2),
    ] {
        gate.fails(&arguments, code).await;
    }
}

#[tokio::test]
async fn members_are_set_listed_and_put_out() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let members = ["project", "members"];
    let at = |verb: &'static str, more: &[&'static str]| {
        let all = [&members[..], &[verb]].concat();
        let mut all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        all.push(project.clone());
        all.extend(more.iter().map(|&word| word.to_owned()));
        all
    };
    let does = async |arguments: Vec<String>| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        gate.command(&arguments).await
    };
    let set: Output = does(at("set", &["eve", "--role", "admin"])).await;
    assert_eq!(set.stdout, "eve: admin\n", "{set:?}");
    let listed = does(at("list", &[])).await.stdout;
    let line = format!("{}\teve\tperson\tadmin", eve.id);
    assert!(has(&listed, &line), "{listed}");
    let path = format!("/api/v1/projects/{project}");
    let role = async || eve.get(&path).await.json()["role"].clone();
    assert_eq!(gate.agreed(role).await, "admin");
    let key = eve.key_in(&project).await;
    let removed = does(at("remove", &["eve"])).await;
    assert_eq!(removed.stdout, "removed eve\n", "{removed:?}");
    gate.clock.advance(Duration::from_secs(2));
    assert_eq!(gate.with_key(&key).await, StatusCode::UNAUTHORIZED);
    for (verb, more, code) in [
        ("remove", &["eve"][..], 1),
        ("remove", &["ada"], 1),
        ("set", &["ada", "--role", "member"], 1),
        ("set", &["eve", "--role", "root"], 2),
        ("set", &["nobody"], 1),
    ] {
        let failed = does(at(verb, more)).await;
        assert_eq!(failed.code, Some(code), "{verb} {more:?}: {failed:?}");
    }
}

#[tokio::test]
async fn a_key_is_made_with_what_is_asked_and_no_more() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let project = ada.make_project().await;
    let printed = gate
        .does(&[
            "key",
            "create",
            "ada",
            "--name",
            "ci",
            "--project",
            &project,
            "--scopes",
            "usage,models,usage",
            "--models",
            "tiny,small",
            "--networks",
            "127.0.0.0/8,::1",
            "--expires",
            "2200-01-01T00:00:00Z",
            "--clamps",
        ])
        .await;
    let secret = after(&printed, "key, shown this once: ");
    assert_eq!(gate.with_key(secret).await, StatusCode::OK);
    let path = format!("/api/v1/projects/{project}/api-keys");
    // When it was used last is written beside a request.
    let shown = gate.everywhere(async || ada.get(&path).await.json()).await;
    for key in shown.iter().map(|shown| &shown["keys"][0]) {
        assert_eq!(key["name"], "ci");
        assert_eq!(key["scopes"], json!(["models", "usage"]));
        assert_eq!(key["models"], json!(["tiny", "small"]));
        assert_eq!(key["networks"], json!(["127.0.0.0/8", "::1/128"]));
        assert_eq!(key["expires_at"], "2200-01-01T00:00:00Z");
        assert_eq!(key["clamps"], true);
    }
    let listed = gate.does(&["key", "list", "ada"]).await;
    assert!(
        listed.contains(&format!("\tci\tactive\tmodels,usage\t{project}")),
        "{listed}"
    );
    for (arguments, code) in [
        (vec!["--scopes", "root"], 2),
        (vec!["--scopes", "admin"], 2),
        (vec!["--networks", "example.org"], 2),
        (vec!["--expires", "2020-01-01T00:00:00Z"], 2),
        (vec!["--expires", "tomorrow"], 2),
        (vec!["--name", ""], 2),
        (vec!["--project", &ada.id], 1),
    ] {
        let arguments = [&["key", "create", "ada"], &arguments[..]].concat();
        gate.fails(&arguments, code).await;
    }
    let root = gate.admin().await;
    let printed = gate
        .does(&["key", "create", "root", "--scopes", "admin"])
        .await;
    let key = gate
        .client
        .bearer(after(&printed, "key, shown this once: "));
    let users = async || key.get("/api/v1/users").await.expect("an answer").status;
    let users = gate.agreed(users).await;
    assert_eq!(users, StatusCode::OK, "{} has it", root.id);
}

#[tokio::test]
async fn a_key_is_rotated_with_an_overlap_or_at_once() {
    let gate = start().await;
    gate.person("ada").await;
    let printed = gate.does(&["key", "create", "ada"]).await;
    let old = after(&printed, "key, shown this once: ").to_owned();
    let prefix = &old[.."lg_".len() + 12];
    let printed = gate.does(&["key", "rotate", "ada", prefix]).await;
    let new = after(&printed, "key, shown this once: ").to_owned();
    for key in [&old, &new] {
        assert_eq!(gate.with_key(key).await, StatusCode::OK, "for an hour");
    }
    let prefix = &new[.."lg_".len() + 12];
    let rotate = ["key", "rotate", "ada", prefix, "--overlap", "0"];
    let printed = gate.does(&rotate).await;
    let last = after(&printed, "key, shown this once: ");
    assert_eq!(gate.with_key(last).await, StatusCode::OK);
    let at = gate.command(&["key", "list", "ada"]).await.stdout;
    assert!(!at.contains(last) && at.contains("\tactive\t"), "{at}");
    gate.fails(&rotate, 1).await;
    gate.fails(&["key", "rotate", "ada", "lg_none"], 1).await;
    let long = ["key", "rotate", "ada", prefix, "--overlap", "604801"];
    gate.fails(&long, 2).await;
    let prefix = &last[.."lg_".len() + 12];
    gate.does(&["key", "revoke", "ada", prefix]).await;
    let late = gate.fails(&["key", "rotate", "ada", prefix], 1).await;
    assert!(late.contains("revoked"), "{late}");
    gate.clock.advance(Duration::from_secs(2));
    assert_eq!(gate.with_key(last).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_is_called_by_its_id() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let project = ada.make_project().await;
    let services = format!("/api/v1/projects/{project}/services");
    gate.allow_services(&project).await;
    let service = ada
        .post(&services, json!({ "name": "ci" }))
        .await
        .text("id");
    let printed = gate.does(&["key", "create", &service]).await;
    assert!(printed.starts_with("created "), "{printed}");
    let key = after(&printed, "key, shown this once: ");
    assert_eq!(gate.with_key(key).await, StatusCode::OK);
    gate.fails(&["user", "reset-password", &service], 1).await;
    gate.fails(&["project", "create", &service], 1).await;
}

#[tokio::test]
async fn nobody_gets_more_keys_by_command_than_by_the_route() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    for _ in 0..200 {
        ada.key().await;
    }
    let full = gate.command(&["key", "create", "ada"]).await;
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.contains("as many keys"), "{full:?}");
    assert_eq!(full.stdout, "", "and there is none");
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let more = async || ada.post(&path, json!({})).await.status;
    assert_eq!(gate.agreed(more).await, StatusCode::CONFLICT);
}
