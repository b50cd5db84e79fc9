//! API keys of a project.

mod change;
mod grants;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::ApiKeySecret;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, UserId};
use llm_gate::store::{ApiKey, Author, KeyName, StoreErrorKind, UserKind};
use serde_json::{Value, json};

pub(super) use self::change::*;
use self::grants::Grants;
pub(super) use self::grants::*;
use super::caller::Account;
use super::document::Created;
use super::error::ApiError;
use super::fields::{FLAG, Fields, ID, Input, JsonDraft, MOMENT, Page, Path, Query};
use super::people::NAME;
use super::projects::{Place, place, unmanaged};
use super::views::{IssuedKey, KeyView, Keys};
use crate::accounts::{self, KeyRequest};
use crate::app::App;

pub(super) const NO_KEY: &str = "no such key";

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

/// Forgets what is remembered of a key, under each secret it may still have.
fn forget(app: &App, key: &ApiKey) {
    match key.overlap_until {
        // Nobody knows any more under which public id the secret before is remembered.
        Some(until) if until > app.clock.now() => app.keys.invalidate_all(),
        _ => app.keys.invalidate(&key.public_id),
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
