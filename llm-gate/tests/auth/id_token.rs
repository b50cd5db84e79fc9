//! ID tokens of other issuers: proof of one login, for one client.

use std::sync::Arc;

use llm_gate::auth::{AuthError, ForeignIssuer, IdToken, IdTokenVerifier, JwtAlgorithm};
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};

use crate::forge::{NOW, b64, mac};
use crate::published::*;

const NONCE: &str = "n-0S6_WzA2Mj";

struct Scene {
    publisher: Publisher,
    verifier: IdTokenVerifier,
    signer: Signer,
}

impl Scene {
    async fn start() -> Self {
        let signer = Signer::new("1", JwtAlgorithm::Rs256);
        let publisher = Publisher::start(set_of([&signer])).await;
        let url = format!("http://{}/keys", publisher.address);
        let url = url.parse().expect("a URL");
        let issuer = ForeignIssuer::new(FOREIGN, MEANT, url, EVERY).expect("safe");
        Self {
            publisher,
            verifier: IdTokenVerifier::new(issuer, Arc::new(ManualClock::new())),
            signer,
        }
    }

    async fn of(&self, change: impl FnOnce(&mut Value)) -> Result<IdToken, AuthError> {
        let mut claims = good();
        change(&mut claims);
        let header = self.signer.header().to_string();
        let jwt = self.signer.jwt(&header, &claims.to_string());
        self.verifier.verify(&jwt, NONCE).await
    }
}

fn good() -> Value {
    let mut claims = foreign_claims();
    claims["iat"] = json!(NOW);
    claims["nonce"] = NONCE.into();
    claims["email"] = "ada@example.org".into();
    claims["email_verified"] = true.into();
    claims
}

fn reason(answer: Result<IdToken, AuthError>) -> &'static str {
    match answer {
        Ok(_) => "accepted",
        Err(error) => error.reason(),
    }
}

#[tokio::test]
async fn a_good_one_says_who_it_is_and_by_which_address() {
    let scene = Scene::start().await;
    let token = scene.of(|_| ()).await.expect("good");
    assert_eq!(token.subject, "ada");
    assert_eq!(token.email.as_deref(), Some("ada@example.org"));
    assert!(token.email_verified);
    assert_eq!(format!("{token:?}"), "IdToken { .. }", "nobody's address");
    for verified in [json!(false), json!("true"), json!(1), Value::Null] {
        let token = scene
            .of(|claims| claims["email_verified"] = verified.clone())
            .await;
        assert!(!token.expect("good").email_verified, "{verified} is no yes");
    }
    let without = |claims: &mut Value| {
        let claims = claims.as_object_mut().expect("claims");
        claims.remove("email");
        claims.remove("email_verified");
    };
    let token = scene.of(without).await.expect("it needs none");
    assert_eq!((token.email, token.email_verified), (None, false));
}

#[tokio::test]
async fn it_is_for_one_login_of_one_client() {
    let scene = Scene::start().await;
    for (expected, claim, value) in [
        ("accepted", "aud", json!([MEANT])),
        ("accepted", "azp", json!(MEANT)),
        ("invalid", "nonce", json!("another")),
        ("invalid", "nonce", json!("")),
        ("invalid", "nonce", json!(null)),
        ("invalid", "iss", json!("https://login.test/")),
        ("invalid", "aud", json!("another")),
        ("invalid", "aud", json!([])),
        // Made for both, and it does not say for whom of them.
        ("invalid", "aud", json!([MEANT, "another"])),
        ("invalid", "azp", json!("another")),
        ("invalid", "azp", json!(null)),
        ("invalid", "sub", json!("")),
        ("invalid", "iat", json!(NOW + 60)),
        ("invalid", "iat", json!("now")),
        ("expired", "exp", json!(NOW - 60)),
        ("invalid", "exp", json!(NOW + 25 * 3600)),
    ] {
        let answer = scene.of(|claims| claims[claim] = value.clone()).await;
        assert_eq!(reason(answer), expected, "{claim} {value}");
    }
    let answer = scene.of(|claims| {
        claims["aud"] = json!([MEANT, "another"]);
        claims["azp"] = json!(MEANT);
    });
    assert_eq!(reason(answer.await), "accepted", "it says for whom");
    for claim in ["nonce", "iat", "exp", "sub", "aud", "iss"] {
        let answer = scene.of(|claims| drop(claims.as_object_mut().expect("claims").remove(claim)));
        assert_eq!(reason(answer.await), "invalid", "without {claim}");
    }
}

#[tokio::test]
async fn an_access_token_is_none_nor_is_one_that_nobody_signed() {
    let scene = Scene::start().await;
    let claims = good().to_string();
    for (typ, expected) in [
        ("JWT", "accepted"),
        ("at+jwt", "invalid"),
        ("application/at+jwt", "invalid"),
        ("logout+jwt", "invalid"),
    ] {
        let mut header = scene.signer.header();
        header["typ"] = typ.into();
        let jwt = scene.signer.jwt(&header.to_string(), &claims);
        assert_eq!(reason(scene.verifier.verify(&jwt, NONCE).await), expected);
    }
    let set = set_of([&scene.signer]);
    let Answer::Bytes(published) = set else {
        panic!("bytes")
    };
    for alg in ["none", "HS256"] {
        let header = json!({ "alg": alg, "kid": "1" }).to_string();
        let message = format!("{}.{}", b64(&header), b64(&claims));
        for signature in [String::new(), mac(published.as_bytes(), &message)] {
            let jwt = format!("{message}.{signature}");
            let answer = scene.verifier.verify(&jwt, NONCE).await;
            assert_eq!(reason(answer), "invalid", "{alg}");
        }
    }
    let other = Signer::new("1", JwtAlgorithm::Rs256);
    let forged = other.jwt(&other.header().to_string(), &claims);
    let answer = scene.verifier.verify(&forged, NONCE).await;
    assert_eq!(reason(answer), "invalid", "another key of the same name");
    for text in ["", "a", "a.b"] {
        assert_ne!(
            reason(scene.verifier.verify(text, NONCE).await),
            "accepted",
            "{text}"
        );
    }
}

#[tokio::test]
async fn without_keys_nobody_can_tell() {
    let mut scene = Scene::start().await;
    scene.publisher.gone().await;
    assert_eq!(reason(scene.of(|_| ()).await), "unavailable");
}
