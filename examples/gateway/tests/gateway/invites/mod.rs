//! Invites to the platform and to projects, and what accounts come of them (M-19).

mod several;

use std::time::Duration;

use http::StatusCode;
use llm_gate_gateway::client::Answer;
use llm_gate_gateway::config::{Config, Registration};
use serde_json::{Value, json};

use super::smtp::Sink;
use super::support::{Gate, PASSWORD, Person, on_both, start, start_with, start_with_mail};

const REGISTER: &str = "/api/v1/auth/register";
const INVITES: &str = "/api/v1/invites";
const ACCEPT: &str = "/api/v1/invites/accept";
const EVE: &str = "eve@example.org";

fn registration(setting: Registration) -> impl FnOnce(&mut Config) {
    move |config| config.registration = Some(setting)
}

impl Gate {
    async fn register(&self, name: &str, email: Option<&str>, invite: &str) -> Answer {
        let body = json!({
            "username": name, "email": email, "password": PASSWORD, "invite": invite,
        });
        self.post(REGISTER, body).await
    }
}

impl Person {
    async fn invites(&self, project: &str, email: &str, role: &str) -> Answer {
        let path = format!("/api/v1/projects/{project}/invites");
        self.post(&path, json!({ "email": email, "role": role }))
            .await
    }

    async fn accepts(&self, token: &str) -> StatusCode {
        self.post(ACCEPT, json!({ "token": token })).await.status
    }

    async fn role_in(&self, project: &str) -> Option<String> {
        let shown = self.get(&format!("/api/v1/projects/{project}")).await;
        (shown.status == StatusCode::OK).then(|| shown.text("role"))
    }
}

