//! What reports may be asked for.

use jiff::civil::Date;
use llm_gate::call::Route;
use llm_gate::identity::{ConversationId, InvalidConversation, KeyId, ProjectId, UserId};
use llm_gate::store::{CallCursor, CallFilter, Ending, UsageGroup, Zone};
use serde_json::{Value, json};

use super::Format;
use crate::api::fields::{DAY, FLAG, Fields, ID, Input, MODEL, Text, Whole, Word};
use crate::api::words::{ENDING, ZONE};
use crate::export;

const FORMAT: Word<Format> = Word::new(|| vec!["json", "csv"], Format::from_word);
const GROUP: Word<UsageGroup> = Word::new(
    || UsageGroup::ALL.iter().map(|one| one.as_str()).collect(),
    UsageGroup::from_word,
);
const ROUTE: Word<Route> = Word::new(
    || Route::ALL.iter().map(|one| one.as_str()).collect(),
    Route::from_word,
);
pub(in crate::api) const CURSOR: Text<CallCursor> = Text::new(|text| {
    let cursor = text.parse();
    cursor.map_err(|_| "must be the next_cursor of an earlier page".into())
});
const SESSION: Text<ConversationId> = Text::new(|text| {
    let session = text.parse();
    session.map_err(|error: InvalidConversation| error.to_string().into())
})
.sized(1, ConversationId::MAX_LENGTH);

/// How many calls a page has unless asked for, and at most.
const PAGE: (u32, u32) = (100, 1_000);
/// How many calls may be left out by counting them.
const MAX_OFFSET: u32 = 100_000;

pub(in crate::api) fn format(fields: &mut Fields) -> Option<Format> {
    fields.optional(
        "format",
        "How it is written; unless said, what `Accept` asks for, or JSON",
        &FORMAT,
    )
}

pub(in crate::api) fn zone(fields: &mut Fields) -> Zone {
    let zone = fields.optional(
        "zone",
        "On whose clocks days begin: an IANA name, UTC unless said",
        &ZONE,
    );
    zone.unwrap_or(Zone::UTC)
}

pub(in crate::api) fn limit(fields: &mut Fields) -> u32 {
    let limit = Whole::new(1, u64::from(PAGE.1), |limit| limit.try_into().ok());
    fields.or(
        "limit",
        "How many calls the page has at most",
        &limit,
        PAGE.0,
    )
}

pub(in crate::api) fn cursor(fields: &mut Fields) -> Option<CallCursor> {
    fields.optional(
        "cursor",
        "The `next_cursor` of the page before; the newest calls without",
        &CURSOR,
    )
}

pub(in crate::api) fn days(fields: &mut Fields) -> u32 {
    let days = Whole::new(1, 366, |days| days.try_into().ok());
    fields.or(
        "days",
        "How many days, of which today is the last",
        &days,
        30,
    )
}

/// Reads which calls a report is of. How long it reaches is said elsewhere, and whose calls those can be at all.
fn filter(fields: &mut Fields) -> CallFilter {
    let status = Whole::new(0, 599, |status| status.try_into().ok());
    let session = fields.optional("session_id", "Only those of a conversation", &SESSION);
    let user = fields.optional("user_id", "Only those of a user", &ID);
    let project = fields.optional("project_id", "Only those made for a project", &ID);
    let key = fields.optional("key_id", "Only those made with an API key", &ID);
    let route = fields.optional("route", "Only those of a route", &ROUTE);
    CallFilter {
        user: user.map(UserId::from_uuid),
        project: project.map(ProjectId::from_uuid),
        session,
        key: key.map(KeyId::from_uuid),
        model: fields.optional("model", "Only those of a model", &MODEL),
        route: route.map(|route| route.as_str().to_owned()),
        status: fields.optional("status", "Only those with this HTTP status", &status),
        ending: fields.optional::<Word<Ending>>("ending", "Only those that ended so", &ENDING),
        stream: fields.optional("stream", "Only those that are streams, or are not", &FLAG),
        ..CallFilter::default()
    }
}

/// The last days.
pub(in crate::api) struct DaysAsked {
    pub(super) days: u32,
    pub(super) zone: Zone,
    pub(super) group: Option<UsageGroup>,
    pub(super) filter: CallFilter,
    pub(super) format: Option<Format>,
}

impl Input for DaysAsked {
    const NAME: &'static str = "DaysAsked";

    fn read(fields: &mut Fields) -> Option<Self> {
        Some(Self {
            days: days(fields),
            zone: zone(fields),
            group: fields.optional("group", "What the sums of a day are told apart by", &GROUP),
            filter: filter(fields),
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "days": 7, "zone": "Europe/Berlin", "group": "model" })
    }
}

/// A month.
pub(in crate::api) struct MonthAsked {
    pub(super) month: Option<i8>,
    pub(super) year: Option<i16>,
    pub(super) zone: Zone,
    pub(super) filter: CallFilter,
    pub(super) format: Option<Format>,
}

impl Input for MonthAsked {
    const NAME: &'static str = "MonthAsked";

    fn read(fields: &mut Fields) -> Option<Self> {
        let month = Whole::new(1, 12, |month| month.try_into().ok());
        let year = Whole::new(2000, 2099, |year| year.try_into().ok());
        Some(Self {
            month: fields.optional("month", "The month; this one unless said", &month),
            year: fields.optional("year", "The year; this one unless said", &year),
            zone: zone(fields),
            filter: filter(fields),
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "month": 12, "year": 2026 })
    }
}

/// Some calls.
pub(in crate::api) struct CallsAsked {
    pub(super) limit: u32,
    pub(super) offset: u32,
    pub(super) cursor: Option<CallCursor>,
    pub(super) start: Option<Date>,
    pub(super) end: Option<Date>,
    pub(super) zone: Zone,
    pub(super) filter: CallFilter,
    pub(super) format: Option<Format>,
}

impl Input for CallsAsked {
    const NAME: &'static str = "CallsAsked";

    fn read(fields: &mut Fields) -> Option<Self> {
        let offset = Whole::new(0, u64::from(MAX_OFFSET), |offset| offset.try_into().ok());
        let limit = limit(fields);
        let offset = fields.or(
            "offset",
            "How many of the newest calls to leave out; `cursor` is better",
            &offset,
            0,
        );
        let cursor = cursor(fields);
        if offset > 0 && cursor.is_some() {
            fields.refuse("offset", "stands in place of cursor, not beside it");
        }
        let start = fields.optional("start_date", "The first day", &DAY);
        let end = fields.optional("end_date", "The last day, which is included", &DAY);
        if export::in_order(start, end).is_err() {
            fields.refuse("end_date", "must not be before start_date");
        }
        let zone = zone(fields);
        let filter = filter(fields);
        Some(Self {
            limit,
            offset,
            cursor,
            start,
            end,
            zone,
            filter,
            format: format(fields),
        })
    }

    fn example() -> Value {
        json!({ "limit": 100, "start_date": "2026-12-01", "end_date": "2026-12-31", "stream": true })
    }
}
