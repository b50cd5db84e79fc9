//! The ledger as a file: one line a row, joined with the call that it is about.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use llm_gate::clock::Timestamp;
use llm_gate::store::{LedgerLine, LineQuery, Store, StoreError};
use serde_json::{Value, json};

use crate::api::micros;

/// Lines that are in memory at once.
const PAGE: u32 = 1_000;

/// The names of the columns.
const COLUMNS: [&str; 37] = [
    "id",
    "time",
    "kind",
    "reservation",
    "user",
    "project",
    "key",
    "session",
    "route",
    "model",
    "stream",
    "request_bytes",
    "subject_kind",
    "subject",
    "limited_model",
    "unit",
    "window",
    "window_start",
    "charge",
    "overage",
    "limit",
    "prompt",
    "completion",
    "cached",
    "reasoning",
    "source",
    "ending",
    "status",
    "state",
    "cost",
    "upstream",
    "response_bytes",
    "first_data_us",
    "total_us",
    "writer",
    "sequence",
    "hash",
];
/// Those that hold what clients wrote.
const FREE_TEXT: [&str; 4] = ["session", "model", "limited_model", "upstream"];

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values after RFC 4180, with a head.
    #[default]
    Csv,
    /// One JSON object a line.
    Jsonl,
}

impl Format {
    /// Reads the word back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "csv" => Some(Self::Csv),
            "jsonl" => Some(Self::Jsonl),
            _ => None,
        }
    }

    /// Returns the media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/jsonl",
        }
    }

    /// Returns the word, which files end with.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Reads a day such as 2026-12-31.
///
/// # Errors
///
/// Says how it is written.
pub fn day(text: &str) -> Result<Date, &'static str> {
    let day = text
        .parse()
        .ok()
        .filter(|_| text.len() == "2026-12-31".len());
    day.ok_or("must be a day such as 2026-12-31")
}

/// Checks that the first day is not behind the last one.
///
/// # Errors
///
/// Says so.
pub fn in_order(from: Option<Date>, to: Option<Date>) -> Result<(), &'static str> {
    match from.zip(to) {
        Some((from, to)) if from > to => Err("must not be before the first day"),
        _ => Ok(()),
    }
}

/// An export under way: page by page, so that it takes as little memory as it takes long.
pub struct Export {
    store: Arc<dyn Store>,
    format: Format,
    /// What is asked for next, `None` at the end.
    query: Option<LineQuery>,
    begun: bool,
}

