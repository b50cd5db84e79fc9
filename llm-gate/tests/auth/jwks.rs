//! Keys as they are published and as files hold them.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use llm_gate::auth::{
    JwkError, JwkSet, JwtAlgorithm, JwtIssuer, KeyError, SigningKey, VerifyingKey,
};
use llm_gate::identity::{ProjectId, Role, UserId};
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};

use crate::forge::*;

fn ids(set: &Value) -> Vec<String> {
    let keys = JwkSet::read(set.to_string().as_bytes()).expect("a set");
    keys.iter()
        .map(|key| format!("{} {}", key.algorithm(), key.id().unwrap_or("-")))
        .collect()
}

fn ec() -> SigningKey {
    SigningKey::es256("es", &STANDARD.decode(ES256).expect("base64")).expect("a key")
}

fn rsa() -> VerifyingKey {
    let modulus = URL_SAFE_NO_PAD.decode(RS256_MODULUS).expect("base64");
    VerifyingKey::rs256("rsa", &modulus, &[1, 0, 1]).expect("a key")
}

/// RFC 7638, section 3.1, and RFC 8037, appendix A.3.
#[test]
fn thumbprints_are_those_of_the_standards() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    let n = URL_SAFE_NO_PAD.decode(n).expect("base64");
    let key = VerifyingKey::rs256("2011-04-29", &n, &[1, 0, 1]).expect("a key");
    assert_eq!(
        key.jwk().expect("public").thumbprint(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let x = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let key = VerifyingKey::ed25519("k", &x.expect("base64")).expect("a key");
    assert_eq!(
        key.jwk().expect("public").thumbprint(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
}

/// The file of RFC 8410, section 10.3, and a P-256 key made with openssl for this test.
#[test]
fn keys_of_other_programs_are_read() {
    let ed = "-----BEGIN PRIVATE KEY-----\n\
              MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
              -----END PRIVATE KEY-----\n";
    let public = "-----BEGIN PUBLIC KEY-----\r\n\
                  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\r\n\
                  -----END PUBLIC KEY-----\r\n";
    let signing = SigningKey::from_pem(ed).expect("a key");
    assert_eq!(signing.algorithm(), JwtAlgorithm::EdDsa);
    let read = VerifyingKey::from_pem(public).expect("a key");
    assert_eq!(read.jwk(), signing.verifying_key().jwk());

    let pem = format!("-----BEGIN PRIVATE KEY-----\n{ES256}\n-----END PRIVATE KEY-----");
    let signing = SigningKey::from_pem(&pem).expect("a key");
    assert_eq!(signing.algorithm(), JwtAlgorithm::Es256);
    assert_eq!(
        signing.verifying_key().id(),
        ec().verifying_key()
            .jwk()
            .map(|jwk| jwk.thumbprint())
            .as_deref()
    );
}

#[test]
fn a_set_holds_public_members_only_and_is_read_again() {
    let ed = SigningKey::ed25519("ed", &ED25519).expect("a key");
    let keys = [
        hs256().verifying_key(),
        hs256().verifying_key().kid("second"),
        ed.verifying_key(),
        ec().verifying_key(),
        rsa(),
    ];
    let set: Value = serde_json::from_str(&JwkSet::of(&keys).to_json()).expect("JSON");
    let listed = set["keys"].as_array().expect("an array");
    assert_eq!(listed.len(), 3, "no shared secret is published");
    for key in listed {
        let members = key.as_object().expect("an object").keys();
        for member in members {
            let public = ["kid", "use", "alg", "kty", "crv", "x", "y", "n", "e"];
            assert!(public.contains(&member.as_str()), "{member} is published");
        }
        assert_eq!(key["use"], "sig");
    }
    assert_eq!(ids(&set), ["EdDSA ed", "ES256 es", "RS256 rsa"]);
    let read = JwkSet::read(set.to_string().as_bytes()).expect("a set");
    assert_eq!(
        JwkSet::of(&read),
        JwkSet::of(&keys),
        "nothing is lost on the way"
    );
}

#[test]
fn what_a_published_set_says_is_enough_to_check_tokens() {
    let clock = ManualClock::new();
    for key in [SigningKey::ed25519("ed", &ED25519).expect("a key"), ec()] {
        let set = JwkSet::of([&key.verifying_key()]).to_json();
        let keys = JwkSet::read(set.as_bytes()).expect("a set");
        let issuer = JwtIssuer::new(ISSUER, AUDIENCE, key, Arc::new(clock.clone()));
        let issued = issuer.issue(UserId::new(), ProjectId::new(), Role::User, Duration::MAX);
        let answer = verifier(keys, &clock).verify(&issued.expect("signs").jwt);
        assert_eq!(reason(answer), "accepted", "{set}");
    }
}

#[test]
fn published_keys_that_prove_nothing_are_passed_over() {
    let ed = SigningKey::ed25519("ed", &ED25519).expect("a key");
    let set = JwkSet::of([&ed.verifying_key(), &ec().verifying_key(), &rsa()]).to_json();
    let set: Value = serde_json::from_str(&set).expect("JSON");
    let with = |at: usize, name: &str, value: Value| {
        let mut key = set["keys"][at].clone();
        key[name] = value;
        key
    };
    let useless = [
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "oct"}),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "oct", "alg": "HS256", "use": "sig"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AAAA", "kid": "x"}),
        json!({}),
        json!(null),
        json!("key"),
        json!([]),
        with(0, "use", json!("enc")),
        with(0, "use", json!(["sig"])),
        with(0, "alg", json!("HS256")),
        with(0, "alg", json!("none")),
        with(0, "alg", json!("ES256")),
        with(2, "alg", json!("PS256")),
        with(2, "alg", json!("RS512")),
        with(0, "key_ops", json!(["sign"])),
        with(0, "key_ops", json!([])),
        with(0, "key_ops", json!("verify")),
        with(0, "d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")),
        with(2, "d", json!("AQAB")),
        with(0, "x", json!("AAAA")),
        with(0, "x", json!("????")),
        with(0, "crv", json!("Ed448")),
        with(1, "crv", json!("P-384")),
        with(1, "x", json!("AAAA")),
        with(1, "y", json!("")),
        with(2, "n", json!("AQAB")),
        with(2, "e", json!("AQ")),
        with(2, "crv", json!("P-256")),
        with(0, "kid", json!(7)),
    ];
    for key in useless {
        assert_eq!(ids(&json!({"keys": [key]})), [""; 0], "{key}");
        let beside = json!({"keys": [key, set["keys"][1]]});
        assert_eq!(ids(&beside), ["ES256 es"], "beside {key}");
    }
    let unnamed = with(1, "alg", json!("ES256"));
    let mut bare = unnamed.as_object().expect("an object").clone();
    for optional in ["kid", "use", "alg"] {
        bare.remove(optional);
    }
    bare.insert("x5t".into(), json!("ignored"));
    bare.insert("key_ops".into(), json!(["verify"]));
    assert_eq!(ids(&json!({"keys": [bare]})), ["ES256 -"]);
}

