//! Makes tokens by hand, good ones and forged ones, not with the library that checks them.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use llm_gate::auth::{AuthError, JwtVerifier, SigningKey, VerifyingKey};
use llm_gate::identity::Principal;
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};
use sha2::Sha256;

pub(crate) const SECRET: &[u8] = b"the secret of the tests, long enough";
pub(crate) const ISSUER: &str = "https://gate.test";
pub(crate) const AUDIENCE: &str = "llm-gate";
pub(crate) const USER: &str = "019b76da-a800-7000-8000-000000000001";
pub(crate) const PROJECT: &str = "019b76da-a800-7000-8000-000000000002";
/// 2026-01-01, where `ManualClock` starts.
pub(crate) const NOW: i64 = 1_767_225_600;

/// PKCS#8 around a seed of sevens.
pub(crate) const ED25519: [u8; 48] = {
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
pub(crate) const ES256: &str = concat!(
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/X+HprNYPgjC8gF64xLB5l1jA582Nzm/LtOOoP8EhF2hRANC",
    "AARAotUObvPwZo2y3ve3i+q7tPdqqLr+J5GC5iHpL6kOWEYF/Fvkxghw/irICJFwthKtSLgT5A/dqT/XBsurYST9",
);
/// An RSA key made for this file, its modulus only, and a token signed with it by openssl.
pub(crate) const RS256_MODULUS: &str = "sMH7TR0Pl7jdkAqvDf8Aywp_Fa9KR3aH6_NrMSLI2itSQYYFnb-_MsM-lnRntITXGRbOmHPknQwuZPzRHgJPc258Ju4wpD-qHJeMbJWIuR9RKYkSmQakeJrK1YTwBfZi6MkdZovGg46sSUe0cS_UUs--cETE4v3tm0KlmLkbwgWcVEEy8Zsdo_R4MBThQDnDoH4HP5Gz_797lfi1vLqtXbcdd3wOJ1BRI5rOywmc_MF-y5clPgWflHBJpnAZe37e6WHI129fsOMhzitL48eeTtycpN_nxVnVBggzCV_ZnS3utOIkXLWdFfOOfoGRdhYpPPufRWRv7cwNyTs0fGUt6w";
pub(crate) const RS256_JWT: &str = concat!(
    "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6InJzYSJ9.",
    "eyJpc3MiOiJodHRwczovL2dhdGUudGVzdCIsInN1YiI6IjAxOWI3NmRhLWE4MDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMSIsImF1ZCI6ImxsbS1nYXRlIiwiZXhwIjoxNzY3MjI1OTAwLCJpYXQiOjE3NjcyMjU2MDAsIm5iZiI6MTc2NzIyNTYwMCwianRpIjoiMSIsImNsaWVudF9pZCI6ImMiLCJwcm9qZWN0IjoiMDE5Yjc2ZGEtYTgwMC03MDAwLTgwMDAtMDAwMDAwMDAwMDAyIiwicm9sZSI6InVzZXIifQ.",
    "YKbTQifrvkGh2UsbFDJwwHCItkwaL5GnJFviIZT9eUYtPHW0C8oX0LYROZIiHf_E_skwYPyM1NRxA0r12pMcDUzSqrZSgBgxYoHw-opqBsWKuoOcmNLqG9k4mHtPkyk6ONykNlKfCR7g17qxXXhyDhQE78b3o3Von1r3dwfOwIdLkjfpM-G20Iue_FwDqs8b5_Zsj7d4QKuPWOBJo939ZVDe4iqWd1EBxwrMgns3TLH9coJtqO2kUT9Mx5Rw7gVxHqtzjFbqlpQvT2BxQJLQT-y_6xibFRnhkLI4uNM2ZAmUjAybUyzEvDiepFT4tZGt0sA-lqCxovMSmz5sycGlfg",
);

pub(crate) fn hs256() -> SigningKey {
    SigningKey::hs256(SECRET).expect("long enough")
}

pub(crate) fn verifier(
    keys: impl IntoIterator<Item = VerifyingKey>,
    clock: &ManualClock,
) -> JwtVerifier {
    JwtVerifier::new(ISSUER, AUDIENCE, keys, Arc::new(clock.clone())).expect("good keys")
}

pub(crate) fn b64(json: &str) -> String {
    URL_SAFE_NO_PAD.encode(json)
}

pub(crate) fn mac(secret: &[u8], message: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length");
    let mac = mac.chain_update(message).finalize().into_bytes();
    URL_SAFE_NO_PAD.encode(mac)
}

/// Signs whatever it is given, with the right secret.
pub(crate) fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", mac(SECRET, &message))
}

pub(crate) const HEADER: &str = r#"{"alg":"HS256","typ":"at+jwt"}"#;

pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": USER, "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "nbf": NOW,
        "jti": "1", "client_id": "c", "project": PROJECT, "role": "user",
    })
}

/// The good claims with one of them replaced.
pub(crate) fn with(name: &str, value: Value) -> String {
    let mut claims = claims();
    claims[name] = value;
    claims.to_string()
}

pub(crate) fn reason(answer: Result<Principal, AuthError>) -> &'static str {
    match answer {
        Ok(_) => "accepted",
        Err(error) => error.reason(),
    }
}
