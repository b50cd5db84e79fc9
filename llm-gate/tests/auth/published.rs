//! An issuer of others on loopback: signs tokens, and publishes its keys over HTTP, well or badly.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use llm_gate::auth::{
    Account, Accounts, ForeignIssuer, ForeignVerifier, JwkSet, JwtAlgorithm, OtherIssuers,
    VerifyingKey,
};
use llm_gate::identity::{ProjectId, UserId};
use llm_gate::store::{StoreError, StoreErrorKind, StoreFuture};
use llm_gate::test_util::ManualClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::forge::{NOW, b64, reason};

pub(crate) const FOREIGN: &str = "https://login.test";
pub(crate) const MEANT: &str = "our-api";
pub(crate) const EVERY: [JwtAlgorithm; 3] = [
    JwtAlgorithm::EdDsa,
    JwtAlgorithm::Es256,
    JwtAlgorithm::Rs256,
];

/// A private key that signs whatever it is given.
pub(crate) struct Signer {
    pub(crate) public: VerifyingKey,
    kind: Kind,
}

enum Kind {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(crate) fn new(kid: &str, algorithm: JwtAlgorithm) -> Self {
        let (public, kind) = match algorithm {
            JwtAlgorithm::EdDsa => {
                let key = Ed25519KeyPair::generate().expect("random numbers");
                let public = VerifyingKey::ed25519(kid, key.public_key().as_ref());
                (public, Kind::Ed(key))
            }
            JwtAlgorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                let key = key.expect("random numbers");
                let public = VerifyingKey::es256(kid, key.public_key().as_ref());
                (public, Kind::Ec(key))
            }
            _ => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).expect("random numbers");
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                let public = VerifyingKey::rs256(kid, &parts.n, &parts.e);
                (public, Kind::Rsa(key))
            }
        };
        Self {
            public: public.expect("a key"),
            kind,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Ed(key) => key.sign(message).as_ref().to_vec(),
            Kind::Ec(key) => key.sign(&random, message).expect("signs").as_ref().to_vec(),
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .expect("signs");
                signature
            }
        }
    }

    /// Signs a token of any header and claims.
    pub(crate) fn jwt(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", b64(header), b64(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.public.algorithm().as_str(), "kid": self.public.id() })
    }

    /// Signs a good token of somebody.
    pub(crate) fn good(&self, subject: &str) -> String {
        let mut claims = foreign_claims();
        claims["sub"] = subject.into();
        self.jwt(&self.header().to_string(), &claims.to_string())
    }
}

pub(crate) fn foreign_claims() -> Value {
    json!({ "iss": FOREIGN, "sub": "ada", "aud": MEANT, "exp": NOW + 3600 })
}

pub(crate) fn set_of<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Answer {
    let keys = signers.into_iter().map(|signer| &signer.public);
    Answer::ok(&JwkSet::of(keys).to_json())
}

/// What the server of keys does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Sends these bytes and closes.
    Bytes(String),
    /// As `Bytes`, as soon as it is let go.
    Held(String),
    /// Says nothing and keeps the connection.
    Silent,
    /// Sends a body without end.
    Endless,
}

impl Answer {
    pub(crate) fn ok(body: &str) -> Self {
        Self::status("200 OK", body)
    }

    pub(crate) fn status(status: &str, body: &str) -> Self {
        let length = body.len();
        Self::Bytes(format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
    }

    pub(crate) fn held(self) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Held(bytes),
            other => other,
        }
    }
}

/// A server of keys. Counts how often it is asked.
pub(crate) struct Publisher {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
    gate: Semaphore,
}

impl Publisher {
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            answer: Mutex::new(answer),
            asked: AtomicUsize::new(0),
            gate: Semaphore::new(0),
        });
        let task = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                // Ends with the task, and its connections with it.
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(Arc::clone(&shared).serve(stream));
                }
            }
        });
        Self {
            address,
            shared,
            task,
        }
    }

    pub(crate) fn publish(&self, answer: Answer) {
        *self.shared.answer.lock().expect("no panic") = answer;
    }

    pub(crate) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Lets held answers go.
    pub(crate) fn let_go(&self) {
        self.shared.gate.close();
    }

    /// Ends it: who asks is refused the connection.
    pub(crate) async fn gone(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => return,
            }
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().expect("no panic").clone();
        match answer {
            Answer::Bytes(bytes) => drop(stream.write_all(bytes.as_bytes()).await),
            Answer::Held(bytes) => {
                // Closed when it is let go.
                let _ = self.gate.acquire().await;
                drop(stream.write_all(bytes.as_bytes()).await);
            }
            Answer::Silent => {
                // Until the other side gives up.
                let _ = stream.read_u8().await;
            }
            Answer::Endless => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    let chunk = format!("400\r\n{}\r\n", " ".repeat(1024));
                    sent = stream.write_all(chunk.as_bytes()).await;
                }
            }
        }
    }
}

/// The accounts here.
#[derive(Debug, Default)]
pub(crate) struct People {
    pub(crate) known: Mutex<HashMap<(String, String), Account>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) down: AtomicBool,
}

impl People {
    pub(crate) fn put(&self, subject: &str, account: Account) {
        let name = (FOREIGN.to_owned(), subject.to_owned());
        self.known.lock().expect("no panic").insert(name, account);
    }
}

impl Accounts for People {
    fn account<'a>(
        &'a self,
        issuer: &'a str,
        subject: &'a str,
    ) -> StoreFuture<'a, Option<Account>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            if self.down.load(Ordering::SeqCst) {
                return Err(StoreError::new(StoreErrorKind::Unavailable));
            }
            let name = (issuer.to_owned(), subject.to_owned());
            Ok(self.known.lock().expect("no panic").get(&name).copied())
        })
    }
}

/// A gate that takes the tokens of one issuer, and somebody who has an account.
pub(crate) struct Login {
    pub(crate) publisher: Publisher,
    pub(crate) clock: ManualClock,
    pub(crate) people: Arc<People>,
    pub(crate) ada: Account,
    pub(crate) verifier: ForeignVerifier,
}

impl Login {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::start_with(answer, |issuer| issuer).await
    }

    pub(crate) async fn start_with(
        answer: Answer,
        change: impl FnOnce(ForeignIssuer) -> ForeignIssuer,
    ) -> Self {
        let publisher = Publisher::start(answer).await;
        let url = format!("http://{}/keys", publisher.address);
        let url = url.parse().expect("a URL");
        let issuer = ForeignIssuer::new(FOREIGN, MEANT, url, EVERY).expect("safe");
        let clock = ManualClock::new();
        let people = Arc::new(People::default());
        let ada = Account::new(UserId::new(), ProjectId::new());
        people.put("ada", ada);
        let verifier = ForeignVerifier::new(
            [change(issuer)],
            Arc::clone(&people) as _,
            Arc::new(clock.clone()),
        );
        Self {
            publisher,
            clock,
            people,
            ada,
            verifier: verifier.expect("one issuer"),
        }
    }

    pub(crate) async fn check(&self, jwt: &str) -> &'static str {
        match self.verifier.check(jwt) {
            Some(answer) => reason(answer.await),
            None => "not theirs",
        }
    }

    /// Checks until the answer is this one: what brings it about happens beside the requests.
    pub(crate) async fn until(&self, jwt: &str, expected: &str) {
        let waiting = async {
            while self.check(jwt).await != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect(expected);
    }
}
