//! JSON web tokens: which algorithm, which key, which spelling.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use llm_gate::auth::{JwtIssuer, JwtVerifier, KeyError, SigningKey, VerifyingKey};
use llm_gate::clock::{Clock, Timestamp};
use llm_gate::identity::{Credential, Principal, ProjectId, Role, UserId};
use llm_gate::test_util::ManualClock;
use proptest::prelude::*;
use serde_json::json;

use crate::forge::*;

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

proptest! {
    #[test]
    fn no_change_of_a_good_token_is_accepted(at in 0_usize..400, to in "[A-Za-z0-9_.=-]") {
        let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
        let good = signed(HEADER, &claims().to_string());
        let at = at % good.len();
        let mut bent = good.clone();
        bent.replace_range(at..=at, &to);
        prop_assume!(bent != good);
        prop_assert_ne!(reason(verifier.verify(&bent)), "accepted");
    }

    #[test]
    fn nothing_makes_the_verifier_panic(token in ".*", header in ".*", claims in ".*") {
        let verifier = verifier([hs256().verifying_key()], &ManualClock::new());
        prop_assert_ne!(reason(verifier.verify(&token)), "accepted");
        prop_assert_ne!(reason(verifier.verify(&signed(&header, &claims))), "accepted");
        prop_assert_ne!(reason(verifier.verify(&signed(HEADER, &claims))), "accepted");
    }
}
