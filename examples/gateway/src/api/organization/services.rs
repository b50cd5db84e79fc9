//! Service accounts of a project.

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use llm_gate::auth::ApiKeySecret;
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, Scope, UserId};
use llm_gate::store::{ApiKey, Member, ProjectRole, User, UserChange, UserKind};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::keys::SCOPES;
use super::list::{Deleted, Entry, List, Listing, seconds};
use super::members::{given, named};
use super::names::{self, OwnRole};
use super::projects;
use crate::accounts::KeyRequest;
use crate::api::caller::{Admin, By, key_of};
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, Input, Json, Path, Query, Whole};
use crate::api::keys::{
    Maker, Owner, beneath, each_once, everything, grantable, issue, outlived, unlimited,
};
use crate::api::people::{self, NAME};
use crate::api::projects::{made_service, put_out};
use crate::api::words::PROJECT_ROLE;
use crate::app::App;

const NO_SERVICE: &str = "no such service account";
/// What the API says of the role of one that was made without a key. It is a member all the same.
const NO_ROLE: &str = "none";
/// The longest life of a key that can be asked for, in seconds: ten years.
const LONGEST: u64 = 3_650 * 24 * 3_600;

/// How long a key is to live, in seconds.
pub(super) const LIFE: Whole<Duration> =
    Whole::new(1, LONGEST, |seconds| Some(Duration::from_secs(seconds)));

/// A service account.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationServiceAccount)]
pub(super) struct ServiceView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: UserId,
    /// Empty where there is none: OpenAI has no service account without.
    name: String,
    /// `owner` or `member`; `none` in the answer that makes one without a key.
    role: &'static str,
    created_at: i64,
    /// The role by its own name, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    llm_gate: Option<OwnRole>,
}

impl ServiceView {
    fn new(service: User, role: ProjectRole) -> Self {
        Self::called(names::project_role(role), service, role)
    }

    /// Describes one whose role is called by that word.
    fn called(word: &'static str, service: User, role: ProjectRole) -> Self {
        Self {
            object: "organization.project.service_account",
            id: service.id,
            name: names::name(&service).unwrap_or_default(),
            role: word,
            created_at: seconds(service.created_at),
            llm_gate: OwnRole::beside(word, role),
        }
    }
}

impl From<Member> for ServiceView {
    fn from(member: Member) -> Self {
        Self::new(member.user, member.role)
    }
}

impl Entry for ServiceView {
    const LIST: &'static str = "OrganizationServiceAccounts";

    fn id(&self) -> String {
        self.id.to_string()
    }
}

/// A service account that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationNewServiceAccount)]
pub(super) struct MadeView {
    #[serde(flatten)]
    service: ServiceView,
    /// Its first key; null where none was wanted.
    api_key: Option<SecretView>,
}

/// A key with its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationServiceAccountKey)]
pub(super) struct SecretView {
    object: &'static str,
    #[schema(value_type = String, format = Uuid)]
    id: KeyId,
    name: String,
    created_at: i64,
    expires_at: Option<i64>,
    /// The secret. Shown this once.
    value: String,
}

impl SecretView {
    fn new(key: ApiKey, secret: &ApiKeySecret) -> Self {
        Self {
            object: "organization.project.service_account.api_key",
            id: key.id,
            name: key.name,
            created_at: seconds(key.created_at),
            expires_at: key.expires_at.map(seconds),
            value: secret.expose().to_owned(),
        }
    }
}

/// Lists the service accounts of a project.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/service_accounts",
    responses((status = 404, description = "No such project, or it is archived"))
)]
pub(super) async fn list(
    State(app): State<App>,
    _: Admin,
    Path(project): Path<String>,
    Query(listing): Query<Listing<UserId>>,
) -> Result<Answer<List<ServiceView>>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let (kind, after) = (UserKind::Service, listing.after);
    let found = app
        .store
        .members_of_kind(project, kind, after, listing.ask())
        .await?;
    Ok(Answer(listing.of(found.into_iter().map(ServiceView::from))))
}

