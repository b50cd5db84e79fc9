//! API keys of a project.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::ApiKeySecret;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, Network, Principal, ProjectId, Scope, Subject, UserId};
use llm_gate::store::{ApiKey, Author, KeyChange, KeyName, NewKeySecret, StoreErrorKind, UserKind};

use serde_json::{Value, json};

use super::caller::{Account, key_of};
use super::document::Created;
use super::error::ApiError;
use super::fields::{
    FLAG, Fields, ID, Input, Json, JsonDraft, List, MODEL, MOMENT, Page, Path, Query, Text, Whole,
    Word,
};
use super::people::NAME;
use super::projects::{Place, place, unmanaged};
use super::views::{IssuedKey, KeyView, Keys};
use super::words::SCOPE;
use crate::accounts::{self, KeyRequest};
use crate::app::App;

/// How long an old secret may work beside the new one, in seconds: a week.
const LONGEST_OVERLAP: u64 = 7 * 24 * 3600;
pub(super) const NO_KEY: &str = "no such key";

/// A range of addresses.
const NETWORK: Text<Network> = Text::new(|text| {
    text.parse()
        .map_err(|_| Cow::Borrowed("must be an address or a network such as 192.0.2.0/24"))
});

/// Which keys are wanted.
pub(super) struct Wanted {
    page: Page<KeyId>,
    all: bool,
}

impl Input for Wanted {
    const NAME: &'static str = "KeyQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let page = Page::read(fields);
        let all = fields.or(
            "all",
            "Whether to list the keys of all members: for owners and admins",
            &FLAG,
            false,
        );
        Some(Self { page: page?, all })
    }

    fn example() -> Value {
        json!({"limit": 50})
    }
}

/// Lists the own API keys of a project, newest first; those of all members for owners and admins who ask for them.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/api-keys",
    responses((status = 404, description = "No such project, or not one of the caller's"))
)]
pub(super) async fn list(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    Query(Wanted { page, all }): Query<Wanted>,
) -> Result<Answer<Keys>, ApiError> {
    let mut place = place(&app, &account, &id).await?;
    if all {
        place = place.managed()?;
    }
    let owner = (!all).then_some(account.user.id);
    let found = app
        .store
        .keys(place.id(), owner, page.after, page.ask())
        .await?;
    let page = page.of(found, |key| key.id);
    Ok(Answer(Keys {
        keys: page.entries.into_iter().map(KeyView::from).collect(),
        next_cursor: page.next,
    }))
}

/// What a key may be used for, as it is asked for.
pub(super) const SCOPES: List<'static, Word<Scope>> = List::new(&SCOPE, 1, 8);

/// What a key may do, as it is asked for.
struct Grants {
    scopes: Option<Vec<Scope>>,
    models: Option<Option<Vec<String>>>,
    networks: Option<Option<Vec<Network>>>,
    clamps: Option<bool>,
}

impl Grants {
    fn read(fields: &mut Fields) -> Self {
        Self {
            scopes: fields.optional(
                "scopes",
                "What it may be used for; calls of models and their list unless given",
                &SCOPES,
            ),
            models: fields.changed(
                "models",
                "The models it may call, by the names clients use; null for all",
                &List::new(&MODEL, 1, 100),
            ),
            networks: fields.changed(
                "networks",
                "The addresses and networks it may be used from; null for any",
                &List::new(&NETWORK, 1, 100),
            ),
            clamps: fields.optional(
                "clamps",
                "Whether a call that does not fit is cut down to what is left",
                &FLAG,
            ),
        }
    }

    /// Returns whether nothing was asked for.
    const fn is_empty(&self) -> bool {
        self.scopes.is_none()
            && self.models.is_none()
            && self.networks.is_none()
            && self.clamps.is_none()
    }

