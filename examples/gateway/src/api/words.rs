//! Enumerations as requests and answers have them.

use llm_gate::identity::{Role, Scope, Subject};
use llm_gate::store::{Action, Ending, Period, ProjectRole, Source, Unit, UnknownZone, Zone};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use uuid::Uuid;

use super::fields::{Kind, Text, Word};

/// What a limit counts.
pub(super) const UNIT: Word<Unit> = Word::new(
    || Unit::ALL.iter().map(|one| one.as_str()).collect(),
    Unit::from_word,
);
/// How long what was counted counts.
pub(super) const PERIOD: Word<Period> = Word::new(
    || Period::ALL.iter().map(|one| one.as_str()).collect(),
    Period::from_word,
);
/// What has limits: its kind, without saying which one.
pub(super) const SUBJECT: Word<&'static str> = Word::new(
    || SUBJECTS.to_vec(),
    |word| SUBJECTS.into_iter().find(|known| *known == word),
);

/// Whose clocks are followed.
pub(super) const ZONE: Text<Zone> = Text::new(|text| {
    let zone = text.parse();
    zone.map_err(|error: UnknownZone| error.to_string().into())
});

const SUBJECTS: [&str; 4] = ["user", "project", "key", "platform"];
const SOURCE: Word<Source> = Word::new(
    || Source::ALL.iter().map(|one| one.as_str()).collect(),
    Source::from_word,
);
/// How a call ended.
pub(super) const ENDING: Word<Ending> = Word::new(
    || Ending::ALL.iter().map(|one| one.as_str()).collect(),
    Ending::from_word,
);

/// What somebody may do on the platform.
pub(super) const ROLE: Word<Role> = Word::new(
    || vec!["user", "admin"],
    |word| match word {
        "user" => Some(Role::User),
        "admin" => Some(Role::Admin),
        _ => None,
    },
);
/// What a member may do in a project.
pub(super) const PROJECT_ROLE: Word<ProjectRole> = Word::new(
    || ProjectRole::ALL.iter().map(|one| one.as_str()).collect(),
    ProjectRole::from_word,
);
/// What a key may be used for.
pub(super) const SCOPE: Word<Scope> = Word::new(
    || Scope::ALL.iter().map(|one| one.as_str()).collect(),
    Scope::from_word,
);
/// What was done.
pub(super) const ACTION: Word<Action> = Word::new(
    || Action::ALL.iter().map(|one| one.as_str()).collect(),
    Action::from_word,
);

/// Puts a kind and an identifier together.
pub(super) fn subject_of(kind: &str, id: Option<Uuid>) -> Option<Subject> {
    Subject::from_parts(kind, id.unwrap_or_default())
}

pub(super) fn unit() -> ObjectBuilder {
    UNIT.schema()
}

pub(super) fn period() -> ObjectBuilder {
    PERIOD.schema()
}

pub(super) fn subject() -> ObjectBuilder {
    SUBJECT.schema()
}

pub(super) fn role() -> ObjectBuilder {
    one_of([Role::User, Role::Admin].map(|role| serde_json::json!(role)))
}

pub(super) fn project_role() -> ObjectBuilder {
    let roles = [ProjectRole::Owner, ProjectRole::Admin, ProjectRole::Member];
    one_of(roles.map(|role| role.as_str().into()))
}

pub(super) fn source() -> ObjectBuilder {
    or_null(SOURCE.schema())
}

pub(super) fn ending() -> ObjectBuilder {
    or_null(ENDING.schema())
}

fn one_of<const N: usize>(words: [serde_json::Value; N]) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
}

fn or_null(words: ObjectBuilder) -> ObjectBuilder {
    let mut words = words.build();
    if let Some(values) = &mut words.enum_values {
        values.push(serde_json::Value::Null);
    }
    words.schema_type = SchemaType::from_iter([Type::String, Type::Null]);
    words.into()
}
