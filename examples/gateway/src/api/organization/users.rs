//! The accounts of persons.

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::identity::{Role, UserId};
use llm_gate::store::{User, UserChange, UserKind};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::list::{Deleted, Entry, List, Listing, seconds};
use super::names;
use crate::api::caller::{Admin, By};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, List as Several, Path, Query};
use crate::api::people::{self, EMAIL, NO_USER};
use crate::app::App;

/// A person's account.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationUser)]
pub(super) struct UserView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    name: Option<String>,
    email: Option<String>,
    /// `owner` is an admin, `reader` anybody else.
    role: &'static str,
    added_at: i64,
    /// Whether the account may do nothing any more.
    disabled: bool,
}

impl From<User> for UserView {
    fn from(user: User) -> Self {
        Self {
            object: "organization.user",
            id: user.id,
            name: names::name(&user),
            role: names::role(user.role),
            added_at: seconds(user.created_at),
            disabled: user.disabled,
            email: user.email,
        }
    }
}

impl Entry for UserView {
    const LIST: &'static str = "OrganizationUsers";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Which accounts are wanted.
pub(super) struct Wanted {
    listing: Listing<UserId>,
    emails: Vec<String>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationUserQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let listing = Listing::read(fields);
        let emails = fields.several(
            "emails",
            "Only those with these addresses",
            &Several::new(&EMAIL, 1, 100),
        );
        Some(Self {
            listing: listing?,
            emails,
        })
    }

    fn example() -> Value {
        json!({ "limit": 20 })
    }
}

/// Lists the accounts of persons.
#[utoipa::path(get, path = "/v1/organization/users")]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Query(Wanted { listing, emails }): Query<Wanted>,
) -> Result<Answer<List<UserView>>, ApiError> {
    let found = if emails.is_empty() {
        app.store.users(listing.after, listing.ask()).await?
    } else {
        let mut found = Vec::new();
        for email in emails {
            found.extend(of_address(&app, email).await?);
        }
        found.sort_unstable_by_key(|user| user.id);
        found.dedup_by_key(|user| user.id);
        found.retain(|user| listing.after.is_none_or(|after| user.id > after));
        found
    };
    Ok(Answer(listing.of(found.into_iter().map(UserView::from))))
}

/// Finds whose address it is.
pub(super) async fn of_address(app: &App, email: String) -> Result<Option<User>, ApiError> {
    let found = app.store.user_by_login(email.clone()).await?;
    let user = found.map(|record| record.user);
    Ok(user.filter(|user| user.email.as_ref() == Some(&email)))
}

/// Reads the account of a person.
async fn person(app: &App, id: &str) -> Result<User, ApiError> {
    let no_user = || ApiError::not_found(NO_USER);
    let user = app.store.user(id.parse().map_err(|_| no_user())?).await?;
    user.filter(|user| user.kind == UserKind::Person)
        .ok_or_else(no_user)
}

/// Shows the account of a person.
#[utoipa::path(
    get,
    path = "/v1/organization/users/{user_id}",
    responses((status = 404, description = "No such user"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path(id): Path<String>,
) -> Result<Answer<UserView>, ApiError> {
    Ok(Answer(person(&app, &id).await?.into()))
}

/// Another role for somebody.
pub(super) struct Changes {
    role: Option<Role>,
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationUserChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            role: fields.optional(
                "role",
                "`owner` makes an admin, `reader` makes none",
                &names::ROLE,
            ),
        })
    }

    fn example() -> Value {
        json!({ "role": "owner" })
    }
}

/// Makes somebody an admin, or takes that away.
#[utoipa::path(
    post,
    path = "/v1/organization/users/{user_id}",
    responses(
        (status = 404, description = "No such user"),
        (status = 409, description = "The last admin, of whom one has to be"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(id): Path<String>,
    Json(Changes { role }): Json<Changes>,
) -> Result<Answer<UserView>, ApiError> {
    let mut user = person(&app, &id).await?;
    if role.is_some() {
        if [Some(user.role), role].contains(&Some(Role::Admin)) {
            admin.makes_admins(&app).await?;
        }
        let change = UserChange {
            role,
            ..UserChange::default()
        };
        user = people::changed(&app, user.id, change, author).await?;
    }
    Ok(Answer(user.into()))
}

/// Deletes an account: its keys and sessions end at once. What it used stays in the books.
#[utoipa::path(
    delete,
    path = "/v1/organization/users/{user_id}",
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
) -> Result<Answer<Deleted>, ApiError> {
    let user = person(&app, &id).await?;
    if user.role == Role::Admin {
        admin.makes_admins(&app).await?;
    }
    people::deleted(&app, user.id, author).await?;
    Ok(Answer(Deleted::new("organization.user.deleted", user.id)))
}