    /// Puts them over what holds so far.
    fn over(self, mut grants: KeyGrants) -> KeyGrants {
        if let Some(scopes) = self.scopes {
            grants.scopes = each_once(scopes);
        }
        if let Some(models) = self.models {
            grants.models = models;
        }
        if let Some(networks) = self.networks {
            grants.networks = networks;
        }
        grants.clamps = self.clamps.unwrap_or(grants.clamps);
        grants
    }
}

/// Puts scopes in order, each once.
pub(super) fn each_once(mut scopes: Vec<Scope>) -> Vec<Scope> {
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// A key that is wanted.
pub(super) struct WantedKey {
    name: String,
    expires_at: Option<Timestamp>,
    grants: Grants,
    service: Option<UserId>,
}

impl Input for WantedKey {
    const NAME: &'static str = "NewKey";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.or("name", "What the key is for", &NAME, "key".to_owned());
        let expires_at = fields.optional("expires_at", "When it stops working by itself", &MOMENT);
        let grants = Grants::read(fields);
        let service = fields.optional(
            "service_id",
            "The service account whose key it is; the caller's own unless given",
            &ID,
        );
        Some(Self {
            name,
            expires_at: expires_at.map(|at| Timestamp::from_micros(at.as_microsecond())),
            grants,
            service: service.map(UserId::from_uuid),
        })
    }

    fn example() -> Value {
        json!({"name": "laptop", "scopes": ["inference", "models"]})
    }
}

/// Makes an API key. Its secret is shown this once.
///
/// It may never do more than its owner. Owners and admins of the project make keys for its service accounts. An API key
/// that has limits of its own makes none.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/api-keys",
    responses(
        (status = 404, description = "No such project or service, or not one of the caller's"),
        (status = 409, description = "There are as many keys in the project as one may have, or the caller is no member"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    account: Account,
    Path(id): Path<String>,
    JsonDraft(mut draft): JsonDraft<WantedKey>,
) -> Result<Created<IssuedKey>, ApiError> {
    let place = place(&app, &account, &id).await?;
    draft.check("expires_at", |wanted| {
        in_future(wanted.expires_at, account.author.at)
    });
    let wanted = draft.finish()?;
    let owner = match wanted.service {
        Some(_) if !place.manages => return Err(unmanaged()),
        Some(service) => service_of(&app, place.id(), service).await?,
        None => account.user.id,
    };
    let grants = wanted.grants.over(KeyGrants::default());
    let kind = if wanted.service.is_some() {
        Owner::Service
    } else {
        Owner::Caller
    };
    grantable(&Maker::from(&account), kind, &grants)?;
    unlimited(&app, account.key, None).await?;
    outlived(&app, account.key, wanted.expires_at).await?;
    let request = KeyRequest {
        name: wanted.name,
        user: owner,
        project: place.id(),
        expires_at: wanted.expires_at,
        grants,
        author: account.author,
    };
    let (key, secret) = issue(&app, request).await?;
    Ok(Created(IssuedKey::new(key, &secret)))
}

/// Makes a key, unless its owner has as many in the project as one may have. What it may do is judged already.
pub(super) async fn issue(
    app: &App,
    request: KeyRequest,
) -> Result<(ApiKey, ApiKeySecret), ApiError> {
    let made = accounts::create_key(&*app.store, &app.hasher, request).await;
    let (key, secret) = match made {
        Err(error) if error.kind() == StoreErrorKind::Full => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "there are as many keys in this project as one may have",
            ));
        }
        // An admin of the platform who is no member, or a member who was put out at this moment.
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "only members have keys in a project: become one first",
            ));
        }
        other => other?,
    };
    app.keys.created(&key.public_id);
    Ok((key, secret))
}

/// Reads a service account of the project.
async fn service_of(app: &App, project: ProjectId, id: UserId) -> Result<UserId, ApiError> {
    const NO_SERVICE: &str = "no such service";
    let service = app.store.user(id).await?;
    service
        .filter(|service| service.kind == UserKind::Service && service.personal_project == project)
        .map(|service| service.id)
        .ok_or_else(|| ApiError::not_found(NO_SERVICE))
}

