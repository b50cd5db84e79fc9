//! A provider on loopback that people log in with: OpenID Connect, and GitHub's API. It checks what the standards ask it to
//! check, signs for good, and does what a test wants.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use axum::body::Body;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::stream;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{ACCEPT, AUTHORIZATION, LOCATION, USER_AGENT};
use http::{HeaderMap, StatusCode};
use llm_gate::auth::{JwkSet, VerifyingKey};
use llm_gate_gateway::config::{Config, OAuthConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// When the clock of a test starts.
pub const NOW: i64 = 1_767_225_600;
pub const CLIENT: &str = "gate:7";
/// With what a header and a form write differently.
pub const SECRET: &str = "client secret: 100% & more";
const KID: &str = "2026";

type Parameters = BTreeMap<String, String>;

/// A provider. Dropped, it is gone.
pub struct Provider {
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Somebody who has an account there.
#[derive(Clone)]
pub struct Person {
    pub subject: &'static str,
    pub email: Option<&'static str>,
    pub verified: bool,
}

pub const ADA: Person = Person {
    subject: "248289761001",
    email: Some("Ada@Example.org"),
    verified: true,
};

/// What it does with a request instead of answering it.
#[derive(Clone)]
pub enum Trouble {
    /// Answers this.
    Answers(StatusCode, String),
    /// Sends the client elsewhere.
    Redirects(String),
    /// Sends a body without end.
    Endless,
    /// Says nothing.
    Silent,
}

/// How a token is made.
pub enum Signature {
    /// As it should be.
    Good,
    /// By nobody, with `alg: none`.
    None,
    /// With the published key as if it were a shared secret.
    SharedPublicKey,
    /// With a key that is not published, under the name of one that is.
    AnotherKey,
}

type Change = Box<dyn Fn(&mut Value) + Send>;

/// What it does. Tests change it.
pub struct Script {
    pub person: Person,
    /// Changes what it says of itself.
    pub discovered: Change,
    /// Changes the claims of an ID token.
    pub claims: Change,
    pub header: Change,
    pub signature: Signature,
    /// What it does with requests for a path.
    pub trouble: BTreeMap<&'static str, Trouble>,
    /// Whether it sends `iss` along, and which.
    pub issuer: Option<String>,
    /// Whether it takes a code twice.
    pub forgetful: bool,
    /// Whether addresses stand in ID tokens.
    pub tells_in_token: bool,
    /// What it says when it is asked who somebody is.
    pub userinfo: Change,
    /// What GitHub says of addresses instead.
    pub emails: Option<Value>,
}

struct Shared {
    url: String,
    key: RsaKeyPair,
    script: Mutex<Script>,
    codes: Mutex<BTreeMap<String, Parameters>>,
    /// Whom an access token is for.
    access: Mutex<BTreeMap<String, Person>>,
    used: Mutex<BTreeSet<String>>,
    asked: Mutex<Vec<String>>,
    /// All the secrets that it has given out or has been told.
    secrets: Mutex<Vec<String>>,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let shared = Arc::new(Shared {
            url: url.clone(),
            key: new_key(),
            script: Mutex::new(Script {
                person: ADA,
                discovered: Box::new(|_| ()),
                claims: Box::new(|_| ()),
                header: Box::new(|_| ()),
                signature: Signature::Good,
                trouble: BTreeMap::new(),
                issuer: None,
                forgetful: false,
                tells_in_token: true,
                userinfo: Box::new(|_| ()),
                emails: None,
            }),
            codes: Mutex::default(),
            access: Mutex::default(),
            used: Mutex::default(),
            asked: Mutex::default(),
            secrets: Mutex::default(),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(discover))
            .route("/keys", get(keys))
            .route("/authorize", get(authorize))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .route("/user", get(user))
            .route("/user/emails", get(emails))
            .layer(axum::middleware::from_fn_with_state(
                Arc::clone(&shared),
                troubled,
            ))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Self { url, shared, task }
    }

    /// Dates its ID tokens by the clock of the machine, which a gateway in a process of its own has.
    pub fn by_the_clock_of_the_machine(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("after 1970").as_secs();
        self.script().claims = Box::new(move |claims| {
            claims["iat"] = now.into();
            claims["exp"] = (now + 600).into();
        });
    }

    /// Changes what it does.
    pub fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().expect("no panic")
    }

    /// Lists the paths that it was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no panic").clone()
    }

    /// Lists what nobody else may ever see.
    pub fn secrets(&self) -> Vec<String> {
        self.shared.secrets.lock().expect("no panic").clone()
    }

    /// Ends it: who asks is refused the connection.
    pub async fn gone(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    /// Settings for people to log in here, as operators write them; client and secret are in variables.
    #[must_use]
    pub fn file(&self) -> String {
        let url = &self.url;
        format!(
            "[oauth.google]\nissuer = \"{url}\"\n\
             [oauth.github]\nissuer = \"{url}/login/oauth\"\nauthorize_url = \"{url}/authorize\"\n\
             token_url = \"{url}/token\"\napi_url = \"{url}\"\n"
        )
    }

    /// Settings for people to log in here, under three names.
    pub fn known(&self) -> impl FnOnce(&mut Config) {
        let url = self.url.clone();
        move |config| {
            let known = OAuthConfig {
                client_id: Some(CLIENT.to_owned()),
                client_secret: Some(SECRET.into()),
                issuer: Some(url.clone()),
                ..OAuthConfig::default()
            };
            let github = OAuthConfig {
                issuer: Some(format!("{url}/login/oauth")),
                authorize_url: Some(format!("{url}/authorize")),
                token_url: Some(format!("{url}/token")),
                api_url: Some(url),
                ..known.clone()
            };
            config.oauth.insert("google".to_owned(), known);
            config.oauth.insert("github".to_owned(), github);
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no panic")
    }

    fn keep(&self, secret: &str) {
        let mut secrets = self.secrets.lock().expect("no panic");
        secrets.push(secret.to_owned());
    }

    fn published(&self) -> String {
        let parts = RsaPublicKeyComponents::<Vec<u8>>::from(self.key.public_key());
        let key = VerifyingKey::rs256(KID, &parts.n, &parts.e).expect("a key");
        JwkSet::of([&key]).to_json()
    }

    /// Makes an ID token for who has come with `grant`.
    fn id_token(&self, grant: &Parameters) -> String {
        let script = self.script();
        let person = &script.person;
        let mut claims = json!({
            "iss": self.url, "sub": person.subject, "aud": CLIENT, "exp": NOW + 3600, "iat": NOW,
            "nonce": grant["nonce"], "at_hash": "x", "name": "Ada Lovelace",
        });
        if script.tells_in_token {
            claims["email"] = person.email.into();
            claims["email_verified"] = person.verified.into();
        }
        (script.claims)(&mut claims);
        let mut header = json!({ "alg": "RS256", "kid": KID, "typ": "JWT" });
        let signature = &script.signature;
        match signature {
            Signature::None => header["alg"] = "none".into(),
            Signature::SharedPublicKey => header["alg"] = "HS256".into(),
            Signature::Good | Signature::AnotherKey => {}
        }
        (script.header)(&mut header);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let part = |json: &Value| encode(json.to_string().as_bytes());
        let message = format!("{}.{}", part(&header), part(&claims));
        let signature = match signature {
            Signature::None => Vec::new(),
            Signature::SharedPublicKey => {
                let key = self.published();
                let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
                mac.chain_update(&message).finalize().into_bytes().to_vec()
            }
            Signature::Good => sign(&self.key, &message),
            Signature::AnotherKey => sign(&new_key(), &message),
        };
        let token = format!("{message}.{}", encode(&signature));
        self.keep(&token);
        token
    }
}

fn new_key() -> RsaKeyPair {
    RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers")
}

fn sign(key: &RsaKeyPair, message: &str) -> Vec<u8> {
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(
        &RSA_PKCS1_SHA256,
        &random,
        message.as_bytes(),
        &mut signature,
    )
    .expect("signs");
    signature
}

async fn troubled(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let path = request.uri().path().to_owned();
    assert!(
        request.headers().contains_key(ACCEPT) || path == "/authorize",
        "it says what it wants"
    );
    shared.asked.lock().expect("no panic").push(path.clone());
    let trouble = shared.script().trouble.get(&*path).cloned();
    match trouble {
        None => next.run(request).await,
        Some(Trouble::Answers(status, body)) => (status, body).into_response(),
        Some(Trouble::Redirects(url)) => {
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response()
        }
        Some(Trouble::Endless) => {
            let chunk = || Ok::<_, std::io::Error>(" ".repeat(1024));
            Body::from_stream(stream::repeat_with(chunk)).into_response()
        }
        Some(Trouble::Silent) => std::future::pending().await,
    }
}

async fn discover(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let url = &shared.url;
    let script = shared.script();
    let mut said = json!({
        "issuer": url,
        "authorization_endpoint": format!("{url}/authorize?tenant=1"),
        "token_endpoint": format!("{url}/token"),
        "jwks_uri": format!("{url}/keys"),
        "userinfo_endpoint": format!("{url}/userinfo"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "authorization_response_iss_parameter_supported": script.issuer.is_some(),
    });
    (script.discovered)(&mut said);
    Json(said)
}

async fn keys(State(shared): State<Arc<Shared>>) -> String {
    shared.published()
}

/// Somebody is logged in there already, and agrees to everything.
async fn authorize(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Parameters>,
) -> Result<Redirect, String> {
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("code_challenge_method", "S256"),
    ] {
        if asked.get(name).map(String::as_str) != Some(value) {
            return Err(format!("{name} must be {value}"));
        }
    }
    let long = |name: &str| asked.get(name).is_some_and(|value| value.len() == 43);
    if !long("state") || !long("code_challenge") {
        return Err("state and challenge are of 256 bits".to_owned());
    }
    let code: [u8; 16] = rand::random();
    let code = format!("code-{}", URL_SAFE_NO_PAD.encode(code));
    shared.keep(&code);
    let mut back = vec![
        ("code", code.clone()),
        ("state", asked["state"].clone()),
        // What providers send beside it, and nobody asked for.
        ("scope", asked["scope"].clone()),
        ("authuser", "0".to_owned()),
    ];
    back.extend(shared.script().issuer.clone().map(|issuer| ("iss", issuer)));
    let redirect = asked["redirect_uri"].clone();
    shared.codes.lock().expect("no panic").insert(code, asked);
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(back)
        .finish();
    Ok(Redirect::to(&format!("{redirect}?{query}")))
}

/// Checks what RFC 6749 (section 4.1.3) and RFC 7636 (section 4.6) ask for.
async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(given): Form<Parameters>,
) -> (StatusCode, Json<Value>) {
    let refuse = |status, word: &str| {
        (
            status,
            Json(json!({ "error": word, "error_description": word })),
        )
    };
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    shared.keep(&of("code_verifier"));
    let client = match headers.get(AUTHORIZATION) {
        Some(basic) => {
            let basic = basic.to_str().expect("text").strip_prefix("Basic ");
            let both = STANDARD.decode(basic.expect("basic")).expect("base64");
            let both = String::from_utf8(both).expect("text");
            let (id, secret) = both.split_once(':').expect("two");
            let decode = |text: &str| {
                let mut pairs = form_urlencoded::parse(text.as_bytes());
                pairs.next().map(|(name, _)| name.into_owned())
            };
            (
                decode(id).unwrap_or_default(),
                decode(secret).unwrap_or_default(),
            )
        }
        None => (of("client_id"), of("client_secret")),
    };
    if client != (CLIENT.to_owned(), SECRET.to_owned()) {
        return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
    }
    let code = of("code");
    let grant = shared.codes.lock().expect("no panic").get(&code).cloned();
    let github = grant
        .as_ref()
        .is_some_and(|grant| grant["scope"] == "user:email");
    let refused = || match github {
        // With status 200.
        true => refuse(StatusCode::OK, "bad_verification_code"),
        false => refuse(StatusCode::BAD_REQUEST, "invalid_grant"),
    };
    let Some(grant) = grant else {
        return refused();
    };
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(of("code_verifier")));
    let fresh = shared.used.lock().expect("no panic").insert(code);
    if of("grant_type") != "authorization_code"
        || of("redirect_uri") != grant["redirect_uri"]
        || challenge != grant["code_challenge"]
        || !(fresh || shared.script().forgetful)
    {
        return refused();
    }
    let access: [u8; 16] = rand::random();
    let access = format!("access-{}", URL_SAFE_NO_PAD.encode(access));
    shared.keep(&access);
    let person = shared.script().person.clone();
    let mut all = shared.access.lock().expect("no panic");
    all.insert(access.clone(), person);
    let mut answer = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 3600 });
    if !github {
        answer["id_token"] = shared.id_token(&grant).into();
    }
    (StatusCode::OK, Json(answer))
}