#[test]
fn what_is_no_set_is_refused_as_a_whole() {
    let many = json!({"keys": vec![json!({}); 65]}).to_string();
    assert!(matches!(
        JwkSet::read(many.as_bytes()),
        Err(JwkError::TooMany)
    ));
    for text in [
        "",
        "null",
        "[]",
        "{}",
        "<html></html>",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"keys":[]}{}"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[],"\u006beys":[]}"#,
        r#"{"keys":[}"#,
    ] {
        let read = JwkSet::read(text.as_bytes());
        assert!(matches!(read, Err(JwkError::Malformed(_))), "{text}");
    }
    let twice = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","kid":"b"}]}"#;
    assert!(JwkSet::read(twice.as_bytes()).expect("a set").is_empty());
    assert!(JwkSet::read(br#"{"keys":[]}"#).expect("a set").is_empty());
}

#[test]
fn a_new_key_signs_while_the_old_ones_still_verify() {
    let clock = ManualClock::new();
    let new = || SigningKey::generate_pem(JwtAlgorithm::EdDsa).expect("random numbers");
    let [one, two] = [new(), new()].map(|pem| {
        use secrecy::ExposeSecret;
        SigningKey::from_pem(pem.expose_secret()).expect("a key")
    });
    let issue = |key: &SigningKey| {
        let issuer = JwtIssuer::new(ISSUER, AUDIENCE, key.clone(), Arc::new(clock.clone()));
        let lifetime = Duration::from_secs(600);
        let issued = issuer.issue(UserId::new(), ProjectId::new(), Role::User, lifetime);
        issued.expect("signs").jwt
    };
    let (old, fresh, shared) = (issue(&one), issue(&two), issue(&hs256()));
    let check = |keys: &[&SigningKey], jwt: &str| {
        let keys = keys.iter().map(|key| key.verifying_key());
        reason(verifier(keys, &clock).verify(jwt))
    };
    assert_eq!(
        check(&[&one], &fresh),
        "invalid",
        "the new key is not known yet"
    );
    for jwt in [&old, &fresh] {
        assert_eq!(check(&[&two, &one], jwt), "accepted");
    }
    assert_eq!(check(&[&two], &old), "invalid", "the old key is taken out");
    assert_eq!(
        check(&[&two, &hs256()], &shared),
        "accepted",
        "from another algorithm"
    );
    assert_eq!(check(&[&two, &one], &shared), "invalid");
}

#[test]
fn an_algorithm_without_a_private_key_is_not_generated() {
    for algorithm in [JwtAlgorithm::Hs256, JwtAlgorithm::Rs256] {
        let made = SigningKey::generate_pem(algorithm);
        assert_eq!(made.err(), Some(KeyError::Unusable));
    }
}
