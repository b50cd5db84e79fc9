use crate::store::{
    BucketQuery, BucketRow, CallFilter, CallPage, CallQuery, ConversationPage, ConversationQuery,
    OutOfRange, StoreError, StoreErrorKind, StoreFuture, UsageQuery, UsageRow, UsageScope,
    UsageStatistics, UsageStore, UsageSum,
};

use super::{MemoryStore, ready};

impl UsageStore for MemoryStore {
    fn calls(&self, query: CallQuery) -> StoreFuture<'_, CallPage> {
        ready(self.books().map(|books| books.calls(&query)))
    }

    fn conversations(&self, query: ConversationQuery) -> StoreFuture<'_, ConversationPage> {
        let books = self.books();
        ready(books.and_then(|books| books.conversations(&query).map_err(other)))
    }

    fn usage(&self, scope: UsageScope, filter: CallFilter) -> StoreFuture<'_, UsageSum> {
        let books = self.books();
        ready(books.and_then(|books| books.usage(&scope, &filter).map_err(other)))
    }

    fn usage_by(&self, query: UsageQuery) -> StoreFuture<'_, Option<Vec<UsageRow>>> {
        let books = self.books();
        ready(books.and_then(|books| books.usage_by(&query).map_err(other)))
    }

    fn usage_in_buckets(&self, query: BucketQuery) -> StoreFuture<'_, Option<Vec<BucketRow>>> {
        let books = self.books();
        ready(books.and_then(|books| books.usage_in_buckets(&query).map_err(other)))
    }

    fn statistics(&self) -> StoreFuture<'_, UsageStatistics> {
        let books = self.books();
        ready(books.and_then(|books| books.statistics().map_err(other)))
    }
}

fn other(error: OutOfRange) -> StoreError {
    StoreError::with_source(StoreErrorKind::Other, error)
}
