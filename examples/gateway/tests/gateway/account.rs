//! The own account: its names, its password, its sessions, its end (M-05, M-06, M-12, M-19).

use std::time::Duration;

use http::{Method, StatusCode};
use llm_gate_gateway::client::Answer;
use serde_json::{Value, json};

use super::smtp::Sink;
use super::support::{
    Gate, PASSWORD, Person, on_both, send, start, start_on_postgres_with_mail, start_with_mail,
};

const ME: &str = "/api/v1/users/me";
const PASSWORD_OF_MINE: &str = "/api/v1/users/me/password";
const SESSIONS: &str = "/api/v1/users/me/sessions";
const VERIFY: &str = "/api/v1/auth/email/verify";
const FORGOT: &str = "/api/v1/auth/password/forgot";
const RESET: &str = "/api/v1/auth/password/reset";
const OTHER: &str = "battery horse correct";

/// What the fields of a refused body are.
fn wrong(answer: &Answer) -> Vec<String> {
    assert_eq!(
        answer.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{answer:?}"
    );
    let detail = answer.json()["detail"].clone();
    let list = detail.as_array().expect("a list").iter();
    list.map(|error| error["loc"][1].as_str().expect("a name").to_owned())
        .collect()
}

impl Gate {
    async fn may_log_in(&self, name: &str, password: &str) -> bool {
        let body = json!({ "username": name, "password": password });
        let answer = self.post("/api/v1/auth/login", body).await;
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
        answer.status == StatusCode::OK
    }

    async fn may_refresh(&self, refresh: &str) -> bool {
        let body = json!({ "refresh_token": refresh });
        let answer = self.post("/api/v1/auth/refresh", body).await;
        assert!(matches!(answer.status.as_u16(), 200 | 401), "{answer:?}");
        answer.status == StatusCode::OK
    }
}

#[tokio::test]
async fn a_profile_changes_by_what_is_named_and_by_nothing_else() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let named = ada.patch(ME, json!({ "name": "Ada Lovelace" })).await;
    assert_eq!(named.status, StatusCode::OK, "{named:?}");
    assert_eq!(named.text("name"), "Ada Lovelace");
    assert_eq!(named.text("username"), "ada", "it was not named");
    let renamed = ada.patch(ME, json!({ "username": " Countess " })).await;
    assert_eq!(renamed.text("username"), "countess");
    let nameless = ada.patch(ME, json!({ "name": null })).await;
    assert_eq!(nameless.json()["name"], Value::Null);
    assert_eq!(ada.get(ME).await.text("username"), "countess");
    assert!(!gate.may_log_in("ada", PASSWORD).await, "the old name");
    assert!(gate.may_log_in("countess", PASSWORD).await, "the new name");
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "username": "a b" }), "username"),
        (json!({ "email": "nobody" }), "email"),
        (json!({ "role": "admin" }), "role"),
        (json!({ "token_limit": 5 }), "token_limit"),
        (json!({ "email_verified": true }), "email_verified"),
    ] {
        assert_eq!(wrong(&ada.patch(ME, body).await), [field]);
    }
}

