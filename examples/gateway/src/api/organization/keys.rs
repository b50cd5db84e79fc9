//! API keys of a project, whoever's they are.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use http::StatusCode;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, Scope, UserId};
use llm_gate::store::{ApiKey, KeyChange, KeyName, Member, UserKind};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::list::{Deleted, Entry, List, Listing, seconds};
use super::names::{self, OwnRole};
use super::projects;
use super::services::{LIFE, ends};
use crate::api::caller::{Admin, By};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Input, Json, List as Several, Path, Query, Word};
use crate::api::keys::{Maker, NO_KEY, changed, each_once, everything, owner_of, revoked};
use crate::api::words::SCOPE;
use crate::app::App;

/// What a key is for. None stands for all, as OpenAI documents it.
pub(super) const SCOPES: Several<'static, Word<Scope>> = Several::new(&SCOPE, 0, 8);

/// An API key.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationProjectKey)]
pub(super) struct KeyView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    name: String,
    /// How it begins.
    redacted_value: String,
    created_at: i64,
    last_used_at: Option<i64>,
    expires_at: Option<i64>,
    owner: OwnerView,
    /// `active`, or `inactive` where the owner is disabled.
    owner_project_access: &'static str,
}

/// Whose calls a key makes.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OrganizationProjectKeyOwner)]
pub(super) struct OwnerView {
    /// `user` or `service_account`: which of the others is there.
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<MemberView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<MemberView>,
}

/// Who that is.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = OrganizationProjectKeyMember)]
pub(super) struct MemberView {
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    /// The e-mail address where there is no name.
    name: String,
    /// That of a person; empty where there is none, because OpenAI has no person without.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// What it may do in the project, `owner` or `member`: an admin of the project is an owner here.
    role: &'static str,
    created_at: i64,
    /// The role by its own name, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_gate: Option<OwnRole>,
}

impl OwnerView {
    fn new(member: &Member) -> Self {
        let user = &member.user;
        let email = user.email.clone().unwrap_or_default();
        let role = names::project_role(member.role);
        let view = MemberView {
            id: user.id,
            name: names::name(user).unwrap_or_else(|| email.clone()),
            email: (user.kind == UserKind::Person).then_some(email),
            role,
            created_at: seconds(user.created_at),
            llm_gate: OwnRole::beside(role, member.role),
        };
        match user.kind {
            UserKind::Service => Self {
                kind: "service_account",
                user: None,
                service_account: Some(view),
            },
            _ => Self {
                kind: "user",
                user: Some(view),
                service_account: None,
            },
        }
    }
}

impl KeyView {
    /// Describes a key; `owner` is none where it was put out at this moment.
    fn new(key: ApiKey, owner: Option<&Member>) -> Self {
        Self {
            object: "organization.project.api_key",
            id: key.id,
            redacted_value: redacted(&key),
            name: key.name,
            created_at: seconds(key.created_at),
            last_used_at: key.last_used_at.map(seconds),
            expires_at: key.expires_at.map(seconds),
            owner: owner.map_or(
                OwnerView {
                    kind: "user",
                    user: None,
                    service_account: None,
                },
                OwnerView::new,
            ),
            owner_project_access: match access(owner) {
                Access::Active => "active",
                _ => "inactive",
            },
        }
    }
}

/// Tells whether the owner of a key can use the project; none was put out at this moment.
fn access(owner: Option<&Member>) -> Access {
    match owner {
        Some(member) if !member.user.disabled => Access::Active,
        _ => Access::Inactive,
    }
}

impl Entry for KeyView {
    const LIST: &'static str = "OrganizationProjectKeys";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// Returns what of a key may be shown.
pub(super) fn redacted(key: &ApiKey) -> String {
    format!("lg_{}_…", key.public_id)
}

/// How many keys are looked at in a row for those that are asked for.
const PAGE: u32 = 1000;

/// Whether the owners of keys can use the project.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Active,
    Inactive,
    Any,
}

const ACCESS: Word<Access> = Word::new(
    || vec!["active", "inactive", "any"],
    |word| match word {
        "active" => Some(Access::Active),
        "inactive" => Some(Access::Inactive),
        "any" => Some(Access::Any),
        _ => None,
    },
);

/// Which keys are wanted.
pub(super) struct Wanted {
    listing: Listing<KeyId>,
    access: Access,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationProjectKeyQuery";

    fn read(fields: &mut Fields) -> Option<Self> {
        let listing = Listing::read(fields);
        let access = fields.optional(
            "owner_project_access",
            "Only those whose owner can use the project (`active`) or cannot (`inactive`); `any` unless said",
            &ACCESS,
        );
        Some(Self {
            listing: listing?,
            access: access.unwrap_or(Access::Any),
        })
    }

