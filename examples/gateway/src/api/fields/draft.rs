//! What is wrong with a request, and who has the last word.

use std::borrow::Cow;

use super::Place;
use crate::api::error::{ApiError, FieldError};

/// What is wrong with a request.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(super) place: Place,
    pub(super) errors: Vec<FieldError>,
}

/// A request that was read, and that only its handler can judge.
#[derive(Debug)]
pub(crate) struct Draft<T> {
    pub(super) value: Option<T>,
    pub(super) refusals: Refusals,
}

impl Refusals {
    pub(super) fn refuse(&mut self, name: &str, message: impl Into<Cow<'static, str>>) {
        self.errors.push(FieldError {
            loc: [self.place.word(), name.to_owned().into()],
            msg: message.into(),
            kind: "value_error",
        });
    }

    pub(super) fn refused(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.loc[1] == name)
    }
}

impl<T> Draft<T> {
    /// Judges a field that was read well: `check` sees the request, with placeholders where others were not.
    pub(in crate::api) fn check<M: Into<Cow<'static, str>>>(
        &mut self,
        name: &str,
        check: impl FnOnce(&T) -> Result<(), M>,
    ) {
        if let Some(value) = &self.value
            && !self.refusals.refused(name)
            && let Err(reason) = check(value)
        {
            self.refusals.refuse(name, reason);
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    ///
    /// 422 with everything that is wrong.
    pub(in crate::api) fn finish(self) -> Result<T, ApiError> {
        match self.value {
            _ if !self.refusals.errors.is_empty() => Err(ApiError::Fields(self.refusals.errors)),
            Some(value) => Ok(value),
            None => Err(ApiError::defect(&"a request was not read and not refused")),
        }
    }
}
