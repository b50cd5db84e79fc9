use std::error::Error;
use std::fmt;

/// A failed storage call.
///
/// Opaque: callers act on its [`kind`](Self::kind), logs show its [`source`](Error::source).
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can do about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// Something that must be unique is taken.
    Conflict,
    /// There are as many as may be.
    Full,
    /// Whoever asks was let in by what has ended since: a key that is revoked, or an account that was secured after the
    /// request began.
    Stale,
    /// The store cannot answer now: it is away, full, locked or read-only. Nothing has happened, or
    /// whether it has is not known; repeating is safe.
    Unavailable,
    /// A defect: of the data, the schema or the program.
    Other,
}

impl StoreErrorKind {
    /// Returns whether the store has worked, and this is what it says.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Conflict | Self::Full | Self::Stale)
    }
}

impl StoreError {
    /// Makes an error without a cause.
    #[must_use]
    pub const fn new(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// Makes an error that keeps its cause.
    #[must_use]
    pub fn with_source(
        kind: StoreErrorKind,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Returns what can be done about it.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::Conflict => "already taken",
            StoreErrorKind::Full => "as many as may be",
            StoreErrorKind::Stale => "let in by what has ended",
            StoreErrorKind::Unavailable => "store unavailable",
            StoreErrorKind::Other => "store failed",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
