//! JSON web tokens: what they say, and how long they are good.

use std::sync::Arc;
use std::time::Duration;

use llm_gate::auth::{JwtIssuer, MAX_JWT_LIFETIME};
use llm_gate::identity::{ProjectId, Role, SessionId, UserId};
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};

use crate::forge::*;

#[test]
fn no_claim_may_be_missing() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    for name in [
        "iss",
        "sub",
        "aud",
        "exp",
        "iat",
        "nbf",
        "jti",
        "client_id",
        "project",
        "role",
    ] {
        let mut claims = claims();
        claims.as_object_mut().expect("an object").remove(name);
        let token = signed(HEADER, &claims.to_string());
        assert_eq!(reason(verifier.verify(&token)), "invalid", "without {name}");
        let token = signed(HEADER, &with(name, Value::Null));
        assert_eq!(reason(verifier.verify(&token)), "invalid", "{name} null");
    }
}

#[test]
fn no_claim_may_have_another_type_or_value() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    let table = [
        ("iss", json!("https://gate.test/")),
        ("iss", json!([ISSUER])),
        ("sub", json!("alice")),
        ("sub", json!(1)),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(["other"])),
        ("aud", json!([AUDIENCE, 1])),
        ("aud", json!({"a": AUDIENCE})),
        ("exp", json!((NOW + 300).to_string())),
        ("exp", json!(NOW as f64 + 300.5)),
        ("exp", json!(NOW as f64 + 300.0)),
        ("exp", json!(-1)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(NOW + 86_401)),
        ("exp", json!(NOW)),
        ("exp", json!(true)),
        ("iat", json!(NOW + 6)),
        ("iat", json!(NOW.to_string())),
        ("iat", json!(0)),
        ("nbf", json!(NOW + 6)),
        ("nbf", json!(-1)),
        ("nbf", json!(u64::MAX)),
        ("jti", json!("")),
        ("jti", json!(1)),
        ("client_id", json!("")),
        ("client_id", json!(["c"])),
        ("project", json!("mine")),
        ("project", json!({"id": PROJECT})),
        ("role", json!("root")),
        ("role", json!("Admin")),
        ("role", json!(["admin"])),
        ("role", json!({"admin": null})),
    ];
    for (name, value) in table {
        let token = signed(HEADER, &with(name, value.clone()));
        assert_eq!(
            reason(verifier.verify(&token)),
            "invalid",
            "{name}: {value}"
        );
    }
    let token = signed(HEADER, &with("aud", json!(["other", AUDIENCE])));
    assert_eq!(
        reason(verifier.verify(&token)),
        "accepted",
        "one of several audiences"
    );
    let token = signed(HEADER, &with("scope", json!("all")));
    assert_eq!(
        reason(verifier.verify(&token)),
        "accepted",
        "a claim that nobody reads"
    );
}

#[test]
fn duplicate_claims_are_refused() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    let good = claims().to_string();
    let rest = &good[1..];
    for twice in [
        r#""role":"admin""#.to_owned(),
        format!(r#""exp":{}"#, NOW + 300),
        r#""\u0072ole":"admin""#.to_owned(),
        r#""scope":1,"scope":1"#.to_owned(),
    ] {
        let token = signed(HEADER, &format!("{{{twice},{rest}"));
        assert_eq!(reason(verifier.verify(&token)), "invalid", "{twice}");
    }
}

#[test]
fn the_end_counts_for_tokens_seen_before_too() {
    let clock = ManualClock::new();
    let verifier = verifier([hs256().verifying_key()], &clock);
    let token = signed(HEADER, &claims().to_string());
    assert_eq!(reason(verifier.verify(&token)), "accepted");
    clock.advance(Duration::from_secs(304));
    assert_eq!(
        reason(verifier.verify(&token)),
        "accepted",
        "within the leeway"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(reason(verifier.verify(&token)), "expired", "seen before");
    let other = signed(HEADER, &with("jti", json!("2")));
    assert_eq!(reason(verifier.verify(&other)), "expired", "never seen");
}

#[test]
fn leeway_and_memory_can_be_turned_down() {
    let clock = ManualClock::new();
    let verifier = verifier([hs256().verifying_key()], &clock)
        .leeway(Duration::ZERO)
        .capacity(1);
    assert_eq!(
        reason(verifier.verify(&signed(HEADER, &with("nbf", json!(NOW + 1))))),
        "invalid"
    );
    for jti in ["1", "2", "3", "1"] {
        let token = signed(HEADER, &with("jti", json!(jti)));
        assert_eq!(reason(verifier.verify(&token)), "accepted");
    }
    clock.advance(Duration::from_secs(300));
    let token = signed(HEADER, &with("jti", json!("1")));
    assert_eq!(reason(verifier.verify(&token)), "expired");
}

#[test]
fn a_token_says_which_session_it_belongs_to_only_where_there_is_one() {
    let clock = ManualClock::new();
    let issuer = JwtIssuer::new(ISSUER, AUDIENCE, hs256(), Arc::new(clock.clone()));
    let verifier = verifier([hs256().verifying_key()], &clock);
    let (user, project, session) = (UserId::new(), ProjectId::new(), SessionId::new());
    let life = Duration::from_secs(60);
    let issued = issuer.issue_in(session, user, project, Role::User, life);
    let caller = verifier.verify(&issued.expect("signs").jwt).expect("good");
    assert_eq!(caller.session, Some(session));
    let issued = issuer.issue(user, project, Role::User, life);
    let caller = verifier.verify(&issued.expect("signs").jwt).expect("good");
    assert_eq!(caller.session, None);
}

#[test]
fn a_lifetime_is_cut_to_a_day() {
    let clock = ManualClock::new();
    let issuer = JwtIssuer::new(ISSUER, AUDIENCE, hs256(), Arc::new(clock.clone()));
    let (user, project) = (UserId::new(), ProjectId::new());
    for (asked, given) in [
        (Duration::MAX, MAX_JWT_LIFETIME),
        (Duration::ZERO, Duration::from_secs(1)),
        (Duration::from_millis(2900), Duration::from_secs(2)),
    ] {
        let issued = issuer
            .issue(user, project, Role::User, asked)
            .expect("signs");
        assert_eq!(issued.expires_in, given);
        assert!(!format!("{issued:?}").contains(&issued.jwt));
        let answer = verifier([hs256().verifying_key()], &clock).verify(&issued.jwt);
        assert_eq!(reason(answer), "accepted", "{asked:?}");
    }
}
