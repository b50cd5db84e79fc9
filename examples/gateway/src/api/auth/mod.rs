//! Accounts, logins and credentials.

mod login;
mod refresh;
mod register;

use axum::Json as Answer;
use http::HeaderValue;
use llm_gate::auth::RefreshToken;
use llm_gate::identity::{Credential, Role, SessionId, UserId};
use llm_gate::store::{Action, Actor, Author, Event, NewSession, StoreError, Target, User};
use tracing::{Instrument, Span};

pub(super) use self::login::*;
pub(super) use self::refresh::*;
pub(super) use self::register::*;
use super::caller::{Anyone, Origin};
use super::cookies;
use super::error::ApiError;
use super::views::{Identity, TokenPair};
use crate::app::App;

/// Does something to its end, whether or not somebody waits for the answer: who leaves before it has tried all the same.
pub(in crate::api) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::spawn(work.instrument(Span::current())).await;
    done.map_err(|error| ApiError::defect(&error))?
}

/// Opens a session.
pub(super) async fn open(
    app: &App,
    origin: &Origin,
    user: &User,
    id: SessionId,
) -> Result<RefreshToken, StoreError> {
    let now = app.clock.now();
    let refresh = RefreshToken::sealed(&app.hasher, user.id);
    let session = NewSession {
        id,
        user: user.id,
        token: refresh.hash(),
        idle_until: now.after(app.config.auth.refresh_idle()),
        ends_at: now.after(app.config.auth.refresh_total()),
        agent: origin.agent.clone(),
        author: Author {
            actor: Actor::User(user.id),
            ..origin.author.clone()
        },
    };
    app.store.create_session(session).await?;
    Ok(refresh)
}

/// Leaves an event of a failed login, of an unknown user too: it takes the same time. What was typed is not kept, since
/// it may be a password in the wrong field.
pub(super) async fn note_failure(
    app: &App,
    origin: &Origin,
    user: Option<UserId>,
) -> Result<(), ApiError> {
    let target = user.map_or_else(|| "unknown".to_owned(), |user| user.to_string());
    let target = Target::new("user", target);
    let event = Event::new(&origin.author, Action::LoginFailed, target);
    Ok(app.store.note(event).await?)
}

/// Makes what is answered to who has entered.
pub(super) fn pair(
    app: &App,
    user: &User,
    session: SessionId,
    refresh: &RefreshToken,
) -> Result<TokenPair, ApiError> {
    let lifetime = app.config.auth.access_lifetime();
    let issued = app
        .issuer
        .issue_in(session, user.id, user.personal_project, user.role, lifetime)
        .map_err(|error| ApiError::defect(&error))?;
    Ok(TokenPair {
        access_token: issued.jwt,
        token_type: "bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: Some(refresh.expose().to_owned()),
    })
}

/// Takes the refresh token out of an answer and into a cookie, where no script has it.
pub(super) fn into_cookie(app: &App, pair: &mut TokenPair) -> Option<HeaderValue> {
    let token = pair.refresh_token.take()?;
    Some(cookies::REFRESH.set(app, &token, app.config.auth.refresh_idle()))
}

/// Tells who is calling, and by which credential.
#[utoipa::path(get, path = "/api/v1/auth/check")]
pub(super) async fn check(caller: Anyone) -> Answer<Identity> {
    let Anyone::Account { principal, user } = caller else {
        return Answer(Identity {
            authenticated: true,
            user_id: None,
            username: None,
            email: None,
            role: Role::Admin,
            project_id: None,
            credential: "operator",
            key_id: None,
        });
    };
    let (credential, key_id) = match principal.credential {
        Credential::Key(key) => ("api_key", Some(key)),
        Credential::Foreign => ("foreign", None),
        _ => ("session", None),
    };
    Answer(Identity {
        authenticated: true,
        user_id: Some(user.id),
        username: user.username,
        email: user.email,
        role: user.role,
        project_id: Some(principal.project),
        credential,
        key_id,
    })
}