fn bearer(shared: &Shared, headers: &HeaderMap) -> Result<Person, StatusCode> {
    assert!(
        headers.contains_key(USER_AGENT),
        "GitHub wants to know who asks"
    );
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let all = shared.access.lock().expect("no panic");
    let person = bearer.and_then(|bearer| all.get(bearer)).cloned();
    person.ok_or(StatusCode::UNAUTHORIZED)
}

async fn userinfo(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let person = bearer(&shared, &headers)?;
    let mut said = json!({
        "sub": person.subject, "email": person.email, "email_verified": person.verified,
    });
    (shared.script().userinfo)(&mut said);
    Ok(Json(said))
}

async fn user(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let person = bearer(&shared, &headers)?;
    let id: u64 = person.subject.parse().expect("a number");
    // The address that somebody shows is one that anybody can write there.
    let said = json!({ "login": "ada", "id": id, "email": "shown@example.org", "name": null });
    Ok(Json(said))
}

async fn emails(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let person = bearer(&shared, &headers)?;
    let own = json!([
        { "email": "second@example.org", "primary": false, "verified": true, "visibility": null },
        { "email": person.email, "primary": true, "verified": person.verified, "visibility": "private" },
    ]);
    Ok(Json(shared.script().emails.clone().unwrap_or(own)))
}

/// Takes a URL apart: whom to ask, and for what.
pub fn place(url: &str) -> (SocketAddr, String) {
    let url: http::Uri = url.parse().expect("a URL");
    let address = url.authority().expect("absolute").as_str();
    let path = url.path_and_query().expect("a path").to_string();
    (address.parse().expect("an address"), path)
}