/// Invites somebody to the platform, and returns the secret.
async fn invited(root: &Person, email: &str, role: &str) -> String {
    let made = root
        .post(INVITES, json!({ "email": email, "role": role }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    made.text("token")
}

on_both! {
    an_invite_ends_with_the_rights_of_who_made_it;
}

async fn an_invite_ends_with_the_rights_of_who_made_it(gate: Gate) {
    let root = gate.admin().await;
    let cat = gate.person("cat").await;
    let path = format!("/api/v1/users/{}", cat.id);
    let raised = root.patch(&path, json!({ "role": "admin" })).await;
    assert_eq!(raised.status, StatusCode::OK, "{raised:?}");
    let made = cat
        .post(INVITES, json!({ "email": EVE, "role": "admin" }))
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.text("created_by"), cat.id, "it says whose it is");
    let token = made.text("token");
    for (change, reason) in [
        (json!({ "role": "user" }), "cat invites nobody any more"),
        (
            json!({ "role": "admin", "disabled": true }),
            "cat does nothing any more",
        ),
    ] {
        let changed = root.patch(&path, change).await;
        assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
        let refused = gate.register("eve", None, &token).await;
        assert_eq!(
            refused.status,
            StatusCode::FORBIDDEN,
            "{reason}: {refused:?}"
        );
    }
    let back = root.patch(&path, json!({ "disabled": false })).await;
    assert_eq!(back.status, StatusCode::OK, "{back:?}");
    let taken = gate.register("cat", None, &token).await;
    assert_eq!(
        taken.status,
        StatusCode::CONFLICT,
        "the name is another matter"
    );
    let made = gate.register("eve", None, &token).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

#[tokio::test]
async fn who_is_invited_registers_where_others_may_not() {
    for setting in [Registration::Invite, Registration::Closed] {
        let gate = start_with(registration(setting)).await;
        let root = gate.admin().await;
        let refused = gate
            .post(REGISTER, json!({ "username": "bea", "password": PASSWORD }))
            .await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{setting:?}");
        let token = invited(&root, EVE, "user").await;
        let made = gate
            .register("eve", Some(" Eve@Example.org "), &token)
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{setting:?}: {made:?}");
        let eve = gate.enter("eve").await;
        let me = eve.get("/api/v1/users/me").await.json();
        assert_eq!(me["email"], EVE);
        assert_eq!(me["email_verified"], true, "the invite went there");
        assert_eq!(me["role"], "user");
        assert_eq!(me["token_limit"], 10_000, "like everybody's");
    }
}

#[tokio::test]
async fn an_invite_gives_its_role_and_its_address_at_once() {
    let gate = start_with(registration(Registration::Closed)).await;
    let root = gate.admin().await;
    let token = invited(&root, EVE, "admin").await;
    let body = json!({ "password": PASSWORD, "invite": token, "create_api_key": true });
    let made = gate.post(REGISTER, body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.text("email"), EVE, "it needs no other name");
    assert_eq!(
        gate.with_key(&made.text("api_key")).await,
        StatusCode::OK,
        "the key works at once"
    );
    let body = json!({ "email": EVE, "password": PASSWORD });
    let pair = gate.post("/api/v1/auth/login", body).await;
    let session = gate.client.bearer(pair.text("access_token"));
    let users = session.get("/api/v1/users").await.expect("an answer");
    assert_eq!(users.status, StatusCode::OK, "an admin from the start");
}

#[tokio::test]
async fn an_invite_that_does_not_hold_makes_no_account() {
    for setting in [Registration::Open, Registration::Closed] {
        let gate = start_with(registration(setting)).await;
        let root = gate.admin().await;
        let good = invited(&root, EVE, "user").await;
        let withdrawn = root.post(INVITES, json!({ "email": EVE })).await;
        let path = format!("{INVITES}/{}", withdrawn.text("id"));
        assert_eq!(root.delete(&path).await.status, StatusCode::NO_CONTENT);
        let withdrawn = withdrawn.text("token");
        for (email, token, reason) in [
            (EVE, &*withdrawn, "withdrawn"),
            (EVE, "lgi_x", "no invite"),
            (EVE, "", "nothing"),
            ("ada@example.org", &good, "for another address"),
        ] {
            let answer = gate.register("eve", Some(email), token).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "{setting:?}: {reason}"
            );
        }
        let made = gate.register("eve", Some(EVE), &good).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        let again = gate.register("eve2", None, &good).await;
        assert_eq!(again.status, StatusCode::FORBIDDEN, "used");
        let old = invited(&root, "bea@example.org", "user").await;
        gate.clock.advance(Duration::from_secs(7 * 24 * 3600));
        let late = gate.register("bea", None, &old).await;
        assert_eq!(late.status, StatusCode::FORBIDDEN, "too old");
    }
}

#[tokio::test]
async fn a_name_that_is_taken_does_not_use_an_invite_up() {
    let gate = start().await;
    gate.person("ada").await;
    let root = gate.admin().await;
    let token = invited(&root, EVE, "user").await;
    let taken = gate.register("ada", None, &token).await;
    assert_eq!(taken.status, StatusCode::CONFLICT, "{taken:?}");
    let weak = json!({ "password": EVE, "invite": token });
    let weak = gate.post(REGISTER, weak).await;
    assert_eq!(
        weak.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "the address of the invite is a name of the account"
    );
    let made = gate.register("eve", None, &token).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

#[tokio::test]
async fn an_invite_makes_one_account_however_many_try() {
    let gate = start().await;
    let root = gate.admin().await;
    let token = invited(&root, EVE, "user").await;
    let names: Vec<String> = (0..5).map(|n| format!("eve{n}")).collect();
    let racing = names.iter().map(|name| gate.register(name, None, &token));
    let answers = futures_util::future::join_all(racing).await;
    let mut statuses: Vec<u16> = answers.iter().map(|of| of.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 403, 403, 403, 403]);
}

/// Ada, who owns a project, and what takes the letters.
async fn ada_and_mail(setting: Registration) -> (Gate, Sink, Person, String) {
    let (gate, sink) = start_with_mail(registration(setting)).await;
    let ada = gate.made("ada").await;
    let project = ada.make_project().await;
    (gate, sink, ada, project)
}

#[tokio::test]
async fn a_project_invite_is_mailed_and_lets_in_whoever_reads_it() {
    let (gate, mut sink, ada, project) = ada_and_mail(Registration::Invite).await;
    let made = ada.invites(&project, " Eve@Example.org ", "admin").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(made.text("email"), EVE);
    assert_eq!(made.text("project_id"), project);
    assert_eq!(
        made.json()["token"],
        Value::Null,
        "or who invites could say that somebody else's address is confirmed"
    );
    let letter = sink.next().await;
    assert_eq!(letter.to, EVE);
    assert!(letter.text.contains("Research"), "{}", letter.text);
    let account = gate.register("eve", None, letter.token()).await;
    assert_eq!(account.status, StatusCode::CREATED, "{account:?}");
    let eve = gate.enter("eve").await;
    assert_eq!(eve.role_in(&project).await.as_deref(), Some("admin"));
    assert!(
        sink.try_next().is_none(),
        "there is nothing left to confirm"
    );
}

#[tokio::test]
async fn where_registration_is_closed_only_admins_of_the_platform_let_new_people_in() {
    let (gate, mut sink, ada, project) = ada_and_mail(Registration::Closed).await;
    ada.invites(&project, EVE, "member").await;
    let letter = sink.next().await;
    let refused = gate.register("eve", None, letter.token()).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let root = gate.admin().await;
    root.invites(&project, EVE, "member").await;
    let letter = sink.next().await;
    let account = gate.register("eve", None, letter.token()).await;
    assert_eq!(account.status, StatusCode::CREATED, "{account:?}");
    let eve = gate.enter("eve").await;
    assert_eq!(eve.role_in(&project).await.as_deref(), Some("member"));
}

#[tokio::test]
async fn without_mail_only_admins_of_the_platform_invite_and_hand_the_secret_over() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let project = ada.make_project().await;
    let refused = ada.invites(&project, EVE, "member").await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let made = root.invites(&project, EVE, "member").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let account = gate.register("eve", None, &made.text("token")).await;
    assert_eq!(account.status, StatusCode::CREATED, "{account:?}");
    let eve = gate.enter("eve").await;
    assert_eq!(eve.role_in(&project).await.as_deref(), Some("member"));
}

