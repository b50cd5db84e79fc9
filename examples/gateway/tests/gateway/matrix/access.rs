//! Who may do what, told from how it is done: a row says whom an operation is for, and how it is asked for.

use http::{Method, StatusCode};
use llm_gate::identity::Scope;
use serde_json::{Value, json};

use super::callers::{Caller, Kind};
use super::things::Thing;
use crate::operations::Operation;

/// What somebody is in the project of the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Stranger,
    Member,
    Admin,
    Owner,
    /// Nobody in the project is as much: this is for admins of the platform.
    Platform,
}

/// Which credentials are let in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// None is needed.
    Everybody,
    /// Any that is good.
    Anybody,
    /// That of somebody who has logged in.
    Login,
    /// A login, or a key with this scope.
    Scoped(Scope),
    /// The same, or the operator key.
    ScopedOrOperator(Scope),
    /// A login of an admin of the platform, or a key of one with the scope "admin".
    Admin,
    /// The same, or the operator key.
    AdminOrOperator,
}

impl Door {
    /// Returns how the document says it.
    pub(super) fn security(self) -> Value {
        let (word, operator) = match self {
            Self::Everybody => return json!([]),
            Self::Login => return json!([{ "session": [] }]),
            Self::Anybody => (None, true),
            Self::Scoped(scope) => (Some(scope.as_str()), false),
            Self::ScopedOrOperator(scope) => (Some(scope.as_str()), true),
            Self::Admin => (Some("admin"), false),
            Self::AdminOrOperator => (Some("admin"), true),
        };
        let key = Vec::from_iter(word);
        let session: &[&str] = match self {
            Self::Admin | Self::AdminOrOperator => &["admin"],
            _ => &[],
        };
        let mut all = vec![
            json!({ "session": session }),
            json!({ "api_key": key }),
            json!({ "api_key_header": key }),
        ];
        all.extend(operator.then(|| json!({ "operator": [] })));
        all.into()
    }

    fn lets_in(self, caller: &Caller) -> bool {
        let operator = caller.kind == Kind::Operator;
        match self {
            Self::Everybody | Self::Anybody => true,
            Self::Login => caller.kind == Kind::Login,
            Self::Scoped(scope) => !operator && caller.has(scope),
            Self::ScopedOrOperator(scope) => operator || caller.has(scope),
            Self::Admin => caller.platform && !operator,
            Self::AdminOrOperator => caller.platform,
        }
    }
}

/// Whom that is shown to which a request names, beside its project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// To whoever may ask.
    ByAll,
    /// To those who are at least this in the project; to others it is not there.
    From(Role),
    /// To nobody who asks: it is another tenant's.
    ByNobody,
    /// To members only. Admins of the platform who are none get this answer instead.
    ByMembers(StatusCode),
}

/// Writes what is given where a request has it.
type Written = fn(&Value) -> String;

