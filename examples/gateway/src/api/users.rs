use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::{Role, Subject, UserId};
use llm_gate::store::{
    LimitChange, NewUser, StoreErrorKind, UsageReset, User, UserChange, UserKind,
};
use llm_gate::tokens::Tokens;
use serde_json::{Value, json};

use super::account::nameable;
use super::caller::{Account, Admin, By, Reader};
use super::document::{Created, NoContent};
use super::error::ApiError;
use super::fields::{
    FLAG, Fields, Input, Json, JsonDraft, JsonOrQuery, Page, Path, Query, SECRET, TOKENS,
};
use super::people::{self, EMAIL, NAME, NO_USER, USERNAME, taken};
use super::views::{MeView, ResetLink, UsageView, UserView, Users};
use super::words::ROLE;
use crate::accounts::{self, Names};
use crate::app::App;
use crate::config::Secret;
use crate::mail;

/// Shows the own account.
#[utoipa::path(get, path = "/api/v1/users/me")]
pub(super) async fn me(
    State(app): State<App>,
    Account { user, .. }: Account,
) -> Result<Answer<MeView>, ApiError> {
    let default_project_id = user.personal_project;
    Ok(Answer(MeView {
        user: view(&app, user).await?,
        default_project_id,
    }))
}

/// Shows how much of the own token limit is used.
#[utoipa::path(get, path = "/api/v1/users/me/usage")]
pub(super) async fn usage(
    State(app): State<App>,
    Reader(Account { user, .. }): Reader,
) -> Result<Answer<UsageView>, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(Answer(standing.into()))
}

/// How many tokens somebody may use in all.
pub(super) struct TokenLimit {
    token_limit: Option<Tokens>,
}

impl Input for TokenLimit {
    const NAME: &'static str = "TokenLimit";

    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.nullable(
            "token_limit",
            "How many tokens may be used in all; null for no limit",
            &TOKENS,
        );
        Some(Self {
            token_limit: limit?,
        })
    }

    fn example() -> Value {
        json!({ "token_limit": 10_000 })
    }
}

/// Lowers the own token limit.
///
/// Admins may raise theirs.
#[utoipa::path(
    put,
    path = "/api/v1/users/me/token-limit",
    responses((status = 403, description = "The own limit can only be lowered"))
)]
pub(super) async fn set_own_limit(
    State(app): State<App>,
    Account {
        user,
        admin,
        author,
        ..
    }: Account,
    JsonOrQuery(TokenLimit { token_limit: limit }): JsonOrQuery<TokenLimit>,
) -> Result<Answer<UserView>, ApiError> {
    let subject = Subject::User(user.id);
    if limit.is_none() && !admin {
        return Err(only_down());
    }
    let change = LimitChange {
        only_down: !admin,
        author,
        ..LimitChange::total_tokens(subject, limit)
    };
    match app.store.change_limit(change).await? {
        Some(standing) => Ok(Answer(UserView::new(user, &standing))),
        None => Err(only_down()),
    }
}

fn only_down() -> ApiError {
    ApiError::forbidden("the own limit can only be lowered")
}

/// Lists users, page by page.
#[utoipa::path(get, path = "/api/v1/users")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(page): Query<Page<UserId>>,
) -> Result<Answer<Users>, ApiError> {
    let found = app.store.users(page.after, page.ask()).await?;
    let page = page.of(found, |user| user.id);
    let mut users = Vec::with_capacity(page.entries.len());
    for user in page.entries {
        users.push(view(&app, user).await?);
    }
    Ok(Answer(Users {
        users,
        next_cursor: page.next,
    }))
}

/// Shows a user.
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    Ok(Answer(view(&app, user).await?))
}

/// An account that an admin makes.
pub(super) struct NewAccount {
    names: Names,
    name: Option<String>,
    password: Secret,
    role: Role,
    /// The limit, if it is not the gateway's own.
    token_limit: Option<Option<Tokens>>,
}

impl Input for NewAccount {
    const NAME: &'static str = "NewUser";

    fn read(fields: &mut Fields) -> Option<Self> {
        let names = Names {
            email: fields.optional(
                "email",
                "The e-mail address; this or a user name is required",
                &EMAIL,
            ),
            username: fields.optional("username", "The user name", &USERNAME),
        };
        let name = fields.optional("name", "What to be called", &NAME);
        let password = fields.required("password", "The first password", &SECRET.sized(8, 128));
        let role = fields.optional("role", "What the user may do on the platform", &ROLE);
        let token_limit = fields.changed(
            "token_limit",
            "How many tokens may be used in all; null for no limit, the gateway's default unless given",
            &TOKENS,
        );
        if names.all().is_empty() && !fields.refused("username") && !fields.refused("email") {
            fields.refuse("username", "a user name or an e-mail address is required");
        }
        Some(Self {
            names,
            name,
            // What is missing was noted.
            password: password.unwrap_or_else(|| Secret::from("")),
            role: role.unwrap_or(Role::User),
            token_limit,
        })
    }

    fn example() -> Value {
        json!({ "username": "grace", "password": "battery horse correct", "token_limit": 10_000 })
    }
}