#[tokio::test]
async fn a_name_that_is_anothers_is_a_conflict() {
    let gate = start().await;
    let body = json!({ "username": "eve", "email": "eve@example.org", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    let ada = gate.person("ada").await;
    for change in [
        json!({ "username": " EVE " }),
        json!({ "email": "Eve@Example.org", "current_password": PASSWORD }),
    ] {
        let answer = ada.patch(ME, change.clone()).await;
        assert_eq!(answer.status, StatusCode::CONFLICT, "{change}");
    }
    let own = ada.patch(ME, json!({ "username": "ada" })).await;
    assert_eq!(own.status, StatusCode::OK, "the own name is not taken");
}

#[tokio::test]
async fn nobody_gives_up_the_last_name_to_log_in_with() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    assert_eq!(
        wrong(&ada.patch(ME, json!({ "username": null })).await),
        ["username"]
    );
    let both =
        json!({ "username": null, "email": "ada@example.org", "current_password": PASSWORD });
    let answer = ada.patch(ME, both).await;
    assert_eq!(answer.status, StatusCode::OK, "another one is there");
    assert!(gate.may_log_in("ada@example.org", PASSWORD).await);
}

#[tokio::test]
async fn another_address_is_confirmed_again() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    assert_eq!(ada.get(ME).await.json()["email_verified"], true);
    let change = json!({ "email": "ada@example.net", "current_password": PASSWORD });
    let changed = ada.patch(ME, change.clone()).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    assert_eq!(changed.json()["email_verified"], false);
    let letters = [sink.next().await, sink.next().await];
    let notice = letters.iter().find(|letter| letter.to == "ada@example.org");
    let notice = notice.expect("the address so far is told");
    assert!(!notice.text.contains("token="), "{}", notice.text);
    let letter = letters.iter().find(|letter| letter.to == "ada@example.net");
    let token = json!({ "token": letter.expect("a letter to the new one").token() });

    ada.patch(ME, change).await;
    let confirmed = ada.post(VERIFY, token).await;
    assert_eq!(
        confirmed.status,
        StatusCode::NO_CONTENT,
        "the address it has already changes nothing"
    );
    assert_eq!(ada.get(ME).await.json()["email_verified"], true);
    assert!(sink.try_next().is_none());
}

#[tokio::test]
async fn another_address_takes_the_password() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    for current in [None, Some("wrong horse battery")] {
        let body = json!({ "email": "ada@example.org", "current_password": current });
        let answer = ada.patch(ME, body).await;
        assert_eq!(
            wrong(&answer),
            ["current_password"],
            "a stolen session must not redirect what resets the password"
        );
    }
    assert_eq!(ada.get(ME).await.json()["email"], Value::Null);
}

#[tokio::test]
async fn a_letter_that_confirms_an_address_is_good_once_and_for_a_day() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let body = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    let registered = gate.post("/api/v1/auth/register", body).await;
    assert_eq!(registered.status, StatusCode::CREATED, "{registered:?}");
    let first = sink.next().await;
    assert_eq!(first.to, "ada@example.org", "registration asks by itself");
    let ada = gate.enter("ada").await;
    let verification = format!("{ME}/email/verification");
    let again = ada.post(&verification, json!({})).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{again:?}");
    let second = sink.next().await;
    let using = async |person: &Person, token: &str| {
        person.post(VERIFY, json!({ "token": token })).await.status
    };
    for (token, reason) in [
        ("lgm_x", "no token"),
        ("", "no token at all"),
        (&ada.refresh, "a token of another kind"),
    ] {
        assert_eq!(using(&ada, token).await, StatusCode::FORBIDDEN, "{reason}");
    }
    assert_eq!(wrong(&ada.post(VERIFY, json!({})).await), ["token"]);
    gate.clock.advance(Duration::from_secs(24 * 3600));
    let ada = gate.enter("ada").await;
    assert_eq!(
        using(&ada, second.token()).await,
        StatusCode::FORBIDDEN,
        "too old"
    );

    ada.post(&verification, json!({})).await;
    let third = sink.next().await;
    ada.post(&verification, json!({})).await;
    let fourth = sink.next().await;
    assert_eq!(
        using(&ada, third.token()).await,
        StatusCode::NO_CONTENT,
        "another letter takes nothing from it"
    );
    for letter in [third, fourth] {
        let again = using(&ada, letter.token()).await;
        assert_eq!(again, StatusCode::FORBIDDEN, "both are used with it");
    }
    let needless = ada.post(&verification, json!({})).await;
    assert_eq!(
        needless.status,
        StatusCode::CONFLICT,
        "there is nothing left to confirm"
    );
}

