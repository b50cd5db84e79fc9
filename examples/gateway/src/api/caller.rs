use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::header::USER_AGENT;
use http::request::Parts;
use llm_gate::address::{ClientAddress, Network};
use llm_gate::error::Rejection;
use llm_gate::identity::{
    Credential, KeyGrants, Principal, ProjectId, RequestId, Role, Scope, SessionId, Subject,
};
use llm_gate::limit::{Endpoint, Exceeded};
use llm_gate::store::{Actor, ApiKeyRecord, Author, KeyName, StoreError, User};

use super::error::ApiError;
use crate::app::App;
use crate::edge::Caller;

/// A caller with any credential, looked up now: a disabled user is refused although its credential is
/// still good.
pub(crate) enum Anyone {
    /// Somebody with an account.
    Account { principal: Principal, user: User },
    /// The operator key, which has none.
    Operator(Principal),
}

const NO_LOGIN: &str = "this route needs a login, not an API key";

/// A caller that manages what is its user's: one that has logged in, or a key that may manage.
pub(crate) struct Account {
    pub(crate) user: User,
    pub(crate) author: Author,
    /// Whether it acts as an admin of the platform: its user is one, and its credential may do as much.
    pub(crate) admin: bool,
    /// The key it came with, which makes no other that may do more.
    pub(crate) grants: Option<Arc<KeyGrants>>,
    /// Which key that is.
    pub(crate) key: Option<KeyName>,
    /// The only project it may see, where its key is for one.
    pub(crate) only: Option<ProjectId>,
}

/// A caller with any credential that may see which models there are.
pub(crate) struct Lister(pub(crate) Principal);

/// A caller that sets limits, or reads what was done: an admin of the platform, the operator, or whoever manages what is
/// its user's.
pub(crate) enum Steward {
    /// All there are.
    Admin(Author),
    /// Those of own projects.
    Owner(Account),
}

impl Steward {
    pub(crate) fn author(&self) -> Author {
        match self {
            Self::Admin(author) | Self::Owner(Account { author, .. }) => author.clone(),
        }
    }
}

/// A caller that reads reports of what is its user's: one that has logged in, or a key that may.
pub(crate) struct Reader(pub(crate) Account);

/// A caller that has logged in here, and who it is for the record. No API key changes a password, whatever it may manage,
/// and no token of another issuer.
pub(crate) struct Login {
    pub(crate) user: User,
    pub(crate) author: Author,
    /// Which session it is, where the credential says so.
    pub(crate) session: Option<SessionId>,
}

/// An admin that has logged in here, an admin's key that may do as much, or the operator.
pub(crate) struct Admin {
    /// Who that is, with the grants that its key has now.
    pub(crate) principal: Principal,
}

impl Admin {
    /// Refuses a key that has bounds, or limits of its own, to make admins, to change addresses, and names that are ways in,
    /// and to make links that set passwords: who is an admin by it, or gets into an account, has none.
    pub(crate) async fn makes_admins(&self, app: &App) -> Result<(), ApiError> {
        if self.is_free(app).await? {
            return Ok(());
        }
        Err(ApiError::forbidden(
            "an API key with bounds (an end, networks, models) or limits of its own makes, changes and deletes no admins, \
             changes no addresses and no names that others' tokens go by, and makes no links that set passwords: \
             use a login, or a key without",
        ))
    }

    /// Refuses such a key to let anybody manage a project.
    pub(crate) async fn gives_power(&self, app: &App) -> Result<(), ApiError> {
        if self.is_free(app).await? {
            return Ok(());
        }
        Err(no_power())
    }

    async fn is_free(&self, app: &App) -> Result<bool, ApiError> {
        let grants = self.principal.grants.as_deref();
        is_free(app, key_of(&self.principal), grants).await
    }
}

fn no_power() -> ApiError {
    ApiError::forbidden(
        "an API key with bounds (an end, networks, models) or limits of its own lets nobody manage a project",
    )
}

/// Tells whether a caller has neither bounds nor limits by the key it came with.
async fn is_free(
    app: &App,
    key: Option<KeyName>,
    grants: Option<&KeyGrants>,
) -> Result<bool, ApiError> {
    let (Some(key), Some(grants)) = (key, grants) else {
        return Ok(true);
    };
    let limits = app.store.limits(Some(Subject::Key(key.id))).await?;
    Ok(limits.is_empty() && !bounded(app, key, grants).await?)
}