/// Makes an account for somebody, also where registration is closed.
#[utoipa::path(
    post,
    path = "/api/v1/users",
    responses((status = 409, description = "The user name or e-mail address is taken"))
)]
pub(super) async fn create(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    JsonDraft(mut draft): JsonDraft<NewAccount>,
) -> Result<Created<UserView>, ApiError> {
    draft.check("password", |wanted| {
        app.policy
            .check(wanted.password.expose(), &wanted.names.all())
    });
    let wanted = draft.finish()?;
    if wanted.role == Role::Admin {
        admin.makes_admins(&app).await?;
    }
    let hash = app.passwords.hash(wanted.password).await?;
    let limit = wanted
        .token_limit
        .unwrap_or(Some(app.config.limits.default_user));
    let account = NewUser {
        name: wanted.name,
        ..wanted.names.account(hash, wanted.role, limit, author)
    };
    match app.store.create_user(account).await {
        Err(error) if error.kind() == StoreErrorKind::Conflict => Err(taken()),
        made => Ok(Created(view(&app, made?).await?)),
    }
}

/// What of an account is to be different.
pub(super) struct Changes(UserChange);

impl Input for Changes {
    const NAME: &'static str = "UserChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self(UserChange {
            email: fields.changed("email", "The e-mail address; null for none", &EMAIL),
            email_verified: fields.optional(
                "email_verified",
                "Whether the address counts as confirmed",
                &FLAG,
            ),
            username: fields.changed("username", "The user name; null for none", &USERNAME),
            name: fields.changed("name", "What to be called; null for nothing", &NAME),
            role: fields.optional("role", "What the user may do on the platform", &ROLE),
            disabled: fields.optional(
                "disabled",
                "Whether the user may do nothing any more: logins, sessions and keys stop",
                &FLAG,
            ),
        }))
    }

    fn example() -> Value {
        json!({ "disabled": true })
    }
}

/// Changes an account. A field that is missing stays as it is.
#[utoipa::path(
    patch,
    path = "/api/v1/users/{id}",
    responses(
        (status = 404, description = "No such user"),
        (status = 409, description = "The user name or e-mail address is taken, or this is the last admin"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(id): Path<String>,
    Json(Changes(change)): Json<Changes>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    let of_admin = [Some(user.role), change.role].contains(&Some(Role::Admin));
    // Letters to an address set a new password, and so is a name a way in where another issuer says who has it: whoever
    // has that has all that the account manages.
    if of_admin
        || change.email.is_some()
        || change.email_verified.is_some()
        || (change.username.is_some() && app.config.names_are_credentials())
    {
        admin.makes_admins(&app).await?;
    }
    match user.kind {
        UserKind::Person => {
            nameable(&user, &change).map_err(|reason| ApiError::in_body("username", reason))?;
        }
        _ => {
            let foreign = [
                (
                    "email",
                    change.email.is_some() || change.email_verified.is_some(),
                ),
                ("username", change.username.is_some()),
                ("role", change.role.is_some()),
            ];
            if let Some((field, _)) = foreign.into_iter().find(|(_, given)| *given) {
                return Err(ApiError::in_body(field, "a service account has none"));
            }
        }
    }
    let user = people::changed(&app, user.id, change, author).await?;
    Ok(Answer(view(&app, user).await?))
}

/// Deletes an account, its personal project and its keys. What it used stays in the books.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}",
    responses(
        (status = 404, description = "No such user"),
        (status = 409, description = "The last admin, or the only owner of a project with other members"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    let user = find(&app, &id).await?;
    if user.role == Role::Admin {
        admin.makes_admins(&app).await?;
    }
    people::deleted(&app, user.id, author).await?;
    Ok(NoContent)
}

/// Sets the token limit of a user.
#[utoipa::path(
    put,
    path = "/api/v1/users/{id}/token-limit",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn set_limit(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
    JsonOrQuery(TokenLimit { token_limit: limit }): JsonOrQuery<TokenLimit>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    let change = LimitChange {
        author,
        ..LimitChange::total_tokens(Subject::User(user.id), limit)
    };
    let standing = app.store.change_limit(change).await?;
    Ok(Answer(UserView::new(user, &standing.unwrap_or_default())))
}

/// Takes off what a user has used, so that its limits start anew. The books get a line of it, and its calls stay on record.
///
/// What is held for calls under way stays, and so does what is presumed.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/reset-usage",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn reset_usage(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Answer<UserView>, ApiError> {
    let user = find(&app, &id).await?;
    let subject = Subject::User(user.id);
    let standing = app
        .store
        .reset_usage(UsageReset { subject, author })
        .await?;
    Ok(Answer(UserView::new(user, &standing)))
}

/// Makes a link that sets a new password, to be handed over to somebody who is kept out. It is shown this once.
///
/// It is good once and for an hour, is mailed nowhere, and says nothing of an address. Another password voids it.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/reset-link",
    responses(
        (status = 404, description = "No such user"),
        (status = 409, description = "A service account, or a disabled one"),
    )
)]
pub(super) async fn reset_link(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Created<ResetLink>, ApiError> {
    let user = find(&app, &id).await?;
    // Whoever has the link has the account, and all that it manages.
    admin.makes_admins(&app).await?;
    accounts::resettable(&user).map_err(|reason| ApiError::new(StatusCode::CONFLICT, reason))?;
    let (token, end) = accounts::create_reset(&*app.store, &app.hasher, user.id, author).await?;
    let link = mail::reset_link(&app.web_url, token.expose());
    Ok(Created(ResetLink::new(token.expose(), link, end)))
}

pub(super) async fn find(app: &App, id: &str) -> Result<User, ApiError> {
    let id = id.parse().map_err(|_| ApiError::not_found(NO_USER))?;
    let user = app.store.user(id).await?;
    user.ok_or_else(|| ApiError::not_found(NO_USER))
}

pub(super) async fn view(app: &App, user: User) -> Result<UserView, ApiError> {
    let standing = app.store.standing(Subject::User(user.id)).await?;
    Ok(UserView::new(user, &standing))
}