#[tokio::test]
async fn a_letter_alone_does_not_bless_the_password_of_a_stranger() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let body = json!({ "username": "eve", "email": "ada@example.org", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    let letter = sink.next().await;
    let (eve, bob) = (gate.enter("eve").await, gate.person("bob").await);
    let token = json!({ "token": letter.token() });
    let clicked = gate.post(VERIFY, token.clone()).await;
    assert_eq!(
        clicked.status,
        StatusCode::UNAUTHORIZED,
        "the letter is not enough"
    );
    let other = bob.post(VERIFY, token.clone()).await;
    assert_eq!(
        other.status,
        StatusCode::FORBIDDEN,
        "nor is any login: {other:?}"
    );
    assert_eq!(eve.get(ME).await.json()["email_verified"], false);

    let members = format!("/api/v1/projects/{}/members", eve.project);
    let let_in = eve
        .post(&members, json!({ "user_id": bob.id, "role": "owner" }))
        .await;
    assert_eq!(let_in.status, StatusCode::OK, "{let_in:?}");
    gate.post(FORGOT, json!({ "email": "ada@example.org" }))
        .await;
    let letter = sink.next().await;
    let body = json!({ "token": letter.token(), "password": OTHER });
    let reset = gate.post(RESET, body).await;
    assert_eq!(reset.status, StatusCode::NO_CONTENT, "{reset:?}");
    assert!(
        !gate.may_log_in("eve", PASSWORD).await,
        "the stranger is out"
    );
    let project = bob.get(&format!("/api/v1/projects/{}", eve.project)).await;
    assert_eq!(project.status, StatusCode::NOT_FOUND, "with whom it let in");
    let ada = gate.enter_with("eve", OTHER).await;
    assert_eq!(ada.get(ME).await.json()["email_verified"], true);
    let late = ada.post(VERIFY, token).await;
    assert_eq!(
        late.status,
        StatusCode::NO_CONTENT,
        "her own letter, with her login"
    );
}

#[tokio::test]
async fn where_no_mail_is_sent_nobody_is_told_to_wait_for_it() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({ "email": "ada@example.org", "current_password": PASSWORD });
    let changed = ada.patch(ME, body).await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    for answer in [
        ada.post(&format!("{ME}/email/verification"), json!({}))
            .await,
        gate.post(FORGOT, json!({ "email": "ada@example.org" }))
            .await,
    ] {
        assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    }
}

#[tokio::test]
async fn a_new_password_takes_the_old_one_and_the_policy() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let other = gate.enter("ada").await;
    for (body, fields) in [
        (json!({}), vec!["new_password"]),
        (json!({ "new_password": OTHER }), vec!["current_password"]),
        (
            json!({ "current_password": "wrong horse battery", "new_password": OTHER }),
            vec!["current_password"],
        ),
        (
            json!({ "current_password": PASSWORD, "new_password": "short" }),
            vec!["new_password"],
        ),
        (
            json!({ "current_password": PASSWORD, "new_password": "passwordpassword" }),
            vec!["new_password"],
        ),
        (
            json!({ "current_password": PASSWORD, "new_password": "adaadaadaadaada" }),
            vec!["new_password"],
        ),
        (
            json!({ "current_password": PASSWORD, "new_password": "x".repeat(129) }),
            vec!["new_password"],
        ),
    ] {
        let answer = ada.put(PASSWORD_OF_MINE, body.clone()).await;
        assert_eq!(wrong(&answer), fields, "{body}");
    }
    assert!(
        gate.may_refresh(&other.refresh).await,
        "what was refused ended nothing"
    );
    assert!(gate.may_log_in("ada", PASSWORD).await, "nothing is changed");
}

on_both! {
    of_racing_changes_of_the_password_one_counts;
    of_racing_changes_one_name_is_left;
}

async fn of_racing_changes_one_name_is_left(gate: Gate) {
    let ada = gate.person("ada").await;
    let body = json!({ "email": "ada@example.org", "current_password": PASSWORD });
    for _ in 0..4 {
        let whole = ada.patch(ME, body.clone()).await;
        assert_eq!(whole.status, StatusCode::OK, "{whole:?}");
        let named = ada.patch(ME, json!({ "username": "ada" })).await;
        assert_eq!(named.status, StatusCode::OK, "{named:?}");
        let (one, other) = tokio::join!(
            ada.patch(ME, json!({ "username": null })),
            ada.patch(ME, json!({ "email": null, "current_password": PASSWORD })),
        );
        let now = ada.get(ME).await.json();
        assert!(
            !now["username"].is_null() || !now["email"].is_null(),
            "nobody could log in any more: {one:?}, {other:?}"
        );
    }
}

