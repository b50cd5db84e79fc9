//! The API keys that may administer, whichever admin's they are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::auth::ApiKeySecret;
use llm_gate::identity::{KeyGrants, KeyId, Role, Scope, UserId};
use llm_gate::store::{ApiKey, KeyName, User};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::keys::redacted;
use super::list::{Deleted, Entry, List, Listing, seconds};
use super::names;
use super::services::{LIFE, ends};
use crate::accounts::KeyRequest;
use crate::api::caller::{Admin, AdminAccount, By};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, Path, Query, Word};
use crate::api::keys::{Maker, NO_KEY, Owner, grantable, issue, outlived, revoked, unlimited};
use crate::api::people::NAME;
use crate::app::App;

/// How many accounts and keys are read at once.
const PAGE: u32 = 1000;

/// A key that may administer.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationAdminKey)]
pub(super) struct KeyView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    name: String,
    /// How it begins.
    redacted_value: String,
    created_at: i64,
    last_used_at: Option<i64>,
    expires_at: Option<i64>,
    owner: OwnerView,
}

/// Whose it is.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationAdminKeyOwner)]
pub(super) struct OwnerView {
    #[serde(rename = "type")]
    kind: &'static str,
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    created_at: i64,
    role: &'static str,
}

impl KeyView {
    fn new(key: ApiKey, owner: &User) -> Self {
        Self {
            object: "organization.admin_api_key",
            id: key.id,
            redacted_value: redacted(&key),
            name: key.name,
            created_at: seconds(key.created_at),
            last_used_at: key.last_used_at.map(seconds),
            expires_at: key.expires_at.map(seconds),
            owner: OwnerView {
                kind: "user",
                object: "organization.user",
                id: owner.id,
                name: names::name(owner),
                created_at: seconds(owner.created_at),
                role: names::role(owner.role),
            },
        }
    }
}

impl Entry for KeyView {
    const LIST: &'static str = "OrganizationAdminKeys";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationIssuedAdminKey)]
pub(super) struct IssuedView {
    #[serde(flatten)]
    key: KeyView,
    /// The secret. Shown this once.
    value: String,
}

impl IssuedView {
    fn new(key: ApiKey, owner: &User, secret: &ApiKeySecret) -> Self {
        Self {
            key: KeyView::new(key, owner),
            value: secret.expose().to_owned(),
        }
    }
}

/// In which order keys are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

const ORDER: Word<Order> = Word::new(
    || vec!["asc", "desc"],
    |word| match word {
        "asc" => Some(Order::OldestFirst),
        "desc" => Some(Order::NewestFirst),
        _ => None,
    },
);

/// Which keys are wanted.
pub(super) struct Wanted {
    listing: Listing<KeyId>,
    order: Order,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationAdminKeyQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let listing = Listing::read(fields);
        let order = fields.optional(
            "order",
            "By the time they were made: `asc` unless said, which has the oldest first",
            &ORDER,
        );
        Some(Self {
            listing: listing?,
            order: order.unwrap_or(Order::OldestFirst),
        })
    }

    fn example() -> Value {
        json!({ "limit": 20 })
    }
}

/// Lists the keys that may administer.
#[utoipa::path(get, path = "/v1/organization/admin_api_keys")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(Wanted { listing, order }): Query<Wanted>,
) -> Result<Answer<List<KeyView>>, ApiError> {
    let mut found = all(&app).await?;
    if order == Order::NewestFirst {
        found.reverse();
    }
    found.retain(|(key, _)| match (listing.after, order) {
        (None, _) => true,
        (Some(after), Order::OldestFirst) => key.id > after,
        (Some(after), Order::NewestFirst) => key.id < after,
    });
    let views = found
        .into_iter()
        .map(|(key, owner)| KeyView::new(key, &owner));
    Ok(Answer(listing.of(views)))
}

