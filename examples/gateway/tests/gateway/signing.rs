//! What access tokens are signed with, and how that is changed.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use llm_gate::auth::{JwkSet, JwtVerifier};
use llm_gate_gateway::Gateway;
use llm_gate_gateway::client::Client;
use llm_gate_gateway::config::Config;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Gate, PASSWORD, config, run, start, start_pair_of, start_with};

const JWKS: &str = "/.well-known/jwks.json";

/// Makes a key file with the command.
async fn key_file(folder: &TempDir, name: &str, algorithm: &str) -> PathBuf {
    let arguments = ["signing-key", "create", name, "--algorithm", algorithm];
    let made = run(folder, &arguments, "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    folder.path().join(name)
}

fn header(jwt: &str) -> Value {
    let part = jwt.split('.').next().expect("never empty");
    let json = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

async fn login(client: &Client) -> String {
    let body = json!({ "username": "ada", "password": PASSWORD });
    let pair = client.post("/auth/login", &body).await.expect("an answer");
    assert_eq!(pair.status, StatusCode::OK, "{pair:?}");
    pair.text("access_token")
}

async fn accepted(client: &Client, jwt: &str) -> bool {
    let me = client.bearer(jwt).get("/users/me").await;
    me.expect("an answer").status == StatusCode::OK
}

#[tokio::test]
async fn tokens_of_a_key_file_are_checked_with_what_is_published() {
    for algorithm in ["EdDSA", "ES256"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = key_file(&folder, "key.pem", algorithm).await;
        let gate = start_with(|config| {
            config.auth.jwt_algorithm = algorithm.to_owned();
            config.auth.jwt_key_files = vec![file];
        })
        .await;
        gate.person("ada").await;
        let jwt = login(&gate.client).await;
        for _ in 0..2 {
            // Of two gateways each one, and the other one has issued it.
            assert!(accepted(&gate.client, &jwt).await, "{algorithm}");
        }

        let published = gate.get(JWKS).await;
        assert_eq!(published.status, StatusCode::OK);
        assert_eq!(
            published.headers["content-type"],
            "application/jwk-set+json"
        );
        assert_eq!(published.headers["cache-control"], "public, max-age=300");
        let text = String::from_utf8_lossy(&published.body).into_owned();
        assert!(!text.contains("\"d\""), "{text}");
        assert_eq!(published.json()["keys"][0]["alg"], algorithm);
        assert_eq!(published.json()["keys"][0]["kid"], header(&jwt)["kid"]);
        assert_eq!(header(&jwt)["alg"], algorithm);

        let keys = JwkSet::read(&published.body).expect("a set");
        let elsewhere =
            JwtVerifier::new(gate.url(), "llm-gate", keys, Arc::new(gate.clock.clone()));
        let principal = elsewhere.expect("a key").verify(&jwt).expect("good");
        assert_eq!(principal.user.to_string(), {
            let me = gate.client.bearer(&jwt).get("/users/me").await;
            me.expect("an answer").text("id")
        });
    }
}

#[tokio::test]
async fn a_shared_secret_is_not_published() {
    let gate = start().await;
    let published = gate.get(JWKS).await;
    assert_eq!(published.status, StatusCode::OK);
    assert_eq!(published.json(), json!({ "keys": [] }));
    gate.person("ada").await;
    assert_eq!(header(&login(&gate.client).await)["alg"], "HS256");
}

#[tokio::test]
async fn a_key_is_rotated_without_refusing_a_token_that_is_still_good() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let old = key_file(&folder, "old.pem", "EdDSA").await;
    let new = key_file(&folder, "new.pem", "ES256").await;
    let public = folder.path().join("old.pub");
    let printed = run(&folder, &["signing-key", "public", "old.pem"], "").await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    std::fs::write(&public, printed.stdout).expect("written");

    let gate = start_with(|config| {
        // Under whatever address it is started again.
        config.web_url = Some("http://gate.test".to_owned());
        signed_with("EdDSA", &[&old])(config);
    });
    let mut gate = gate.await;
    gate.person("ada").await;
    let first = login(&gate.client).await;
    let accepts = async |gate: &Gate, jwt: &str| {
        gate.agreed(async || accepted(&gate.client, jwt).await)
            .await
    };

    // The next key is known before it signs, and afterwards the old one without its private part.
    for (algorithm, files) in [
        ("EdDSA", [old.as_path(), &new]),
        ("ES256", [new.as_path(), &public]),
    ] {
        gate = gate.again(signed_with(algorithm, &files)).await;
        assert!(accepts(&gate, &first).await, "{algorithm}");
        for jwt in gate.everywhere(async || login(&gate.client).await).await {
            assert_eq!(header(&jwt)["alg"], algorithm);
            assert!(accepts(&gate, &jwt).await);
        }
        let set = gate.agreed(async || gate.get(JWKS).await.json()).await;
        assert_eq!(set["keys"].as_array().map(Vec::len), Some(2));
    }

    gate = gate.again(signed_with("ES256", &[&new])).await;
    assert!(!accepts(&gate, &first).await, "its key is taken out");
    let second = login(&gate.client).await;

    gate = gate.again(signed_with("HS256", &[&new])).await;
    assert!(accepts(&gate, &second).await, "back to a shared secret");
    for jwt in gate.everywhere(async || login(&gate.client).await).await {
        assert_eq!(header(&jwt)["alg"], "HS256");
        assert!(accepts(&gate, &jwt).await);
    }
}

/// Lets the first of these files sign, and all of them check.
fn signed_with(algorithm: &str, files: &[&Path]) -> impl FnOnce(&mut Config) {
    move |config| {
        config.auth.jwt_algorithm = algorithm.to_owned();
        config.auth.jwt_key_files = files.iter().map(|file| file.to_path_buf()).collect();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_at_one_gateway_after_the_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let old = key_file(&folder, "old.pem", "EdDSA").await;
    let new = key_file(&folder, "new.pem", "ES256").await;
    // The first one signs with the new key already.
    let gate = start_pair_of(
        signed_with("ES256", &[&new, &old]),
        signed_with("EdDSA", &[&old, &new]),
    )
    .await;
    gate.person("ada").await;
    let at: Vec<Client> = gate
        .all()
        .map(|running| Client::new(running.address))
        .collect();

    let mut tokens = Vec::new();
    for (client, algorithm) in at.iter().zip(["ES256", "EdDSA"]) {
        let jwt = login(client).await;
        assert_eq!(header(&jwt)["alg"], algorithm, "each signs with its own");
        for client in &at {
            assert!(
                accepted(client, &jwt).await,
                "{algorithm}: at either gateway"
            );
        }
        tokens.push(jwt);
    }

    let mut sets = Vec::new();
    for client in &at {
        let published = client.get(JWKS).await.expect("an answer");
        let set = published.json();
        let keys = set["keys"].as_array().expect("a list").iter();
        sets.push(keys.map(Value::to_string).collect::<BTreeSet<_>>());
        let keys = JwkSet::read(&published.body).expect("a set");
        let clock = Arc::new(gate.clock.clone());
        let elsewhere = JwtVerifier::new(gate.url(), "llm-gate", keys, clock);
        let elsewhere = elsewhere.expect("two keys");
        for jwt in &tokens {
            let checked = elsewhere.verify(jwt);
            assert!(
                checked.is_ok(),
                "whichever gateway was asked for the keys: {checked:?}"
            );
        }
    }
    assert_eq!(sets[0].len(), 2, "{sets:?}");
    assert_eq!(sets[0], sets[1], "both publish the same");
}

#[tokio::test]
async fn a_key_file_that_is_not_safe_or_not_right_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = key_file(&folder, "good.pem", "EdDSA").await;
    let open = key_file(&folder, "open.pem", "EdDSA").await;
    let set = |path: &Path, mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("changed");
    };
    set(&open, 0o640);
    let public = folder.path().join("public.pem");
    let printed = run(&folder, &["signing-key", "public", "good.pem"], "").await;
    std::fs::write(&public, printed.stdout).expect("written");
    let changeable = folder.path().join("changeable.pem");
    std::fs::copy(&public, &changeable).expect("copied");
    set(&changeable, 0o664);
    let garbage = folder.path().join("garbage.pem");
    llm_gate_gateway::secrets::write(&garbage, "hunter2").expect("written");
    let huge = folder.path().join("huge.pem");
    llm_gate_gateway::secrets::write(&huge, &"x".repeat(20_000)).expect("written");
    let missing = folder.path().join("missing.pem");

    for (algorithm, files, words) in [
        ("EdDSA", vec![&open], "chmod 600"),
        ("EdDSA", vec![&good, &open], "chmod 600"),
        ("EdDSA", vec![&good, &changeable], "chmod 600"),
        ("EdDSA", vec![&public], "public.pem"),
        ("EdDSA", vec![&garbage], "garbage.pem"),
        ("EdDSA", vec![&huge], "huge.pem"),
        ("EdDSA", vec![&missing], "missing.pem"),
        ("ES256", vec![&good], "JWT_ALGORITHM"),
        ("EdDSA", vec![&good, &good], "same identifier"),
        ("EdDSA", vec![], "signing-key create"),
    ] {
        let mut config = config(&folder);
        config.auth.jwt_algorithm = algorithm.to_owned();
        config.auth.jwt_key_files = files.into_iter().cloned().collect();
        let error = Gateway::new(config).start().await.expect_err(words);
        let error = error.to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_signing_key_is_made_once_for_its_owner_and_not_printed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let create = ["signing-key", "create", "key.pem"];
    let made = run(&folder, &create, "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let path = folder.path().join("key.pem");
    let mode = std::fs::metadata(&path).expect("made").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pem = std::fs::read_to_string(&path).expect("made");
    let secret = pem.lines().nth(1).expect("a line of base64");
    assert!(!made.stdout.contains(secret) && !made.stderr.contains(secret));

    let again = run(&folder, &create, "").await;
    assert_eq!(again.code, Some(1));
    assert_eq!(again.stderr.lines().count(), 1, "{again:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("kept"), pem);

    let public = run(&folder, &["signing-key", "public", "key.pem"], "").await;
    assert!(public.stdout.starts_with("-----BEGIN PUBLIC KEY-----"));
    for wrong in [
        &["signing-key", "create", "other.pem", "--algorithm", "HS256"][..],
        &["signing-key", "public", "missing.pem"],
    ] {
        assert_eq!(run(&folder, wrong, "").await.code, Some(2), "{wrong:?}");
    }
}
