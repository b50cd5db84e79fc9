//! Where a credential stands, and how its kind is told.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use llm_gate::auth::{
    AnyAuthLayer, AnyVerifier, ApiKeySecret, ApiKeyVerifier, Authenticate, JwtIssuer, JwtVerifier,
    KeyHasher, OperatorSecret, SigningKey,
};
use llm_gate::clock::Clock;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, Role, UserId};
use llm_gate::store::{Author, CredentialStore, MemoryStore, NewApiKey, NewUser, UserStore};
use llm_gate::test_util::ManualClock;

/// A gate that accepts both kinds of credentials, and one good credential of each.
pub(crate) struct Gate {
    pub(crate) any: AnyVerifier,
    pub(crate) jwt: JwtVerifier,
    pub(crate) keys: ApiKeyVerifier,
    pub(crate) good_jwt: String,
    pub(crate) good_key: String,
}

impl Gate {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(MemoryStore::new());
        let hasher = KeyHasher::new(&[5; 32]).expect("long enough");
        let (user, project) = (UserId::new(), ProjectId::new());
        let new = NewUser {
            id: user,
            email: None,
            email_verified: false,
            username: Some("alice".into()),
            name: None,
            password_hash: None,
            identity: None,
            role: Role::User,
            personal_project: project,
            personal_project_name: "alice".into(),
            token_limit: None,
            invite: None,
            author: Author::system(clock.now()),
        };
        store.create_user(new).await.expect("a free name");
        let key = ApiKeySecret::sealed(&hasher, user);
        let new = NewApiKey {
            id: KeyId::new(),
            public_id: key.public_id().to_owned(),
            hash: key.hash(&hasher),
            name: "test".into(),
            user,
            project,
            grants: KeyGrants::default(),
            expires_at: None,
            at_most: None,
            author: Author::system(clock.now()),
        };
        store.create_key(new).await.expect("a free id");
        let signing = SigningKey::hs256(&[3; 32]).expect("long enough");
        let jwt = JwtVerifier::new("i", "a", [signing.verifying_key()], clock.clone());
        let issued = JwtIssuer::new("i", "a", signing, clock.clone())
            .issue(user, project, Role::User, Duration::from_secs(60))
            .expect("signs");
        let jwt = jwt.expect("one key");
        let keys = ApiKeyVerifier::new(store, hasher, clock);
        Self {
            any: AnyVerifier::new(jwt.clone(), keys.clone()),
            jwt,
            keys,
            good_jwt: issued.jwt,
            good_key: key.expose().to_owned(),
        }
    }
}

