mod bucket;
mod conversation;
mod period;
mod query;
mod sum;

use super::{CallRecord, StoreFuture};

pub use bucket::{BucketGroups, BucketKey, BucketQuery, BucketRow, BucketWidth};
pub use conversation::{Conversation, ConversationCursor, ConversationPage, ConversationQuery};
pub use period::Stretch;
pub use query::{
    CallCursor, CallFilter, CallQuery, InvalidCursor, UsageGroup, UsagePeriod, UsageQuery,
    UsageScope,
};
pub use sum::{OutOfRange, UsageKey, UsageRow, UsageSum, UsageTable};

/// Some calls, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallPage {
    /// The calls.
    pub calls: Vec<CallRecord>,
    /// What [`CallQuery::after`] is for the page behind, `None` at the end.
    pub next: Option<CallCursor>,
}

/// What was used by everybody, ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageStatistics {
    /// All calls together.
    pub sum: UsageSum,
    /// How many conversations there were; those of two users are two, though they have one name.
    pub sessions: u64,
    /// The models that were called, in order, at most [`MAX_NAMES`](Self::MAX_NAMES).
    pub models: Vec<String>,
    /// The upstreams that served, in order, at most as many.
    pub upstreams: Vec<String>,
}

impl UsageStatistics {
    /// How many names of a kind are listed.
    pub const MAX_NAMES: u32 = 1_000;
}

/// Reports what was used: the calls that have ended, whatever became of them, and their sums.
///
/// A call counts at the time it was reserved. One that has not ended is not seen. What it was charged is what it
/// was charged in the end: a correction or a refund changes the sums of the day of the call.
///
/// Whoever asks says by the [`UsageScope`] whose calls it may see; nothing else is read.
///
/// # Errors
///
/// Sums are 64-bit integers. One that is larger is a failure and never another number.
///
/// ```
/// use llm_gate::identity::UserId;
/// use llm_gate::store::{CallFilter, CallQuery, MemoryStore, UsageScope, UsageStore};
///
/// # async fn doc() -> Result<(), llm_gate::store::StoreError> {
/// let store = MemoryStore::new();
/// let mine = UsageScope::User(UserId::new());
/// let page = store.calls(CallQuery::new(mine.clone(), 100)).await?;
/// assert!(page.calls.is_empty() && page.next.is_none());
/// assert_eq!(store.usage(mine, CallFilter::default()).await?.calls, 0);
/// # Ok(()) }
/// ```
pub trait UsageStore: Send + Sync + 'static {
    /// Lists calls, the newest first. Asked page by page with [`CallQuery::after`], each is listed once, and those
    /// that end in the meantime may be missing.
    fn calls(&self, query: CallQuery) -> StoreFuture<'_, CallPage>;

    /// Lists the conversations of a project by the last of the calls that are looked at, the newest first. Asked page by
    /// page with [`ConversationQuery::after`], each is listed once; those that are gone on with in the meantime move to
    /// the front, and may be missing.
    fn conversations(&self, query: ConversationQuery) -> StoreFuture<'_, ConversationPage>;

    /// Adds calls up; zeros where there are none.
    fn usage(&self, scope: UsageScope, filter: CallFilter) -> StoreFuture<'_, UsageSum>;

    /// Adds calls up by period and key: of each that has calls one row, in that order. `None` where there are
    /// more than [`UsageQuery::count`], or than can be added up at once: ask for less time.
    fn usage_by(&self, query: UsageQuery) -> StoreFuture<'_, Option<Vec<UsageRow>>>;

    /// Adds calls of everybody up by bucket and key: of each that has calls one row, in that order. `None` where there
    /// are more than [`BucketQuery::count`].
    fn usage_in_buckets(&self, query: BucketQuery) -> StoreFuture<'_, Option<Vec<BucketRow>>>;

    /// Adds up the calls of everybody. It reads all there are: ask seldom.
    fn statistics(&self) -> StoreFuture<'_, UsageStatistics>;
}
