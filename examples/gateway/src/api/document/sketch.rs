use http::StatusCode;
use llm_gate::identity::Scope;
use utoipa::ToSchema;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Ref, RefOr, Required, Response, Schema};

use super::{API_KEY, API_KEY_HEADER, OPERATOR, SESSION, shapes};
use crate::api::fields::{Fields, Input, Place, schema_of};

/// Who may call an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::api) enum Access {
    /// Anybody.
    #[default]
    Open,
    /// Whoever has a credential, also without an account; keys only with the scope, where there is one.
    Anyone(Option<Scope>),
    /// Whoever has logged in, and keys with the scope.
    Account(Scope),
    /// Whoever has logged in.
    Login,
    /// Admins that have logged in, their keys with the scope for it, and the operator.
    Admin,
    /// Admins that have logged in.
    AdminAccount,
}

/// An operation while its handler describes it.
pub(in crate::api) struct Sketch {
    operation: Operation,
    access: Access,
    schemas: Vec<(String, RefOr<Schema>)>,
    /// Whether its errors have the shape of OpenAI.
    openai: bool,
}

impl Sketch {
    pub(super) fn new(path: &str, operation: Operation) -> Self {
        Self {
            openai: path.starts_with("/v1/"),
            operation,
            access: Access::Open,
            schemas: Vec::new(),
        }
    }

    /// Demands a caller.
    pub(in crate::api) fn access(&mut self, access: Access) {
        self.access = access;
        self.refusal(401);
        self.refusal(503);
        if access != Access::Anyone(None) {
            self.refusal(403);
        }
    }

    /// Takes `T` as body.
    pub(in crate::api) fn body<T: Input>(&mut self, place: Place, required: bool) {
        let media = match place {
            Place::Form => "application/x-www-form-urlencoded",
            _ => "application/json",
        };
        self.schemas
            .push((T::NAME.to_owned(), schema_of::<T>(place)));
        let content = Content::new(Some(Ref::from_schema_name(T::NAME)));
        let body = RequestBodyBuilder::new()
            .content(media, content)
            .required(Some(if required {
                Required::True
            } else {
                Required::False
            }));
        self.operation.request_body = Some(body.build().into());
        for status in [400, 408, 413, 415] {
            self.refusal(status);
        }
        self.unprocessable();
    }

    /// Takes `T` from the query. Where `or_body`, all of it may stand in the body instead.
    pub(in crate::api) fn query<T: Input>(&mut self, or_body: bool) {
        let example = T::example();
        for declared in Fields::declared::<T>() {
            let required = declared.required && !or_body;
            self.parameter(
                ParameterBuilder::new()
                    .name(declared.name)
                    .parameter_in(ParameterIn::Query)
                    .description(Some(declared.about))
                    .required(if required {
                        Required::True
                    } else {
                        Required::False
                    })
                    .schema(Some(declared.schema(Place::Query)))
                    .example(example.get(declared.name).cloned()),
            );
        }
        if T::OPEN {
            self.others();
        }
        self.refusal(400);
        self.unprocessable();
    }

    /// Refuses fields at fault, which is a 400 in the shape of OpenAI.
    fn unprocessable(&mut self) {
        if !self.openai {
            self.refusal(422);
        }
    }

