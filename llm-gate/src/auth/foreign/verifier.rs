use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use super::claims::{ACCESS, Claimed};
use super::fetch::Fetcher;
use super::keys::{Found, Keys};
use super::unproven::Unproven;
use super::{Account, Accounts, ForeignIssuer, InvalidIssuer};
use crate::auth::jwt::decode;
use crate::auth::{
    AuthError, Authenticate, Authenticating, JwtAlgorithm, OtherIssuers, bearer, crypto,
};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Holder, Principal};

/// How many checked tokens are remembered.
const CAPACITY: usize = 16 * 1024;

/// How long it is remembered whose account a subject is: a disabled user stops within this time.
const ACCOUNT_LIFE: Duration = Duration::from_secs(1);

/// Recognises users by the tokens of other issuers. See the [module](super) page.
///
/// A token that was good is remembered by its SHA-256, until its end, or until its issuer changes its keys.
/// Clones share that memory and the keys.
///
/// # Cancel safety
///
/// A fetch that was begun goes on when nobody waits for it any more: it is bounded, and others need it.
#[derive(Clone)]
pub struct ForeignVerifier {
    shared: Arc<Shared>,
}

struct Shared {
    issuers: Vec<Arc<Keys>>,
    accounts: Arc<dyn Accounts>,
    clock: Arc<dyn Clock>,
    seen: Cache<[u8; 32], Arc<Seen>>,
}

/// A token that was good when it was first seen.
struct Seen {
    issuer: Arc<Keys>,
    kid: String,
    algorithm: JwtAlgorithm,
    generation: u64,
    subject: String,
    expires_at: Timestamp,
    account: Mutex<Option<(Timestamp, Account)>>,
}

impl ForeignVerifier {
    /// Takes the tokens of `issuers`, for those subjects that have an account by `accounts`.
    ///
    /// # Errors
    ///
    /// Fails with [`InvalidIssuer::Ambiguous`] if two issuers have the same name.
    ///
    /// # Panics
    ///
    /// Without the feature `aws-lc-rs`, panics if the process has not installed a back end of
    /// `jsonwebtoken`: here rather than at the first request.
    pub fn new(
        issuers: impl IntoIterator<Item = ForeignIssuer>,
        accounts: Arc<dyn Accounts>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InvalidIssuer> {
        crypto::require();
        let fetcher = Fetcher::new();
        let mut known: Vec<Arc<Keys>> = Vec::new();
        for issuer in issuers {
            if known.iter().any(|one| one.issuer.issuer == issuer.issuer) {
                return Err(InvalidIssuer::Ambiguous);
            }
            known.push(Arc::new(Keys::new(
                issuer,
                fetcher.clone(),
                Arc::clone(&clock),
            )));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                issuers: known,
                accounts,
                clock,
                seen: Cache::new(CAPACITY),
            }),
        })
    }

    /// Finds the issuer that a token says it is of.
    fn issuer_of(&self, jwt: &str) -> Option<&Arc<Keys>> {
        let (message, _) = jwt.rsplit_once('.')?;
        let (_, claims) = message.split_once('.')?;
        let claimed: Claimed = decode(claims).ok()?;
        let mut issuers = self.shared.issuers.iter();
        issuers.find(|one| one.issuer.issuer == claimed.iss)
    }

    fn known(&self, digest: &[u8; 32]) -> Option<Authenticating> {
        let seen = self.shared.seen.get(digest)?;
        let now = self.shared.clock.now();
        if now >= seen.expires_at.after(seen.issuer.issuer.leeway) {
            return Some(Authenticating::ready(Err(AuthError::Expired)));
        }
        // Asked each time, so that keys are fetched again in time also for tokens seen before.
        match seen.issuer.look(&seen.kid, seen.algorithm, true) {
            Found::Key(key) if key.generation == seen.generation => {}
            _ => return None,
        }
        Some(match seen.account(now) {
            Some(account) => Authenticating::ready(admit(&account)),
            None => Authenticating::waiting(Arc::clone(&self.shared).ask(seen)),
        })
    }
}

impl OtherIssuers for ForeignVerifier {
    fn check(&self, jwt: &str) -> Option<Authenticating> {
        let digest = Sha256::digest(jwt).into();
        if let Some(answer) = self.known(&digest) {
            return Some(answer);
        }
        let issuer = self.issuer_of(jwt)?;
        // From here on it is ours to judge.
        Some(match Unproven::read(jwt, &issuer.issuer, ACCESS) {
            Ok(token) => Authenticating::waiting(Arc::clone(&self.shared).prove(
                Arc::clone(issuer),
                digest,
                token,
            )),
            Err(error) => Authenticating::ready(Err(error)),
        })
    }

    fn holder(&self, jwt: &str) -> Option<Holder> {
        let issuer = self.issuer_of(jwt)?;
        let token = Unproven::read(jwt, &issuer.issuer, ACCESS).ok()?;
        token.proven(issuer, &*self.shared.clock).then(|| {
            let issuer = issuer.issuer.issuer.as_str();
            Holder::of("subject", [issuer, &token.claims.sub])
        })
    }
}

impl Shared {
    async fn prove(
        self: Arc<Self>,
        issuer: Arc<Keys>,
        digest: [u8; 32],
        token: Unproven,
    ) -> Result<Principal, AuthError> {
        let generation = token.prove(&issuer, &*self.clock).await?;
        let seen = Arc::new(Seen {
            generation,
            expires_at: token.claims.expires_at(),
            subject: token.claims.sub,
            kid: token.kid,
            algorithm: token.algorithm,
            issuer,
            account: Mutex::default(),
        });
        self.seen.insert(digest, Arc::clone(&seen));
        self.ask(seen).await
    }

    /// Asks whose account it is.
    async fn ask(self: Arc<Self>, seen: Arc<Seen>) -> Result<Principal, AuthError> {
        let now = self.clock.now();
        let asking = self
            .accounts
            .account(&seen.issuer.issuer.issuer, &seen.subject);
        match asking.await.map_err(AuthError::Unavailable)? {
            Some(account) => {
                let mut remembered = seen.account.lock().unwrap_or_else(PoisonError::into_inner);
                *remembered = Some((now, account));
                admit(&account)
            }
            None => Err(AuthError::Invalid),
        }
    }
}

impl Seen {
    fn account(&self, now: Timestamp) -> Option<Account> {
        let remembered = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        let (asked_at, account) = (*remembered)?;
        let young = asked_at <= now && now.since(asked_at) < ACCOUNT_LIFE;
        young.then_some(account)
    }
}

fn admit(account: &Account) -> Result<Principal, AuthError> {
    if account.disabled {
        Err(AuthError::Revoked)
    } else {
        Ok(account.principal())
    }
}

impl Authenticate for ForeignVerifier {
    type Future = Authenticating;

    fn authenticate(&self, headers: &HeaderMap) -> Self::Future {
        let jwt = match bearer::credential(headers) {
            Ok(jwt) => jwt,
            Err(error) => return Authenticating::ready(Err(error)),
        };
        let nobody = || Authenticating::ready(Err(AuthError::Invalid));
        self.check(jwt).unwrap_or_else(nobody)
    }
}

impl fmt::Debug for ForeignVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let issuers = self.shared.issuers.iter().map(|keys| &keys.issuer);
        f.debug_struct("ForeignVerifier")
            .field("issuers", &issuers.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
