//! Entering with a password.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::SessionId;
use llm_gate::store::User;
use serde_json::{Value, json};

use super::{note_failure, open, pair, to_the_end};
use crate::accounts;
use crate::api::caller::Origin;
use crate::api::cookies::{DeviceCookie, WithCookies};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Form, Input, Json, SECRET, TEXT, Word};
use crate::api::views::TokenPair;
use crate::app::App;
use crate::config::Secret;
use crate::devices::Device;
use crate::logins::{self, Who};
use crate::passwords::Verdict;

/// Who wants to enter.
pub(in crate::api) struct Login {
    name: String,
    password: Secret,
}

impl Input for Login {
    const NAME: &'static str = "Login";

    fn read(fields: &mut Fields) -> Option<Self> {
        let names = [
            fields.optional(
                "username",
                "The user name; this or the e-mail address",
                &TEXT,
            ),
            fields.optional("email", "The e-mail address; this or the user name", &TEXT),
        ];
        let password = fields.required("password", "The password", &SECRET);
        let ([Some(name), None] | [None, Some(name)]) = names else {
            if !fields.refused("username") && !fields.refused("email") {
                fields.refuse(
                    "username",
                    "a user name or an e-mail address is required, and only one",
                );
            }
            return None;
        };
        Some(Self {
            name,
            password: password?,
        })
    }

    fn example() -> Value {
        json!({ "username": "ada", "password": "correct horse battery" })
    }
}

/// Opens a session with a password.
///
/// The answer is the same for an unknown user, a wrong password and a disabled account. It sets a cookie: whoever
/// brings that again is kept waiting by its own wrong passwords only.
#[utoipa::path(
    post,
    path = "/api/v1/auth/login",
    responses((status = 401, description = "Wrong user name or password"))
)]
pub(in crate::api) async fn login(
    State(app): State<App>,
    origin: Origin,
    device: DeviceCookie,
    Json(Login { name, password }): Json<Login>,
) -> Result<WithCookies<Answer<TokenPair>>, ApiError> {
    to_the_end(enter(app, origin, device, name, password)).await
}

/// The password form of OAuth 2.
pub(in crate::api) struct PasswordGrant {
    username: Secret,
    password: Secret,
}

impl Input for PasswordGrant {
    const NAME: &'static str = "PasswordGrant";

    fn read(fields: &mut Fields) -> Option<Self> {
        const GRANT: Word<()> = Word::new(
            || vec!["password"],
            |word| (word == "password").then_some(()),
        );
        let username = fields.required("username", "The user name or e-mail address", &SECRET);
        let password = fields.required("password", "The password", &SECRET);
        fields.optional("grant_type", "The only one there is", &GRANT);
        // Who the client is and what it wants makes no difference here.
        fields.ignored(&["scope", "client_id", "client_secret"]);
        Some(Self {
            username: username?,
            password: password?,
        })
    }

    fn example() -> Value {
        json!({ "grant_type": "password", "username": "ada", "password": "correct horse battery" })
    }
}

/// Opens a session with the password form of OAuth 2.
#[utoipa::path(
    post,
    path = "/api/v1/auth/token",
    responses((status = 401, description = "Wrong user name or password"))
)]
pub(in crate::api) async fn token(
    State(app): State<App>,
    origin: Origin,
    device: DeviceCookie,
    Form(PasswordGrant { username, password }): Form<PasswordGrant>,
) -> Result<WithCookies<Answer<TokenPair>>, ApiError> {
    let name = username.expose().to_owned();
    to_the_end(enter(app, origin, device, name, password)).await
}

/// The one answer for an unknown user, a wrong password and a disabled account.
fn wrong() -> ApiError {
    ApiError::unauthorized("wrong user name or password")
}

