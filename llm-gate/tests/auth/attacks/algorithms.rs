//! Which algorithm, which key, which signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_gate::auth::JwkSet;
use serde_json::json;

use super::{Keys, Variant, bad, good, parts, raw};
use crate::forge::{SECRET, claims, mac};

const NAMES: [&str; 31] = [
    "none", "None", "NONE", "nOnE", "noNe", "none ", "", " ", "null", "HS256", "hs256", "HS256 ",
    " HS256", "HS-256", "HS384", "HS512", "RS256", "rs256", "RS384", "RS512", "PS256", "ES256",
    "Es256", "ES384", "ES512", "ES256K", "EdDSA", "EDDSA", "Ed25519", "Ed448", "dir",
];

pub(super) fn variants(keys: &Keys) -> Vec<Variant> {
    let mut all = Vec::new();
    let claims = claims().to_string();
    for kid in keys.names() {
        let called = kid.unwrap_or("the secret");
        let own = keys.algorithm(kid);
        for name in NAMES {
            let mut header = keys.header(kid);
            header["alg"] = name.into();
            let header = header.to_string();
            let words = format!("{called} as {name:?}");
            let jwt = keys.sign(kid, header.as_bytes(), claims.as_bytes());
            let is_own = name == own;
            all.push(if is_own {
                good(words, jwt)
            } else {
                bad(words, jwt)
            });
            let unsigned = format!("{}.", raw(&header, &claims));
            all.push(bad(format!("{called} as {name:?}, not signed"), unsigned));
        }
        // Signed by every other key in its name.
        for other in keys.names().into_iter().filter(|other| *other != kid) {
            let header = keys.header(kid).to_string();
            let jwt = keys.sign(other, header.as_bytes(), claims.as_bytes());
            all.push(bad(format!("{called}, signed by {other:?}"), jwt));
            let mut header = keys.header(other);
            match kid {
                Some(kid) => header["kid"] = kid.into(),
                None => drop(header.as_object_mut().expect("an object").remove("kid")),
            }
            let jwt = keys.sign(other, header.to_string().as_bytes(), claims.as_bytes());
            all.push(bad(format!("{called}, signed and said by {other:?}"), jwt));
        }
    }
    confused(keys, &claims, &mut all);
    signatures(keys, &claims, &mut all);
    all
}

/// HS256 with what is public as the secret, in every form it is published in.
fn confused(keys: &Keys, claims: &str, all: &mut Vec<Variant>) {
    for signer in &keys.signers {
        let public = &signer.public;
        let set = JwkSet::of([public]).to_json();
        let jwk = serde_json::to_value(public.jwk()).expect("JSON");
        let mut forms: Vec<(String, Vec<u8>)> = vec![
            ("set".into(), set.clone().into_bytes()),
            ("jwk".into(), jwk.to_string().into_bytes()),
            (
                "kid twice".into(),
                public.id().unwrap_or_default().repeat(2).into(),
            ),
        ];
        for member in ["x", "y", "n", "e"] {
            if let Some(text) = jwk[member].as_str() {
                forms.push((member.into(), text.into()));
                let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
                forms.push((format!("bytes of {member}"), bytes));
            }
        }
        if let Some(pem) = public.to_pem() {
            forms.push(("PEM, trimmed".into(), pem.trim_end().into()));
            forms.push(("PEM".into(), pem.into()));
        }
        let kid = public.id();
        for (form, secret) in forms {
            for named in [kid, None] {
                let mut header = json!({ "alg": "HS256", "typ": "at+jwt" });
                if let Some(kid) = named {
                    header["kid"] = kid.into();
                }
                let message = raw(&header.to_string(), claims);
                let jwt = format!("{message}.{}", mac(&secret, &message));
                all.push(bad(
                    format!("{form} of {kid:?} as secret of {named:?}"),
                    jwt,
                ));
            }
        }
    }
}

/// Signatures that are not quite one.
fn signatures(keys: &Keys, claims: &str, all: &mut Vec<Variant>) {
    for kid in keys.names() {
        let header = keys.header(kid).to_string();
        let jwt = keys.sign(kid, header.as_bytes(), claims.as_bytes());
        let (message, signature) = jwt.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let length = signature.len();
        let mut forged: Vec<(&str, Vec<u8>)> = vec![
            ("all zeros", vec![0; length]),
            ("all ones", vec![0xff; length]),
            ("one byte short", signature[..length - 1].to_vec()),
            ("half", signature[..length / 2].to_vec()),
            ("one byte", signature[..1].to_vec()),
            ("one byte long", [&signature[..], &[0]].concat()),
            ("a zero before", [&[0], &signature[..]].concat()),
            ("twice", signature.repeat(2)),
            ("backwards", signature.iter().rev().copied().collect()),
        ];
        let mut flipped = signature.clone();
        flipped[length / 3] ^= 1;
        forged.push(("one bit flipped", flipped));
        let (left, right) = signature.split_at(length / 2);
        forged.push(("halves swapped", [right, left].concat()));
        forged.push(("first half zero", [&vec![0; length / 2], right].concat()));
        forged.push((
            "second half zero",
            [left, &vec![0; length - length / 2]].concat(),
        ));
        if kid == Some("ed") {
            forged.push((
                "second half plus the order",
                [left, &plus_order(right)].concat(),
            ));
        }
        for (name, signature) in forged {
            let jwt = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
            all.push(bad(format!("{kid:?}: signature {name}"), jwt));
        }
        let mut other = crate::forge::claims();
        other["role"] = "admin".into();
        let other = keys.sign(kid, header.as_bytes(), other.to_string().as_bytes());
        let [_, body, _] = parts(&other);
        let [head, _, proof] = parts(&jwt);
        let moved = format!("{head}.{body}.{proof}");
        all.push(bad(format!("{kid:?}: signature of other claims"), moved));
    }
    let message = raw(crate::forge::HEADER, claims);
    let [head, body] = [0, 1].map(|at| message.split('.').nth(at).expect("two parts"));
    for (name, signed) in [
        ("header", head.to_owned()),
        ("claims", body.to_owned()),
        ("nothing", String::new()),
        ("decoded", format!("{}.{claims}", crate::forge::HEADER)),
        ("swapped", format!("{body}.{head}")),
    ] {
        let jwt = format!("{message}.{}", mac(SECRET, &signed));
        all.push(bad(format!("only {name} is signed"), jwt));
    }
}

/// Adds the order of the group of Ed25519: the sum means the same, and RFC 8032 (section 5.1.7) refuses it.
fn plus_order(scalar: &[u8]) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    let sum = scalar.iter().zip(ORDER).map(|(one, other)| {
        let sum = u16::from(*one) + u16::from(other) + carry;
        carry = sum >> 8;
        (sum & 0xff) as u8
    });
    sum.collect()
}
