//! The own account: names, sessions, and its end.

mod letters;
mod password;

use axum::Json as Answer;
use axum::extract::State;
use http::HeaderValue;
use llm_gate::identity::SessionId;
use llm_gate::store::{User, UserChange};
use serde_json::{Value, json};

use self::letters::reached;
pub(super) use self::letters::*;
pub(super) use self::password::*;
use super::caller::{Login, Origin};
use super::cookies::{DeviceCookie, WithCookies};
use super::document::NoContent;
use super::error::ApiError;
use super::fields::{Fields, Input, Json, JsonDraft, Path, SECRET};
use super::people::{EMAIL, NAME, USERNAME};
use super::users::view;
use super::views::{SessionView, Sessions, UserView};
use crate::app::App;
use crate::config::Secret;
use crate::mail::Letter;

/// What somebody wants to be called from now on.
pub(super) struct Profile {
    change: UserChange,
    current: Option<Secret>,
}

impl Input for Profile {
    const NAME: &'static str = "ProfileChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        let change = UserChange {
            email: fields.changed(
                "email",
                "The e-mail address, to be confirmed; null for none",
                &EMAIL,
            ),
            username: fields.changed("username", "The user name; null for none", &USERNAME),
            name: fields.changed("name", "What to be called; null for nothing", &NAME),
            ..UserChange::default()
        };
        let current = fields.optional(
            "current_password",
            "The password; needed for another e-mail address unless the account has none",
            &SECRET,
        );
        Some(Self { change, current })
    }

    fn example() -> Value {
        json!({"name": "Ada"})
    }
}

/// Changes what the own account is called. A field that is missing stays as it is.
///
/// Another e-mail address takes the password, because letters to it can set a new one, and has to be confirmed again.
#[utoipa::path(
    patch,
    path = "/api/v1/users/me",
    responses((status = 409, description = "The user name or e-mail address is taken, or the account was changed meanwhile"))
)]
pub(super) async fn change(
    State(app): State<App>,
    Login {
        user,
        author,
        session,
    }: Login,
    origin: Origin,
    device: DeviceCookie,
    JsonDraft(mut draft): JsonDraft<Profile>,
) -> Result<WithCookies<Answer<UserView>>, ApiError> {
    draft.check("username", |Profile { change, .. }| nameable(&user, change));
    let Profile { change, current } = draft.finish()?;
    let moves = change
        .email
        .as_ref()
        .is_some_and(|email| *email != user.email);
    let renames = change
        .username
        .as_ref()
        .is_some_and(|username| *username != user.username);
    if (moves || renames) && app.config.names_are_credentials() {
        // Or somebody takes the name that another's token says.
        return Err(ApiError::forbidden(
            "names are set by admins here, because tokens of another issuer go by them",
        ));
    }
    if moves {
        prove(&app, &origin, (&user, session), "current_password", current).await?;
    }
    let before = user;
    let user = super::people::changed(&app, before.id, change, author.clone()).await?;
    if moves {
        if let Some((mailer, email)) = reached(&app, &before) {
            mailer.post(Letter::email_changed(mailer.web_url(), email));
        }
        mail_verification(&app, &user, &author).await?;
    }
    let cookie = if moves || renames {
        known_by(&app, device, &user).await?
    } else {
        Vec::new()
    };
    Ok(WithCookies(Answer(view(&app, user).await?), cookie))
}

/// Lets the browser know the account by its new names, if it has entered it.
async fn known_by(
    app: &App,
    device: DeviceCookie,
    user: &User,
) -> Result<Vec<HeaderValue>, ApiError> {
    let name = user.username.clone().or_else(|| user.email.clone());
    let record = app.store.user_by_login(name.unwrap_or_default()).await?;
    let record = record.filter(|record| record.user.id == user.id);
    let Some(hash) = record.and_then(|record| record.hash) else {
        return Ok(Vec::new());
    };
    let known = device.device.as_ref();
    let known = known.and_then(|known| app.devices.recognise(known, user.id, &hash));
    Ok(match known {
        Some(_) => device.entered(app, user, &hash),
        None => Vec::new(),
    })
}

/// Somebody without any name could never log in again. The store has the last word; here other fields can be at fault too.
pub(super) fn nameable(user: &User, change: &UserChange) -> Result<(), &'static str> {
    let email = change.email.as_ref().unwrap_or(&user.email);
    let username = change.username.as_ref().unwrap_or(&user.username);
    if email.is_none() && username.is_none() {
        Err(super::people::NAMELESS)
    } else {
        Ok(())
    }
}

/// Lists the own sessions.
#[utoipa::path(get, path = "/api/v1/users/me/sessions")]
pub(super) async fn sessions(
    State(app): State<App>,
    Login {
        user,
        author,
        session,
    }: Login,
) -> Result<Answer<Sessions>, ApiError> {
    let sessions = app.store.sessions(user.id, author.at).await?;
    let sessions = sessions
        .into_iter()
        .map(|one| SessionView::new(one, session))
        .collect();
    Ok(Answer(Sessions { sessions }))
}

/// Ends one of the own sessions.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me/sessions/{id}",
    responses((status = 404, description = "No such session"))
)]
pub(super) async fn end_session(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    const NO_SESSION: &str = "no such session";
    let id: SessionId = id.parse().map_err(|_| ApiError::not_found(NO_SESSION))?;
    if app.store.end_session(user.id, id, author).await? {
        Ok(NoContent)
    } else {
        Err(ApiError::not_found(NO_SESSION))
    }
}

/// Logs out everywhere, here included.
#[utoipa::path(delete, path = "/api/v1/users/me/sessions")]
pub(super) async fn end_sessions(
    State(app): State<App>,
    Login { user, author, .. }: Login,
) -> Result<NoContent, ApiError> {
    app.store.end_sessions(user.id, None, author).await?;
    Ok(NoContent)
}

/// The proof that it is not a stolen session that ends an account.
pub(super) struct Farewell {
    password: Option<Secret>,
}

impl Input for Farewell {
    const NAME: &'static str = "AccountDeletion";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            password: fields.optional(
                "password",
                "The password; needed unless the account has none",
                &SECRET,
            ),
        })
    }

    fn example() -> Value {
        json!({"password": "correct horse battery"})
    }
}

/// Deletes the own account, its personal project and its keys. What it used stays in the books.
#[utoipa::path(
    delete,
    path = "/api/v1/users/me",
    responses(
        (status = 409, description = "The last admin, the only owner of a project with other members, or the account was changed meanwhile"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    Login {
        user,
        author,
        session,
    }: Login,
    origin: Origin,
    Json(Farewell { password }): Json<Farewell>,
) -> Result<NoContent, ApiError> {
    prove(&app, &origin, (&user, session), "password", password).await?;
    super::people::deleted(&app, user.id, author).await?;
    app.keys.invalidate_all();
    Ok(NoContent)
}
