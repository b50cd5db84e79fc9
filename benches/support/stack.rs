//! The stacks that are compared, from nothing at all to the whole gate.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::Full;
use llm_gate::auth::{
    AnyAuthLayer, AnyVerifier, ApiKeySecret, ApiKeyVerifier, JwtIssuer, JwtVerifier, KeyHasher,
    PresentedKey, SigningKey,
};
use llm_gate::call::{CallLayer, EditLayer, Model, Models};
use llm_gate::clock::SystemClock;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, Role, Subject, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::limit::{Rate, RateLimitLayer};
use llm_gate::meter::TokenMeterLayer;
use llm_gate::quota::QuotaLayer;
use llm_gate::store::{
    Author, CredentialStore, LedgerStore, MemoryStore, NewApiKey, NewUser, UserStore,
};
use llm_gate::tokens::Tokens;
use tower::{Layer, Service};

use crate::cpu;
use crate::drive::{exchange, now};
use crate::wire::{Asks, Script, ScriptBody};

/// More than one thread can ask.
const RATE: Rate = Rate::per_second(NonZeroU32::MAX);

/// The innermost service: answers at once.
#[derive(Clone, Debug)]
pub struct Upstream(pub Script);

impl<B> Service<Request<B>> for Upstream {
    type Response = Response<ScriptBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        drop(request);
        ready(Ok(self.0.response()))
    }
}

/// A gate with one user, who has an API key, a JWT and a limit that is never reached.
struct Gate {
    auth: AnyAuthLayer,
    limit: RateLimitLayer,
    call: CallLayer,
    quota: QuotaLayer,
    api_key: String,
    jwt: String,
}

impl Gate {
    fn new() -> Self {
        let clock = Arc::new(SystemClock);
        let store = Arc::new(MemoryStore::new());
        let (user, project) = (UserId::new(), ProjectId::new());
        now(store.create_user(NewUser {
            id: user,
            email: None,
            username: Some("bench".to_owned()),
            email_verified: false,
            name: None,
            password_hash: None,
            identity: None,
            role: Role::User,
            personal_project: project,
            personal_project_name: "bench".to_owned(),
            token_limit: None,
            invite: None,
            author: Author::now(),
        }))
        .expect("a new user");
        now(store.set_limit(Subject::User(user), Some(Tokens::MAX))).expect("in memory");

        let hasher = KeyHasher::new(b"thirty-two bytes of pepper, or more").expect("long enough");
        let secret = ApiKeySecret::generate();
        let api_key = secret.expose().to_owned();
        let presented = PresentedKey::parse(&api_key).expect("a key of ours");
        now(store.create_key(NewApiKey {
            id: KeyId::new(),
            public_id: presented.public_id().to_owned(),
            hash: hasher.hash(&presented),
            name: "bench".to_owned(),
            user,
            project,
            grants: KeyGrants::default(),
            expires_at: None,
            at_most: None,
            author: Author::now(),
        }))
        .expect("a new key");
        let keys = ApiKeyVerifier::new(store.clone(), hasher, clock.clone());

        let (issuer, audience) = ("https://gate.example", "llm-gate");
        let signing =
            SigningKey::hs256(b"thirty-two bytes or more, in secret").expect("long enough");
        let verifying = signing.verifying_key();
        let jwt = JwtIssuer::new(issuer, audience, signing, clock.clone())
            .issue(user, project, Role::User, Duration::from_secs(36_000))
            .expect("can be signed")
            .jwt;
        let jwts = JwtVerifier::new(issuer, audience, [verifying], clock.clone()).expect("one key");

        let model = Model::new("tiny").context_length(32_768);
        Self {
            auth: AnyAuthLayer::new(AnyVerifier::new(jwts, keys)),
            limit: RateLimitLayer::per_principal(RATE, clock),
            call: CallLayer::new(Models::fixed([model])).running_usage(true),
            quota: QuotaLayer::new(Ledger::spawn(store.clone())),
            api_key,
            jwt,
        }
    }
}

