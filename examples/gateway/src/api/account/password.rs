//! The password of the own account, with and without knowing the one before.

use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::SessionId;
use llm_gate::store::{Author, Ticket, TicketPurpose, User};
use serde_json::{Value, json};

use super::letters::{given_out, reached, ticket, worn};
use crate::accounts;
use crate::api::auth::to_the_end;
use crate::api::caller::{By, Login, Origin};
use crate::api::cookies::{DeviceCookie, WithCookies};
use crate::api::document::{Accepted, NoContent};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, JsonDraft, SECRET};
use crate::api::people::EMAIL;
use crate::app::App;
use crate::config::Secret;
use crate::logins::Familiar;
use crate::mail::Letter;
use crate::passwords::Verdict;
use crate::rates::Purpose;

/// A password in place of another.
pub(in crate::api) struct NewPassword {
    current: Option<Secret>,
    new: Secret,
}

impl Input for NewPassword {
    const NAME: &'static str = "PasswordChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        let current = fields.optional(
            "current_password",
            "The password now; needed unless the account has none",
            &SECRET,
        );
        let new = fields.required("new_password", "The password from now on", &SECRET);
        Some(Self {
            current,
            new: new.unwrap_or_else(|| Secret::from("")),
        })
    }

    fn example() -> Value {
        json!({"current_password": "correct horse battery", "new_password": "battery horse correct"})
    }
}

/// Sets another password, and ends all other sessions.
#[utoipa::path(
    put,
    path = "/api/v1/users/me/password",
    responses((status = 409, description = "The account or its password was changed meanwhile"))
)]
pub(in crate::api) async fn set_password(
    State(app): State<App>,
    Login {
        user,
        author,
        session,
    }: Login,
    origin: Origin,
    device: DeviceCookie,
    JsonDraft(mut draft): JsonDraft<NewPassword>,
) -> Result<WithCookies<NoContent>, ApiError> {
    draft.check("new_password", |wanted| {
        check_password(&app, &user, &wanted.new)
    });
    let NewPassword { current, new } = draft.finish()?;
    let proven = prove(&app, &origin, (&user, session), "current_password", current).await?;
    let hash = app.passwords.hash(new).await?;
    let change = app
        .store
        .change_password(user.id, proven, hash.clone(), session, author);
    if !change.await? {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "the password was changed meanwhile: this one was not set",
        ));
    }
    tell_of_password(&app, &user);
    let cookie = device.entered(&app, &user, &hash);
    Ok(WithCookies(NoContent, cookie))
}

fn check_password(app: &App, user: &User, password: &Secret) -> Result<(), String> {
    let names: Vec<&str> = [&user.email, &user.username]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    app.policy
        .check(password.expose(), &names)
        .map_err(|reason| reason.to_string())
}

/// Checks the password of somebody who has logged in, before something that a stolen session must not do. Wrong ones count
/// like those of logins, against the session. Returns the hash that holds, `None` of who has no password.
pub(in crate::api) async fn prove(
    app: &App,
    origin: &Origin,
    (user, session): (&User, Option<SessionId>),
    field: &'static str,
    password: Option<Secret>,
) -> Result<Option<String>, ApiError> {
    let name = user.username.clone().or_else(|| user.email.clone());
    let record = app.store.user_by_login(name.unwrap_or_default()).await?;
    // The name may be another one by now: then nobody knows whether there is a password.
    let record = record.filter(|record| record.user.id == user.id);
    let record = record.ok_or_else(|| {
        ApiError::new(
            StatusCode::CONFLICT,
            "the account was changed meanwhile: try again",
        )
    })?;
    let Some(hash) = record.hash else {
        // Whoever has no password is known by another provider only.
        return Ok(None);
    };
    let wrong = || ApiError::in_body(field, "is not the password");
    let password = password.ok_or_else(wrong)?;
    let login = app.rates.prove(Familiar::session(session, user.id));
    let login = login.map_err(|exceeded| origin.refuse(&exceeded, "wrong passwords"))?;
    let (passwords, kept) = (app.passwords.clone(), Some(hash.clone()));
    let right = to_the_end(async move {
        let verdict = passwords.verify(password, kept).await?;
        let right = matches!(verdict, Verdict::Right { .. });
        if !right {
            login.failed();
        }
        Ok(right)
    });
    if right.await? {
        Ok(Some(hash))
    } else {
        Err(wrong())
    }
}

fn tell_of_password(app: &App, user: &User) {
    if let Some((mailer, email)) = reached(app, user) {
        mailer.post(Letter::password_changed(mailer.web_url(), email));
    }
}

/// Who has forgotten a password.
pub(in crate::api) struct Forgotten {
    email: String,
}