/// A service account that is wanted.
pub(super) struct Wanted {
    name: String,
    without_key: bool,
    life: Option<Duration>,
}

impl Input for Wanted {
    const NAME: &'static str = "OrganizationWantedServiceAccount";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.required("name", "What it is called", &NAME);
        let without_key = fields.or(
            "create_service_account_only",
            "Whether to make no key for it",
            &FLAG,
            false,
        );
        let life = fields.optional(
            "expires_in_seconds",
            "When its key stops working by itself; never unless given",
            &LIFE,
        );
        if without_key && life.is_some() {
            fields.refuse("expires_in_seconds", "is for a key, and none is wanted");
        }
        Some(Self {
            name: name?,
            without_key,
            life,
        })
    }

    fn example() -> Value {
        json!({ "name": "ci" })
    }
}

/// Makes a service account, and a key for calls of models. Made by an API key, its key may do no more than that.
///
/// An API key that has limits of its own makes no key.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/service_accounts",
    responses(
        (status = 404, description = "No such project, or it is archived"),
        (status = 409, description = "The project has as many service accounts as it may"),
    )
)]
pub(super) async fn create(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path(project): Path<String>,
    Json(Wanted {
        name,
        without_key,
        life,
    }): Json<Wanted>,
) -> Result<Answer<MadeView>, ApiError> {
    let project = projects::open(&app, &project).await?.id;
    let caller = &admin.principal;
    let limit = caller.grants.as_deref();
    let grants = calls(limit);
    let until = ends(life, author.at);
    if !without_key {
        beneath(limit, &grants)?;
        unlimited(&app, key_of(caller), None).await?;
        outlived(&app, key_of(caller), until).await?;
    }
    let service = made_service(&app, project, name.clone(), author.clone()).await?;
    let mut api_key = None;
    if !without_key {
        let request = KeyRequest {
            name,
            user: service.id,
            project,
            expires_at: until,
            grants,
            author: author.clone(),
        };
        match issue(&app, request).await {
            Ok((key, secret)) => api_key = Some(SecretView::new(key, &secret)),
            Err(error) => {
                // Nobody was told of it, so nobody would ever use it.
                put_out(&app, project, service.id, author).await?;
                return Err(error);
            }
        }
    }
    let role = ProjectRole::Member;
    let word = if without_key {
        NO_ROLE
    } else {
        names::project_role(role)
    };
    Ok(Answer(MadeView {
        service: ServiceView::called(word, service, role),
        api_key,
    }))
}

/// Returns when a key ends that is to live so long.
pub(super) fn ends(life: Option<Duration>, now: Timestamp) -> Option<Timestamp> {
    life.map(|life| now.after(life))
}

/// Returns what a key for calls may do: all that needs, where the key that it is made with may as well.
fn calls(limit: Option<&KeyGrants>) -> KeyGrants {
    let mut grants = KeyGrants::default();
    if let Some(limit) = limit {
        grants.models.clone_from(&limit.models);
        grants.networks.clone_from(&limit.networks);
    }
    grants
}

/// A key that is wanted for a service account.
pub(super) struct WantedKey {
    name: String,
    scopes: Option<Vec<Scope>>,
    life: Option<Duration>,
}

impl Input for WantedKey {
    const NAME: &'static str = "OrganizationNewServiceAccountKey";

    fn read(fields: &mut Fields) -> Option<Self> {
        let name = fields.or("name", "What the key is for", &NAME, "key".to_owned());
        let scopes = fields.optional(
            "scopes",
            "What it may be used for; calls of models and their list unless given; empty for all that whoever makes it \
             may give",
            &SCOPES,
        );
        let life = fields.optional(
            "expires_in_seconds",
            "When it stops working by itself; never unless given",
            &LIFE,
        );
        Some(Self { name, scopes, life })
    }

    fn example() -> Value {
        json!({ "name": "nightly", "scopes": ["inference", "models"] })
    }
}