/// What a request brings.
pub(super) enum Body {
    Json(fn(&Value) -> Value),
    Form(&'static str),
}

/// An operation, or one way to use it: whom it is for, and a request that does it.
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) path: &'static str,
    /// Which way, where there are several.
    pub(super) about: &'static str,
    pub(super) door: Door,
    /// What one has to be in the project that is named; to strangers it is not there.
    place: Option<Role>,
    seen: Seen,
    /// Whether others than admins of the platform are refused behind the door.
    admins: bool,
    /// Whether keys of others than those are.
    keyless: bool,
    /// What is named in the path, the query or the body.
    pub(super) given: Vec<(&'static str, Thing)>,
    pub(super) query: Option<Written>,
    /// The example of the document, unless said.
    pub(super) body: Option<Body>,
    pub(super) header: Option<(&'static str, Written)>,
    /// The one of several answers to a request that is good.
    pub(super) answers: Option<u16>,
    /// Whether it ends what its caller lives by, so that somebody does it who is the same and not needed any more.
    pub(super) by_a_double: bool,
}

/// Begins a row: a method and a path, the one that the document has no `x-alias-of` for.
pub(super) fn row(operation: &'static str, door: Door) -> Row {
    let (method, path) = operation.split_once(' ').expect("a method and a path");
    Row {
        method: method.parse().expect("a method"),
        path,
        about: "",
        door,
        place: None,
        seen: Seen::ByAll,
        admins: false,
        keyless: false,
        given: Vec::new(),
        query: None,
        body: None,
        header: None,
        answers: None,
        by_a_double: false,
    }
}

impl Row {
    pub(super) fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Names something: where the path has a parameter of that name it stands there.
    pub(super) fn with(mut self, name: &'static str, thing: Thing) -> Self {
        self.given.push((name, thing));
        self
    }

    /// Takes place in the project of the scene, for those who are at least this.
    pub(super) fn inside(self, name: &'static str, role: Role) -> Self {
        self.with(name, Thing::Project).place(role)
    }

    /// Takes place in a project, for those who are at least this.
    pub(super) fn place(mut self, role: Role) -> Self {
        self.place = Some(role);
        self
    }

    /// Names something that is there only for those who are at least this.
    pub(super) fn seen_from(mut self, role: Role) -> Self {
        self.seen = Seen::From(role);
        self
    }

    /// Names something of another tenant.
    pub(super) fn foreign(mut self) -> Self {
        self.seen = Seen::ByNobody;
        self
    }

    /// Is for members; admins of the platform get this answer instead.
    pub(super) fn for_members(mut self, or: StatusCode) -> Self {
        self.seen = Seen::ByMembers(or);
        self
    }

    /// Is for admins of the platform, although others are let in.
    pub(super) fn for_admins(mut self) -> Self {
        self.admins = true;
        self
    }

    /// Is for nobody's key, but for those of admins of the platform.
    pub(super) fn without_key(mut self) -> Self {
        self.keyless = true;
        self
    }

    pub(super) fn query(mut self, query: Written) -> Self {
        self.query = Some(query);
        self
    }

    pub(super) fn body(mut self, body: fn(&Value) -> Value) -> Self {
        self.body = Some(Body::Json(body));
        self
    }

    pub(super) fn form(mut self, form: &'static str) -> Self {
        self.body = Some(Body::Form(form));
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: Written) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(super) fn answers(mut self, status: u16) -> Self {
        self.answers = Some(status);
        self
    }

    pub(super) fn by_a_double(mut self) -> Self {
        self.by_a_double = true;
        self
    }

    /// Returns whether this is a row of an operation, or of what that is an alias of.
    pub(super) fn is_of(&self, operation: &Operation) -> bool {
        let original = operation.is["x-alias-of"].as_str();
        let path = original.unwrap_or(&operation.path);
        self.method == operation.method && self.path == path
    }

    /// Returns whether what is given is used up where it is done: reading leaves it, but for what is good once.
    pub(super) fn uses_up(&self) -> bool {
        self.method != Method::GET || self.door == Door::Everybody
    }

    /// Returns whether somebody is to succeed.
    pub(super) fn succeeds(&self) -> bool {
        self.seen != Seen::ByNobody
    }

    /// Works out the answer to a caller; `good` is that to a request that is granted.
    pub(super) fn expected(&self, caller: &Caller, good: StatusCode) -> StatusCode {
        if self.door == Door::Everybody {
            return good;
        }
        if caller.kind == Kind::None {
            return StatusCode::UNAUTHORIZED;
        }
        if !self.door.lets_in(caller) || (self.admins && !caller.platform) {
            return StatusCode::FORBIDDEN;
        }
        let role = if caller.platform {
            Role::Platform
        } else {
            caller.role
        };
        if self.place.is_some_and(|needed| role < needed) {
            return match role {
                Role::Stranger => StatusCode::NOT_FOUND,
                _ => StatusCode::FORBIDDEN,
            };
        }
        if self.keyless && caller.kind != Kind::Login && !caller.platform {
            return StatusCode::FORBIDDEN;
        }
        match self.seen {
            Seen::ByAll => good,
            Seen::From(needed) if role >= needed => good,
            Seen::From(_) | Seen::ByNobody => StatusCode::NOT_FOUND,
            Seen::ByMembers(or) if role == Role::Platform => or,
            Seen::ByMembers(_) => good,
        }
    }
}

/// Returns the answer that the document has for an operation that is done. One that is for a copy that is still good is
/// left out: nobody says here that they have one.
pub(super) fn good(operation: &Operation, row: &Row) -> StatusCode {
    let responses = operation.is["responses"].as_object().expect("responses");
    let codes = responses.keys().filter_map(|code| code.parse().ok());
    let good: Vec<u16> = codes
        .filter(|code| (200..400).contains(code) && *code != 304)
        .collect();
    let status = match (row.answers, good.as_slice()) {
        (Some(status), several) if several.contains(&status) => status,
        (None, [one]) => *one,
        _ => panic!(
            "{} {}: which of {good:?} is it?",
            operation.method, operation.path
        ),
    };
    StatusCode::from_u16(status).expect("a status")
}
