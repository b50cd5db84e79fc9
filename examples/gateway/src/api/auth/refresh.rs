//! Going on with a session, and leaving it.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::auth::RefreshToken;
use llm_gate::identity::SessionId;
use llm_gate::limit::Attempt;
use llm_gate::store::{Refresh as Rotating, Rotation, User};
use serde_json::{Value, json};

use super::{into_cookie, pair};
use crate::api::caller::Origin;
use crate::api::cookies::{self, RefreshCookie, WithCookies};
use crate::api::document::NoContent;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, SECRET};
use crate::api::views::TokenPair;
use crate::app::App;
use crate::config::Secret;

/// How long after its rotation a refresh token may come again from a tab that raced another.
const GRACE: Duration = Duration::from_secs(30);

/// Who wants to go on, or to leave.
pub(in crate::api) struct Refresh {
    refresh_token: Option<Secret>,
}

/// A refresh token as it came.
struct Presented {
    token: Secret,
    in_cookie: bool,
}

impl Input for Refresh {
    const NAME: &'static str = "Refresh";

    fn read(fields: &mut Fields) -> Option<Self> {
        let refresh_token = fields.optional(
            "refresh_token",
            "The refresh token of the session; needed where no cookie has it",
            &SECRET,
        );
        Some(Self { refresh_token })
    }

    fn example() -> Value {
        json!({ "refresh_token": "lgr_…" })
    }
}

impl Refresh {
    /// Takes the token of the body, else that of the cookie. A cookie alone is no request of ours: a body of JSON is
    /// what no other site can make a browser send.
    fn presented(self, RefreshCookie(cookie): RefreshCookie) -> Result<Presented, ApiError> {
        let in_cookie = self.refresh_token.is_none();
        let token = self.refresh_token.or(cookie);
        let token = token.ok_or_else(|| ApiError::in_body("refresh_token", "is required"))?;
        Ok(Presented { token, in_cookie })
    }
}

/// Changes a refresh token into a new pair.
///
/// The old one is spent. Using it again ends the session. One that came in a cookie is answered in a cookie.
#[utoipa::path(
    post,
    path = "/api/v1/auth/refresh",
    responses((status = 401, description = "Missing or invalid refresh token"))
)]
pub(in crate::api) async fn refresh(
    State(app): State<App>,
    origin: Origin,
    cookie: RefreshCookie,
    Json(refresh): Json<Refresh>,
) -> Result<WithCookies<Answer<TokenPair>>, ApiError> {
    let given = refresh.presented(cookie)?;
    let attempt = present(&app, &origin, &given.token)?;
    match rotate(&app, &origin, &given.token).await? {
        Some((user, session, new)) => {
            if let Some(attempt) = attempt {
                attempt.recognised();
            }
            let mut pair = pair(&app, &user, session, &new)?;
            let cookie = if given.in_cookie {
                into_cookie(&app, &mut pair)
            } else {
                None
            };
            Ok(WithCookies(Answer(pair), cookie.into_iter().collect()))
        }
        None => {
            origin.refused("invalid");
            if let Some(attempt) = attempt {
                attempt.failed();
            }
            Err(ApiError::unauthorized("missing or invalid refresh token"))
        }
    }
}

/// Asks whether a refresh token may be looked up.
fn present(app: &App, origin: &Origin, given: &Secret) -> Result<Option<Attempt>, ApiError> {
    let attempt = app.rates.admit(origin.network, given.expose());
    attempt.map_err(|exceeded| origin.refuse(&exceeded, "wrong credentials from this address"))
}

/// Puts a new refresh token in place of the old one, if that is good.
///
/// Tabs that refresh at once with the same token all get the same new one.
async fn rotate(
    app: &App,
    origin: &Origin,
    given: &Secret,
) -> Result<Option<(User, SessionId, RefreshToken)>, ApiError> {
    let Ok(old) = RefreshToken::parse(given.expose()) else {
        return Ok(None);
    };
    let now = origin.author.at;
    let new = old.successor(&app.hasher);
    let rotating = Rotating {
        old: old.hash(),
        new: new.hash(),
        author: origin.author.clone(),
        idle_until: now.after(app.config.auth.refresh_idle()),
        grace: GRACE,
    };
    match app.store.rotate_session(rotating).await? {
        Rotation::Rotated(session) => {
            let user = app.store.user(session.user).await?;
            let user = user.filter(|user| !user.disabled);
            Ok(user.map(|user| (user, session.id, new)))
        }
        Rotation::Reused(session) => {
            tracing::warn!(user = %session.user, session = %session.id, "a spent refresh token came back; its session has ended");
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// Ends the session.
///
/// A token that is none has no session that could go on. One that came in a cookie is taken out of it.
#[utoipa::path(post, path = "/api/v1/auth/logout")]
pub(in crate::api) async fn logout(
    State(app): State<App>,
    origin: Origin,
    cookie: RefreshCookie,
    Json(refresh): Json<Refresh>,
) -> Result<WithCookies<NoContent>, ApiError> {
    let Presented { token, in_cookie } = refresh.presented(cookie)?;
    // Whether there was a session is not told, so it counts for nothing once it is over.
    let _attempt = present(&app, &origin, &token)?;
    if let Ok(token) = RefreshToken::parse(token.expose()) {
        app.store
            .revoke_session(token.hash(), origin.author)
            .await?;
    }
    let gone = in_cookie.then(|| cookies::REFRESH.clear(&app));
    Ok(WithCookies(NoContent, gone.into_iter().collect()))
}
