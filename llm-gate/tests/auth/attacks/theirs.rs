//! The same against the tokens of another issuer, which are judged by other rules.

use serde_json::{Value, json};

use super::{Keys, Variant, bad, good, raw};
use crate::forge::{NOW, mac};
use crate::published::{FOREIGN, Login, MEANT, Signer, foreign_claims, set_of};

#[tokio::test]
async fn no_attack_in_the_name_of_another_issuer_is_accepted() {
    let keys = Keys::new();
    let login = Login::start(set_of(&keys.signers)).await;
    let mut variants = Vec::new();
    for signer in &keys.signers {
        headers(signer, &mut variants);
        claims(signer, &mut variants);
        confused(signer, &mut variants);
    }
    for Variant { name, jwt, good } in &variants {
        for round in ["first", "second"] {
            let answer = login.check(jwt).await;
            assert_eq!(
                answer == "accepted",
                *good,
                "{round} time, {answer}: {name}"
            );
            let known = ["accepted", "invalid", "expired", "not theirs"];
            assert!(known.contains(&answer), "{answer}: {name}");
        }
    }
    assert_eq!(login.publisher.asked(), 1, "and nobody was asked for it");
    let good = variants.iter().filter(|variant| variant.good).count();
    assert_eq!(
        (variants.len() - good, good),
        (393, 66),
        "none was left out"
    );
}