fn in_future(at: Option<Timestamp>, now: Timestamp) -> Result<(), &'static str> {
    if at.is_some_and(|at| at <= now) {
        Err("must lie in the future")
    } else {
        Ok(())
    }
}

/// Whose key it is, seen by whoever makes or changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Caller,
    /// A service account of the project.
    Service,
    /// Another person.
    Other,
}

async fn owner_of(app: &App, maker: &Maker, id: UserId) -> Result<Owner, ApiError> {
    if maker.user == Some(id) {
        return Ok(Owner::Caller);
    }
    let user = app.store.user(id).await?;
    let service = user.is_some_and(|user| user.kind == UserKind::Service);
    Ok(if service {
        Owner::Service
    } else {
        Owner::Other
    })
}

/// Who makes or changes keys: whoever manages what is its user's, or the operator, whose own no key is.
pub(super) struct Maker {
    user: Option<UserId>,
    admin: bool,
    /// What the key may that it comes with.
    grants: Option<Arc<KeyGrants>>,
    /// Which key that is.
    key: Option<KeyName>,
}

impl Maker {
    /// Describes an admin of the platform.
    pub(super) fn admin(principal: &Principal) -> Self {
        Self {
            user: principal.has_account().then_some(principal.user),
            admin: true,
            grants: principal.grants.clone(),
            key: key_of(principal),
        }
    }
}

impl From<&Account> for Maker {
    fn from(account: &Account) -> Self {
        Self {
            user: Some(account.user.id),
            admin: account.admin,
            grants: account.grants.clone(),
            key: account.key,
        }
    }
}

/// Refuses a key that may do more than whoever makes it, or that would act as somebody else beyond the project.
pub(super) fn grantable(maker: &Maker, owner: Owner, grants: &KeyGrants) -> Result<(), ApiError> {
    let own = owner == Owner::Caller;
    beneath(maker.grants.as_deref(), grants)?;
    if grants.allows(Scope::Admin) && !(own && maker.admin) {
        Err(ApiError::forbidden(
            "the scope \"admin\" is for the own keys of admins",
        ))
    } else if grants.allows(Scope::Manage) && !own {
        Err(ApiError::forbidden(
            "the scope \"manage\" is for the own keys of whoever gives it",
        ))
    } else if grants.allows(Scope::Usage) && owner == Owner::Other {
        Err(ApiError::forbidden(
            "the scope \"usage\" shows what a person used everywhere: it is for the own keys",
        ))
    } else {
        Ok(())
    }
}

/// Refuses a key with limits of its own to make another one, or to get at what another one may do: what is used with
/// that would not count here. `which` is the key it is about, where there is one already.
pub(super) async fn unlimited(
    app: &App,
    key: Option<KeyName>,
    which: Option<KeyId>,
) -> Result<(), ApiError> {
    let Some(key) = key.filter(|key| Some(key.id) != which) else {
        return Ok(());
    };
    if app
        .store
        .limits(Some(Subject::Key(key.id)))
        .await?
        .is_empty()
    {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "an API key that has limits of its own makes, widens and rotates no other",
    ))
}

/// Refuses a key that works longer than the one it is made with.
pub(super) async fn outlived(
    app: &App,
    key: Option<KeyName>,
    until: Option<Timestamp>,
) -> Result<(), ApiError> {
    let Some(key) = key else {
        return Ok(());
    };
    let key = app
        .store
        .key(key)
        .await?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    match (key.expires_at, until) {
        (None, _) => Ok(()),
        (Some(end), Some(until)) if until <= end => Ok(()),
        _ => Err(ApiError::forbidden(
            "an API key makes no other that works longer than itself",
        )),
    }
}

/// Forgets what is remembered of a key, under each secret it may still have.
fn forget(app: &App, key: &ApiKey) {
    match key.overlap_until {
        // Nobody knows any more under which public id the secret before is remembered.
        Some(until) if until > app.clock.now() => app.keys.invalidate_all(),
        _ => app.keys.invalidate(&key.public_id),
    }
}