#[tokio::test]
async fn who_has_an_account_takes_an_invite_up_once_with_the_address_it_went_to() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let eve = gate.reader("eve", EVE, &mut sink).await;
    let bea = gate.reader("bea", "bea@example.org", &mut sink).await;
    let project = ada.make_project().await;
    ada.invites(&project, EVE, "member").await;
    let letter = sink.next().await;
    assert_eq!(
        bea.accepts(letter.token()).await,
        StatusCode::FORBIDDEN,
        "it went to somebody else"
    );
    for nothing in ["lgi_x", ""] {
        assert_eq!(eve.accepts(nothing).await, StatusCode::FORBIDDEN);
    }
    let empty = eve.post(ACCEPT, json!({})).await;
    assert_eq!(empty.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = gate.post(ACCEPT, json!({ "token": letter.token() })).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
    assert_eq!(eve.role_in(&project).await, None);
    assert_eq!(eve.accepts(letter.token()).await, StatusCode::OK);
    assert_eq!(eve.role_in(&project).await.as_deref(), Some("member"));
    assert_eq!(eve.accepts(letter.token()).await, StatusCode::FORBIDDEN);

    ada.invites(&project, EVE, "admin").await;
    let higher = sink.next().await;
    assert_eq!(eve.accepts(higher.token()).await, StatusCode::OK);
    ada.invites(&project, EVE, "member").await;
    let lower = sink.next().await;
    assert_eq!(eve.accepts(lower.token()).await, StatusCode::OK);
    assert_eq!(
        eve.role_in(&project).await.as_deref(),
        Some("admin"),
        "the higher of two roles"
    );
}

#[tokio::test]
async fn an_invite_is_not_taken_up_with_an_address_that_is_not_confirmed() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let body = json!({ "username": "eve", "email": EVE, "password": PASSWORD });
    gate.post(REGISTER, body).await;
    let verification = sink.next().await;
    let eve = gate.enter("eve").await;
    let project = ada.make_project().await;
    ada.invites(&project, EVE, "member").await;
    let letter = sink.next().await;
    assert_eq!(eve.accepts(letter.token()).await, StatusCode::FORBIDDEN);
    let body = json!({ "token": verification.token() });
    eve.post("/api/v1/auth/email/verify", body).await;
    assert_eq!(eve.accepts(letter.token()).await, StatusCode::OK);
}

#[tokio::test]
async fn an_old_or_withdrawn_invite_lets_nobody_in() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    gate.reader("eve", EVE, &mut sink).await;
    let project = ada.make_project().await;
    let path = format!("/api/v1/projects/{project}/invites");
    let first = ada.invites(&project, EVE, "member").await;
    let withdrawn = sink.next().await;
    let one = format!("{path}/{}", first.text("id"));
    assert_eq!(ada.delete(&one).await.status, StatusCode::NO_CONTENT);
    ada.invites(&project, EVE, "member").await;
    let old = sink.next().await;
    gate.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let (ada, eve) = (gate.enter("ada").await, gate.enter("eve").await);
    for letter in [&withdrawn, &old] {
        assert_eq!(eve.accepts(letter.token()).await, StatusCode::FORBIDDEN);
    }
    ada.invites(&project, EVE, "member").await;
    let closed = sink.next().await;
    let project_path = format!("/api/v1/projects/{project}");
    assert_eq!(
        ada.delete(&project_path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        eve.accepts(closed.token()).await,
        StatusCode::FORBIDDEN,
        "its project is closed"
    );
}

