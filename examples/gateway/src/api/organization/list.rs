//! What all lists share, and what is answered where something is deleted.

use std::borrow::Cow;
use std::str::FromStr;

use llm_gate::clock::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::api::document::literal;
use crate::api::fields::{Fields, Input, Text, Whole};

/// How many entries a list has unless asked for, and at most.
const SIZES: (u32, u32) = (20, 100);

/// Which part of a list is wanted.
pub(super) struct Listing<C> {
    limit: u32,
    /// Behind which entry it begins.
    pub(super) after: Option<C>,
}

impl<C> Listing<C> {
    /// Returns how many entries to ask for: one more than is shown, which says whether there are more.
    pub(super) const fn ask(&self) -> u32 {
        self.limit + 1
    }

    /// Makes the list of what was found, in order.
    pub(super) fn of<T: Entry>(&self, found: impl IntoIterator<Item = T>) -> List<T> {
        let mut data: Vec<T> = found.into_iter().take(self.ask() as usize).collect();
        let has_more = data.len() > self.limit as usize;
        data.truncate(self.limit as usize);
        List::new(data, has_more)
    }
}

impl<C: FromStr> Listing<C> {
    /// Reads it with another size unless asked for.
    pub(super) fn sized(fields: &mut Fields, size: u32) -> Option<Self> {
        Some(Self {
            limit: limit(fields, size),
            after: place(
                fields,
                "after",
                "Only entries behind the one with this `id`",
            ),
        })
    }
}

impl<C: FromStr> Input for Listing<C> {
    const NAME: &'static str = "OrganizationListing";

    fn read(fields: &mut Fields) -> Option<Self> {
        Self::sized(fields, SIZES.0)
    }

    fn example() -> Value {
        json!({ "limit": SIZES.0 })
    }
}

/// Reads how many entries are wanted.
pub(super) fn limit(fields: &mut Fields, size: u32) -> u32 {
    let limit = Whole::new(1, u64::from(SIZES.1), |limit| limit.try_into().ok());
    fields.or(
        "limit",
        "How many entries the list has at most",
        &limit,
        size,
    )
}

/// Reads the id of an entry.
pub(super) fn place<C: FromStr>(
    fields: &mut Fields,
    name: &'static str,
    about: &'static str,
) -> Option<C> {
    let id = Text::new(|text| {
        text.parse()
            .map_err(|_| Cow::Borrowed("must be the id of an entry"))
    });
    fields.optional(name, about, &id)
}

/// Something that is listed.
pub(super) trait Entry: Serialize + ToSchema {
    /// What the document calls a list of it.
    const LIST: &'static str;

    /// Returns what [`Listing::after`] finds it by.
    fn id(&self) -> String;
}

/// A part of a list. Who wants the next one asks for what comes after its last entry.
#[derive(Serialize)]
pub(super) struct List<T> {
    object: &'static str,
    data: Vec<T>,
    first_id: Option<String>,
    last_id: Option<String>,
    has_more: bool,
}

impl<T: Entry> List<T> {
    pub(super) fn new(data: Vec<T>, has_more: bool) -> Self {
        Self {
            object: "list",
            first_id: data.first().map(Entry::id),
            last_id: data.last().map(Entry::id),
            data,
            has_more,
        }
    }
}

impl<T: Entry> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        literal(json!({
            "type": "object",
            "required": ["object", "data", "first_id", "last_id", "has_more"],
            "properties": {
                "object": { "type": "string", "enum": ["list"] },
                "data": {
                    "type": "array",
                    "maxItems": SIZES.1,
                    "items": { "$ref": format!("#/components/schemas/{}", T::name()) }
                },
                "first_id": { "type": ["string", "null"] },
                "last_id": {
                    "type": ["string", "null"],
                    "description": "What `after` is for the next part."
                },
                "has_more": { "type": "boolean" }
            }
        }))
    }
}

impl<T: Entry> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(T::LIST)
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}

/// Something is gone.
#[derive(Serialize, ToSchema)]
#[schema(as = OrganizationDeleted)]
pub(super) struct Deleted {
    object: &'static str,
    id: String,
    deleted: bool,
}

impl Deleted {
    /// Says it of what `object` names.
    pub(super) fn new(object: &'static str, id: impl ToString) -> Self {
        Self {
            object,
            id: id.to_string(),
            deleted: true,
        }
    }
}

/// Writes a moment as the API does: in whole seconds.
pub(super) const fn seconds(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(1_000_000)
}
