use std::marker::PhantomData;
use std::str::FromStr;

use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::{Fields, Given, Input, Kind, Whole};

/// How many entries a page has unless asked for, and at most.
const SIZES: (u32, u32) = (50, 100);

/// Which part of a list is wanted: the one convention of all lists.
///
/// A page has at most `limit` entries and the `next_cursor` of the page after it, null on the last one. The
/// cursor is where the page before ended, so what is added or removed meanwhile shifts nothing. Where a list
/// has filters, its own [`Input`] takes a page beside them with [`Page::read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page<C> {
    limit: u32,
    /// Behind which entry it begins.
    pub(crate) after: Option<C>,
}

/// Entries, and where the next ones begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PageOf<T, C> {
    pub(crate) entries: Vec<T>,
    pub(crate) next: Option<C>,
}

impl<C> Page<C> {
    /// Returns how many entries to ask for: one more than is shown, which says whether there is another page.
    pub(crate) const fn ask(&self) -> u32 {
        self.limit + 1
    }

    /// Returns how many entries are shown at most, for a store that says itself where the next page begins.
    pub(crate) const fn size(&self) -> u32 {
        self.limit
    }

    /// Makes the page of what was found, in order; `cursor` names an entry.
    pub(crate) fn of<T>(&self, mut found: Vec<T>, cursor: impl FnOnce(&T) -> C) -> PageOf<T, C> {
        let more = found.len() > self.limit as usize;
        found.truncate(self.limit as usize);
        PageOf {
            next: found.last().filter(|_| more).map(cursor),
            entries: found,
        }
    }
}

impl<C: Ord> Page<C> {
    /// Makes the page of all there is, where the store lists it at once; `cursor` names an entry.
    pub(crate) fn of_all<T>(&self, mut all: Vec<T>, cursor: impl Fn(&T) -> C) -> PageOf<T, C> {
        all.sort_by_cached_key(&cursor);
        if let Some(after) = &self.after {
            all.retain(|entry| cursor(entry) > *after);
        }
        self.of(all, cursor)
    }
}

impl<C: FromStr> Input for Page<C> {
    const NAME: &'static str = "Page";

    fn read(fields: &mut Fields) -> Option<Self> {
        let limit = fields.or(
            "limit",
            "How many entries the page has at most",
            &Whole::new(1, u64::from(SIZES.1), |limit| limit.try_into().ok()),
            SIZES.0,
        );
        let after = fields.optional(
            "cursor",
            "The `next_cursor` of the page before; the first page without",
            &Cursor(PhantomData),
        );
        Some(Self { limit, after })
    }

    fn example() -> Value {
        serde_json::json!({ "limit": SIZES.0 })
    }
}

/// Where a page ended. What it is made of is no concern of clients.
struct Cursor<C>(PhantomData<fn() -> C>);

impl<C: FromStr> Kind for Cursor<C> {
    type Value = C;

    fn schema(&self) -> ObjectBuilder {
        ObjectBuilder::new().schema_type(Type::String)
    }

    fn read(&self, given: Given<'_>) -> Result<C, std::borrow::Cow<'static, str>> {
        let cursor = match given.value {
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        cursor.ok_or(std::borrow::Cow::Borrowed(
            "must be the next_cursor of an earlier page",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_each_entry_once_and_in_order() {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = Page { limit: 2, after };
            let page = page.of_all(vec![5, 1, 4, 2, 3], |entry| *entry);
            seen.extend(page.entries);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn there_is_a_next_page_only_if_there_is_more() {
        let page = Page {
            limit: 2,
            after: Some(0),
        };
        let [exact, more] = [vec![1, 2], vec![1, 2, 3]].map(|found| page.of(found, |last| *last));
        assert_eq!((exact.entries.len(), exact.next), (2, None));
        assert_eq!((more.entries, more.next), (vec![1, 2], Some(2)));
    }
}
