//! Everything that is done to JSON web tokens, generated: none accepted that must not be, none refused that
//! must be accepted.
//!
//! Unless a variant is about the signature, it is signed by the right key, so that nothing but the rule
//! under attack can refuse it.

mod algorithms;
mod claims;
mod encodings;
mod headers;
mod theirs;
mod times;

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_gate::auth::{JwtAlgorithm, JwtVerifier, VerifyingKey};
use llm_gate::test_util::ManualClock;
use serde_json::Value;

use crate::forge::{SECRET, b64, hs256, mac, reason, verifier};
use crate::published::Signer;

/// One token, and whether it is good.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) jwt: String,
    pub(crate) good: bool,
}

pub(crate) fn bad(name: impl Into<String>, jwt: impl Into<String>) -> Variant {
    Variant {
        name: name.into(),
        jwt: jwt.into(),
        good: false,
    }
}

pub(crate) fn good(name: impl Into<String>, jwt: impl Into<String>) -> Variant {
    Variant {
        good: true,
        ..bad(name, jwt)
    }
}

/// The keys of the gate: a secret without a name, and one of each asymmetric kind.
pub(crate) struct Keys {
    pub(crate) signers: [Signer; 3],
}

impl Keys {
    fn new() -> Self {
        Self {
            signers: [
                Signer::new("ed", JwtAlgorithm::EdDsa),
                Signer::new("es", JwtAlgorithm::Es256),
                Signer::new("rsa", JwtAlgorithm::Rs256),
            ],
        }
    }

    fn verifying(&self) -> impl Iterator<Item = VerifyingKey> {
        let public = self.signers.iter().map(|signer| signer.public.clone());
        public.chain([hs256().verifying_key()])
    }

    /// Names the keys as headers do: the secret has no name.
    pub(crate) fn names(&self) -> [Option<&str>; 4] {
        let [ed, es, rsa] = &self.signers;
        [ed.public.id(), es.public.id(), rsa.public.id(), None]
    }

    pub(crate) fn signer(&self, kid: &str) -> &Signer {
        let mut signers = self.signers.iter();
        let named = signers.find(|signer| signer.public.id() == Some(kid));
        named.expect("one of ours")
    }

    /// Returns the `alg` of a key.
    pub(crate) fn algorithm(&self, kid: Option<&str>) -> &'static str {
        kid.map_or("HS256", |kid| self.signer(kid).public.algorithm().as_str())
    }

    /// Signs header and claims, as they are, with a key.
    pub(crate) fn sign(&self, kid: Option<&str>, header: &[u8], claims: &[u8]) -> String {
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
        self.sign_message(kid, &format!("{header}.{claims}"))
    }

    pub(crate) fn sign_message(&self, kid: Option<&str>, message: &str) -> String {
        let signature = match kid {
            None => mac(SECRET, message),
            Some(kid) => URL_SAFE_NO_PAD.encode(self.signer(kid).sign(message.as_bytes())),
        };
        format!("{message}.{signature}")
    }

    /// The header that a token of ours with this key has.
    pub(crate) fn header(&self, kid: Option<&str>) -> Value {
        let mut header = serde_json::json!({ "alg": self.algorithm(kid), "typ": "at+jwt" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        header
    }
}

/// Signs claims with the secret.
pub(crate) fn shared(claims: &str) -> String {
    crate::forge::signed(crate::forge::HEADER, claims)
}

/// Takes a token apart.
pub(crate) fn parts(jwt: &str) -> [&str; 3] {
    let mut parts = jwt.split('.');
    [(); 3].map(|()| parts.next().expect("three parts"))
}

fn judge(verifier: &JwtVerifier, variant: &Variant) {
    // Once more, because what was good is remembered.
    for round in ["first", "second"] {
        let answer = reason(verifier.verify(&variant.jwt));
        let accepted = answer == "accepted";
        let Variant { name, jwt, good } = variant;
        assert_eq!(
            accepted, *good,
            "{round} time, {answer}: {name}\n{jwt:.200}"
        );
        if !accepted {
            let known = ["invalid", "malformed", "expired"];
            assert!(known.contains(&answer), "{answer}: {name}");
        }
    }
}

#[test]
fn no_attack_is_accepted_and_no_good_token_refused() {
    let keys = Keys::new();
    let verifier = verifier(keys.verifying(), &ManualClock::new());
    let variants: Vec<Variant> = [
        algorithms::variants(&keys),
        claims::variants(),
        encodings::variants(&keys),
        headers::variants(&keys),
        times::variants(),
    ]
    .into_iter()
    .flatten()
    .collect();
    for variant in &variants {
        judge(&verifier, variant);
    }
    let mut different = HashSet::new();
    let again = variants.iter().filter(|one| !different.insert(&one.jwt));
    let again: Vec<_> = again.map(|one| &one.name).collect();
    assert!(again.is_empty(), "each is a token of its own: {again:?}");
    let good = variants.iter().filter(|variant| variant.good).count();
    assert_eq!(
        (variants.len() - good, good),
        (1328, 63),
        "none was left out"
    );
}

/// Two parts that go into a token as they are.
pub(crate) fn raw(header: &str, claims: &str) -> String {
    format!("{}.{}", b64(header), b64(claims))
}