/// Which layers stand over the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// None.
    Bare,
    /// Authentication by a JWT that was seen before.
    Jwt,
    /// Authentication by an API key that was seen before.
    Key,
    /// The reading of the request, and the edits.
    Call,
    /// The meter, which without the reading of the request takes nothing out.
    Meter,
    /// Authentication (by key) and a rate limit that is never reached.
    KeyLimit,
    /// Authentication (by key) and the reading of the request.
    KeyCall,
    /// The same and the meter.
    KeyCallMeter,
    /// The same and the quota: the whole gate.
    Whole,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Bare,
        Self::Jwt,
        Self::Key,
        Self::Call,
        Self::Meter,
        Self::KeyLimit,
        Self::KeyCall,
        Self::KeyCallMeter,
        Self::Whole,
    ];

    /// Returns its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Jwt => "auth_jwt",
            Self::Key => "auth_key",
            Self::Call => "call",
            Self::Meter => "meter",
            Self::KeyLimit => "auth+limit",
            Self::KeyCall => "auth+call",
            Self::KeyCallMeter => "auth+call+meter",
            Self::Whole => "auth+call+quota+meter",
        }
    }
}

/// Sends one request through the stack, reads the answer to its end, and returns how long that was.
pub type Exchange = Box<dyn FnMut() -> usize>;

/// One stack over one answer, with the request that is sent through it.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The layers.
    pub case: Case,
    /// The upstream's answer.
    pub script: Script,
    /// The request.
    pub asks: Asks,
}

impl Setup {
    /// Builds the stack anew. Needs a tokio runtime around it, and none afterwards.
    #[must_use]
    pub fn build(&self) -> Exchange {
        let gate = Gate::new();
        let credential = match self.case {
            Case::Jwt => &gate.jwt,
            _ => &gate.api_key,
        };
        let request = Template::new(self.asks, credential);
        let bare = Upstream(self.script.clone());
        let (call, edit, meter) = (&gate.call, EditLayer::new(), TokenMeterLayer::new());
        match self.case {
            Case::Bare => boxed(bare, request),
            Case::Jwt | Case::Key => boxed(gate.auth.layer(bare), request),
            Case::Call => boxed(call.layer(edit.layer(bare)), request),
            Case::Meter => boxed(meter.layer(bare), request),
            Case::KeyLimit => boxed(gate.auth.layer(gate.limit.layer(bare)), request),
            Case::KeyCall => boxed(gate.auth.layer(call.layer(edit.layer(bare))), request),
            Case::KeyCallMeter => {
                let metered = meter.layer(edit.layer(bare));
                boxed(gate.auth.layer(call.layer(metered)), request)
            }
            Case::Whole => {
                let metered = meter.layer(edit.layer(bare));
                boxed(
                    gate.auth.layer(call.layer(gate.quota.layer(metered))),
                    request,
                )
            }
        }
    }

    /// Measures the CPU time of `iterations` exchanges, with a fresh stack for every few thousand of
    /// them: the store in memory keeps every reservation.
    #[must_use]
    pub fn measure(&self, iterations: u64) -> Duration {
        const FRESH: u64 = 4096;
        let mut total = Duration::ZERO;
        let mut left = iterations;
        while left > 0 {
            let mut exchange = self.build();
            // The credential is looked up and remembered.
            exchange();
            let start = cpu::thread();
            for _ in 0..left.min(FRESH) {
                exchange();
            }
            total += cpu::thread().saturating_sub(start);
            left -= left.min(FRESH);
        }
        total
    }
}

/// The parts of a request that all requests share.
struct Template {
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Template {
    fn new(asks: Asks, credential: &str) -> Self {
        let body = crate::wire::request(asks);
        let bearer = HeaderValue::try_from(format!("Bearer {credential}")).expect("visible ASCII");
        let headers = [
            (HOST, HeaderValue::from_static("gate.example")),
            (USER_AGENT, HeaderValue::from_static("OpenAI/Python 2.9.0")),
            (ACCEPT, HeaderValue::from_static("application/json")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CONTENT_LENGTH, body.len().into()),
            (AUTHORIZATION, bearer),
        ];
        Self {
            uri: Uri::from_static("/v1/chat/completions"),
            headers: headers.into_iter().collect(),
            body,
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn boxed<S, B>(mut service: S, template: Template) -> Exchange
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + 'static,
    B: http_body::Body<Data = Bytes>,
{
    Box::new(move || exchange(&mut service, template.request()))
}