/// Makes a key for a service account. Made by an API key, it may do no more than that.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}/api_keys",
    responses(
        (status = 404, description = "No such project or service account"),
        (status = 409, description = "There are as many keys as one may have"),
    )
)]
pub(super) async fn create_key(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path((project, service)): Path<(String, String)>,
    Json(WantedKey { name, scopes, life }): Json<WantedKey>,
) -> Result<Answer<SecretView>, ApiError> {
    let (project, member) = named(&app, &project, &service, UserKind::Service, NO_SERVICE).await?;
    let caller = &admin.principal;
    let mut grants = calls(caller.grants.as_deref());
    let maker = Maker::admin(caller);
    if let Some(scopes) = scopes {
        grants.scopes = if scopes.is_empty() {
            everything(&maker, Owner::Service, &grants)?
        } else {
            each_once(scopes)
        };
    }
    grantable(&maker, Owner::Service, &grants)?;
    let until = ends(life, author.at);
    unlimited(&app, key_of(caller), None).await?;
    outlived(&app, key_of(caller), until).await?;
    let request = KeyRequest {
        name,
        user: member.user.id,
        project,
        expires_at: until,
        grants,
        author,
    };
    let (key, secret) = issue(&app, request).await?;
    Ok(Answer(SecretView::new(key, &secret)))
}

/// Shows a service account.
#[utoipa::path(
    get,
    path = "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}",
    responses((status = 404, description = "No such project or service account"))
)]
pub(super) async fn show(
    State(app): State<App>,
    _: Admin,
    Path((project, service)): Path<(String, String)>,
) -> Result<Answer<ServiceView>, ApiError> {
    let (_, member) = named(&app, &project, &service, UserKind::Service, NO_SERVICE).await?;
    Ok(Answer(member.into()))
}

/// What of a service account is to be different.
pub(super) struct Changes {
    name: Option<String>,
    role: Option<ProjectRole>,
}

impl Input for Changes {
    const NAME: &'static str = "OrganizationServiceAccountChange";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            name: fields.optional("name", "What it is called", &NAME),
            role: fields.optional("role", "What it may do in the project", &PROJECT_ROLE),
        })
    }

    fn example() -> Value {
        json!({ "name": "nightly" })
    }
}

/// Gives a service account another name, or another role.
#[utoipa::path(
    post,
    path = "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}",
    responses(
        (status = 404, description = "No such project or service account"),
        (status = 409, description = "The account was changed by somebody else at this moment"),
    )
)]
pub(super) async fn change(
    State(app): State<App>,
    admin: Admin,
    By(author): By,
    Path((project, service)): Path<(String, String)>,
    Json(Changes { name, role }): Json<Changes>,
) -> Result<Answer<ServiceView>, ApiError> {
    let (project, mut member) =
        named(&app, &project, &service, UserKind::Service, NO_SERVICE).await?;
    if role.is_some_and(ProjectRole::manages) {
        admin.gives_power(&app).await?;
    }
    let id = member.user.id;
    if name.is_some() {
        let change = UserChange {
            name: Some(name),
            ..UserChange::default()
        };
        member.user = people::changed(&app, id, change, author.clone()).await?;
    }
    if let Some(role) = role {
        member = given(&app, project, id, role, author).await?;
    }
    Ok(Answer(member.into()))
}

/// Deletes a service account: its keys are revoked.
#[utoipa::path(
    delete,
    path = "/v1/organization/projects/{project_id}/service_accounts/{service_account_id}",
    responses(
        (status = 404, description = "No such project or service account"),
        (status = 409, description = "The account was changed by somebody else at this moment"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path((project, service)): Path<(String, String)>,
) -> Result<Answer<Deleted>, ApiError> {
    let (project, member) = named(&app, &project, &service, UserKind::Service, NO_SERVICE).await?;
    put_out(&app, project, member.user.id, author).await?;
    Ok(Answer(Deleted::new(
        "organization.project.service_account.deleted",
        member.user.id,
    )))
}
