use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use llm_gate::auth::RefreshToken;
use llm_gate::identity::{Credential, Role, SessionId};
use llm_gate::store::{NewSession, Rotation, StoreErrorKind, User};
use serde_json::json;

use super::caller::Anyone;
use super::error::ApiError;
use super::fields::{Fields, Form, Json};
use super::views::{Registered, TokenPair};
use crate::accounts::{self, KeyRequest, Names};
use crate::app::App;
use crate::config::Secret;
use crate::passwords::Verdict;

pub(super) async fn register(
    State(app): State<App>,
    Json(mut fields): Json,
) -> Result<Response, ApiError> {
    if !app.config.registration_open() {
        return Err(ApiError::forbidden("registration is closed"));
    }
    let names = Names {
        email: optional(&mut fields, "email", accounts::email),
        username: optional(&mut fields, "username", accounts::username),
    };
    let password = fields.secret("password");
    let with_key = fields.flag("create_api_key");
    if !fields.refused("password")
        && let Err(reason) = app.policy.check(password.expose(), &names.all())
    {
        fields.refuse("password", reason);
    }
    if names.all().is_empty() && !fields.refused("username") && !fields.refused("email") {
        fields.refuse("username", "a user name or an e-mail address is required");
    }
    fields.finish()?;

    let hash = app.passwords.hash(password).await?;
    let limit = Some(app.config.limits.default_user);
    let account = names.account(hash, Role::User, limit, app.clock.now());
    let user = match app.store.create_user(account).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "the user name or e-mail address is taken",
            ));
        }
        other => other?,
    };
    let api_key = if with_key {
        Some(first_key(&app, &user).await?)
    } else {
        None
    };
    let registered = Registered {
        id: user.id,
        username: user.username,
        email: user.email,
        token_limit: limit,
        tokens_used: Default::default(),
        api_key,
    };
    Ok((StatusCode::CREATED, Answer(registered)).into_response())
}

/// Takes an optional name; one that is empty was meant to be left out.
fn optional(
    fields: &mut Fields,
    name: &str,
    read: fn(&str) -> Result<String, &'static str>,
) -> Option<String> {
    let text = fields.text(name).filter(|text| !text.trim().is_empty())?;
    read(&text)
        .map_err(|reason| fields.refuse(name, reason))
        .ok()
}

async fn first_key(app: &App, user: &User) -> Result<String, ApiError> {
    let request = KeyRequest {
        name: "default".to_owned(),
        user: user.id,
        project: user.personal_project,
        expires_at: None,
        clamps: false,
    };
    let (key, secret) =
        accounts::create_key(&*app.store, &app.hasher, request, app.clock.now()).await?;
    app.keys.created(&key.public_id);
    Ok(secret.expose().to_owned())
}

pub(super) async fn login(
    State(app): State<App>,
    Json(mut fields): Json,
) -> Result<Answer<TokenPair>, ApiError> {
    let names = [fields.text("username"), fields.text("email")];
    let password = fields.secret("password");
    let ([Some(name), None] | [None, Some(name)]) = names else {
        fields.refuse(
            "username",
            "a user name or an e-mail address is required, and only one",
        );
        return Err(fields.finish().err().unwrap_or_else(wrong));
    };
    fields.finish()?;
    enter(&app, &name, password).await
}

/// The password form of OAuth 2. Who the client is and what it wants makes no difference here.
pub(super) async fn token(
    State(app): State<App>,
    Form(mut fields): Form,
) -> Result<Answer<TokenPair>, ApiError> {
    let name = fields.secret("username");
    let password = fields.secret("password");
    if fields
        .text("grant_type")
        .is_some_and(|grant| grant != "password")
    {
        fields.refuse("grant_type", "must be password");
    }
    for ignored in ["scope", "client_id", "client_secret"] {
        fields.text(ignored);
    }
    fields.finish()?;
    enter(&app, name.expose(), password).await
}

/// The one answer for an unknown user, a wrong password and a disabled account.
fn wrong() -> ApiError {
    ApiError::unauthorized("wrong user name or password")
}

