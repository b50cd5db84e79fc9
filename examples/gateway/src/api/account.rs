//! The own account: names, password, sessions, and its end.

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::MailToken;
use llm_gate::identity::SessionId;
use llm_gate::store::{Author, NewTicket, TicketPurpose, User, UserChange};

use serde_json::{Value, json};

use super::caller::{By, Login, Origin};
use super::document::{Accepted, NoContent};
use super::error::ApiError;
use super::fields::{Fields, Input, Json, JsonDraft, Path, SECRET};
use super::people::{EMAIL, NAME, USERNAME};
use super::users::view;
use super::views::{SessionView, Sessions, UserView};
use crate::accounts;
use crate::app::App;
use crate::config::Secret;
use crate::mail::{Letter, Mailer};
use crate::passwords::Verdict;

/// How long a mailed secret is good.
pub(super) const VERIFY_FOR: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// What there may be too many of.
pub(super) const LETTERS: &str = "letters to this address";
const RESET_FOR: std::time::Duration = std::time::Duration::from_secs(3600);

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
    Login { user, author, .. }: Login,
    origin: Origin,
    JsonDraft(mut draft): JsonDraft<Profile>,
) -> Result<Answer<UserView>, ApiError> {
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
        prove(&app, &origin, &user, "current_password", current).await?;
    }
    let before = user;
    let user = super::people::changed(&app, before.id, change, author.clone()).await?;
    if moves {
        if let Some((mailer, email)) = reached(&app, &before) {
            mailer.post(Letter::email_changed(mailer.web_url(), email));
        }
        mail_verification(&app, &user, &author).await?;
    }
    Ok(Answer(view(&app, user).await?))
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

/// A password in place of another.
pub(super) struct NewPassword {
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
pub(super) async fn set_password(
    State(app): State<App>,
    Login {
        user,
        author,
        session,
    }: Login,
    origin: Origin,
    JsonDraft(mut draft): JsonDraft<NewPassword>,
) -> Result<NoContent, ApiError> {
    draft.check("new_password", |wanted| {
        check_password(&app, &user, &wanted.new)
    });
    let NewPassword { current, new } = draft.finish()?;
    let proven = prove(&app, &origin, &user, "current_password", current).await?;
    let hash = app.passwords.hash(new).await?;
    let change = app
        .store
        .change_password(user.id, proven, hash, session, author);
    if !change.await? {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "the password was changed meanwhile: this one was not set",
        ));
    }
    tell_of_password(&app, &user);
    Ok(NoContent)
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
/// like those of logins. Returns the hash that holds, `None` of who has no password.
pub(super) async fn prove(
    app: &App,
    origin: &Origin,
    user: &User,
    field: &'static str,
    password: Option<Secret>,
) -> Result<Option<String>, ApiError> {
    let names = || [&user.username, &user.email].into_iter().flatten();
    let name = names().next().cloned().unwrap_or_default();
    let record = app.store.user_by_login(name.clone()).await?;
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
    let login = app.rates.logins.begin(origin.network, &name);
    let login = login.map_err(|exceeded| origin.refuse(&exceeded, "wrong passwords"))?;
    match app.passwords.verify(password, Some(hash.clone())).await? {
        Verdict::Right { .. } => {
            login.succeeded(names().map(String::as_str));
            Ok(Some(hash))
        }
        _ => {
            login.failed();
            Err(wrong())
        }
    }
}

/// Returns what writes to somebody, and the address, if that is known to be right.
fn reached<'a>(app: &'a App, user: &'a User) -> Option<(&'a Mailer, &'a str)> {
    let email = user.email.as_deref().filter(|_| user.email_verified)?;
    Some((app.mailer.as_ref()?, email))
}

fn tell_of_password(app: &App, user: &User) {
    if let Some((mailer, email)) = reached(app, user) {
        mailer.post(Letter::password_changed(mailer.web_url(), email));
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
    Login { user, author, .. }: Login,
    origin: Origin,
    Json(Farewell { password }): Json<Farewell>,
) -> Result<NoContent, ApiError> {
    prove(&app, &origin, &user, "password", password).await?;
    super::people::deleted(&app, user.id, author).await?;
    app.keys.invalidate_all();
    Ok(NoContent)
}

/// Mails the own address again what confirms it.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/email/verification",
    responses((status = 409, description = "There is no address, it is confirmed, or no mail is sent here"))
)]
pub(super) async fn request_verification(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    origin: Origin,
) -> Result<Accepted, ApiError> {
    let Some((mailer, email)) = unconfirmed(&app, &user) else {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "there is no address to confirm, or no mail is sent here",
        ));
    };
    let counted = app.rates.letter(email);
    counted.map_err(|exceeded| origin.refuse(&exceeded, LETTERS))?;
    let token = ticket(&app, &user, email, TicketPurpose::VerifyEmail, &author).await?;
    mailer.post(Letter::verify_email(
        mailer.web_url(),
        email,
        token.expose(),
    ));
    Ok(Accepted)
}

/// Returns what writes to somebody, and the address, if that has to be confirmed.
fn unconfirmed<'a>(app: &'a App, user: &'a User) -> Option<(&'a Mailer, &'a str)> {
    let email = user.email.as_deref().filter(|_| !user.email_verified)?;
    Some((app.mailer.as_ref()?, email))
}

