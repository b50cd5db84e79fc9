//! Whose account it is that somebody comes for by another provider.

use llm_gate::clock::Timestamp;
use llm_gate::identity::{Role, SessionId, UserId};
use llm_gate::store::{Actor, Author, Identity, Linking, NewUser, StoreErrorKind, User};

use super::failure::Failure;
use crate::accounts::Names;
use crate::app::App;
use crate::config::Registration;
use crate::oauth::Profile;

/// How often it is looked up again after somebody else was quicker.
const ATTEMPTS: usize = 3;

/// Finds the account of somebody who logs in with another provider, or makes one.
///
/// The identity alone says who is known. For who is not, the address counts if both have seen that it is theirs: the
/// provider, or somebody claims an address there to enter an account here; and we, or somebody has claimed it here to
/// be entered by its owner.
pub(super) async fn entering(
    app: &App,
    profile: Profile,
    since: Timestamp,
    author: &Author,
) -> Result<User, Failure> {
    for _ in 0..ATTEMPTS {
        let known = app.store.user_by_identity(profile.identity.clone()).await?;
        if let Some(user) = known {
            return enabled(user);
        }
        let email = profile.email.clone().ok_or(Failure::NoEmail)?;
        let found = app.store.user_by_login(email.clone()).await?;
        let entered = match found.map(|record| record.user) {
            Some(user) => adopt(app, user, &profile, since, author).await?,
            None => register(app, email, &profile, author).await?,
        };
        if let Some(user) = entered {
            return Ok(user);
        }
    }
    Err(Failure::Taken)
}

/// Ends a session that was just opened, and refuses it, where the identity does not lead to the account any more. What takes
/// it from there, or disables the account, ends the sessions there are, and this one may have been opened after that.
pub(super) async fn still_known(
    app: &App,
    user: &User,
    identity: Identity,
    session: SessionId,
    author: &Author,
) -> Result<(), Failure> {
    let now = app.store.user_by_identity(identity).await?;
    if now.is_some_and(|now| now.id == user.id && !now.disabled) {
        return Ok(());
    }
    tracing::info!(user = %user.id, "login of an identity that was unlinked meanwhile refused");
    app.store
        .end_session(user.id, session, author.clone())
        .await?;
    Err(Failure::Disabled(user.id))
}

fn enabled(user: User) -> Result<User, Failure> {
    if user.disabled {
        tracing::info!(user = %user.id, "login of a disabled user refused");
        return Err(Failure::Disabled(user.id));
    }
    Ok(user)
}

/// Links an account that has the address. `None` if somebody was quicker.
async fn adopt(
    app: &App,
    user: User,
    profile: &Profile,
    since: Timestamp,
    author: &Author,
) -> Result<Option<User>, Failure> {
    if user.email != profile.email || !user.email_verified {
        return Err(Failure::Unconfirmed(user.id));
    }
    let user = enabled(user)?;
    let (identity, author) = (profile.identity.clone(), by(user.id, author));
    let linking = app
        .store
        .link_identity(user.id, identity, Some(since), author);
    match linking.await {
        Ok(Linking::Done) => Ok(Some(user)),
        Ok(Linking::Over) => match app.store.user_by_identity(profile.identity.clone()).await? {
            // Of two browsers that come first the other was quicker.
            Some(user) => enabled(user).map(Some),
            None => Err(Failure::Used),
        },
        Ok(Linking::Full) => Err(Failure::Full),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes an account. `None` if somebody was quicker.
async fn register(
    app: &App,
    email: String,
    profile: &Profile,
    author: &Author,
) -> Result<Option<User>, Failure> {
    if app.config.registration() != Registration::Open {
        return Err(Failure::Closed);
    }
    let names = Names {
        email: Some(email),
        username: None,
    };
    let limit = Some(app.config.limits.default_user);
    let account = NewUser {
        email_verified: true,
        identity: Some(profile.identity.clone()),
        ..names.account(None, Role::User, limit, author.clone())
    };
    match app.store.create_user(account).await {
        Ok(user) => Ok(Some(user)),
        Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Links an account whose owner has asked for it, if the session that asked lives on.
pub(super) async fn link(
    app: &App,
    user: UserId,
    session: Option<SessionId>,
    identity: Identity,
    since: Timestamp,
    author: &Author,
) -> Result<(), Failure> {
    let account = app.store.user(user).await?;
    let account = account.ok_or(Failure::Disabled(user))?;
    enabled(account)?;
    if let Some(session) = session {
        let lives = app.store.session(session, author.at).await?;
        lives
            .filter(|session| session.user == user)
            .ok_or(Failure::Disabled(user))?;
    }
    let linking = app
        .store
        .link_identity(user, identity, Some(since), by(user, author));
    match linking.await {
        Ok(Linking::Done) => Ok(()),
        Ok(Linking::Over) => Err(Failure::Used),
        Ok(Linking::Full) => Err(Failure::Full),
        Ok(_) => Err(Failure::Disabled(user)),
        Err(error) if error.kind() == StoreErrorKind::Conflict => Err(Failure::Taken),
        Err(error) if error.kind() == StoreErrorKind::Stale => Err(Failure::Disabled(user)),
        Err(error) => Err(error.into()),
    }
}

fn by(user: UserId, author: &Author) -> Author {
    Author {
        actor: Actor::User(user),
        ..author.clone()
    }
}