/// Checks a password and opens a session. The work is the same whether the user exists or not.
async fn enter(app: &App, name: &str, password: Secret) -> Result<Answer<TokenPair>, ApiError> {
    let record = app.store.user_by_login(accounts::login(name)).await?;
    let kept = record.as_ref().map(|record| record.hash.clone());
    let verdict = app.passwords.verify(password, kept).await?;
    let (Some(record), Verdict::Right { stronger }) = (record, verdict) else {
        tracing::info!("login refused");
        return Err(wrong());
    };
    if record.user.disabled {
        tracing::info!(user = %record.user.id, "login of a disabled user refused");
        return Err(wrong());
    }
    if let Some(stronger) = stronger {
        let replaced = app
            .store
            .replace_password_hash(record.user.id, record.hash, stronger);
        if let Err(error) = replaced.await {
            // The old hash still works; the next login tries again.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "hash not replaced"
            );
        }
    }
    let now = app.clock.now();
    let refresh = RefreshToken::generate();
    let session = NewSession {
        id: SessionId::new(),
        user: record.user.id,
        token: refresh.hash(),
        created_at: now,
        idle_until: now.after(app.config.auth.refresh_idle()),
        ends_at: now.after(app.config.auth.refresh_total()),
    };
    app.store.create_session(session).await?;
    pair(app, &record.user, &refresh)
}

fn pair(app: &App, user: &User, refresh: &RefreshToken) -> Result<Answer<TokenPair>, ApiError> {
    let lifetime = app.config.auth.access_lifetime();
    let issued = app
        .issuer
        .issue(user.id, user.personal_project, user.role, lifetime)
        .map_err(|error| ApiError::defect(&error))?;
    Ok(Answer(TokenPair {
        access_token: issued.jwt,
        token_type: "bearer",
        expires_in: issued.expires_in.as_secs(),
        refresh_token: refresh.expose().to_owned(),
    }))
}

pub(super) async fn refresh(
    State(app): State<App>,
    Json(mut fields): Json,
) -> Result<Answer<TokenPair>, ApiError> {
    const REFUSED: &str = "missing or invalid refresh token";
    let given = fields.secret("refresh_token");
    fields.finish()?;
    let Ok(old) = RefreshToken::parse(given.expose()) else {
        return Err(ApiError::unauthorized(REFUSED));
    };
    let new = RefreshToken::generate();
    let now = app.clock.now();
    let idle_until = now.after(app.config.auth.refresh_idle());
    let rotation = app
        .store
        .rotate_session(old.hash(), new.hash(), now, idle_until)
        .await?;
    match rotation {
        Rotation::Rotated(session) => match app.store.user(session.user).await? {
            Some(user) if !user.disabled => pair(&app, &user, &new),
            _ => Err(ApiError::unauthorized(REFUSED)),
        },
        Rotation::Reused(session) => {
            tracing::warn!(user = %session.user, session = %session.id, "a spent refresh token came back; its session has ended");
            Err(ApiError::unauthorized(REFUSED))
        }
        _ => Err(ApiError::unauthorized(REFUSED)),
    }
}

/// Ends the session. A token that is none has no session that could go on.
pub(super) async fn logout(
    State(app): State<App>,
    Json(mut fields): Json,
) -> Result<StatusCode, ApiError> {
    let given = fields.secret("refresh_token");
    fields.finish()?;
    if let Ok(token) = RefreshToken::parse(given.expose()) {
        app.store
            .revoke_session(token.hash(), app.clock.now())
            .await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn check(Anyone { principal, user }: Anyone) -> Answer<serde_json::Value> {
    let (credential, key) = match principal.credential {
        Credential::Key(key) => ("api_key", Some(key)),
        _ => ("session", None),
    };
    Answer(json!({
        "authenticated": true,
        "user_id": user.id,
        "username": user.username,
        "email": user.email,
        "role": user.role,
        "project_id": principal.project,
        "credential": credential,
        "key_id": key,
    }))
}
