//! JSON web tokens: what is accepted, and every forgery we know of.
//!
//! The forgeries are made here by hand, not by the library that checks them.
#![cfg(feature = "aws-lc-rs")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use llm_gate::auth::{
    AuthError, JwtIssuer, JwtVerifier, KeyError, MAX_JWT_LIFETIME, SigningKey, VerifyingKey,
};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{Credential, Principal, ProjectId, Role, UserId};
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &[u8] = b"the secret of the tests, long enough";
const ISSUER: &str = "https://gate.test";
const AUDIENCE: &str = "llm-gate";
const USER: &str = "019b76da-a800-7000-8000-000000000001";
const PROJECT: &str = "019b76da-a800-7000-8000-000000000002";
/// 2026-01-01, where `ManualClock` starts.
const NOW: i64 = 1_767_225_600;

/// PKCS#8 around a seed of sevens.
const ED25519: [u8; 48] = {
    let mut der = [7; 48];
    let head = [
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    let mut at = 0;
    while at < head.len() {
        der[at] = head[at];
        at += 1;
    }
    der
};
/// A P-256 key made for this file, PKCS#8.
const ES256: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/X+HprNYPgjC8gF64xLB5l1jA582Nzm/LtOOoP8EhF2hRANC",
    "AARAotUObvPwZo2y3ve3i+q7tPdqqLr+J5GC5iHpL6kOWEYF/Fvkxghw/irICJFwthKtSLgT5A/dqT/XBsurYST9",
);
/// An RSA key made for this file, its modulus only, and a token signed with it by openssl.
const RS256_MODULUS: &str = "sMH7TR0Pl7jdkAqvDf8Aywp_Fa9KR3aH6_NrMSLI2itSQYYFnb-_MsM-lnRntITXGRbOmHPknQwuZPzRHgJPc258Ju4wpD-qHJeMbJWIuR9RKYkSmQakeJrK1YTwBfZi6MkdZovGg46sSUe0cS_UUs--cETE4v3tm0KlmLkbwgWcVEEy8Zsdo_R4MBThQDnDoH4HP5Gz_797lfi1vLqtXbcdd3wOJ1BRI5rOywmc_MF-y5clPgWflHBJpnAZe37e6WHI129fsOMhzitL48eeTtycpN_nxVnVBggzCV_ZnS3utOIkXLWdFfOOfoGRdhYpPPufRWRv7cwNyTs0fGUt6w";
const RS256_JWT: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYSJ9.",
    "eyJpc3MiOiJodHRwczovL2dhdGUudGVzdCIsInN1YiI6IjAxOWI3NmRhLWE4MDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMSIsImF1ZCI6ImxsbS1nYXRlIiwiZXhwIjoxNzY3MjI1OTAwLCJpYXQiOjE3NjcyMjU2MDAsIm5iZiI6MTc2NzIyNTYwMCwianRpIjoiMSIsImNsaWVudF9pZCI6ImMiLCJwcm9qZWN0IjoiMDE5Yjc2ZGEtYTgwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAyIiwicm9sZSI6InVzZXIifQ.",
    "YKbTQifrvkGh2UsbFDJwwHCItkwaL5GnJFviIZT9eUYtPHW0C8oX0LYROZIiHf_E_skwYPyM1NRxA0r12pMcDUzSqrZSgBgxYoHw-opqBsWKuoOcmNLqG9k4mHtPkyk6ONykNlKfCR7g17qxXXhyDhQE78b3o3Von1r3dwfOwIdLkjfpM-G20Iue_FwDqs8b5_Zsj7d4QKuPWOBJo939ZVDe4iqWd1EBxwrMgns3TLH9coJtqO2kUT9Mx5Rw7gVxHqtzjFbqlpQvT2BxQJLQT-y_6xibFRnhkLI4uNM2ZAmUjAybUyzEvDiepFT4tZGt0sA-lqCxovMSmz5sycGlfg",
);

fn hs256() -> SigningKey {
    SigningKey::hs256(SECRET).expect("long enough")
}

fn verifier(keys: impl IntoIterator<Item = VerifyingKey>, clock: &ManualClock) -> JwtVerifier {
    JwtVerifier::new(ISSUER, AUDIENCE, keys, Arc::new(clock.clone())).expect("good keys")
}