async fn told<A: Authenticate>(verifier: &A, headers: &[(&'static str, &str)]) -> String {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().expect("a header value"));
    }
    match verifier.authenticate(&map).await {
        Ok(principal) => format!("{:?}", principal.credential)
            .split('(')
            .next()
            .expect("never empty")
            .to_owned(),
        Err(error) => error.reason().to_owned(),
    }
}

#[tokio::test]
async fn credentials_are_told_apart_by_their_form_in_either_header() {
    let gate = Gate::new().await;
    let (jwt, key) = (&gate.good_jwt, &gate.good_key);
    let bearer = |credential: &str| format!("bEARER {credential}");
    let table = [
        (vec![("authorization", bearer(jwt))], "Session"),
        (vec![("authorization", bearer(key))], "Key"),
        (vec![("x-api-key", jwt.clone())], "Session"),
        (vec![("x-api-key", key.clone())], "Key"),
        (
            vec![("authorization", bearer(key)), ("x-api-key", key.clone())],
            "Key",
        ),
        (
            vec![("authorization", bearer(jwt)), ("x-api-key", key.clone())],
            "conflicting",
        ),
        (
            vec![
                ("authorization", bearer(key)),
                ("authorization", bearer(key)),
            ],
            "conflicting",
        ),
        (vec![("authorization", format!("Basic {key}"))], "malformed"),
        (vec![("authorization", key.clone())], "malformed"),
        (vec![("x-api-key", "é".to_owned())], "malformed"),
        (vec![("x-api-key", "lg_".repeat(3000))], "malformed"),
        (
            vec![("authorization", bearer(&"a.".repeat(5000)))],
            "malformed",
        ),
        (vec![("cookie", key.clone())], "missing"),
    ];
    for (headers, expected) in table {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        assert_eq!(told(&gate.any, &headers).await, expected, "{headers:?}");
    }
}

/// What shows by itself that it was given out is known without the store, and all else is not.
#[tokio::test]
async fn whose_a_credential_is_shows_by_itself() {
    let gate = Gate::new().await;
    let operator = OperatorSecret::generate();
    let any = gate.any.clone().operator(operator.hash());
    let of = |headers: &[(&'static str, &str)]| {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a header value"));
        }
        any.holder(&map)
    };
    let account = any.holder_of(&gate.good_jwt);
    for (good, own) in [
        (&*gate.good_jwt, true),
        (&*gate.good_key, true),
        (operator.expose(), false),
    ] {
        let holder = any.holder_of(good);
        assert!(holder.is_some(), "{good}");
        assert_eq!(holder == account, own, "all of one account are one");
        let bearer = format!("Bearer {good}");
        assert_eq!(of(&[("authorization", &bearer)]), holder);
        assert_eq!(of(&[("x-api-key", good)]), holder);
    }
    let both = [
        ("x-api-key", gate.good_key.as_str()),
        ("authorization", &format!("Bearer {}", gate.good_jwt)),
    ];
    assert_eq!(of(&both), None, "two that differ are none");
    let hasher = |byte| KeyHasher::new(&[byte; 32]).expect("long enough");
    let unknown = ApiKeySecret::sealed(&hasher(5), UserId::new());
    assert!(
        any.holder_of(unknown.expose()).is_some(),
        "whether it is there only the store knows"
    );
    let forged = gate.good_jwt.replacen('.', ".e", 1);
    for bad in [
        "",
        ".",
        "a.b.c",
        "lg_",
        &forged,
        &"a.".repeat(5000),
        ApiKeySecret::generate().expose(),
        ApiKeySecret::sealed(&hasher(6), UserId::new()).expose(),
        OperatorSecret::generate().expose(),
    ] {
        assert_eq!(any.holder_of(bad), None, "{bad:.40}");
    }
    assert_eq!(gate.any.holder_of(operator.expose()), None, "there is none");
}

#[tokio::test]
async fn the_operator_key_is_known_by_its_hash_in_either_header() {
    let gate = Gate::new().await;
    let key = OperatorSecret::generate();
    let operated = gate.any.clone().operator(key.hash());
    let bearer = |credential: &str| format!("Bearer {credential}");
    let (text, twice) = (key.expose(), bearer(key.expose()));
    assert_eq!(told(&operated, &[("x-api-key", text)]).await, "Operator");
    assert_eq!(
        told(&operated, &[("authorization", &twice)]).await,
        "Operator"
    );
    assert_eq!(told(&gate.any, &[("x-api-key", text)]).await, "malformed");
    assert_eq!(told(&gate.jwt, &[("x-api-key", text)]).await, "malformed");
    for (credential, expected) in [
        (gate.good_jwt.as_str(), "Session"),
        (&gate.good_key, "Key"),
        (&key.hash().to_string(), "malformed"),
        (OperatorSecret::generate().expose(), "malformed"),
        (&text[..46], "malformed"),
        (&text.to_lowercase(), "malformed"),
    ] {
        let answer = told(&operated, &[("x-api-key", credential)]).await;
        assert_eq!(answer, expected, "{credential}");
    }
    // A key of an older system may have any form, also that of a JWT. This is the SHA-256 of "a.b.c".
    let hash = "845e30448809e2bc8958eb025bfc795235d13b077a53d0c3abbd2385170dc9b8";
    let older = gate.any.operator(hash.parse().expect("a hash"));
    assert_eq!(told(&older, &[("x-api-key", "a.b.c")]).await, "Operator");
    assert_eq!(told(&older, &[("x-api-key", "a.b.d")]).await, "invalid");
}

#[tokio::test]
async fn a_layer_for_one_kind_refuses_the_other() {
    let gate = Gate::new().await;
    let (jwt, key) = (gate.good_jwt.as_str(), gate.good_key.as_str());
    assert_eq!(told(&gate.jwt, &[("x-api-key", jwt)]).await, "Session");
    assert_eq!(told(&gate.jwt, &[("x-api-key", key)]).await, "malformed");
    assert_eq!(told(&gate.keys, &[("x-api-key", key)]).await, "Key");
    assert_eq!(told(&gate.keys, &[("x-api-key", jwt)]).await, "malformed");
    assert_eq!(told(&gate.jwt, &[]).await, "missing");
    assert_eq!(told(&gate.keys, &[]).await, "missing");
}

#[tokio::test]
async fn nothing_that_is_configured_prints_a_secret() {
    let gate = Gate::new().await;
    let printed = format!(
        "{:?} {:?}",
        AnyAuthLayer::new(gate.any.clone()),
        gate.any.authenticate(&HeaderMap::new())
    );
    for secret in [&gate.good_jwt, &gate.good_key, "[3, 3", "[5, 5"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}