#[tokio::test]
async fn only_owners_invite_owners() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let project = ada.make_project().await;
    let members = format!("/api/v1/projects/{project}/members");
    let admin = json!({ "user_id": eve.id, "role": "admin" });
    ada.post(&members, admin).await;
    let refused = eve.invites(&project, "bea@example.org", "owner").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    let made = ada.invites(&project, "bea@example.org", "owner").await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    sink.next().await;
    for (body, field) in [
        (json!({}), "email"),
        (json!({ "email": "bea" }), "email"),
        (json!({ "email": EVE, "role": "root" }), "role"),
    ] {
        let path = format!("/api/v1/projects/{project}/invites");
        let answer = ada.post(&path, body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.json()["detail"][0]["loc"][1], field);
    }
}

#[tokio::test]
async fn invites_are_listed_page_by_page_without_their_secrets() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let project = ada.make_project().await;
    let other = ada.make_project().await;
    let mut secrets = Vec::new();
    for n in 0..3 {
        let made = root
            .invites(&project, &format!("eve{n}@example.org"), "member")
            .await;
        secrets.push(made.text("token"));
    }
    root.invites(&other, "bea@example.org", "member").await;
    secrets.push(invited(&root, "cat@example.org", "user").await);
    let path = format!("/api/v1/projects/{project}/invites");
    let page = ada.get(&format!("{path}?limit=2")).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    assert_eq!(page.json()["invites"][0]["email"], "eve2@example.org");
    let cursor = page.text("next_cursor");
    let rest = ada.get(&format!("{path}?limit=2&cursor={cursor}")).await;
    assert_eq!(rest.json()["invites"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest.json()["next_cursor"], Value::Null);
    let all = root.get(INVITES).await;
    assert_eq!(all.json()["invites"].as_array().map(Vec::len), Some(5));
    for listed in [&page, &rest, &all] {
        let text = String::from_utf8_lossy(&listed.body);
        assert!(secrets.iter().all(|secret| !text.contains(secret)));
    }
}

#[tokio::test]
async fn an_invite_is_withdrawn_by_those_who_may_see_it_until_it_is_taken_up() {
    let gate = start().await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let (project, other) = (ada.make_project().await, ada.make_project().await);
    let made = root.invites(&project, EVE, "member").await;
    let at = |project: &str| format!("/api/v1/projects/{project}/invites/{}", made.text("id"));
    let crossed = ada.delete(&at(&other)).await;
    assert_eq!(crossed.status, StatusCode::NOT_FOUND, "another project's");
    let platform = format!("{INVITES}/{}", made.text("id"));
    assert_eq!(ada.delete(&platform).await.status, StatusCode::FORBIDDEN);
    gate.register("eve", None, &made.text("token")).await;
    for path in [at(&project), platform] {
        let late = root.delete(&path).await;
        assert_eq!(late.status, StatusCode::NOT_FOUND, "it is taken up");
    }
    let nonsense = root.delete(&format!("{INVITES}/x")).await;
    assert_eq!(nonsense.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn only_admins_invite_to_the_platform() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({ "email": EVE, "role": "admin" });
    assert_eq!(
        ada.post(INVITES, body.clone()).await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(ada.get(INVITES).await.status, StatusCode::FORBIDDEN);
    let nobody = gate.post(INVITES, body).await;
    assert_eq!(nobody.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn nobody_writes_to_all_the_world_by_invites() {
    let (gate, mut sink) = start_with_mail(|config| {
        config.rate_limits.letters_per_receiver = "2/hour".parse().expect("a rate");
        config.rate_limits.invites_per_user = "3/hour".parse().expect("a rate");
    })
    .await;
    let (ada, root) = (gate.person("ada").await, gate.admin().await);
    let project = ada.make_project().await;
    for (email, status) in [
        (EVE, StatusCode::CREATED),
        (EVE, StatusCode::CREATED),
        (EVE, StatusCode::TOO_MANY_REQUESTS),
        ("bea@example.org", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let invites = async || ada.invites(&project, email, "member").await;
        for answer in gate.everywhere(invites).await {
            assert_eq!(answer.status, status, "{email}");
            let wait = answer.headers.contains_key("retry-after");
            assert_eq!(wait, status == StatusCode::TOO_MANY_REQUESTS);
        }
    }
    for name in ["bea", "cat", "dan", "fay"] {
        let email = format!("{name}@example.org");
        let invites = async || root.invites(&project, &email, "member").await;
        for answer in gate.everywhere(invites).await {
            assert_eq!(answer.status, StatusCode::CREATED, "admins may");
        }
    }
    let listed = root.get(INVITES).await.json();
    let made = 6 * gate.gateways();
    assert_eq!(listed["invites"].as_array().map(Vec::len), Some(made));
    gate.shutdown().await;
    for _ in 0..made {
        sink.next().await;
    }
    assert!(
        sink.try_next().is_none(),
        "what was refused was not written"
    );
}
