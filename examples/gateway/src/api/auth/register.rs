//! Making an account.

use std::borrow::Cow;

use axum::extract::State;
use llm_gate::auth::InviteToken;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, Role};
use llm_gate::store::{Author, Invite, StoreErrorKind, TokenHash, User};
use serde_json::{Value, json};

use crate::accounts::{self, KeyRequest, Names};
use crate::api::caller::By;
use crate::api::cookies::{DeviceCookie, WithCookies};
use crate::api::document::Created;
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, Input, JsonDraft, SECRET, Text};
use crate::api::views::Registered;
use crate::app::App;
use crate::config::{Registration as Setting, Secret};

/// A user name, checked. One that is empty was meant to be left out.
const USERNAME: Text<Option<String>> = Text::new(|text| unless_empty(text, accounts::username))
    .pattern(r"^\s*([A-Za-z0-9][A-Za-z0-9._\-]{0,63})?\s*$");

/// An e-mail address, checked. One that is empty was meant to be left out.
const EMAIL: Text<Option<String>> = Text::new(|text| unless_empty(text, accounts::email))
    .pattern(r"^\s*([^\s@]+@[^\s@]+)?\s*$")
    .sized(0, 254);

fn unless_empty(
    text: &str,
    read: fn(&str) -> Result<String, &'static str>,
) -> Result<Option<String>, Cow<'static, str>> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(read(text)?))
}

/// Who wants an account.
pub(in crate::api) struct Registration {
    names: Names,
    password: Secret,
    create_api_key: bool,
    invite: Option<Secret>,
}

impl Input for Registration {
    const NAME: &'static str = "Registration";

    fn read(fields: &mut Fields) -> Option<Self> {
        let names = Names {
            email: fields
                .optional(
                    "email",
                    "The e-mail address; this or a user name is required",
                    &EMAIL,
                )
                .flatten(),
            username: fields
                .optional(
                    "username",
                    "1 to 64 letters, digits, points, hyphens or underscores",
                    &USERNAME,
                )
                .flatten(),
        };
        let password = fields.required(
            "password",
            "At least 15 characters unless the gateway is set otherwise, and none that is tried first",
            // What every setting of the gateway lets through; its policy has the last word.
            &SECRET.sized(8, 128),
        );
        let create_api_key = fields.or(
            "create_api_key",
            "Whether to make an API key at once",
            &FLAG,
            false,
        );
        let invite = fields.optional(
            "invite",
            "What stands in the link of an invite, whose e-mail address the account gets, confirmed",
            &SECRET,
        );
        if names.all().is_empty()
            && invite.is_none()
            && !fields.refused("username")
            && !fields.refused("email")
        {
            fields.refuse("username", "a user name or an e-mail address is required");
        }
        Some(Self {
            names,
            // What is missing was noted.
            password: password.unwrap_or_else(|| Secret::from("")),
            create_api_key,
            invite,
        })
    }

    fn example() -> Value {
        json!({ "username": "ada", "password": "correct horse battery", "create_api_key": true })
    }
}