async fn of_racing_changes_of_the_password_one_counts(gate: Gate) {
    let ada = gate.person("ada").await;
    let wanted: Vec<String> = (0..4).map(|number| format!("{OTHER} {number}")).collect();
    let changes = wanted.iter().map(|new| {
        ada.put(
            PASSWORD_OF_MINE,
            json!({ "current_password": PASSWORD, "new_password": new }),
        )
    });
    let answers = futures_util::future::join_all(changes).await;
    let mut set = Vec::new();
    for (new, answer) in wanted.iter().zip(answers) {
        match answer.status {
            StatusCode::NO_CONTENT => set.push(new),
            // Who comes when it is done has not even proven anything.
            StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => {}
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!(set.len(), 1, "of those that were told it is done one is");
    assert!(
        gate.may_log_in("ada", set[0]).await,
        "and that is the password"
    );
}

#[tokio::test]
async fn a_new_password_ends_the_other_sessions_and_not_this_one() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    let other = gate.enter("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let answer = ada.put(PASSWORD_OF_MINE, body).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{answer:?}");
    assert!(!gate.may_refresh(&other.refresh).await, "somebody else's");
    assert_eq!(other.get(ME).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ada.get(ME).await.status, StatusCode::OK);
    assert!(gate.may_refresh(&ada.refresh).await, "the one that did it");
    assert!(!gate.may_log_in("ada", PASSWORD).await);
    assert!(gate.may_log_in("ada", OTHER).await);
    let models = key.get("/v1/models").await.expect("an answer");
    assert_eq!(models.status, StatusCode::OK, "keys have their own life");
    let letter = sink.next().await;
    assert_eq!(letter.to, "ada@example.org");
    assert!(letter.text.contains("password"), "{}", letter.text);
    assert!(!letter.text.contains(OTHER) && !letter.text.contains("token="));
}

#[tokio::test]
async fn a_stolen_session_does_not_guess_the_password() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let body = json!({ "current_password": "wrong horse battery", "new_password": OTHER });
    let guess = async || {
        let guess = async || ada.put(PASSWORD_OF_MINE, body.clone()).await;
        gate.everywhere(guess).await
    };
    for _ in 0..10 {
        for answer in guess().await {
            assert_eq!(
                answer.status,
                StatusCode::UNPROCESSABLE_ENTITY,
                "{answer:?}"
            );
        }
    }
    for answer in guess().await {
        assert_eq!(
            answer.status,
            StatusCode::TOO_MANY_REQUESTS,
            "as many as a login may fail"
        );
    }
    let farewell = async || ada.delete_with(ME, json!({ "password": PASSWORD })).await;
    for answer in gate.everywhere(farewell).await {
        assert_eq!(
            answer.status,
            StatusCode::TOO_MANY_REQUESTS,
            "all routes share it"
        );
    }
}

#[tokio::test]
async fn who_forgot_a_password_is_written_to_and_nobody_learns_whether_there_is_an_account() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    gate.reader("ada", "ada@example.org", &mut sink).await;
    gate.reader("eve", "eve@example.org", &mut sink).await;
    let disabled = gate.command(&["user", "disable", "eve"]).await;
    assert_eq!(disabled.code, Some(0), "{disabled:?}");
    let mut answers = Vec::new();
    for email in ["nobody@example.org", "eve@example.org", "Ada@Example.org"] {
        answers.push(gate.post(FORGOT, json!({ "email": email })).await);
    }
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::ACCEPTED);
        assert_eq!(answer.body, answers[0].body);
    }
    assert_eq!(
        wrong(&gate.post(FORGOT, json!({ "email": "ada" })).await),
        ["email"]
    );
    // Letters that are under way are sent before it ends.
    gate.shutdown().await;
    assert_eq!(sink.next().await.to, "ada@example.org");
    assert!(
        sink.try_next().is_none(),
        "nothing for an unknown address or a disabled account"
    );
}

