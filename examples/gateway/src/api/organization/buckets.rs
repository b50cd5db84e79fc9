//! Sums in buckets of time, and what may be asked of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use llm_gate::clock::Timestamp;
use llm_gate::store::{BucketGroups, BucketQuery, BucketRow, BucketWidth};
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use super::list::seconds;
use crate::api::document::literal;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, ID, List, MODEL, Text, Whole, Word};
use crate::app::App;

/// How many buckets and groups an answer has at most.
const MAX_ROWS: u32 = 10_000;
/// How many identifiers or names a filter takes.
const MAX_NAMES: usize = 100;
/// The last second of 2099.
const LAST_SECOND: u64 = 4_102_444_799;
const SECOND: i64 = 1_000_000;
const PAGE: &str = "page_";

/// A moment in whole seconds.
pub(super) const SECONDS: Whole<Timestamp> = Whole::new(0, LAST_SECOND, |seconds| {
    let seconds = i64::try_from(seconds).ok()?;
    Some(Timestamp::from_micros(seconds * SECOND))
});

pub(super) const WIDTH: Word<BucketWidth> = Word::new(
    || {
        BucketWidth::ALL
            .iter()
            .map(|width| width.as_str())
            .collect()
    },
    BucketWidth::from_word,
);

/// Where a page of buckets begins.
const CURSOR: Text<Timestamp> = Text::new(|text| {
    let seconds = text.strip_prefix(PAGE).and_then(|text| text.parse().ok());
    let seconds = seconds.filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    let micros = seconds.and_then(|seconds| i64::try_from(seconds).ok());
    let micros = micros.ok_or(Cow::Borrowed("must be the next_page of the page before"))?;
    Ok(Timestamp::from_micros(micros * SECOND))
});

/// What sums can be told apart by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Project,
    User,
    Key,
    Model,
    /// Whether it is a batch, which no call is.
    Batch,
    /// How fast it was served, which nobody can choose.
    Tier,
    /// Which product of OpenAI's it came by, which is none.
    Source,
}

/// What the API says of a source that it has no name for.
pub(super) const UNLABELED: &str = "unlabeled";

pub(super) const GROUP: Word<Group> = Word::new(
    || vec!["project_id", "user_id", "api_key_id", "model"],
    plain,
);

fn plain(word: &str) -> Option<Group> {
    match word {
        "project_id" => Some(Group::Project),
        "user_id" => Some(Group::User),
        "api_key_id" => Some(Group::Key),
        "model" => Some(Group::Model),
        _ => None,
    }
}

/// Puts together what sums are told apart by.
fn groups(wanted: &[Group]) -> BucketGroups {
    BucketGroups {
        model: wanted.contains(&Group::Model),
        key: wanted.contains(&Group::Key),
        user: wanted.contains(&Group::User),
        project: wanted.contains(&Group::Project),
    }
}

/// As [`GROUP`], with what is the same of all calls, so that it tells none apart.
pub(super) const ANY_GROUP: Word<Group> = Word::new(
    || {
        vec![
            "project_id",
            "user_id",
            "api_key_id",
            "model",
            "batch",
            "service_tier",
            "api_source",
        ]
    },
    |word| match word {
        "batch" => Some(Group::Batch),
        "service_tier" => Some(Group::Tier),
        "api_source" => Some(Group::Source),
        word => plain(word),
    },
);

/// Which time is asked for, and which page of it.
pub(super) struct Span {
    from: Timestamp,
    to: Option<Timestamp>,
    width: BucketWidth,
    page: Option<Timestamp>,
    /// How many buckets.
    limit: usize,
}

impl Span {
    /// Reads the moments; how many buckets and how wide is for the caller to say.
    pub(super) fn read(fields: &mut Fields, width: BucketWidth, limit: usize) -> Option<Self> {
        let from = fields.required(
            "start_time",
            "The first second, counted from 1970 on in UTC",
            &SECONDS,
        );
        let to = fields.optional(
            "end_time",
            "The first second behind; now unless given",
            &SECONDS,
        );
        let page = fields.optional(
            "page",
            "The `next_page` of the page before; the first page without",
            &CURSOR,
        );
        Some(Self {
            from: from?,
            to,
            width,
            page,
            limit,
        })
    }
}

/// Reads identifiers that calls must have one of.
pub(super) fn ids<T>(
    fields: &mut Fields,
    name: &'static str,
    about: &'static str,
    make: fn(Uuid) -> T,
) -> Vec<T> {
    let ids = fields.several(name, about, &List::new(&ID, 1, MAX_NAMES));
    ids.into_iter().map(make).collect()
}