fn b64(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

fn mac(secret: &[u8], message: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    let mac = mac.chain_update(message).finalize().into_bytes();
    URL_SAFE_NO_PAD.encode(mac)
}

/// Signs whatever it is given, with the right secret.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", mac(SECRET, &message))
}

const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt"}"#;

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": USER, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        "jti": "1", "client_id": "c", "project": PROJECT, "role": "user",
    })
}

/// The good claims with one of them replaced.
fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    claims.to_string()
}

fn reason(answer: Result<Principal, AuthError>) -> &'static str {
    match answer {
        Ok(_) => "accepted",
        Err(error) => error.reason(),
    }
}

#[test]
fn the_forger_of_these_tests_makes_good_tokens_too() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    let principal = verifier
        .verify(&signed(HEADER, &claims().to_string()))
        .expect("the refusals below mean something only if this is accepted");
    assert_eq!(principal.user.to_string(), USER);
    assert_eq!(principal.project.to_string(), PROJECT);
    assert_eq!(principal.credential, Credential::Session);
    assert_eq!(principal.role, Role::User);
}

#[test]
fn what_each_algorithm_signs_is_accepted_by_its_key() {
    let clock = ManualClock::new();
    let ec = STANDARD.decode(ES256).expect("base64");
    let keys = [
        hs256(),
        SigningKey::hs256(&[9; 32]).expect("long").kid("second"),
        SigningKey::ed25519("ed", &ED25519).expect("a key"),
        SigningKey::es256("es", &ec).expect("a key"),
    ];
    let verifier = verifier(keys.iter().map(SigningKey::verifying_key), &clock);
    let (user, project) = (UserId::new(), ProjectId::new());
    for key in keys {
        let issuer = JwtIssuer::new(ISSUER, AUDIENCE, key.clone(), Arc::new(clock.clone()));
        let issued = issuer
            .issue(user, project, Role::Admin, Duration::from_secs(60))
            .expect("signs");
        assert_eq!(issued.expires_in, Duration::from_secs(60));
        let expected = Principal::new(user, project, Credential::Session).role(Role::Admin);
        for _ in 0..2 {
            assert_eq!(
                verifier.verify(&issued.jwt).expect("good"),
                expected,
                "{key:?}"
            );
        }
    }
}

#[test]
fn an_rs256_token_made_elsewhere_is_accepted() {
    let modulus = URL_SAFE_NO_PAD.decode(RS256_MODULUS).expect("base64");
    let key = VerifyingKey::rs256("rsa", &modulus, &[1, 0, 1]).expect("a key");
    let verifier = verifier([key], &ManualClock::new());
    assert_eq!(reason(verifier.verify(RS256_JWT)), "accepted");
    let mut bent = RS256_JWT.to_owned();
    bent.replace_range(bent.len() - 10..bent.len() - 9, "_");
    assert_eq!(reason(verifier.verify(&bent)), "invalid");
}

#[test]
fn a_token_chooses_neither_algorithm_nor_key() {
    let modulus = URL_SAFE_NO_PAD.decode(RS256_MODULUS).expect("base64");
    let ed = SigningKey::ed25519("ed", &ED25519).expect("a key");
    let rsa = VerifyingKey::rs256("rsa", &modulus, &[1, 0, 1]).expect("a key");
    let verifier = verifier(
        [hs256().verifying_key(), ed.verifying_key(), rsa],
        &ManualClock::new(),
    );
    let claims = claims().to_string();

    for alg in [
        "none", "None", "NONE", "nOnE", "", "hs256", "HS384", "HS512", "RS256", "EdDSA",
    ] {
        let header = json!({"alg": alg, "typ": "at+jwt"}).to_string();
        let token = signed(&header, &claims);
        assert_eq!(
            reason(verifier.verify(&token)),
            "invalid",
            "{alg:?} with a signature"
        );
        let bare = &token[..=token.rfind('.').expect("two dots")];
        assert_eq!(
            reason(verifier.verify(bare)),
            "invalid",
            "{alg:?} without a signature"
        );
    }
    // HS256 with the public key as the secret, in every form it is published in.
    for (kid, secret) in [("rsa", &modulus[..]), ("rsa", RS256_MODULUS.as_bytes())] {
        let header = json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}).to_string();
        let message = format!("{}.{}", b64(&header), b64(&claims));
        let token = format!("{message}.{}", mac(secret, &message));
        assert_eq!(reason(verifier.verify(&token)), "invalid");
    }
    for header in [
        r#"{"alg":"HS256","typ":"at+jwt","kid":"ed"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"unknown"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":""}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":null}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":1}"#,
        r#"{"alg":"HS256","typ":"at+jwt","kid":"../../dev/null"}"#,
    ] {
        assert_eq!(
            reason(verifier.verify(&signed(header, &claims))),
            "invalid",
            "{header}"
        );
    }
}