impl Export {
    /// Prepares to write the lines from the beginning of one day to the end of another, in UTC; without a day, all
    /// there are on that side.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        format: Format,
        from: Option<Date>,
        to: Option<Date>,
    ) -> Self {
        let mut query = LineQuery::all(PAGE);
        // At the end of the calendar some days have no midnight any more, and behind them there is nothing.
        if let Some(from) = from {
            query.from = begins(from).unwrap_or(query.to);
        }
        if let Some(to) = to.and_then(|to| begins(to.tomorrow().ok()?)) {
            query.to = to;
        }
        Self {
            store,
            format,
            query: Some(query),
            begun: false,
        }
    }

    /// Writes the next lines; `None` at the end.
    ///
    /// # Errors
    ///
    /// Fails when the store does.
    pub async fn next(&mut self) -> Result<Option<String>, StoreError> {
        let mut text = String::new();
        if !self.begun && self.format == Format::Csv {
            text = COLUMNS.join(",");
            text.push_str("\r\n");
        }
        self.begun = true;
        while let Some(query) = self.query {
            let page = self.store.lines(query).await?;
            self.query = page.next.map(|after| LineQuery { after, ..query });
            for line in &page.lines {
                write(&mut text, self.format, line);
            }
            if !page.lines.is_empty() {
                break;
            }
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

fn begins(day: Date) -> Option<Timestamp> {
    let midnight = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_micros(midnight.as_microsecond()))
}

fn write(text: &mut String, format: Format, line: &LedgerLine) {
    let values = values(line);
    let mut separator = match format {
        Format::Csv => "",
        Format::Jsonl => "{",
    };
    for (name, value) in COLUMNS.iter().zip(&values) {
        text.push_str(separator);
        separator = ",";
        match format {
            Format::Csv => cell(text, value, FREE_TEXT.contains(name)),
            Format::Jsonl => text.push_str(&format!("\"{name}\":{value}")),
        }
    }
    text.push_str(match format {
        Format::Csv => "\r\n",
        Format::Jsonl => "}\n",
    });
}

/// Writes a value for a table. A spreadsheet takes some texts for formulas, so what a client wrote and looks like
/// one gets an apostrophe in front.
pub(crate) fn cell(text: &mut String, value: &Value, free: bool) {
    let word = match value {
        Value::Null => return,
        Value::String(word) => word.as_str(),
        other => return text.push_str(&other.to_string()),
    };
    let formula = free && word.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let guard = if formula { "'" } else { "" };
    if word.contains(['"', ',', '\r', '\n']) {
        let doubled = word.replace('"', "\"\"");
        for part in ["\"", guard, &doubled, "\""] {
            text.push_str(part);
        }
    } else {
        text.push_str(guard);
        text.push_str(word);
    }
}

fn values(line: &LedgerLine) -> [Value; COLUMNS.len()] {
    let entry = &line.entry;
    let call = line.call.as_ref();
    let counter = &entry.counter;
    let (subject_kind, subject) = counter.subject.parts();
    let link = line.link.as_ref();
    let served = call.and_then(|call| call.served.as_ref());
    let first_data = served.and_then(|served| served.first_data);
    [
        json!(line.id),
        json!(time(entry.at)),
        json!(entry.kind),
        json!(entry.reservation),
        json!(call.map(|call| call.user)),
        json!(call.map(|call| call.project)),
        json!(call.and_then(|call| call.key)),
        json!(call.map(|call| &call.session)),
        json!(call.map(|call| &call.route)),
        json!(call.map(|call| &call.model)),
        json!(call.map(|call| call.stream)),
        json!(call.map(|call| call.request_bytes)),
        json!(subject_kind),
        json!(Some(subject).filter(|subject| !subject.is_nil())),
        json!(counter.model),
        json!(counter.unit),
        json!(counter.period),
        json!(time(counter.start)),
        json!(entry.charge),
        json!(entry.overage),
        json!(entry.limit),
        json!(call.map(|call| call.usage.prompt)),
        json!(call.map(|call| call.usage.completion)),
        json!(call.map(|call| call.usage.cached)),
        json!(call.map(|call| call.usage.reasoning)),
        json!(call.map(|call| call.source)),
        json!(call.map(|call| call.ending)),
        json!(call.map(|call| call.status)),
        json!(call.map(|call| call.state.as_str())),
        json!(call.map(|call| call.state.settlement().cost)),
        json!(served.map(|served| &served.upstream)),
        json!(served.map(|served| served.response_bytes)),
        json!(first_data.map(micros)),
        json!(served.map(|served| micros(served.total))),
        json!(link.map(|link| link.writer)),
        json!(link.map(|link| link.sequence)),
        json!(link.map(|link| hex(&link.hash))),
    ]
}

/// Writes a time, to the microsecond; none outside the years that can be written.
fn time(at: Timestamp) -> Option<String> {
    let moment = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(moment.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str, free: bool) -> String {
        let mut text = String::new();
        cell(&mut text, &json!(value), free);
        text
    }

    #[test]
    fn a_cell_is_quoted_where_it_has_to_be() {
        assert_eq!(written("qwen3", true), "qwen3");
        assert_eq!(written("a,b", true), "\"a,b\"");
        assert_eq!(written("a\"b", true), "\"a\"\"b\"");
        assert_eq!(written("a\r\nb", true), "\"a\r\nb\"");
    }

    #[test]
    fn what_a_client_wrote_is_no_formula() {
        assert_eq!(written("=1+1", true), "'=1+1");
        assert_eq!(written("@sum(a,b)", true), "\"'@sum(a,b)\"");
        let mut text = String::new();
        cell(&mut text, &json!(-5), true);
        assert_eq!(text, "-5", "a number is a number");
    }

    #[test]
    fn a_day_is_written_in_one_way() {
        assert!(day("2026-12-31").is_ok());
        for wrong in [
            "",
            "2026-13-01",
            "2026-02-30",
            "20261231",
            "2026-12-31T00:00:00Z",
            "today",
        ] {
            assert!(day(wrong).is_err(), "{wrong}");
        }
    }
}