/// Tells whether a key has bounds that whoever it lets in would not have.
async fn bounded(app: &App, key: KeyName, grants: &KeyGrants) -> Result<bool, ApiError> {
    if grants.models.is_some() || grants.networks.is_some() {
        return Ok(true);
    }
    let key = app.store.key(key).await?;
    Ok(key.is_none_or(|key| key.expires_at.is_some()))
}

/// As [`Admin`], and with an account, to which belongs what is made here. The operator has none.
pub(crate) struct AdminAccount(pub(crate) Account);

/// Where a request comes from.
pub(crate) struct Origin {
    pub(crate) network: Network,
    pub(crate) endpoint: Endpoint,
    /// What the client calls itself.
    pub(crate) agent: Option<String>,
    /// Who changes something here.
    pub(crate) author: Author,
    /// What the log is told.
    caller: Caller,
}

/// How much is kept of what a client calls itself, in characters.
const AGENT: usize = 200;

/// Who changes something here: whoever is known by the credential, nobody where there is none.
pub(crate) struct By(pub(crate) Author);

impl FromRequestParts<App> for By {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let actor =
            parts
                .extensions
                .get::<Principal>()
                .map(|principal| match principal.credential {
                    Credential::Key(key) => Actor::Key(key, principal.user),
                    Credential::Operator => Actor::Operator,
                    _ => Actor::User(principal.user),
                });
        Ok(Self(Author {
            actor: actor.unwrap_or(Actor::Anonymous),
            at: app.clock.now(),
            address: parts.extensions.get().map(ClientAddress::ip),
            request: parts.extensions.get().map(RequestId::to_string),
        }))
    }
}

fn agent(parts: &Parts) -> Option<String> {
    let agent = parts.headers.get(USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().take(AGENT).collect())
}

impl FromRequestParts<App> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let By(author) = By::from_request_parts(parts, app).await?;
        // Put there by the edge around all routes.
        let address = parts.extensions.get::<ClientAddress>();
        let address = address.ok_or_else(|| ApiError::defect(&"a request from nowhere"))?;
        Ok(Self {
            network: address.network(),
            endpoint: parts.extensions.get().cloned().unwrap_or_default(),
            agent: agent(parts),
            author,
            caller: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

/// Counts a credential that was refused, and tells the log why, as the layers do.
fn refused(caller: &Caller, reason: &'static str) {
    metrics::counter!("auth_failure_total", "reason" => reason).increment(1);
    caller.refused(reason);
}

impl Origin {
    /// Notes why somebody was not let in.
    pub(crate) fn refused(&self, reason: &'static str) {
        refused(&self.caller, reason);
    }

    /// Makes the answer for somebody who has failed too often.
    pub(crate) fn refuse(&self, exceeded: &Exceeded, what: &str) -> ApiError {
        exceeded.refuse(what, &self.endpoint).into()
    }
}

/// Looks up the user of a caller; `None` where it may do nothing any more, where its session has ended, and where its key
/// is revoked or over, whatever is still remembered of it, or not for `address`. Of a key the caller gets the grants it has now.
pub(super) async fn still_there(
    app: &App,
    principal: &mut Principal,
    address: Option<IpAddr>,
) -> Result<Option<User>, StoreError> {
    let now = app.clock.now();
    if let Some(session) = principal.session {
        let session = app.store.session(session, now).await?;
        if session.is_none_or(|session| session.user != principal.user) {
            return Ok(None);
        }
    }
    if let Some(name) = key_of(principal) {
        // By the secret that was presented, which may have been rotated away.
        let public_id = principal.public_id.as_deref().unwrap_or_default();
        let found = app.store.key_by_public_id(public_id.to_owned()).await?;
        let found = found.filter(|found| {
            found.key.id == name.id
                && found.key.revoked_at.is_none()
                && found.until.is_none_or(|end| end > now)
        });
        let Some(ApiKeyRecord { key, .. }) = found else {
            return Ok(None);
        };
        principal.grants = Some(Arc::new(key.grants));
        if !principal.allows_address(address) {
            return Ok(None);
        }
    }
    let user = app.store.user(principal.user).await?;
    Ok(user.filter(|user| !user.disabled))
}

impl FromRequestParts<App> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // Put there by the auth layer around these routes.
        let Some(mut principal) = parts.extensions.get::<Principal>().cloned() else {
            return Err(Rejection::unauthorized().into());
        };
        if !principal.has_account() {
            return Ok(Self::Operator(principal));
        }
        let address = parts.extensions.get().map(ClientAddress::ip);
        match still_there(app, &mut principal, address).await? {
            Some(user) => Ok(Self::Account { principal, user }),
            None => {
                // The credential was good, and what it stands for has ended.
                let caller = parts.extensions.get().cloned().unwrap_or_default();
                refused(&caller, "revoked");
                Err(Rejection::unauthorized().into())
            }
        }
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (principal, user) = match Anyone::from_request_parts(parts, app).await? {
            Anyone::Account { principal, user } => (principal, user),
            Anyone::Operator(principal) => return Ok(Self { principal }),
        };
        match principal.credential {
            _ if administers(&principal, &user) => Ok(Self { principal }),
            Credential::Session | Credential::Foreign => {
                Err(ApiError::forbidden("this route is for admins"))
            }
            _ => Err(ApiError::forbidden(
                "this route is for admins: it needs their login, or an API key of theirs with the scope \"admin\"",
            )),
        }
    }
}

