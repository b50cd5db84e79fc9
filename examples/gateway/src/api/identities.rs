//! By whom else the own account is known.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::store::Unlinking;
use serde_json::{Value, json};

use super::account;
use super::caller::{Login, Origin};
use super::cookies::WithCookies;
use super::document::NoContent;
use super::error::ApiError;
use super::fields::{Fields, Input, Json, Path, SECRET, TEXT};
use super::oauth::{self, PLACE};
use super::views::{AuthUrl, Identities, IdentityView};
use crate::app::App;
use crate::config::Secret;
use crate::oauth::Purpose;

const NO_IDENTITY: &str = "no such identity of this account";

/// Lists the logins with other providers that lead to the own account.
#[utoipa::path(get, path = "/api/v1/users/me/identities")]
pub(super) async fn list(
    State(app): State<App>,
    Login { user, .. }: Login,
) -> Result<Answer<Identities>, ApiError> {
    let identities = app.store.identities(user.id).await?;
    let view = |identity| IdentityView::new(identity, &app.providers);
    Ok(Answer(Identities {
        identities: identities.into_iter().map(view).collect(),
    }))
}

/// With whom somebody wants to log in from now on.
pub(super) struct Linking {
    provider: String,
    password: Option<Secret>,
    redirect: Option<String>,
}

impl Input for Linking {
    const NAME: &'static str = "IdentityLink";

    fn read(fields: &mut Fields) -> Option<Self> {
        let provider = fields.required("provider", "The name of the provider", &TEXT);
        let password = fields.optional(
            "password",
            "The password; needed unless the account has none",
            &SECRET,
        );
        let redirect = fields.optional(
            "redirect",
            "Where the browser goes in the end: a path below the web URL",
            &PLACE,
        );
        Some(Self {
            provider: provider?,
            password,
            redirect,
        })
    }

    fn example() -> Value {
        json!({"provider": "google", "password": "correct horse battery"})
    }
}

/// Begins to link the own account with another provider.
///
/// The answer says where the browser has to go to log in there, and sets the cookie to come back with.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/identities",
    responses(
        (status = 404, description = "No such provider"),
        (status = 409, description = "The account was changed meanwhile"),
        (status = 502, description = "The provider says nothing that can be used"),
    )
)]
pub(super) async fn link(
    State(app): State<App>,
    Login { user, session, .. }: Login,
    origin: Origin,
    Json(Linking {
        provider,
        password,
        redirect,
    }): Json<Linking>,
) -> Result<WithCookies<Answer<AuthUrl>>, ApiError> {
    let provider = oauth::find(&app, &provider)?;
    // It is another way in for ever: nothing for whoever has found a session.
    account::prove(&app, &origin, (&user, session), "password", password).await?;
    let purpose = Purpose::Link {
        user: user.id,
        session,
    };
    let (auth_url, cookie) = oauth::begin(&app, provider, purpose, redirect).await?;
    Ok(WithCookies(Answer(AuthUrl { auth_url }), vec![cookie]))
}

/// Takes a login with another provider from the own account. The last way in stays.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/identities/{id}",
    responses(
        (status = 404, description = "No such identity of this account"),
        (status = 409, description = "The account has no password, and nothing else leads to it"),
    )
)]
pub(super) async fn unlink(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    let identities = app.store.identities(user.id).await?;
    let found = identities
        .into_iter()
        .find(|identity| IdentityView::id(identity).to_string() == id);
    let identity = found.ok_or_else(|| ApiError::not_found(NO_IDENTITY))?;
    match app.store.unlink_identity(user.id, identity, author).await? {
        Unlinking::Done => Ok(NoContent),
        Unlinking::LastWay => Err(ApiError::new(
            StatusCode::CONFLICT,
            "nothing else leads to this account: set a password first, or link another login",
        )),
        _ => Err(ApiError::not_found(NO_IDENTITY)),
    }
}