#[test]
fn a_header_with_anything_unusual_is_refused() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    for header in [
        r#"{}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"id+jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt "}"#,
        r#"{"alg":"HS256","typ":null}"#,
        r#"{"alg":["HS256"],"typ":"at+jwt"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","crit":[]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","crit":["exp"],"exp":1}"#,
        r#"{"alg":"HS256","typ":"at+jwt","b64":false,"crit":["b64"]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","jku":"https://evil.test/keys"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","jwk":{"kty":"oct","k":"AA"}}"#,
        r#"{"alg":"HS256","typ":"at+jwt","x5u":"https://evil.test/cert"}"#,
        r#"{"alg":"HS256","typ":"at+jwt","x5c":[]}"#,
        r#"{"alg":"HS256","typ":"at+jwt","zip":"DEF"}"#,
        r#"{"alg":"none","alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","alg":"HS256","typ":"at+jwt"}"#,
        r#"{"alg":"HS256","\u0061lg":"none","typ":"at+jwt"}"#,
        r#"["HS256","at+jwt"]"#,
        r#"{"alg":"HS256","typ":"at+jwt"} {}"#,
        "",
    ] {
        let token = signed(header, &claims().to_string());
        assert_eq!(reason(verifier.verify(&token)), "invalid", "{header}");
    }
    for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        let header = json!({"alg": "HS256", "typ": typ}).to_string();
        let token = signed(&header, &claims().to_string());
        assert_eq!(reason(verifier.verify(&token)), "accepted", "{typ}");
    }
}

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
fn only_the_one_spelling_of_a_token_is_accepted() {
    let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
    let claims = claims().to_string();
    let good = signed(HEADER, &claims);
    let (message, signature) = good.rsplit_once('.').expect("two dots");
    let padded = format!("{}.{}", URL_SAFE.encode(HEADER), URL_SAFE.encode(&claims));
    let last = good.chars().last().expect("not empty");
    // The last of 43 characters carries four bits; the next one in the alphabet differs in the rest.
    let stray = char::from(last as u8 + 1);
    let table = [
        String::new(),
        ".".into(),
        "..".into(),
        "...".into(),
        b64(HEADER),
        message.to_owned(),
        format!("{message}."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{signature}"),
        format!("{message}..{signature}"),
        format!("{good}="),
        format!("{good}A"),
        format!("{}{stray}", &good[..good.len() - 1]),
        format!("{}.{}", padded, mac(SECRET, &padded)),
        format!("{message}.{}", mac(b"another secret", message)),
        format!("{message}.{}", signature.to_lowercase()),
        good.replacen('.', "%2e", 1),
    ];
    for token in table {
        let reason = reason(verifier.verify(&token));
        assert!(
            matches!(reason, "invalid" | "malformed"),
            "{reason}: {token}"
        );
    }
    assert_eq!(reason(verifier.verify(&good)), "accepted");
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

#[test]
fn two_keys_for_one_identifier_are_refused_at_start() {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp::default()));
    let new = |keys: Vec<VerifyingKey>| JwtVerifier::new(ISSUER, AUDIENCE, keys, clock.clone());
    let key = hs256().verifying_key();
    assert_eq!(new(vec![]).err(), Some(KeyError::Empty));
    assert_eq!(
        new(vec![key.clone(), key.clone()]).err(),
        Some(KeyError::Ambiguous)
    );
    let (one, two) = (key.clone().kid("1"), key.clone().kid("1"));
    assert_eq!(new(vec![one, two]).err(), Some(KeyError::Ambiguous));
    assert!(new(vec![key.clone(), key.kid("1")]).is_ok());
}

#[test]
fn installing_the_back_end_twice_is_fine() {
    llm_gate::auth::install_crypto();
    llm_gate::auth::install_crypto();
}