/// Reads names of models that calls must have one of.
pub(super) fn models(fields: &mut Fields, name: &'static str, about: &'static str) -> Vec<String> {
    fields.several(name, about, &List::new(&MODEL, 1, MAX_NAMES))
}

/// A page of buckets of time.
#[derive(Serialize)]
pub(super) struct Buckets<T> {
    object: &'static str,
    data: Vec<Bucket<T>>,
    has_more: bool,
    next_page: Option<String>,
}

#[derive(Serialize)]
struct Bucket<T> {
    object: &'static str,
    start_time: i64,
    end_time: i64,
    results: Vec<T>,
}

/// What a bucket holds of calls that have something in common.
pub(super) trait Tally: Serialize + ToSchema {
    /// What the document calls a page of it.
    const PAGE: &'static str;

    /// Shows what was added up, told apart by some.
    fn new(row: BucketRow, by: &[Group]) -> Self;
}

impl<T: Tally> Buckets<T> {
    /// Adds up what is asked for, bucket by bucket, those without calls too.
    pub(super) async fn fill(
        app: &App,
        span: &Span,
        by: &[Group],
        narrow: impl FnOnce(BucketQuery) -> BucketQuery,
    ) -> Result<Self, ApiError> {
        let Span { from, width, .. } = *span;
        // Up to now, of what is still to come there is nothing.
        let to = span.to.unwrap_or_else(|| app.clock.now().max(from));
        if span.to.is_some_and(|to| to <= from) {
            let words = "must lie behind start_time";
            return Err(ApiError::field("end_time", words));
        }
        let first = span.page.unwrap_or(from);
        let begins = first == from || width.start(first) == first;
        if !begins || first < from || (first >= to && first != from) {
            let words = "must be the next_page of the page before";
            return Err(ApiError::field("page", words));
        }
        let (mut bounds, mut end) = (Vec::new(), first);
        while end < to && bounds.len() < span.limit {
            let start = end;
            let next = width.start(start).as_micros() + width.micros();
            end = Timestamp::from_micros(next).min(to);
            bounds.push((start, end));
        }
        let query = BucketQuery {
            groups: groups(by),
            ..narrow(BucketQuery::new(first, end, width, MAX_ROWS))
        };
        let rows = app.store.usage_in_buckets(query).await?;
        let rows = rows.ok_or_else(|| {
            ApiError::field("group_by", "has too many groups: ask for fewer buckets")
        })?;
        let mut results: BTreeMap<Timestamp, Vec<T>> = BTreeMap::new();
        for row in rows {
            results.entry(row.start).or_default().push(T::new(row, by));
        }
        let mut bucket = |(start, end): (Timestamp, Timestamp)| Bucket {
            object: "bucket",
            start_time: seconds(start),
            // The second that is under way belongs to it.
            end_time: seconds(Timestamp::from_micros(end.as_micros() + SECOND - 1)),
            results: results.remove(&width.start(start)).unwrap_or_default(),
        };
        let has_more = end < to;
        Ok(Self {
            object: "page",
            data: bounds.into_iter().map(&mut bucket).collect(),
            has_more,
            next_page: has_more.then(|| format!("{PAGE}{}", seconds(end))),
        })
    }
}

impl<T: Tally> PartialSchema for Buckets<T> {
    fn schema() -> RefOr<Schema> {
        literal(json!({
            "type": "object",
            "required": ["object", "data", "has_more", "next_page"],
            "properties": {
                "object": { "type": "string", "enum": ["page"] },
                "data": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "description": "A bucket. The first and the last one are as long as the time that is asked for.",
                        "required": ["object", "start_time", "end_time", "results"],
                        "properties": {
                            "object": { "type": "string", "enum": ["bucket"] },
                            "start_time": { "type": "integer", "format": "int64" },
                            "end_time": { "type": "integer", "format": "int64" },
                            "results": {
                                "type": "array",
                                "items": { "$ref": format!("#/components/schemas/{}", T::name()) }
                            }
                        }
                    }
                },
                "has_more": { "type": "boolean" },
                "next_page": { "type": ["string", "null"], "description": "What `page` is for the next one." }
            }
        }))
    }
}

impl<T: Tally> ToSchema for Buckets<T> {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed(T::PAGE)
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
        schemas.push((T::name().into_owned(), T::schema()));
    }
}
