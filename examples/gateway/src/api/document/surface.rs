use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::routing::MethodRouter;
use llm_gate::identity::Scope;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, Paths};
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::{Access, Sketch};
use crate::api::error::as_openai;
use crate::app::App;

/// A table of routes: the router and the document at once.
#[derive(Default)]
pub(in crate::api) struct Surface {
    routers: Routers,
    paths: Paths,
    schemas: BTreeMap<String, RefOr<Schema>>,
}

/// The routes of a table, by what stands in front of them.
#[derive(Default)]
pub(in crate::api) struct Routers {
    /// Those that anybody may call.
    pub(in crate::api) open: Router<App>,
    /// Those of them that cost a password hash.
    pub(in crate::api) hashing: Router<App>,
    /// Those of them that cost a question to another provider.
    pub(in crate::api) asking: Router<App>,
    /// Those of them that may cost a letter.
    pub(in crate::api) writing: Router<App>,
    /// Those that want a credential.
    pub(in crate::api) known: Router<App>,
    /// Those that want a credential and cost a password hash.
    pub(in crate::api) proving: Router<App>,
}

/// What a request costs that is bounded by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    Little,
    Hash,
    Question,
    Letter,
}

/// A handler and its part of the document.
pub(in crate::api) struct Described {
    path: String,
    /// How the router has the path, where that differs.
    route: Option<&'static str>,
    methods: Vec<HttpMethod>,
    operation: Operation,
    access: Access,
    cost: Cost,
    schemas: Vec<(String, RefOr<Schema>)>,
    /// Missing where the router is made elsewhere of the same table.
    handler: Option<MethodRouter<App>>,
}

impl Described {
    /// Puts together what `utoipa` says of a handler, and what its types say.
    ///
    /// # Panics
    ///
    /// Panics where `utoipa` does not describe exactly one path, which `routes!` of one handler does.
    pub(in crate::api) fn new(
        tag: &str,
        id: &str,
        (_, paths, handler): UtoipaMethodRouter<App>,
        describe: fn(&mut Sketch),
    ) -> Self {
        let mut paths = paths.paths.into_iter();
        let (path, item) = paths.next().expect("routes! of one handler has one path");
        let methods = [
            (HttpMethod::Get, item.get),
            (HttpMethod::Put, item.put),
            (HttpMethod::Post, item.post),
            (HttpMethod::Patch, item.patch),
            (HttpMethod::Delete, item.delete),
        ];
        let found = methods
            .into_iter()
            .find_map(|(method, operation)| Some((method, operation?)));
        let (method, operation) = found.expect("a handler has a method");
        let mut operation = operation;
        operation.operation_id = Some(id.to_owned());
        operation.tags = Some(vec![tag.to_owned()]);
        let mut sketch = Sketch::new(&path, operation);
        describe(&mut sketch);
        let (operation, access, schemas) = sketch.end(&path);
        Self {
            path,
            route: None,
            methods: vec![method],
            operation,
            access,
            cost: Cost::Little,
            schemas,
            handler: Some(handler),
        }
    }

    /// Describes a call that the stack answers.
    pub(in crate::api) fn call(path: &str, operation: Operation) -> Self {
        let mut sketch = Sketch::new(path, operation);
        sketch.access(Access::Account(Scope::Inference));
        let (operation, access, schemas) = sketch.end(path);
        Self {
            path: path.to_owned(),
            route: None,
            methods: vec![HttpMethod::Post],
            operation,
            access,
            cost: Cost::Little,
            schemas,
            handler: None,
        }
    }

    /// Routes it as `route`, because the document has no way to write that.
    pub(in crate::api) const fn routed(mut self, route: &'static str) -> Self {
        self.route = Some(route);
        self
    }

    /// Says that it costs a password hash.
    pub(in crate::api) const fn hashing(mut self) -> Self {
        self.cost = Cost::Hash;
        self
    }

    /// Says that it costs a question to another provider.
    pub(in crate::api) const fn asking(mut self) -> Self {
        self.cost = Cost::Question;
        self
    }

    /// Says that it may cost a letter.
    pub(in crate::api) const fn writing(mut self) -> Self {
        self.cost = Cost::Letter;
        self
    }