/// Refuses a key that may do more than the key it is made with.
pub(super) fn beneath(limit: Option<&KeyGrants>, grants: &KeyGrants) -> Result<(), ApiError> {
    if limit.is_none_or(|limit| grants.within(limit)) {
        Ok(())
    } else {
        Err(ApiError::forbidden(
            "an API key makes no other that may do more than itself",
        ))
    }
}

/// Which key a path names, as the caller may see it: members their own, those who manage everybody's.
fn named(place: &Place, caller: UserId, key: &str) -> Result<KeyName, ApiError> {
    Ok(KeyName {
        project: place.id(),
        owner: (!place.manages).then_some(caller),
        id: key.parse().map_err(|_| ApiError::not_found(NO_KEY))?,
    })
}

/// Shows an API key.
#[utoipa::path(
    get,
    path = "/api/v1/projects/{id}/api-keys/{key}",
    responses((status = 404, description = "No such project or key, or not one of the caller's"))
)]
pub(super) async fn show(
    State(app): State<App>,
    account: Account,
    Path((id, key)): Path<(String, String)>,
) -> Result<Answer<KeyView>, ApiError> {
    let place = place(&app, &account, &id).await?;
    let key = app.store.key(named(&place, account.user.id, &key)?).await?;
    key.map(|key| Answer(key.into()))
        .ok_or_else(|| ApiError::not_found(NO_KEY))
}

/// What of a key is to be different.
pub(super) struct Changes {
    name: Option<String>,
    expires_at: Option<Option<Timestamp>>,
    grants: Grants,
}

impl Input for Changes {
    const NAME: &'static str = "KeyChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.optional("name", "What the key is for", &NAME);
        let expires_at = fields.changed(
            "expires_at",
            "When it stops working by itself; null for never",
            &MOMENT,
        );
        Some(Self {
            name,
            expires_at: expires_at
                .map(|at| at.map(|at| Timestamp::from_micros(at.as_microsecond()))),
            grants: Grants::read(fields),
        })
    }

    fn example() -> Value {
        json!({"name": "desktop"})
    }
}

/// Changes an API key. A field that is missing stays as it is.
#[utoipa::path(
    patch,
    path = "/api/v1/projects/{id}/api-keys/{key}",
    responses((status = 404, description = "No such project or key, not one of the caller's, or revoked"))
)]
pub(super) async fn change(
    State(app): State<App>,
    account: Account,
    Path((id, key)): Path<(String, String)>,
    JsonDraft(mut draft): JsonDraft<Changes>,
) -> Result<Answer<KeyView>, ApiError> {
    let place = place(&app, &account, &id).await?;
    let name = named(&place, account.user.id, &key)?;
    draft.check("expires_at", |wanted| {
        in_future(wanted.expires_at.flatten(), account.author.at)
    });
    let wanted = draft.finish()?;
    let known = app
        .store
        .key(name)
        .await?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    let same = wanted.grants.is_empty();
    let grants = wanted.grants.over(known.grants.clone());
    let change = KeyChange {
        name: wanted.name,
        // Not what was read before, which may be more than it is now.
        grants: (!same).then_some(grants),
        expires_at: wanted.expires_at,
    };
    let maker = Maker::from(&account);
    let key = changed(&app, &maker, name, &known, change, account.author).await?;
    Ok(Answer(key.into()))
}