    /// Takes any other text from the query.
    fn others(&mut self) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let any = ObjectBuilder::new()
            .schema_type(Type::Object)
            .additional_properties(Some(text));
        self.parameter(
            ParameterBuilder::new()
                .name("others")
                .parameter_in(ParameterIn::Query)
                .description(Some("Whatever else there is, taken and not looked at"))
                .required(Required::False)
                .style(Some(ParameterStyle::Form))
                .explode(Some(true))
                .schema(Some(any)),
        );
    }

    /// Takes a cookie, if there is one.
    pub(in crate::api) fn cookie(&mut self, name: &str, about: &str) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        self.parameter(
            ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Cookie)
                .description(Some(about))
                .required(Required::False)
                .schema(Some(text)),
        );
    }

    /// Answers JSON.
    pub(in crate::api) fn answer_json<T: ToSchema>(&mut self, status: StatusCode, about: &str) {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        let schema = Ref::from_schema_name(T::name());
        self.answer(status, about, [("application/json", schema.into())]);
    }

    /// Answers with any content, by media type.
    pub(in crate::api) fn answer<const N: usize>(
        &mut self,
        status: StatusCode,
        about: &str,
        contents: [(&str, RefOr<Schema>); N],
    ) {
        let response = self.response(status.as_u16(), about);
        for (media, schema) in contents {
            let content = Content::new(Some(schema));
            response.content.insert(media.to_owned(), content.into());
        }
    }

    /// Refuses with an error as others do, unless the handler describes it itself.
    pub(in crate::api) fn refusal(&mut self, status: u16) {
        let responses = &mut self.operation.responses.responses;
        responses
            .entry(status.to_string())
            .or_insert_with(|| shapes::refusal(status, self.openai).into());
    }

    /// Returns the answer with that status. What a handler says of it itself stays.
    fn response(&mut self, status: u16, about: &str) -> &mut Response {
        let entry = self.operation.responses.responses.entry(status.to_string());
        let response = entry.or_insert_with(|| Response::new(about).into());
        if !matches!(response, RefOr::T(_)) {
            *response = Response::new(about).into();
        }
        match response {
            RefOr::T(response) => response,
            RefOr::Ref(_) => unreachable!("replaced above"),
        }
    }

    fn parameter(&mut self, parameter: ParameterBuilder) {
        let parameters = self.operation.parameters.get_or_insert_default();
        parameters.push(parameter.build().into());
    }

    /// Describes what stands in braces in `path` and is not described yet: identifiers.
    fn path_parameters(&mut self, path: &str) {
        let mut names: Vec<&str> = Vec::new();
        for part in path.split('/') {
            if let Some(name) = part
                .strip_prefix('{')
                .and_then(|part| part.strip_suffix('}'))
            {
                names.push(name);
            }
        }
        for name in names {
            let known = self
                .operation
                .parameters
                .iter()
                .flatten()
                .any(|known| match known {
                    RefOr::T(known) => known.name == name,
                    RefOr::Ref(_) => false,
                });
            if known {
                continue;
            }
            let id = ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
            self.parameter(
                ParameterBuilder::new()
                    .name(name)
                    .parameter_in(ParameterIn::Path)
                    .required(Required::True)
                    .schema(Some(id)),
            );
        }
    }

    /// Ends the description: adds what every operation has.
    pub(super) fn end(mut self, path: &str) -> (Operation, Access, Vec<(String, RefOr<Schema>)>) {
        self.path_parameters(path);
        // What comes as a body is read before anything else, wanted or not.
        for status in [400, 408, 413, 429, 500] {
            self.refusal(status);
        }
        self.operation.security = match self.access {
            Access::Open => Some(Vec::new()),
            Access::Anyone(scope) => Some(callers(None, Some(scope), true)),
            Access::Account(scope) => Some(callers(None, Some(Some(scope)), false)),
            Access::Login => Some(callers(None, None, false)),
            Access::Admin => Some(callers(Some(ADMIN), Some(Some(Scope::Admin)), true)),
            Access::AdminAccount => Some(callers(Some(ADMIN), Some(Some(Scope::Admin)), false)),
        };
        for (status, response) in &mut self.operation.responses.responses {
            if let RefOr::T(response) = response {
                shapes::complete(status, response, self.openai);
            }
        }
        (self.operation, self.access, self.schemas)
    }
}

/// The role of admins, as the document names it.
const ADMIN: &str = "admin";

/// Lists who may call: logins with a role or any, keys with a scope or any, and the operator.
fn callers(
    role: Option<&'static str>,
    keys: Option<Option<Scope>>,
    operator: bool,
) -> Vec<SecurityRequirement> {
    // For schemes that are no OAuth these are the roles that are required (OpenAPI 3.1, security requirement object).
    let scheme = |name, role: Option<&str>| SecurityRequirement::new(name, role);
    let mut callers = vec![scheme(SESSION, role)];
    if let Some(scope) = keys {
        let scope = scope.map(|scope| scope.as_str());
        callers.extend([scheme(API_KEY, scope), scheme(API_KEY_HEADER, scope)]);
    }
    if operator {
        callers.push(scheme(OPERATOR, None));
    }
    callers
}
