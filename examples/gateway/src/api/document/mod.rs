//! The OpenAPI document, made of the same table as the router.
//!
//! A route is an `operation!`: what its handler takes and returns says its fields, its answers and who may
//! call it; `#[utoipa::path]` on the handler says method, path, words, and the refusals that are its own.
//! `Surface` takes nothing else, so there is no route that is not in the document.

mod describe;
mod shapes;
mod sketch;
mod surface;

use std::sync::LazyLock;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Server};

pub(super) use self::describe::{Accepted, Created, NoContent, Part, Reply, described};
pub(super) use self::shapes::literal;
pub(super) use self::sketch::{Access, Sketch};
pub(super) use self::surface::{Described, Routers, Surface};

/// The schemes of the document.
pub(super) const SESSION: &str = "session";
pub(super) const API_KEY: &str = "api_key";
pub(super) const API_KEY_HEADER: &str = "api_key_header";
pub(super) const OPERATOR: &str = "operator";

/// What the parts of the surface are for.
const TAGS: [(&str, &str); 21] = [
    ("calls", "Calls to models, as OpenAI has them"),
    ("models", "The models there are"),
    (
        "organization",
        "Administration, as the OpenAI Admin API has it",
    ),
    ("auth", "Accounts, logins and credentials"),
    ("oauth", "Logins with other providers"),
    (
        "identities",
        "The logins with other providers that lead to the own account",
    ),
    ("users", "The own account, and those of others"),
    ("account", "The own names, password and sessions"),
    ("projects", "Projects and their members"),
    ("keys", "API keys"),
    ("invites", "Invites to the platform and to projects"),
    ("events", "What was done, by whom, to what"),
    ("usage", "Reports of what was used, by day and call by call"),
    (
        "tokens",
        "The tokens of conversations, of projects and of everybody",
    ),
    (
        "conversations",
        "The conversations of projects, as their clients name them",
    ),
    ("limits", "How much of what may be used, for how long"),
    ("prices", "What the tokens of models cost and count"),
    ("ledger", "The books"),
    ("health", "Whether the gateway can serve"),
    ("jwks", "The public keys of access tokens"),
    ("docs", "This document"),
];

/// Describes one handler for [`Surface::route`]. One without `#[utoipa::path]` does not compile. A family of modules,
/// named in front, is one part of the surface.
macro_rules! operation {
    ($module:ident :: $handler:ident) => {
        $crate::api::document::Described::new(
            stringify!($module),
            concat!(stringify!($module), "_", stringify!($handler)),
            utoipa_axum::routes!($module::$handler),
            $crate::api::document::described(&$module::$handler),
        )
    };
    ($family:ident, $module:ident :: $handler:ident) => {
        $crate::api::document::Described::new(
            stringify!($family),
            concat!(
                stringify!($family),
                "_",
                stringify!($module),
                "_",
                stringify!($handler)
            ),
            utoipa_axum::routes!($module::$handler),
            $crate::api::document::described(&$module::$handler),
        )
    };
}
pub(super) use operation;

/// Returns the document of the whole surface, as `GET /openapi.json` and `llm-gate openapi` show it.
#[must_use]
pub fn document() -> &'static OpenApi {
    static DOCUMENT: LazyLock<OpenApi> = LazyLock::new(|| {
        let surface = super::management_surface()
            .merge(super::models_surface())
            .merge(super::organization::surface())
            .merge(super::calls::surface());
        whole(surface)
    });
    &DOCUMENT
}

/// Returns the document as text.
#[must_use]
pub fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        // Maps have texts as keys and nothing in it can fail.
        let text = document().to_pretty_json();
        let mut text = text.expect("a document of texts, numbers and maps is JSON");
        text.push('\n');
        text
    });
    &TEXT
}

fn whole(surface: Surface) -> OpenApi {
    let (paths, schemas) = surface.described();
    let components = ComponentsBuilder::new()
        .responses_from_iter(shapes::refusals())
        .schemas_from_iter(shapes::errors())
        .schemas_from_iter(schemas)
        .security_scheme(SESSION, session())
        .security_scheme(API_KEY, key())
        .security_scheme(API_KEY_HEADER, key_header())
        .security_scheme(OPERATOR, operator())
        .header(shapes::REQUEST_ID, shapes::request_id());
    let info = InfoBuilder::new()
        .title("llm-gate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The gate in front of self-hosted language models. `/v1` is the OpenAI API, with errors as \
             `{\"error\": …}`; `/api/v1` is the management API, with errors as `{\"detail\": …}`. Every \
             answer carries `X-Request-Id`, and `x-ratelimit-*` where requests are limited.",
        ))
        .license(Some(utoipa::openapi::License::new("MIT OR Apache-2.0")));
    let tags = TAGS.map(|(name, about)| {
        TagBuilder::new()
            .name(name)
            .description(Some(about))
            .build()
    });
    OpenApiBuilder::new()
        .info(info.build())
        .servers(Some([Server::new("/")]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

fn session() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some(
            "The access token of a login. `X-API-Key` takes it as well. The role `admin` is that of the user.",
        ));
    SecurityScheme::Http(scheme.build())
}

fn key() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("lg_…")
        .description(Some("An API key. What it needs is one of its scopes."));
    SecurityScheme::Http(scheme.build())
}

fn operator() -> SecurityScheme {
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("lgo_…")
        .description(Some(
            "The operator key, where one is configured. `X-API-Key` takes it as well. It has no account.",
        ));
    SecurityScheme::Http(scheme.build())
}

fn key_header() -> SecurityScheme {
    let value = ApiKeyValue::with_description(
        "X-API-Key",
        "An API key. Beside a bearer that differs, both are refused.",
    );
    SecurityScheme::ApiKey(ApiKey::Header(value))
}