/// Begins a login. Whom the device has entered before is looked for first; nobody else is looked up before it is clear that
/// it may be tried.
async fn begin(
    app: &App,
    origin: &Origin,
    device: Option<&Device>,
    name: &str,
) -> Result<logins::Login, ApiError> {
    let mut who = Who::Stranger(origin.network, name);
    if let Some(device) = device.filter(|device| app.devices.has_entered(device, name)) {
        let record = app.store.user_by_login(name.to_owned()).await?;
        let record = record.filter(|record| !record.user.disabled);
        let familiar = record.and_then(|record| {
            let hash = record.hash.as_deref()?;
            app.devices.recognise(device, record.user.id, hash)
        });
        who = familiar.map_or(who, Who::Familiar);
    }
    let begun = app.rates.login(who);
    begun.map_err(|exceeded| origin.refuse(&exceeded, "logins"))
}

/// Checks a password and opens a session. The work is the same whether the user exists or not.
async fn enter(
    app: App,
    origin: Origin,
    device: DeviceCookie,
    name: String,
    password: Secret,
) -> Result<WithCookies<Answer<TokenPair>>, ApiError> {
    let (app, origin) = (&app, &origin);
    let name = accounts::login(&name);
    let login = begin(app, origin, device.device.as_ref(), &name).await?;
    let passwords = app.passwords.for_strangers(login.is_strangers());
    let record = app.store.user_by_login(name.clone()).await?;
    let kept = record.as_ref().and_then(|record| record.hash.clone());
    let known = record.as_ref().map(|record| record.user.id);
    let verdict = if record.as_ref().is_some_and(|record| record.user.disabled) {
        passwords.verify_in_vain(password.clone(), kept).await?
    } else {
        passwords.verify(password.clone(), kept).await?
    };
    let (Some(record), Verdict::Right { fresh }) = (record, verdict) else {
        tracing::info!(address = %origin.network, "login refused");
        origin.refused("invalid");
        login.failed();
        note_failure(app, origin, known).await?;
        return Err(wrong());
    };
    if record.user.disabled {
        tracing::info!(user = %record.user.id, "login of a disabled user refused");
        origin.refused("revoked");
        login.failed();
        note_failure(app, origin, known).await?;
        return Err(wrong());
    }
    drop(login);
    let mut hashes = vec![record.hash.clone()];
    if let (Some(fresh), Some(hash)) = (fresh, record.hash) {
        hashes.push(Some(fresh.clone()));
        let replaced = app.store.replace_password_hash(record.user.id, hash, fresh);
        if let Err(error) = replaced.await {
            // The old hash still works; the next login tries again.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "hash not replaced"
            );
        }
    }
    let session = SessionId::new();
    let refresh = open(app, origin, &record.user, session).await?;
    let holds = still_right(app, name, &record.user, &hashes, password).await;
    let Ok(Some(hash)) = holds else {
        let author = origin.author.clone();
        app.store
            .end_session(record.user.id, session, author)
            .await?;
        holds?;
        return Err(wrong());
    };
    let pair = pair(app, &record.user, session, &refresh)?;
    let cookie = device.entered(app, &record.user, &hash);
    Ok(WithCookies(Answer(pair), cookie))
}

/// Returns the hash on record, if the account still has the password that was checked. Another one ends the sessions there
/// are, and what was opened meanwhile with the old one has to end as well; a racing login has only hashed the same one anew.
async fn still_right(
    app: &App,
    name: String,
    user: &User,
    checked: &[Option<String>],
    password: Secret,
) -> Result<Option<String>, ApiError> {
    let now = app.store.user_by_login(name).await?;
    let Some(now) = now.filter(|now| now.user.id == user.id && !now.user.disabled) else {
        return Ok(None);
    };
    if now.hash.is_none() || checked.contains(&now.hash) {
        return Ok(now.hash);
    }
    let verdict = app.passwords.verify(password, now.hash.clone()).await?;
    Ok(now
        .hash
        .filter(|_| matches!(verdict, Verdict::Right { .. })))
}