/// Makes an account.
///
/// Its token limit is the gateway's default, and only an admin raises it. Where mail is sent, a letter asks to confirm
/// the e-mail address. Who is invited may register where others may not, gets the role that goes with it, and has
/// confirmed the address by having read the letter.
#[utoipa::path(
    post,
    path = "/api/v1/auth/register",
    responses(
        (status = 403, description = "Registration is closed, or the invite is used, withdrawn, too old, for another address, or of somebody who may not invite any more, or user names are set by admins"),
        (status = 409, description = "The user name or e-mail address is taken"),
    )
)]
pub(in crate::api) async fn register(
    State(app): State<App>,
    By(author): By,
    device: DeviceCookie,
    JsonDraft(mut draft): JsonDraft<Registration>,
) -> Result<WithCookies<Created<Registered>>, ApiError> {
    draft.check("password", |wanted| {
        app.policy
            .check(wanted.password.expose(), &wanted.names.all())
    });
    let Registration {
        mut names,
        password,
        create_api_key,
        invite,
    } = draft.finish()?;
    let invite = admit(&app, &mut names, invite, author.at).await?;
    if names.username.is_some() && app.config.names_are_credentials() {
        // The address is that of the invite; a user name would be whichever somebody else's tokens say.
        return Err(ApiError::forbidden(
            "user names are set by admins here, because tokens of another issuer go by them",
        ));
    }
    if let Err(reason) = app.policy.check(password.expose(), &names.all()) {
        return Err(ApiError::in_body("password", reason));
    }

    let hash = app.passwords.for_strangers(true).hash(password).await?;
    let limit = Some(app.config.limits.default_user);
    let called: Vec<String> = names.all().into_iter().map(str::to_owned).collect();
    let mut account = names.account(hash.clone(), Role::User, limit, author.clone());
    account.invite = invite;
    let user = match app.store.create_user(account).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => {
            return Err(match invite {
                Some(token) => uninvited(&app, token, called, author.at).await?,
                None => crate::api::people::taken(),
            });
        }
        other => other?,
    };
    crate::api::account::mail_verification(&app, &user, &author).await?;
    let api_key = if create_api_key {
        Some(first_key(&app, &user, author).await?)
    } else {
        None
    };
    let cookie = device.entered(&app, &user, &hash);
    let registered = Registered {
        id: user.id,
        username: user.username,
        email: user.email,
        token_limit: limit,
        tokens_used: Default::default(),
        api_key,
    };
    Ok(WithCookies(Created(registered), cookie))
}

/// Decides who may register: the names are those of the account, and get the address of the invite. Returns the hash of
/// the invite's secret.
async fn admit(
    app: &App,
    names: &mut Names,
    invite: Option<Secret>,
    now: Timestamp,
) -> Result<Option<TokenHash>, ApiError> {
    let setting = app.config.registration();
    let Some(token) = invite else {
        return match setting {
            Setting::Open => Ok(None),
            Setting::Invite => Err(ApiError::forbidden("registration is by invite")),
            Setting::Closed => Err(ApiError::forbidden("registration is closed")),
        };
    };
    let token = InviteToken::parse(token.expose()).map_err(|_| crate::api::invites::spent())?;
    let invite = app.store.invite_by_token(token.hash()).await?;
    let invite = invite.filter(|invite| invite.is_open(now));
    let invite = invite.ok_or_else(crate::api::invites::spent)?;
    // To their projects all invite who manage them.
    if setting == Setting::Closed && !is_of_admin(app, &invite).await? {
        return Err(crate::api::invites::spent());
    }
    if *names.email.get_or_insert_with(|| invite.email.clone()) != invite.email {
        return Err(crate::api::invites::spent());
    }
    Ok(Some(token.hash()))
}

/// Returns whether an admin of the platform has made an invite, or the operator or a command.
async fn is_of_admin(app: &App, invite: &Invite) -> Result<bool, ApiError> {
    let Some(maker) = invite.created_by else {
        return Ok(true);
    };
    let maker = app.store.user(maker).await?;
    Ok(maker.is_some_and(|maker| maker.role == Role::Admin && !maker.disabled))
}

/// Says why somebody with an invite got no account: somebody was quicker, with the name or with the invite; or who has
/// made the invite may not make it any more.
async fn uninvited(
    app: &App,
    token: TokenHash,
    called: Vec<String>,
    now: Timestamp,
) -> Result<ApiError, ApiError> {
    let invite = app.store.invite_by_token(token).await?;
    if invite.is_some_and(|invite| invite.is_open(now)) {
        for name in called {
            if app.store.user_by_login(name).await?.is_some() {
                return Ok(crate::api::people::taken());
            }
        }
    }
    Ok(crate::api::invites::spent())
}

async fn first_key(app: &App, user: &User, author: Author) -> Result<String, ApiError> {
    let request = KeyRequest {
        name: "default".to_owned(),
        user: user.id,
        project: user.personal_project,
        expires_at: None,
        grants: KeyGrants::default(),
        author,
    };
    let (key, secret) = accounts::create_key(&*app.store, &app.hasher, request).await?;
    app.keys.created(&key.public_id);
    Ok(secret.expose().to_owned())
}
