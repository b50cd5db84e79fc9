//! Fields as the document has them.

use serde_json::Value;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};

use super::kind::Entries;
use super::{Fields, Input, Place};

/// A field as the document has it.
pub(in crate::api) struct Declared {
    pub(in crate::api) name: &'static str,
    pub(in crate::api) about: &'static str,
    pub(in crate::api) required: bool,
    pub(super) nullable: bool,
    pub(super) default: Option<Value>,
    pub(super) schema: Object,
    pub(super) entries: Option<Entries>,
}

impl Declared {
    /// Returns what its values look like in `place`. Only JSON has null.
    pub(in crate::api) fn schema(&self, place: Place) -> Schema {
        if let Some(Entries { schema, count }) = &self.entries {
            let mut array = ArrayBuilder::new()
                .items(schema.clone())
                .description(Some(self.about))
                .default(self.default.clone())
                .min_items(Some(count.0))
                .max_items(Some(count.1))
                .build();
            if self.nullable && place == Place::Json {
                array.schema_type = or_null(array.schema_type);
            }
            return array.into();
        }
        let mut object = self.schema.clone();
        object.description = Some(self.about.to_owned());
        object.default = self.default.clone();
        if self.nullable && place == Place::Json {
            object.schema_type = or_null(object.schema_type);
            if let Some(words) = &mut object.enum_values {
                words.push(Value::Null);
            }
        }
        object.into()
    }
}

fn or_null(of: SchemaType) -> SchemaType {
    match of {
        SchemaType::Type(one) => SchemaType::from_iter([one, Type::Null]),
        other => other,
    }
}

/// Describes a whole request in `place`.
pub(in crate::api) fn schema_of<T: Input>(place: Place) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::Object)
        // What is not known is refused, so that nobody takes a misspelt field for one that works.
        .additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for declared in Fields::declared::<T>() {
        object = object.property(declared.name, declared.schema(place));
        if declared.required {
            object = object.required(declared.name);
        }
    }
    object.examples([T::example()]).build().into()
}

impl std::fmt::Debug for Declared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Declared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
