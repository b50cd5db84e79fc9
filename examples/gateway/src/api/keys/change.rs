//! Keys that are changed, or get another secret.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::ApiKeySecret;
use llm_gate::clock::Timestamp;
use llm_gate::store::{
    ApiKey, Author, Judged, KeyChange, KeyName, NewKeySecret, StoreError, StoreErrorKind,
};
use serde_json::{Value, json};

use super::grants::{Grants, Maker, Owner, grantable, outlived, owner_of, unlimited};
use super::{NO_KEY, forget, in_future, named};
use crate::api::caller::Account;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, JsonDraft, MOMENT, Path, Whole};
use crate::api::people::NAME;
use crate::api::projects::place;
use crate::api::views::{IssuedKey, KeyView};
use crate::app::App;

/// How long an old secret may work beside the new one, in seconds: a week.
const LONGEST_OVERLAP: u64 = 7 * 24 * 3600;

/// What of a key is to be different.
pub(in crate::api) struct Changes {
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
    responses(
        (status = 404, description = "No such project or key, not one of the caller's, or revoked"),
        (status = 409, description = "The key was changed meanwhile"),
    )
)]
pub(in crate::api) async fn change(
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
        // Who asks for nothing of it writes nothing back.
        grants: (!same).then_some(grants),
        expires_at: wanted.expires_at,
        judged: None,
    };
    let maker = Maker::from(&account);
    let key = changed(&app, &maker, name, &known, change, account.author).await?;
    Ok(Answer(key.into()))
}

/// Changes the key `known` has shown, unless it would do more than `maker` may give, and has it forgotten where it is
/// known.
pub(in crate::api) async fn changed(
    app: &App,
    maker: &Maker,
    name: KeyName,
    known: &ApiKey,
    mut change: KeyChange,
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
    // What was judged is what was read, and what was not asked for is written back as it was read.
    if change.grants.is_some() || change.expires_at.is_some() {
        change.judged = Some(Judged::from(known));
    }
    let changed = app.store.change_key(name, change, author).await;
    let key = changed
        .map_err(meanwhile)?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    forget(app, &key);
    Ok(key)
}

fn meanwhile(error: StoreError) -> ApiError {
    match error.kind() {
        StoreErrorKind::Conflict => {
            ApiError::new(StatusCode::CONFLICT, "the key was changed meanwhile")
        }
        _ => error.into(),
    }
}

/// How long two secrets overlap.
pub(in crate::api) struct Rotation {
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
    responses(
        (status = 404, description = "No such project or key, not one of the caller's, or revoked"),
        (status = 409, description = "The key was changed meanwhile"),
    )
)]
pub(in crate::api) async fn rotate(
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
    let secret = ApiKeySecret::sealed(&app.hasher, known.user);
    let new = NewKeySecret {
        public_id: secret.public_id().to_owned(),
        hash: secret.hash(&app.hasher),
        overlap_until: account.author.at.after(overlap),
        judged: Some(Judged::from(&known)),
        author: account.author,
    };
    let rotated = app.store.rotate_key(name, new).await;
    let key = rotated
        .map_err(meanwhile)?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    forget(&app, &known);
    app.keys.created(&key.public_id);
    Ok(Answer(IssuedKey::new(key, &secret)))
}