impl Input for Forgotten {
    const NAME: &'static str = "ForgottenPassword";

    fn read(fields: &mut Fields) -> Option<Self> {
        let email = fields.required("email", "The e-mail address of the account", &EMAIL);
        Some(Self { email: email? })
    }

    fn example() -> Value {
        json!({"email": "ada@example.org"})
    }
}

/// Mails somebody what sets a new password.
///
/// The answer is the same whether there is such an account or not.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/forgot",
    responses((status = 409, description = "No mail is sent here"))
)]
pub(in crate::api) async fn forgot_password(
    State(app): State<App>,
    By(author): By,
    Json(Forgotten { email }): Json<Forgotten>,
) -> Result<Accepted, ApiError> {
    let Some(mailer) = app.mailer.clone() else {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "no mail is sent here: ask your administrator for a link that sets a new one",
        ));
    };
    // What is done for an account that there is, takes longer than what is done for none. So nobody waits for it.
    tokio::spawn(async move {
        let found = match app.store.user_by_login(accounts::login(&email)).await {
            Ok(found) => found.map(|record| record.user),
            Err(error) => {
                return tracing::warn!(error = &error as &dyn std::error::Error, "no letter");
            }
        };
        let user = found.filter(|user| !user.disabled && user.email.as_deref() == Some(&email));
        let Some(user) = user else {
            return;
        };
        if app.rates.letter(Purpose::Reset, &email).is_err() {
            return tracing::info!(user = %user.id, "a letter was not written: too many to this address");
        }
        let (purpose, asked) = (TicketPurpose::ResetPassword, true);
        match ticket(&app, &user, &email, purpose, asked, &author).await {
            Ok(token) => mailer.post(Letter::reset_password(
                mailer.web_url(),
                &email,
                token.expose(),
            )),
            Err(_) => tracing::warn!("a letter was not written: the store cannot answer"),
        }
    });
    Ok(Accepted)
}

/// What was mailed or handed over, and a new password.
pub(in crate::api) struct Reset {
    token: Secret,
    password: Secret,
}

impl Input for Reset {
    const NAME: &'static str = "PasswordReset";

    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", "What stands in the link", &SECRET);
        let password = fields.required("password", "The password from now on", &SECRET);
        Some(Self {
            token: token.unwrap_or_else(|| Secret::from("")),
            password: password.unwrap_or_else(|| Secret::from("")),
        })
    }

    fn example() -> Value {
        json!({"token": "lgm_…", "password": "battery horse correct"})
    }
}

/// Sets a new password with what was mailed or handed over, and ends all sessions.
///
/// A letter confirms the address. Where that was not confirmed before, somebody else may have made the account. So its API
/// keys and logins with other providers end too, others are put out of its personal project with its services, and its
/// invites are withdrawn. A link that an admin handed over says nothing of the address, and ends none of these.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/reset",
    responses((status = 403, description = "The link is used, or too old"))
)]
pub(in crate::api) async fn reset_password(
    State(app): State<App>,
    origin: Origin,
    device: DeviceCookie,
    JsonDraft(mut draft): JsonDraft<Reset>,
) -> Result<WithCookies<NoContent>, ApiError> {
    draft.check("password", |wanted| {
        app.policy.check(wanted.password.expose(), &[])
    });
    let Reset { token, password } = draft.finish()?;
    let author = origin.author.clone();
    let token = given_out(&app, &token)?;
    // Looked at first, so that nobody makes the gate hash passwords for nothing.
    let ticket = app
        .store
        .ticket(token.hash(), TicketPurpose::ResetPassword, author.at)
        .await?;
    let Ticket {
        user: owner,
        mailed,
    } = ticket.ok_or_else(worn)?;
    if let Err(reason) = check_password(&app, &owner, &password) {
        return Err(ApiError::in_body("password", reason));
    }
    let counted = app.rates.reset(owner.id);
    counted.map_err(|exceeded| origin.refuse(&exceeded, "new passwords"))?;
    let hash = app.passwords.hash(password).await?;
    let reset = (app.store).reset_password(token.hash(), hash.clone(), author.clone());
    let user = reset.await?.ok_or_else(worn)?;
    if mailed && !owner.email_verified {
        // Who was let in before that was committed may have gone on, and goes on no longer than until now.
        let author = Author {
            at: app.clock.now(),
            ..author
        };
        app.store.secure_account(user.id, author).await?;
    }
    // Keys that somebody made before the address was confirmed are revoked.
    app.keys.invalidate_all();
    tell_of_password(&app, &user);
    // Who has the link enters next, whoever guesses meanwhile.
    let cookie = device.entered(&app, &user, &hash);
    Ok(WithCookies(NoContent, cookie))
}
