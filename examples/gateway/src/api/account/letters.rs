//! The e-mail address of the own account, and what is mailed there.

use axum::extract::State;
use http::StatusCode;
use llm_gate::auth::MailToken;
use llm_gate::store::{Author, NewTicket, TicketPurpose, User};
use serde_json::{Value, json};

use crate::accounts::RESET_FOR;
use crate::api::caller::{Login, Origin};
use crate::api::document::{Accepted, NoContent};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, SECRET};
use crate::app::App;
use crate::config::Secret;
use crate::mail::{Letter, Mailer};
use crate::rates::Purpose;

/// How long a mailed secret is good.
pub(in crate::api) const VERIFY_FOR: std::time::Duration =
    std::time::Duration::from_secs(24 * 3600);

/// What there may be too many of.
pub(in crate::api) const LETTERS: &str = "letters to this address";

/// Returns what writes to somebody, and the address, if that is known to be right.
pub(super) fn reached<'a>(app: &'a App, user: &'a User) -> Option<(&'a Mailer, &'a str)> {
    let email = user.email.as_deref().filter(|_| user.email_verified)?;
    Some((app.mailer.as_ref()?, email))
}

/// Mails the own address again what confirms it.
#[utoipa::path(
    post,
    path = "/api/v1/users/me/email/verification",
    responses((status = 409, description = "There is no address, it is confirmed, or no mail is sent here"))
)]
pub(in crate::api) async fn request_verification(
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
    let counted = app.rates.letter(Purpose::Verify, email);
    counted.map_err(|exceeded| origin.refuse(&exceeded, LETTERS))?;
    let (purpose, asked) = (TicketPurpose::VerifyEmail, true);
    let token = ticket(&app, &user, email, purpose, asked, &author).await?;
    mailer.post(Letter::verify_email(
        mailer.web_url(),
        email,
        token.expose(),
    ));
    Ok(Accepted)
}

/// Returns what writes to somebody, and the address, if that has to be confirmed.
pub(super) fn unconfirmed<'a>(app: &'a App, user: &'a User) -> Option<(&'a Mailer, &'a str)> {
    let email = user.email.as_deref().filter(|_| !user.email_verified)?;
    Some((app.mailer.as_ref()?, email))
}

/// Mails a user what confirms its address, where mail is sent and the address is not confirmed yet. Where too many letters
/// have gone there it is left at that: the user can ask for one later.
pub(in crate::api) async fn mail_verification(
    app: &App,
    user: &User,
    author: &Author,
) -> Result<(), ApiError> {
    let Some((mailer, email)) = unconfirmed(app, user) else {
        return Ok(());
    };
    if app.rates.letter(Purpose::Verify, email).is_err() {
        tracing::info!(user = %user.id, "a letter was not written: too many to this address");
        return Ok(());
    }
    // What it goes out with has an event.
    let (purpose, asked) = (TicketPurpose::VerifyEmail, false);
    let token = ticket(app, user, email, purpose, asked, author).await?;
    mailer.post(Letter::verify_email(
        mailer.web_url(),
        email,
        token.expose(),
    ));
    Ok(())
}

/// Makes the secret of a letter. Where somebody has `asked` for that, the event is kept with it.
pub(super) async fn ticket(
    app: &App,
    user: &User,
    email: &str,
    purpose: TicketPurpose,
    asked: bool,
    author: &Author,
) -> Result<MailToken, ApiError> {
    let token = MailToken::sealed(&app.hasher, user.id);
    let life = match purpose {
        TicketPurpose::ResetPassword => RESET_FOR,
        _ => VERIFY_FOR,
    };
    let ticket = NewTicket {
        hash: token.hash(),
        purpose,
        user: user.id,
        email: Some(email.to_owned()),
        asked,
        author: author.clone(),
        expires_at: author.at.after(life),
    };
    app.store.create_ticket(ticket).await?;
    Ok(token)
}

/// Takes what was mailed or handed over; what was not given out here is not looked up.
pub(super) fn given_out(app: &App, token: &Secret) -> Result<MailToken, ApiError> {
    let token = MailToken::parse(token.expose()).map_err(|_| worn())?;
    let sealed = token.account(&app.hasher).is_some();
    sealed.then_some(token).ok_or_else(worn)
}

/// What was mailed.
pub(in crate::api) struct Mailed {
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
pub(in crate::api) async fn verify_email(
    State(app): State<App>,
    Login { user, author, .. }: Login,
    Json(Mailed { token }): Json<Mailed>,
) -> Result<NoContent, ApiError> {
    let token = given_out(&app, &token)?;
    let purpose = TicketPurpose::VerifyEmail;
    // Whose it is never changes, so it may be looked at before.
    let ticket = app.store.ticket(token.hash(), purpose, author.at).await?;
    if ticket.is_none_or(|ticket| ticket.user.id != user.id) {
        return Err(worn());
    }
    let verified = app.store.verify_email(token.hash(), author).await?;
    verified.map(|_| NoContent).ok_or_else(worn)
}

pub(super) fn worn() -> ApiError {
    ApiError::forbidden("the link is used, too old, or for another account")
}