impl FromRequestParts<App> for AdminAccount {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Admin::from_request_parts(parts, app).await?;
        let By(author) = By::from_request_parts(parts, app).await?;
        let Anyone::Account { principal, user } = Anyone::from_request_parts(parts, app).await?
        else {
            return Err(Rejection::account_required().into());
        };
        Ok(Self(Account {
            user,
            author,
            admin: true,
            key: key_of(&principal),
            grants: principal.grants,
            only: None,
        }))
    }
}

impl Account {
    /// Refuses a key that has bounds, or limits of its own: whoever manages a project by it has none.
    pub(crate) async fn gives_power(&self, app: &App) -> Result<(), ApiError> {
        if is_free(app, self.key, self.grants.as_deref()).await? {
            return Ok(());
        }
        Err(no_power())
    }

    async fn read(parts: &mut Parts, app: &App, scope: Scope) -> Result<Self, ApiError> {
        let By(author) = By::from_request_parts(parts, app).await?;
        let Anyone::Account { principal, user } = Anyone::from_request_parts(parts, app).await?
        else {
            return Err(Rejection::account_required().into());
        };
        if !principal.allows(scope) {
            return Err(ApiError::forbidden(match scope {
                Scope::Usage => "this route needs a login, or an API key with the scope \"usage\"",
                _ => "this route needs a login, or an API key with the scope \"manage\"",
            }));
        }
        Ok(Self {
            admin: administers(&principal, &user),
            only: (!principal.allows(Scope::Manage)).then_some(principal.project),
            key: key_of(&principal),
            grants: principal.grants,
            user,
            author,
        })
    }
}

/// Returns which key somebody comes with.
pub(crate) fn key_of(principal: &Principal) -> Option<KeyName> {
    match principal.credential {
        Credential::Key(id) => Some(KeyName {
            project: principal.project,
            owner: Some(principal.user),
            id,
        }),
        _ => None,
    }
}

/// Returns whether somebody acts as an admin of the platform.
fn administers(principal: &Principal, user: &User) -> bool {
    let may = match principal.credential {
        Credential::Session => true,
        Credential::Key(_) => principal.allows(Scope::Admin),
        // Who could make a token of another issuer could make an admin's.
        _ => false,
    };
    may && user.role == Role::Admin
}

impl FromRequestParts<App> for Account {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Self::read(parts, app, Scope::Manage).await
    }
}

impl FromRequestParts<App> for Lister {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let (Anyone::Account { principal, .. } | Anyone::Operator(principal)) =
            Anyone::from_request_parts(parts, app).await?;
        if principal.allows(Scope::Models) {
            Ok(Self(principal))
        } else {
            Err(Rejection::missing_scope(Scope::Models).into())
        }
    }
}

impl FromRequestParts<App> for Steward {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let operator = parts.extensions.get::<Principal>();
        if operator.is_some_and(|principal| !principal.has_account()) {
            let By(author) = By::from_request_parts(parts, app).await?;
            return Ok(Self::Admin(author));
        }
        let account = Account::from_request_parts(parts, app).await?;
        Ok(if account.admin {
            Self::Admin(account.author)
        } else {
            Self::Owner(account)
        })
    }
}

impl FromRequestParts<App> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Account::read(parts, app, Scope::Usage).await.map(Self)
    }
}

impl FromRequestParts<App> for Login {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let By(author) = By::from_request_parts(parts, app).await?;
        let Anyone::Account { principal, user } = Anyone::from_request_parts(parts, app).await?
        else {
            return Err(Rejection::account_required().into());
        };
        match principal.credential {
            Credential::Session => Ok(Self {
                user,
                author,
                session: principal.session,
            }),
            // Who sets a password for an admin's account that has none is an admin from then on.
            Credential::Foreign => Err(ApiError::forbidden(
                "this route needs a login here, not a token of another issuer",
            )),
            _ => Err(ApiError::forbidden(NO_LOGIN)),
        }
    }
}
