//! Headers that want to be believed: own keys, own rules, other kinds of tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_gate::auth::{JwkSet, JwtAlgorithm};
use serde_json::{Value, json};

use super::{Keys, Variant, bad, good};
use crate::forge::claims;
use crate::published::Signer;

pub(super) fn variants(keys: &Keys) -> Vec<Variant> {
    let mut all = Vec::new();
    let claims = claims().to_string();
    for kid in keys.names() {
        let mut signed = |how: fn(String, String) -> Variant, name: &str, header: &Value| {
            let jwt = keys.sign(kid, header.to_string().as_bytes(), claims.as_bytes());
            all.push(how(format!("{kid:?}: {name}"), jwt));
        };
        for typ in [
            "AT+JWT",
            "At+Jwt",
            "application/at+jwt",
            "Application/AT+JWT",
        ] {
            let mut header = keys.header(kid);
            header["typ"] = typ.into();
            signed(good, typ, &header);
        }
        for (member, value) in strange(keys) {
            let mut header = keys.header(kid);
            header[member] = value.clone();
            signed(bad, &format!("{member}: {value}"), &header);
        }
        for member in ["alg", "typ"] {
            let mut header = keys.header(kid);
            header.as_object_mut().expect("an object").remove(member);
            signed(bad, &format!("without {member}"), &header);
        }
    }
    named(keys, &claims, &mut all);
    own_key(keys, &claims, &mut all);
    repeated(keys, &claims, &mut all);
    all
}

/// Members that no token of ours has, or not like this.
fn strange(keys: &Keys) -> Vec<(&'static str, Value)> {
    let jwk = serde_json::to_value(keys.signers[0].public.jwk()).expect("JSON");
    vec![
        ("typ", json!("JWT")),
        ("typ", json!("jwt")),
        ("typ", json!("id+jwt")),
        ("typ", json!("logout+jwt")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("at+jwt ")),
        ("typ", json!("at+jwt;v=1")),
        ("typ", json!("application/x/at+jwt")),
        ("typ", json!("")),
        ("typ", json!(null)),
        ("typ", json!(["at+jwt"])),
        ("alg", json!(null)),
        ("alg", json!(256)),
        ("alg", json!({ "HS256": null })),
        ("alg", json!(["HS256", "EdDSA", "ES256", "RS256"])),
        ("crit", json!([])),
        ("crit", json!(null)),
        ("crit", json!(["exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["alg", "typ", "kid"])),
        ("crit", json!("exp")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("enc", json!("A256GCM")),
        ("jku", json!("https://evil.test/keys")),
        ("jku", json!("http://127.0.0.1/keys")),
        ("jku", json!(null)),
        ("jwk", jwk),
        ("jwk", json!({ "kty": "oct", "k": "AA" })),
        ("jwk", json!(null)),
        ("x5u", json!("https://evil.test/cert")),
        ("x5u", json!("file:///etc/ssl/cert.pem")),
        ("x5c", json!([])),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
        ("iss", json!("https://evil.test")),
        ("ALG", json!("none")),
        ("Alg", json!("none")),
        ("", json!(1)),
        ("nonce", json!("x")),
        ("p2c", json!(2_000_000_000)),
        ("epk", json!({})),
    ]
}

/// Names of keys that are none.
fn named(keys: &Keys, claims: &str, all: &mut Vec<Variant>) {
    for kid in keys.names() {
        for (at, value) in [
            json!(""),
            json!(" "),
            json!(null),
            json!(7),
            json!(true),
            json!([kid]),
            json!({ "kid": kid }),
            json!("ED"),
            json!("ed "),
            json!("ed\u{0}"),
            json!("e"),
            json!("*"),
            json!("unknown"),
            json!("../../dev/null"),
            json!("/proc/self/environ"),
            json!("' UNION SELECT 'AA"),
            json!("https://evil.test/key"),
            json!("$(id)"),
            json!("é".repeat(2000)),
        ]
        .into_iter()
        .enumerate()
        {
            let mut header = keys.header(kid);
            header["kid"] = value;
            let jwt = keys.sign(kid, header.to_string().as_bytes(), claims.as_bytes());
            all.push(bad(format!("{kid:?}: name {at}"), jwt));
        }
    }
}

/// A token that brings the key it was signed with.
fn own_key(keys: &Keys, claims: &str, all: &mut Vec<Variant>) {
    for algorithm in [JwtAlgorithm::EdDsa, JwtAlgorithm::Es256] {
        for kid in ["ed", "es", "mine"] {
            let mine = Signer::new(kid, algorithm);
            let jwk = serde_json::to_value(mine.public.jwk()).expect("JSON");
            let set = JwkSet::of([&mine.public]).to_json();
            let certificate = URL_SAFE_NO_PAD.encode(&set);
            for (member, value) in [
                ("jwk", jwk),
                ("jku", json!(format!("data:application/json,{set}"))),
                ("x5c", json!([certificate])),
                ("x5u", json!(format!("data:,{certificate}"))),
                ("key", json!(set)),
            ] {
                let mut header = keys.header(None);
                header["alg"] = algorithm.as_str().into();
                header["kid"] = kid.into();
                header[member] = value;
                let jwt = mine.jwt(&header.to_string(), claims);
                all.push(bad(format!("own {algorithm} key {kid} in {member}"), jwt));
            }
            let header = json!({ "alg": algorithm.as_str(), "typ": "at+jwt", "kid": kid });
            let jwt = mine.jwt(&header.to_string(), claims);
            all.push(bad(format!("own {algorithm} key as {kid}"), jwt));
        }
    }
}

fn repeated(keys: &Keys, claims: &str, all: &mut Vec<Variant>) {
    for kid in keys.names() {
        let header = keys.header(kid).to_string();
        for member in [
            format!(r#""alg":"{}""#, keys.algorithm(kid)),
            r#""alg":"none""#.to_owned(),
            r#""\u0061lg":"none""#.to_owned(),
            r#""al\u0067":"HS256""#.to_owned(),
            r#""typ":"at+jwt""#.to_owned(),
            r#""typ":"JWT""#.to_owned(),
            r#""kid":"ed","kid":"es""#.to_owned(),
            r#""k\u0069d":"ed","kid":"ed""#.to_owned(),
        ] {
            for (place, text) in [
                ("before", format!("{{{member},{}", &header[1..])),
                (
                    "after",
                    format!("{},{member}}}", &header[..header.len() - 1]),
                ),
            ] {
                let jwt = keys.sign(kid, text.as_bytes(), claims.as_bytes());
                all.push(bad(format!("{kid:?}: {member} {place}"), jwt));
            }
        }
    }
}