/// Mails a user what confirms its address, where mail is sent and the address is not confirmed yet. Where too many letters
/// have gone there it is left at that: the user can ask for one later.
pub(super) async fn mail_verification(
    app: &App,
    user: &User,
    author: &Author,
) -> Result<(), ApiError> {
    let Some((mailer, email)) = unconfirmed(app, user) else {
        return Ok(());
    };
    if app.rates.letter(email).is_err() {
        tracing::info!(user = %user.id, "a letter was not written: too many to this address");
        return Ok(());
    }
    let token = ticket(app, user, email, TicketPurpose::VerifyEmail, author).await?;
    mailer.post(Letter::verify_email(
        mailer.web_url(),
        email,
        token.expose(),
    ));
    Ok(())
}

async fn ticket(
    app: &App,
    user: &User,
    email: &str,
    purpose: TicketPurpose,
    author: &Author,
) -> Result<MailToken, ApiError> {
    let token = MailToken::generate();
    let life = match purpose {
        TicketPurpose::ResetPassword => RESET_FOR,
        _ => VERIFY_FOR,
    };
    let ticket = NewTicket {
        hash: token.hash(),
        purpose,
        user: user.id,
        email: email.to_owned(),
        created_at: author.at,
        expires_at: author.at.after(life),
    };
    app.store.create_ticket(ticket).await?;
    Ok(token)
}

/// What was mailed.
pub(super) struct Mailed {
    token: Secret,
}

impl Input for Mailed {
    const NAME: &'static str = "MailedToken";

    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", "What stands in the link that was mailed", &SECRET);
        Some(Self { token: token? })
    }

    fn example() -> Value {
        json!({"token": "lgm_…"})
    }
}

/// Confirms the e-mail address of the own account.
///
/// It takes the login beside the letter: who reads the address may not be who has made the account, and would hand it
/// over. Who cannot log in sets a new password by mail, which confirms the address too.
#[utoipa::path(
    post,
    path = "/api/v1/auth/email/verify",
    responses((status = 403, description = "The link is used, too old, or for another account; or no login"))
)]
pub(super) async fn verify_email(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    Json(Mailed { token }): Json<Mailed>,
) -> Result<NoContent, ApiError> {
    let token = MailToken::parse(token.expose()).map_err(|_| worn())?;
    let purpose = TicketPurpose::VerifyEmail;
    // Whose it is never changes, so it may be looked at before.
    let owner = app.store.ticket(token.hash(), purpose, author.at).await?;
    if owner.is_none_or(|owner| owner.id != user.id) {
        return Err(worn());
    }
    let verified = app.store.verify_email(token.hash(), author).await?;
    verified.map(|_| NoContent).ok_or_else(worn)
}

fn worn() -> ApiError {
    ApiError::forbidden("the link is used, too old, or for another account")
}

/// Who has forgotten a password.
pub(super) struct Forgotten {
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
pub(super) async fn forgot_password(
    State(app): State<App>,
    By(author): By,
    Json(Forgotten { email }): Json<Forgotten>,
) -> Result<Accepted, ApiError> {
    let Some(mailer) = app.mailer.clone() else {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "no mail is sent here: ask your administrator for a new password",
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
        if app.rates.letter(&email).is_err() {
            return tracing::info!(user = %user.id, "a letter was not written: too many to this address");
        }
        match ticket(&app, &user, &email, TicketPurpose::ResetPassword, &author).await {
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

/// What was mailed, and a new password.
pub(super) struct Reset {
    token: Secret,
    password: Secret,
}

impl Input for Reset {
    const NAME: &'static str = "PasswordReset";

    fn read(fields: &mut Fields) -> Option<Self> {
        let token = fields.required("token", "What stands in the link that was mailed", &SECRET);
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

/// Sets a new password with what was mailed, and ends all sessions.
///
/// Where the address was not confirmed before, somebody else may have made the account. So its API keys and logins with
/// other providers end too, others are put out of its personal project with its services, and its invites are withdrawn.
#[utoipa::path(
    post,
    path = "/api/v1/auth/password/reset",
    responses((status = 403, description = "The link is used, or too old"))
)]
pub(super) async fn reset_password(
    State(app): State<App>,
    By(author): By,
    JsonDraft(mut draft): JsonDraft<Reset>,
) -> Result<NoContent, ApiError> {
    draft.check("password", |wanted| {
        app.policy.check(wanted.password.expose(), &[])
    });
    let Reset { token, password } = draft.finish()?;
    let token = MailToken::parse(token.expose()).map_err(|_| worn())?;
    // Looked at first, so that nobody makes the gate hash passwords for nothing.
    let owner = app
        .store
        .ticket(token.hash(), TicketPurpose::ResetPassword, author.at)
        .await?;
    let owner = owner.ok_or_else(worn)?;
    if let Err(reason) = check_password(&app, &owner, &password) {
        return Err(ApiError::in_body("password", reason));
    }
    let hash = app.passwords.hash(password).await?;
    let user = app.store.reset_password(token.hash(), hash, author).await?;
    let user = user.ok_or_else(worn)?;
    // Keys that somebody made before the address was confirmed are revoked.
    app.keys.invalidate_all();
    tell_of_password(&app, &user);
    Ok(NoContent)
}