    fn alias(&self, path: &str) -> Operation {
        let mut operation = self.operation.clone();
        let id = operation.operation_id.unwrap_or_default();
        let suffix = path.trim_matches('/').replace(['/', '-', '{', '}'], "_");
        operation.operation_id = Some(format!("{id}_at_{suffix}"));
        let same = format!(
            "The same as `{}`, under the path that older clients know.",
            self.path
        );
        operation.description = Some(same);
        operation.extensions = Some(
            ExtensionsBuilder::new()
                .add("x-alias-of", self.path.as_str())
                .build(),
        );
        operation
    }
}

impl Surface {
    /// Adds a route, and its older paths.
    pub(in crate::api) fn route(mut self, described: Described, aliases: &[&str]) -> Self {
        self.name(described.schemas.iter().cloned());
        for alias in aliases {
            self = self.add(alias, alias, &described, described.alias(alias));
        }
        let path = described.path.clone();
        let operation = described.operation.clone();
        self.add(
            &path,
            described.route.unwrap_or(&path),
            &described,
            operation,
        )
    }

    /// Keeps schemas by their names.
    ///
    /// # Panics
    ///
    /// Panics, as the gateway starts, when two types have the same name: one of them would be described wrongly.
    fn name(&mut self, schemas: impl IntoIterator<Item = (String, RefOr<Schema>)>) {
        for (name, schema) in schemas {
            let known = self.schemas.entry(name.clone());
            let known = known.or_insert_with(|| schema.clone());
            assert!(*known == schema, "two types are called {name}");
        }
    }

    fn add(mut self, path: &str, route: &str, described: &Described, operation: Operation) -> Self {
        if let Some(mut handler) = described.handler.clone() {
            if path.starts_with("/v1/") {
                handler = handler.route_layer(middleware::map_response(as_openai));
            }
            let handler = conforming(handler, path, &operation);
            let router = match described.access {
                Access::Open => match described.cost {
                    Cost::Little => &mut self.routers.open,
                    Cost::Hash => &mut self.routers.hashing,
                    Cost::Question => &mut self.routers.asking,
                    Cost::Letter => &mut self.routers.writing,
                },
                _ if described.cost == Cost::Little => &mut self.routers.known,
                _ => &mut self.routers.proving,
            };
            *router = std::mem::take(router).route(route, handler);
        }
        self.paths
            .add_path_operation(path, described.methods.clone(), operation);
        self
    }

    /// Adds what another table has.
    pub(in crate::api) fn merge(mut self, other: Self) -> Self {
        self.routers.open = self.routers.open.merge(other.routers.open);
        self.routers.hashing = self.routers.hashing.merge(other.routers.hashing);
        self.routers.writing = self.routers.writing.merge(other.routers.writing);
        self.routers.asking = self.routers.asking.merge(other.routers.asking);
        self.routers.known = self.routers.known.merge(other.routers.known);
        self.routers.proving = self.routers.proving.merge(other.routers.proving);
        self.paths.merge(other.paths);
        self.name(other.schemas);
        self
    }

    /// Returns the routes.
    pub(in crate::api) fn routers(self) -> Routers {
        self.routers
    }

    /// Returns the document.
    pub(super) fn described(self) -> (Paths, BTreeMap<String, RefOr<Schema>>) {
        (self.paths, self.schemas)
    }
}

/// In debug builds, and so in every test, an answer that the document does not have is a defect.
fn conforming(handler: MethodRouter<App>, path: &str, operation: &Operation) -> MethodRouter<App> {
    if !cfg!(debug_assertions) {
        return handler;
    }
    let statuses: Vec<String> = operation.responses.responses.keys().cloned().collect();
    let known = Arc::new((path.to_owned(), statuses));
    handler.route_layer(middleware::from_fn(move |request: Request, next: Next| {
        let known = Arc::clone(&known);
        async move {
            let response = next.run(request).await;
            let (path, statuses) = &*known;
            let status = response.status().to_string();
            assert!(
                statuses.iter().any(|known| status.starts_with(&**known)),
                "{path} answers {status}, and the document does not say so",
            );
            response
        }
    }))
}