fn headers(signer: &Signer, all: &mut Vec<Variant>) {
    let claims = foreign_claims().to_string();
    let own = signer.public.algorithm().as_str();
    let mut signed = |how: fn(String, String) -> Variant, member: &str, value: Value| {
        let mut header = signer.header();
        header[member] = value.clone();
        let jwt = signer.jwt(&header.to_string(), &claims);
        all.push(how(format!("{own}: {member}: {value}"), jwt));
    };
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/at+jwt",
        "application/jwt",
    ] {
        signed(good, "typ", json!(typ));
    }
    for (member, value) in [
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("nonce", json!("x")),
        ("ALG", json!("none")),
    ] {
        signed(good, member, value);
    }
    for (member, value) in [
        ("typ", json!("logout+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("secevent+jwt")),
        ("typ", json!("")),
        ("typ", json!(null)),
        ("typ", json!(["JWT"])),
        ("kid", json!("")),
        ("kid", json!(null)),
        ("kid", json!(1)),
        ("kid", json!(["ed", "es", "rsa"])),
        ("alg", json!(null)),
        ("alg", json!([own])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("jku", json!("https://login.test/keys")),
        ("jku", json!(null)),
        (
            "jwk",
            serde_json::to_value(signer.public.jwk()).expect("JSON"),
        ),
        ("x5u", json!("https://login.test/cert")),
        ("x5c", json!(["MIIB"])),
    ] {
        signed(bad, member, value);
    }
    for name in [
        "none", "None", "NONE", "", "HS256", "HS512", "hs256", "RS256", "RS512", "PS256", "ES256",
        "ES384", "EdDSA", "eddsa", "Ed25519", "Ed448",
    ] {
        if name != own {
            signed(bad, "alg", json!(name));
        }
    }
    let text = signer.header().to_string();
    for member in [
        r#""alg":"none""#,
        r#""\u0061lg":"none""#,
        r#""kid":"other""#,
        r#""a":1,"a":1"#,
    ] {
        let twice = format!("{{{member},{}", &text[1..]);
        all.push(bad(
            format!("{own}: {member} too"),
            signer.jwt(&twice, &claims),
        ));
    }
    for member in ["alg", "kid"] {
        let mut header = signer.header();
        header.as_object_mut().expect("an object").remove(member);
        let jwt = signer.jwt(&header.to_string(), &claims);
        all.push(bad(format!("{own}: without {member}"), jwt));
    }
}

fn claims(signer: &Signer, all: &mut Vec<Variant>) {
    let own = signer.public.algorithm();
    let header = signer.header().to_string();
    let mut signed = |how: fn(String, String) -> Variant, name: &str, value: Value| {
        let mut claims = foreign_claims();
        claims[name] = value.clone();
        let jwt = signer.jwt(&header, &claims.to_string());
        all.push(how(format!("{own}: {name}: {value:.40}"), jwt));
    };
    for (name, value) in [
        ("aud", json!([MEANT])),
        ("aud", json!(["other", MEANT])),
        ("exp", json!(NOW as f64 + 60.5)),
        ("exp", json!(NOW + 86_400)),
        ("exp", json!(NOW - 4)),
        ("iat", json!(NOW + 5)),
        ("iat", json!(NOW as f64 - 0.5)),
        ("nbf", json!(NOW + 5)),
        ("nbf", json!(0)),
        ("scope", json!(null)),
        ("role", json!("admin")),
    ] {
        signed(good, name, value);
    }
    for name in ["iss", "sub", "aud", "exp", "iat", "nbf"] {
        for value in [
            json!(null),
            json!(true),
            json!(-1),
            json!(""),
            json!([]),
            json!({}),
            json!([[MEANT]]),
            json!((NOW + 60).to_string()),
        ] {
            signed(bad, name, value);
        }
    }
    for (name, value) in [
        ("iss", json!("https://login.test/")),
        ("iss", json!([FOREIGN])),
        ("sub", json!("eve")),
        ("sub", json!(["ada"])),
        ("sub", json!("ada\u{0}")),
        ("sub", json!("ada\n")),
        ("sub", json!("a".repeat(256))),
        ("aud", json!("other")),
        ("aud", json!("our-api-2")),
        ("aud", json!([MEANT, 1])),
        ("exp", json!(NOW - 5)),
        ("exp", json!(NOW as f64 - 5.5)),
        ("exp", json!(0)),
        ("exp", json!(NOW + 86_401)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1e300)),
        ("exp", json!((NOW + 60) * 1000)),
        ("iat", json!(NOW + 6)),
        ("iat", json!(NOW - 86_400)),
        ("iat", json!(u64::MAX)),
        ("nbf", json!(NOW + 6)),
        ("nbf", json!(u64::MAX)),
    ] {
        signed(bad, name, value);
    }
    let text = foreign_claims().to_string();
    for member in [
        r#""sub":"ada""#.to_owned(),
        r#""\u0073ub":"ada""#.to_owned(),
        format!(r#""iss":"{FOREIGN}""#),
        format!(r#""exp":{}"#, NOW + 60),
        r#""x":1,"x":1"#.to_owned(),
    ] {
        let twice = format!("{{{member},{}", &text[1..]);
        all.push(bad(
            format!("{own}: {member} too"),
            signer.jwt(&header, &twice),
        ));
    }
    for name in ["iss", "sub", "aud", "exp"] {
        let mut without = foreign_claims();
        without.as_object_mut().expect("an object").remove(name);
        let jwt = signer.jwt(&header, &without.to_string());
        all.push(bad(format!("{own}: without {name}"), jwt));
    }
}

/// Signed with what is public, by others, or not at all.
fn confused(signer: &Signer, all: &mut Vec<Variant>) {
    let own = signer.public.algorithm();
    let claims = foreign_claims().to_string();
    let jwk = serde_json::to_value(signer.public.jwk()).expect("JSON");
    let header = json!({ "alg": "HS256", "kid": signer.public.id() }).to_string();
    let message = raw(&header, &claims);
    for secret in ["x", "n"].iter().filter_map(|member| jwk[member].as_str()) {
        let jwt = format!("{message}.{}", mac(secret.as_bytes(), &message));
        all.push(bad(format!("{own}: public key as secret"), jwt));
    }
    let message = raw(&signer.header().to_string(), &claims);
    all.push(bad(format!("{own}: not signed"), format!("{message}.")));
    let mine = Signer::new(signer.public.id().unwrap_or_default(), own);
    let jwt = mine.jwt(&signer.header().to_string(), &claims);
    all.push(bad(format!("{own}: another key of the same name"), jwt));
    let jwt = signer.good("ada");
    let (before, after) = jwt.split_at(jwt.len() - 9);
    let other = if after.starts_with('A') { "B" } else { "A" };
    let bent = format!("{before}{other}{}", &after[1..]);
    all.push(bad(format!("{own}: one character of the signature"), bent));
    all.push(bad(format!("{own}: padded"), format!("{jwt}=")));
    all.push(bad(format!("{own}: a dot more"), format!("{jwt}.")));
    all.push(bad(format!("{own}: a part more"), format!("{jwt}.AAAA")));
    all.push(good(format!("{own}: as it is"), jwt));
}