#[tokio::test]
async fn a_reset_sets_the_password_once_and_ends_all_sessions() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let body = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    let verification = sink.next().await;
    let ada = gate.enter("ada").await;
    gate.post(FORGOT, json!({ "email": "ada@example.org" }))
        .await;
    let letter = sink.next().await;
    let reset = |token: &str, password: &str| {
        gate.post(RESET, json!({ "token": token, "password": password }))
    };
    for (token, reason) in [
        (verification.token(), "a token of another purpose"),
        ("lgm_x", "no token"),
    ] {
        let answer = reset(token, OTHER).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{reason}");
    }
    for bad in ["short", "passwordpassword", "ada@example.org"] {
        assert_eq!(wrong(&reset(letter.token(), bad).await), ["password"]);
    }
    assert!(
        gate.may_log_in("ada", PASSWORD).await,
        "a letter alone changes nothing"
    );
    let done = reset(letter.token(), OTHER).await;
    assert_eq!(
        done.status,
        StatusCode::NO_CONTENT,
        "a password that was refused does not use the letter up"
    );
    assert!(
        !gate.may_refresh(&ada.refresh).await,
        "all sessions are over"
    );
    assert_eq!(ada.get(ME).await.status, StatusCode::UNAUTHORIZED);
    assert!(!gate.may_log_in("ada", PASSWORD).await);
    let again = reset(letter.token(), PASSWORD).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "used");
    let ada = gate.enter_with("ada", OTHER).await;
    assert_eq!(
        ada.get(ME).await.json()["email_verified"],
        true,
        "who read the letter reads the address"
    );
}

/// Asks for a new password twice, as somebody else might, and follows the first letter.
async fn who_asks_again_takes_nothing_from_the_letter_under_way((gate, mut sink): (Gate, Sink)) {
    gate.reader("ada", "ada@example.org", &mut sink).await;
    let mut letters = Vec::new();
    for _ in 0..2 {
        gate.post(FORGOT, json!({ "email": "ada@example.org" }))
            .await;
        letters.push(sink.next().await);
    }
    let reset = async |letter: usize, password: &str| {
        let body = json!({ "token": letters[letter].token(), "password": password });
        gate.post(RESET, body).await.status
    };
    assert_eq!(
        reset(0, OTHER).await,
        StatusCode::NO_CONTENT,
        "it is good to its end"
    );
    assert_eq!(
        reset(1, PASSWORD).await,
        StatusCode::FORBIDDEN,
        "both are used with it"
    );
    assert!(gate.may_log_in("ada", OTHER).await);
}