/// Reads the keys that may administer and are not revoked, oldest first, whichever project their calls are for. Such a
/// key of somebody who is no admin any more administers nothing, and is none of them.
async fn all(app: &App) -> Result<Vec<(ApiKey, Arc<User>)>, ApiError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = app.store.users(after, PAGE).await?;
        let last = page.len() < PAGE as usize;
        after = page.last().map(|user| user.id);
        for admin in page.into_iter().filter(|user| user.role == Role::Admin) {
            let owner = Arc::new(admin);
            let keys = owned(app, owner.id).await?;
            all.extend(keys.into_iter().map(|key| (key, Arc::clone(&owner))));
        }
        if last {
            all.sort_unstable_by_key(|(key, _)| key.id);
            return Ok(all);
        }
    }
}

/// Reads those of a user.
async fn owned(app: &App, owner: UserId) -> Result<Vec<ApiKey>, ApiError> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = app.store.owned_keys(owner, before, PAGE).await?;
        let last = page.len() < PAGE as usize;
        before = page.last().map(|key| key.id);
        all.extend(
            page.into_iter()
                .filter(|key| key.grants.allows(Scope::Admin)),
        );
        if last {
            return Ok(all);
        }
    }
}

/// A key that is wanted.
pub(super) struct WantedKey {
    name: String,
    life: Option<Duration>,
}

impl Input for WantedKey {
    const NAME: &'static str = "OrganizationNewAdminKey";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", "What the key is for", &NAME);
        let life = fields.optional(
            "expires_in_seconds",
            "When it stops working by itself; never unless given",
            &LIFE,
        );
        Some(Self { name: name?, life })
    }

    fn example() -> Value {
        json!({ "name": "terraform" })
    }
}

/// Makes a key that may do all that its owner may, or all that the key may that it is made with, and no longer than that.
///
/// It may call models too: no key makes another that may do more than itself, and this one makes keys for calls.
#[utoipa::path(
    post,
    path = "/v1/organization/admin_api_keys",
    responses(
        (status = 404, description = "The key that asks is gone"),
        (status = 409, description = "There are as many keys as one may have"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    AdminAccount(account): AdminAccount,
    Json(WantedKey { name, life }): Json<WantedKey>,
) -> Result<Answer<IssuedView>, ApiError> {
    let grants = account.grants.as_deref().cloned();
    let grants = grants.unwrap_or_else(|| KeyGrants {
        scopes: Scope::ALL.to_vec(),
        ..KeyGrants::default()
    });
    let user = &account.user;
    grantable(&Maker::from(&account), Owner::Caller, &grants)?;
    let until = ends(life, account.author.at);
    unlimited(&app, account.key, None).await?;
    outlived(&app, account.key, until).await?;
    let request = KeyRequest {
        name,
        user: user.id,
        project: user.personal_project,
        expires_at: until,
        grants,
        author: account.author.clone(),
    };
    let (key, secret) = issue(&app, request).await?;
    Ok(Answer(IssuedView::new(key, user, &secret)))
}

/// Reads a key that may administer and is not revoked.
async fn named(app: &App, id: &str) -> Result<(ApiKey, Arc<User>), ApiError> {
    let no_key = || ApiError::not_found(NO_KEY);
    let id: KeyId = id.parse().map_err(|_| no_key())?;
    let mut all = all(app).await?.into_iter();
    all.find(|(key, _)| key.id == id).ok_or_else(no_key)
}

/// Shows a key that may administer.
#[utoipa::path(
    get,
    path = "/v1/organization/admin_api_keys/{key_id}",
    responses((status = 404, description = "No such key, or it is revoked"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<KeyView>, ApiError> {
    let (key, owner) = named(&app, &id).await?;
    Ok(Answer(KeyView::new(key, &owner)))
}

/// Revokes a key that may administer.
#[utoipa::path(
    delete,
    path = "/v1/organization/admin_api_keys/{key_id}",
    responses((status = 404, description = "No such key, or it is revoked"))
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Answer<Deleted>, ApiError> {
    let (key, owner) = named(&app, &id).await?;
    let name = KeyName {
        project: key.project,
        owner: Some(owner.id),
        id: key.id,
    };
    revoked(&app, name, author).await?;
    Ok(Answer(Deleted::new(
        "organization.admin_api_key.deleted",
        key.id,
    )))
}
