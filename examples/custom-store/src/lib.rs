//! A store of your own: the books as a log of operations in a file.
//!
//! What an operation does is decided by [`llm_gate::store::rules`], for this store as for the shipped
//! ones, and [`MemoryBooks`] are the maps they move; a store only has to keep it. [`LogStore`] appends each operation as a line of JSON, syncs the
//! file, and then applies it to maps in memory. Opening the file applies all of it again. The same
//! operations in the same order always give the same books, so nothing else needs to be written.
//!
//! It passes the conformance suite (`tests/conformance.rs`), which is all there is to being a store.
#![deny(missing_docs)]

mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{RequestId, Subject};
use llm_gate::store::{
    Author, LedgerStore, Limit, LimitChange, MemoryBooks, Operation, Outcome, OwnerId, Price,
    Standing, StoreError, StoreErrorKind, StoreFuture, Totals, UsageReset,
};

use line::Line;

/// The books in a log file.
///
/// One process at a time: the file is locked while it is open.
#[derive(Clone, Debug)]
pub struct LogStore(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    file: File,
    /// How much of the file is whole lines that were applied.
    length: u64,
    books: MemoryBooks,
}

impl LogStore {
    /// Opens or creates the log at `path` and applies what is in it. Half a line at its end, left by a
    /// crash in the middle of writing, was never acknowledged and is cut off.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be opened or is locked, or if a line in it cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        file.try_lock().map_err(io::Error::other)?;
        let mut books = MemoryBooks::default();
        let mut length = 0;
        let mut reader = BufReader::new(&file);
        let mut text = String::new();
        while reader.read_line(&mut text)? > 0 && text.ends_with('\n') {
            let line: Line = serde_json::from_str(&text)?;
            line.apply(&mut books);
            length += text.len() as u64;
            text.clear();
        }
        file.set_len(length)?;
        Ok(Self(Arc::new(Mutex::new(Inner {
            file,
            length,
            books,
        }))))
    }

    /// Runs `work` where it may block.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> io::Result<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let inner = self.0.clone();
        // Not cancelled when the future is dropped: a transaction happens as a whole.
        let task = tokio::task::spawn_blocking(move || match inner.lock() {
            Ok(mut inner) => work(&mut inner),
            Err(_) => Err(io::Error::other(
                "a thread panicked while it held the books",
            )),
        });
        Box::pin(async move {
            let done = task
                .await
                .unwrap_or_else(|gone| Err(io::Error::other(gone)));
            done.map_err(|error| StoreError::with_source(StoreErrorKind::Unavailable, error))
        })
    }
}

impl Inner {
    /// Writes lines and syncs the file, all or nothing.
    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        // What a failed attempt before this one may have left.
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        self.length += text.len() as u64;
        Ok(())
    }
}

impl LedgerStore for LogStore {
    fn apply(&self, batch: Vec<Operation>) -> StoreFuture<'_, Vec<Outcome>> {
        self.blocking(move |inner| {
            let lines: Vec<Line> = batch.iter().cloned().map(Line::Operation).collect();
            inner.append(&lines)?;
            let books = &mut inner.books;
            Ok(batch
                .iter()
                .map(|operation| books.apply(operation))
                .collect())
        })
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        self.blocking(move |inner| Ok(inner.books.standing(subject)))
    }

    fn standings(
        &self,
        subject: Subject,
        at: Timestamp,
    ) -> StoreFuture<'_, Vec<(Limit, Standing)>> {
        self.blocking(move |inner| Ok(inner.books.standings(subject, at)))
    }

    fn change_limits(&self, changes: Vec<LimitChange>) -> StoreFuture<'_, Option<Vec<Standing>>> {
        let changed = self.blocking(move |inner| {
            if inner.books.are_too_many(&changes) {
                return Ok(None);
            }
            // One line, so that half of it never counts. One that changes nothing does no harm in the log.
            inner.append(&[Line::Limits(changes.clone())])?;
            Ok(Some(inner.books.change_limits(&changes)))
        });
        Box::pin(async move {
            let full = || {
                let why = "there are as many limits as there may be";
                StoreError::with_source(StoreErrorKind::Conflict, why)
            };
            changed.await?.ok_or_else(full)
        })
    }

    fn reset_usage(&self, reset: UsageReset) -> StoreFuture<'_, Standing> {
        self.blocking(move |inner| {
            let (subject, at) = (reset.subject, reset.author.at);
            inner.append(&[Line::Reset(subject, at)])?;
            inner.books.reset_usage(subject, at);
            Ok(inner.books.standing(subject))
        })
    }

    fn limits(&self, subject: Option<Subject>) -> StoreFuture<'_, Vec<Limit>> {
        self.blocking(move |inner| Ok(inner.books.limits_of(subject)))
    }

    fn set_price(&self, price: Price, _author: Author) -> StoreFuture<'_, Price> {
        self.blocking(move |inner| {
            inner.append(&[Line::Price(price.clone())])?;
            Ok(inner.books.set_price(price))
        })
    }

    fn prices(&self) -> StoreFuture<'_, Vec<Price>> {
        self.blocking(|inner| Ok(inner.books.prices()))
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.blocking(|inner| Ok(inner.books.totals()))
    }

    fn enlist(&self, at: Timestamp, lease: Duration) -> StoreFuture<'_, OwnerId> {
        self.blocking(move |inner| {
            inner.append(&[Line::Enlist(at, lease)])?;
            Ok(inner.books.enlist(at, lease))
        })
    }

    fn renew(&self, owner: OwnerId, at: Timestamp, lease: Duration) -> StoreFuture<'_, bool> {
        self.blocking(move |inner| {
            inner.append(&[Line::Renew(owner, at, lease)])?;
            Ok(inner.books.renew(owner, at, lease))
        })
    }

    fn orphans(
        &self,
        at: Timestamp,
        grace: Duration,
        count: usize,
    ) -> StoreFuture<'_, Vec<RequestId>> {
        self.blocking(move |inner| {
            inner.append(&[Line::GiveUp(at, grace)])?;
            Ok(inner.books.orphans(at, grace, count))
        })
    }
}