#[tokio::test]
async fn who_asks_again_takes_nothing_on_sqlite() {
    who_asks_again_takes_nothing_from_the_letter_under_way(start_with_mail(|_| ()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_takes_nothing_on_postgres() {
    who_asks_again_takes_nothing_from_the_letter_under_way(start_on_postgres_with_mail().await)
        .await;
}

#[tokio::test]
async fn a_reset_letter_is_good_for_an_hour_and_until_the_password_changes() {
    let (gate, mut sink) = start_with_mail(|_| ()).await;
    let ada = gate.reader("ada", "ada@example.org", &mut sink).await;
    gate.post(FORGOT, json!({ "email": "ada@example.org" }))
        .await;
    let old = sink.next().await;
    gate.clock.advance(Duration::from_secs(3600));
    let body = json!({ "token": old.token(), "password": OTHER });
    assert_eq!(gate.post(RESET, body).await.status, StatusCode::FORBIDDEN);

    let ada = Person {
        session: gate.enter("ada").await.session,
        ..ada
    };
    gate.post(FORGOT, json!({ "email": "ada@example.org" }))
        .await;
    let next = sink.next().await;
    let body = json!({ "current_password": PASSWORD, "new_password": OTHER });
    let changed = ada.put(PASSWORD_OF_MINE, body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");
    let body = json!({ "token": next.token(), "password": PASSWORD });
    assert_eq!(
        gate.post(RESET, body).await.status,
        StatusCode::FORBIDDEN,
        "whoever asked for it knows the password now, or never should"
    );
}

#[tokio::test]
async fn an_account_ends_with_its_keys_its_sessions_and_its_names() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let key = gate.client.bearer(ada.key().await.text("api_key"));
    let models = key.get("/v1/models").await.expect("an answer");
    assert_eq!(models.status, StatusCode::OK);
    for body in [json!({}), json!({ "password": "wrong horse battery" })] {
        assert_eq!(wrong(&ada.delete_with(ME, body).await), ["password"]);
    }
    let gone = ada.delete_with(ME, json!({ "password": PASSWORD })).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    gate.told_everywhere();
    let models = key.get("/v1/models").await.expect("an answer");
    assert_eq!(models.status, StatusCode::UNAUTHORIZED, "the key at once");
    assert_eq!(ada.get(ME).await.status, StatusCode::UNAUTHORIZED);
    assert!(!gate.may_refresh(&ada.refresh).await);
    assert!(!gate.may_log_in("ada", PASSWORD).await);
    let next = gate.person("ada").await;
    assert_ne!(next.id, ada.id, "the name is free, the identifier is not");
}

#[tokio::test]
async fn the_last_admin_stays() {
    let gate = start().await;
    let root = gate.admin().await;
    let body = json!({ "password": PASSWORD });
    let refused = root.delete_with(ME, body.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let other = ["user", "create", "eve", "--admin"];
    assert_eq!(gate.command(&other).await.code, Some(0));
    let gone = root.delete_with(ME, body).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
}

#[tokio::test]
async fn nobody_leaves_others_in_a_project_without_an_owner() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let shared = ada.post("/api/v1/projects", json!({})).await.text("id");
    let alone = ada.post("/api/v1/projects", json!({})).await.text("id");
    let members = format!("/api/v1/projects/{shared}/members");
    ada.post(&members, json!({ "user_id": eve.id })).await;
    let body = json!({ "password": PASSWORD });
    let refused = ada.delete_with(ME, body.clone()).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    let owner = json!({ "user_id": eve.id, "role": "owner" });
    ada.post(&members, owner).await;
    let gone = ada.delete_with(ME, body).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT, "{gone:?}");
    let kept = eve.get(&format!("/api/v1/projects/{shared}")).await;
    assert_eq!(kept.status, StatusCode::OK);
    let root = gate.admin().await;
    let empty = root.get(&format!("/api/v1/projects/{alone}")).await;
    assert_eq!(empty.status, StatusCode::NOT_FOUND, "nobody is left in it");
}

#[tokio::test]
async fn sessions_are_listed_and_ended_one_by_one_and_all_at_once() {
    let gate = start().await;
    let (ada, eve) = (gate.person("ada").await, gate.person("eve").await);
    let phone = gate.enter("ada").await;
    let listed = ada.get(SESSIONS).await;
    assert_eq!(listed.status, StatusCode::OK, "{listed:?}");
    let sessions = listed.json()["sessions"].clone();
    assert_eq!(sessions.as_array().map(Vec::len), Some(2), "the own ones");
    let text = String::from_utf8_lossy(&listed.body).into_owned();
    assert!(!text.contains(&ada.refresh) && !text.contains("hash"));
    let current = |session: &Value| session["current"].clone();
    assert_eq!(current(&sessions[0]), false, "the newest comes first");
    assert_eq!(current(&sessions[1]), true, "the one that asks");
    let newest = sessions[0]["id"].as_str().expect("an id").to_owned();
    let path = format!("{SESSIONS}/{newest}");
    assert_eq!(
        eve.delete(&path).await.status,
        StatusCode::NOT_FOUND,
        "somebody else's"
    );
    for unknown in [&eve.id, "x"] {
        let path = format!("{SESSIONS}/{unknown}");
        assert_eq!(ada.delete(&path).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(ada.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert!(!gate.may_refresh(&phone.refresh).await, "the newest one");
    assert_eq!(phone.get(ME).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        ada.delete(&path).await.status,
        StatusCode::NOT_FOUND,
        "it is over"
    );

    let tablet = gate.enter("ada").await;
    assert_eq!(ada.delete(SESSIONS).await.status, StatusCode::NO_CONTENT);
    for session in [&ada, &tablet] {
        assert!(!gate.may_refresh(&session.refresh).await);
        assert_eq!(session.get(ME).await.status, StatusCode::UNAUTHORIZED);
    }
    assert!(gate.may_refresh(&eve.refresh).await, "others go on");
}

#[tokio::test]
async fn no_key_changes_the_account_whatever_it_may_manage() {
    let gate = start().await;
    let ada = gate.person("ada").await;
    let path = format!("/api/v1/projects/{}/api-keys", ada.project);
    let made = ada.post(&path, json!({ "scopes": ["manage"] })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let key = gate.client.bearer(made.text("api_key"));
    let password = json!({ "current_password": PASSWORD, "new_password": OTHER });
    for (method, path, body) in [
        (Method::PATCH, ME, json!({ "name": "Eve" })),
        (Method::PUT, PASSWORD_OF_MINE, password),
        (Method::DELETE, ME, json!({ "password": PASSWORD })),
        (Method::GET, SESSIONS, Value::Null),
        (Method::DELETE, SESSIONS, Value::Null),
        (
            Method::POST,
            "/api/v1/users/me/email/verification",
            Value::Null,
        ),
    ] {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        for (client, status) in [
            (&key, StatusCode::FORBIDDEN),
            (&gate.client, StatusCode::UNAUTHORIZED),
        ] {
            let answer = send(client, method.clone(), path, &[], body.clone()).await;
            assert_eq!(answer.status, status, "{method} {path}");
        }
    }
    assert!(gate.may_log_in("ada", PASSWORD).await);
}

#[tokio::test]
async fn nobody_fills_the_mailbox_of_somebody_else() {
    let (gate, mut sink) = start_with_mail(|config| {
        config.rate_limits.letters_per_receiver = "2/hour".parse().expect("a rate");
    })
    .await;
    let body = json!({ "username": "ada", "email": "ada@example.org", "password": PASSWORD });
    gate.post("/api/v1/auth/register", body).await;
    let ada = gate.enter("ada").await;
    let verification = format!("{ME}/email/verification");
    let ask = async || ada.post(&verification, json!({})).await;
    let gateways = gate.gateways();
    // Each gateway writes two; the first of one of them was for the registration.
    for _ in 1..2 * gateways {
        assert_eq!(ask().await.status, StatusCode::ACCEPTED);
    }
    for refused in gate.everywhere(ask).await {
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused:?}");
        assert!(refused.headers.contains_key("retry-after"));
    }
    let reset = async || {
        let forgot = async || {
            gate.post(FORGOT, json!({ "email": "ada@example.org" }))
                .await
        };
        for told in gate.everywhere(forgot).await {
            assert_eq!(told.status, StatusCode::ACCEPTED, "nothing of the account");
        }
    };
    for _ in 0..3 {
        reset().await;
    }
    let mut letters = Vec::new();
    for _ in 0..4 * gateways {
        letters.push(sink.next().await);
    }
    // Whoever makes others write keeps no letter away that gives the account back.
    for subject in ["Confirm", "Choose a new password"] {
        let subject = format!("Subject: {subject}");
        let written = letters.iter();
        let written = written.filter(|letter| letter.text.contains(&subject));
        assert_eq!(written.count(), 2 * gateways, "{subject}: {letters:?}");
    }
    gate.clock.advance(Duration::from_secs(1800));
    reset().await;
    gate.shutdown().await;
    for _ in 0..gateways {
        let later = sink.next().await;
        assert!(later.text.contains("Subject: Choose"), "{}", later.text);
    }
    assert!(sink.try_next().is_none(), "two, and one half an hour later");
}