/// Changes the key `known` has shown, unless it would do more than `maker` may give, and has it forgotten where it is
/// known.
pub(super) async fn changed(
    app: &App,
    maker: &Maker,
    name: KeyName,
    known: &ApiKey,
    change: KeyChange,
    author: Author,
) -> Result<ApiKey, ApiError> {
    let grants = change.grants.as_ref().unwrap_or(&known.grants);
    let until = change.expires_at.unwrap_or(known.expires_at);
    let longer = match (known.expires_at, until) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(end), Some(until)) => until > end,
    };
    // What it may do and for how long go together: more of either is as good as a new key.
    if longer || !grants.within(&known.grants) {
        let owner = owner_of(app, maker, known.user).await?;
        grantable(maker, owner, grants)?;
        unlimited(app, maker.key, Some(known.id)).await?;
        outlived(app, maker.key, until).await?;
    }
    let changed = app.store.change_key(name, change, author).await?;
    let key = changed.ok_or_else(|| ApiError::not_found(NO_KEY))?;
    forget(app, &key);
    Ok(key)
}

/// How long two secrets overlap.
pub(super) struct Rotation {
    overlap: Duration,
}

impl Input for Rotation {
    const NAME: &'static str = "KeyRotation";

    fn read(fields: &mut Fields) -> Option<Self> {
        let seconds = fields.or(
            "overlap_seconds",
            "How long the old secret works beside the new one; not at all where the key is another person's",
            &Whole::new(0, LONGEST_OVERLAP, Some),
            3600,
        );
        Some(Self {
            overlap: Duration::from_secs(seconds),
        })
    }

    fn example() -> Value {
        json!({"overlap_seconds": 3600})
    }
}

/// Gives an API key another secret, shown this once. Its limits and what it used stay.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/api-keys/{key}/rotate",
    responses((status = 404, description = "No such project or key, not one of the caller's, or revoked"))
)]
pub(super) async fn rotate(
    State(app): State<App>,
    account: Account,
    Path((id, key)): Path<(String, String)>,
    Json(Rotation { overlap }): Json<Rotation>,
) -> Result<Answer<IssuedKey>, ApiError> {
    let place = place(&app, &account, &id).await?;
    let name = named(&place, account.user.id, &key)?;
    let known = app
        .store
        .key(name)
        .await?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    // Whoever gets the new secret can do what the key may.
    let maker = Maker::from(&account);
    let owner = owner_of(&app, &maker, known.user).await?;
    grantable(&maker, owner, &known.grants)?;
    // Somebody else's key stops, so that nobody goes on with one whose secret others have without knowing.
    let overlap = if owner == Owner::Other {
        Duration::ZERO
    } else {
        overlap
    };
    unlimited(&app, account.key, Some(known.id)).await?;
    outlived(&app, account.key, known.expires_at).await?;
    let secret = ApiKeySecret::generate();
    let new = NewKeySecret {
        public_id: secret.public_id().to_owned(),
        hash: secret.hash(&app.hasher),
        overlap_until: account.author.at.after(overlap),
        author: account.author,
    };
    let rotated = app.store.rotate_key(name, new).await?;
    let key = rotated.ok_or_else(|| ApiError::not_found(NO_KEY))?;
    forget(&app, &known);
    app.keys.created(&key.public_id);
    Ok(Answer(IssuedKey::new(key, &secret)))
}

/// Revokes an API key: it gets no further reservation.
#[utoipa::path(
    post,
    path = "/api/v1/projects/{id}/api-keys/{key}/revoke",
    responses((status = 404, description = "No such project or key, or not one of the caller's"))
)]
pub(super) async fn revoke(
    State(app): State<App>,
    account: Account,
    Path((id, key)): Path<(String, String)>,
) -> Result<Answer<KeyView>, ApiError> {
    let place = place(&app, &account, &id).await?;
    let name = named(&place, account.user.id, &key)?;
    Ok(Answer(revoked(&app, name, account.author).await?.into()))
}

/// Revokes a key, and has it forgotten where it is known.
pub(super) async fn revoked(app: &App, name: KeyName, author: Author) -> Result<ApiKey, ApiError> {
    let revoked = app.store.revoke_key(name, author).await?;
    let key = revoked.ok_or_else(|| ApiError::not_found(NO_KEY))?;
    forget(app, &key);
    Ok(key)
}
