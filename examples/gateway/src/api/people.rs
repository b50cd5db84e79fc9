//! What routes of accounts share.

use std::borrow::Cow;

use http::StatusCode;
use llm_gate::identity::UserId;
use llm_gate::store::{Author, StoreErrorKind, User, UserChange, UserOutcome};

use super::error::ApiError;
use super::fields::Text;
use crate::accounts;
use crate::app::App;

/// A user name, checked.
pub(super) const USERNAME: Text<String> =
    Text::new(|text| accounts::username(text).map_err(Cow::Borrowed))
        .pattern(r"^\s*[A-Za-z0-9][A-Za-z0-9._\-]{0,63}\s*$");
/// An e-mail address, checked.
pub(super) const EMAIL: Text<String> =
    Text::new(|text| accounts::email(text).map_err(Cow::Borrowed))
        .pattern(r"^\s*[^\s@]+@[^\s@]+\s*$")
        .sized(3, 254);
/// What somebody or something is called.
pub(super) const NAME: Text<String> =
    Text::new(|text| accounts::key_name(text).map_err(Cow::Borrowed)).sized(1, 100);

pub(super) const NO_USER: &str = "no such user";
/// What somebody is told who would have no name left to log in with.
pub(super) const NAMELESS: &str = "a user name or an e-mail address is required";

/// Changes an account. Where it may do something else then, its keys are forgotten where they are known.
pub(super) async fn changed(
    app: &App,
    id: UserId,
    change: UserChange,
    author: Author,
) -> Result<User, ApiError> {
    let rights = change.role.is_some() || change.disabled.is_some();
    let user = match app.store.change_user(id, change, author).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => return Err(taken()),
        other => outcome(other?)?,
    };
    if rights {
        app.keys.invalidate_all();
    }
    Ok(user)
}

/// Deletes an account, and has its keys forgotten where they are known.
pub(super) async fn deleted(app: &App, id: UserId, author: Author) -> Result<User, ApiError> {
    let deleted = outcome(app.store.delete_user(id, author).await?)?;
    app.keys.invalidate_all();
    Ok(deleted)
}

pub(super) fn taken() -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "the user name or e-mail address is taken",
    )
}

fn outcome(outcome: UserOutcome) -> Result<User, ApiError> {
    match outcome {
        UserOutcome::Done(user) => Ok(user),
        UserOutcome::LastAdmin => Err(ApiError::new(
            StatusCode::CONFLICT,
            "this is the last admin: make another one first",
        )),
        UserOutcome::LastOwner(_) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "this is the only owner of a project with other members: make another one first, or archive it",
        )),
        UserOutcome::LastName => Err(ApiError::in_body("username", NAMELESS)),
        _ => Err(ApiError::not_found(NO_USER)),
    }
}
