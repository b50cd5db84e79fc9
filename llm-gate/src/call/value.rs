//! The values of a request's members, and their names.

use std::borrow::Cow;
use std::ops::Range;

use super::read::{Fault, Kind, Read, Reader};

/// The largest integer that every JSON reader holds.
const INTEGER: u64 = (1 << 53) - 1;
/// How many characters of a client's text an answer repeats.
const SHOWN: usize = 128;
/// How many members the top level may have.
const MEMBERS: usize = 1024;
/// Reads a string; null is the same as nothing.
pub(super) fn string<'a>(
    reader: &mut Reader<'a>,
    name: &'static str,
) -> Read<Option<Cow<'a, str>>> {
    match reader.kind()? {
        Kind::String => reader.string().map(Some),
        Kind::Null => reader.skip().map(|_| None),
        _ => Err(Fault::of(name, format!("{name} must be a string"))),
    }
}

/// Reads a boolean; null is the same as false.
pub(super) fn boolean(reader: &mut Reader<'_>, name: &'static str) -> Read<bool> {
    match reader.kind()? {
        Kind::True => reader.skip().map(|_| true),
        Kind::False | Kind::Null => reader.skip().map(|_| false),
        _ => Err(Fault::of(name, format!("{name} must be true or false"))),
    }
}

/// Reads a whole number that is not negative, and where it stands; null is the same as nothing.
pub(super) fn integer(
    reader: &mut Reader<'_>,
    name: &'static str,
) -> Read<(Option<u64>, Range<usize>)> {
    let kind = reader.kind()?;
    let start = reader.position();
    let value = match kind {
        Kind::Number => {
            let digits = reader.number()?;
            let value = digits.parse().ok().filter(|&value| value <= INTEGER);
            if value.is_none() {
                return Err(Fault::of(
                    name,
                    format!("{name} must be a whole number from 0 to {INTEGER}"),
                ));
            }
            value
        }
        Kind::Null => {
            reader.skip()?;
            None
        }
        _ => return Err(Fault::of(name, format!("{name} must be a whole number"))),
    };
    Ok((value, start..reader.position()))
}

/// Cuts a client's text to what an answer repeats of it.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

pub(super) fn token_id(reader: &mut Reader<'_>) -> Option<()> {
    reader.number().ok()?.parse::<u64>().ok().map(drop)
}

/// The member names of one object, which must differ after decoding.
#[derive(Default)]
pub(super) struct Names<'a>(Vec<Cow<'a, str>>);

impl<'a> Names<'a> {
    pub(super) fn add(&mut self, name: Cow<'a, str>) -> Read<()> {
        if self.0.len() == MEMBERS {
            return Err(Fault::new(format!(
                "the body has more than {MEMBERS} members"
            )));
        }
        self.0.push(name);
        Ok(())
    }

    pub(super) fn check(mut self) -> Read<()> {
        self.0.sort_unstable();
        match self.0.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Fault::new(format!(
                "the member {:?} appears twice",
                shown(&pair[0])
            ))),
            None => Ok(()),
        }
    }
}