    fn example() -> Value {
        json!({ "limit": 20 })
    }
}

/// Lists the keys of a project that are not revoked, newest first.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/api_keys",
    responses((status = 404, description = "No such project, or it is archived"))
)]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Path(project): Path<String>,
    Query(Wanted { listing, access }): Query<Wanted>,
) -> Result<Answer<List<KeyView>>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let mut owners: HashMap<UserId, Option<Member>> = HashMap::new();
    let (mut views, mut after) = (Vec::new(), listing.after);
    // Pages of the store, until as many are found as are asked for: large ones where most may be of the other kind.
    let size = match access {
        Access::Any => listing.ask(),
        _ => listing.ask().max(PAGE),
    };
    loop {
        let found = app.store.unrevoked_keys(project, None, after, size).await?;
        let last = found.len() < size as usize;
        after = found.last().map(|key| key.id);
        for key in found {
            if let Slot::Vacant(owner) = owners.entry(key.user) {
                owner.insert(app.store.member(project, key.user).await?);
            }
            let owner = owners.get(&key.user).and_then(Option::as_ref);
            if access == Access::Any || access == self::access(owner) {
                views.push(KeyView::new(key, owner));
            }
        }
        if last || views.len() >= listing.ask() as usize {
            return Ok(Answer(listing.of(views)));
        }
    }
}

/// Reads a key that is not revoked.
async fn named(app: &App, project: ProjectId, id: &str) -> Result<ApiKey, ApiError> {
    let name = KeyName {
        project,
        owner: None,
        id: id.parse().map_err(|_| ApiError::not_found(NO_KEY))?,
    };
    let key = app.store.key(name).await?;
    key.filter(|key| key.revoked_at.is_none())
        .ok_or_else(|| ApiError::not_found(NO_KEY))
}

/// Shows a key.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/api_keys/{api_key_id}",
    responses((status = 404, description = "No such project or key, or it is revoked"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path((project, key)): Path<(String, String)>,
) -> Result<Answer<KeyView>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let key = named(&app, project, &key).await?;
    let owner = app.store.member(project, key.user).await?;
    Ok(Answer(KeyView::new(key, owner.as_ref())))
}

/// What of a key is to be different.
pub(super) struct Changes {
    scopes: Option<Vec<Scope>>,
    life: Option<Duration>,
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationProjectKeyChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            scopes: fields.optional(
                "scopes",
                "What it may be used for; empty for all that whoever changes it may give",
                &SCOPES,
            ),
            life: fields.optional(
                "expires_in_seconds",
                "When it stops working by itself, counted from now",
                &LIFE,
            ),
        })
    }

    fn example() -> Value {
        json!({ "scopes": ["inference"] })
    }
}

/// Changes a key. A field that is missing stays as it is; what has expired stays expired.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/api_keys/{api_key_id}",
    responses(
        (status = 404, description = "No such project or key, or it is revoked"),
        (status = 409, description = "The key has expired"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path((project, key)): Path<(String, String)>,
    Json(Changes { scopes, life }): Json<Changes>,
) -> Result<Answer<KeyView>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let known = named(&app, project, &key).await?;
    if known.expires_at.is_some_and(|end| end <= author.at) {
        let words = "the key has expired: make another one";
        return Err(ApiError::new(StatusCode::CONFLICT, words));
    }
    let maker = Maker::admin(&admin.principal);
    let scopes = match scopes {
        Some(none) if none.is_empty() => {
            let owner = owner_of(&app, &maker, known.user).await?;
            Some(everything(&maker, owner, &known.grants)?)
        }
        scopes => scopes.map(each_once),
    };
    let change = KeyChange {
        grants: scopes.map(|scopes| KeyGrants {
            scopes,
            ..known.grants.clone()
        }),
        expires_at: life.map(|life| ends(Some(life), author.at)),
        ..KeyChange::default()
    };
    let name = KeyName {
        project,
        owner: None,
        id: known.id,
    };
    let key = changed(&app, &maker, name, &known, change, author).await?;
    let owner = app.store.member(project, key.user).await?;
    Ok(Answer(KeyView::new(key, owner.as_ref())))
}

/// Revokes a key: it gets no further reservation.
#[utoipa::path(
    delete,
    path = "/v1/organization/projects/{project_id}/api_keys/{api_key_id}",
    responses((status = 404, description = "No such project or key, or it is revoked"))
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path((project, key)): Path<(String, String)>,
) -> Result<Answer<Deleted>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let id = named(&app, project, &key).await?.id;
    let name = KeyName {
        project,
        owner: None,
        id,
    };
    revoked(&app, name, author).await?;
    Ok(Answer(Deleted::new(
        "organization.project.api_key.deleted",
        id,
    )))
}
