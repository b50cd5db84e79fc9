//! A store of your own: the books as a log of operations in a file.
//!
//! What an operation does is decided by [`llm_gate::store::rules`], for this store as for the shipped
//! ones; a store only has to keep it. [`LogStore`] appends each operation as a line of JSON, syncs the
//! file, and then applies it to maps in memory. Opening the file applies all of it again. The same
//! operations in the same order always give the same books, so nothing else needs to be written.
//!
//! It passes the conformance suite (`tests/conformance.rs`), which is all there is to being a store.
#![deny(missing_docs)]

mod books;
mod line;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use llm_gate::identity::Subject;
use llm_gate::store::{
    LedgerStore, Operation, Outcome, Standing, StoreError, StoreErrorKind, StoreFuture, Totals,
};
use llm_gate::tokens::Tokens;

use books::Books;
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
    books: Books,
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
        let mut books = Books::default();
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
            let lines: Vec<Line> = batch.iter().filter_map(Line::of).collect();
            inner.append(&lines)?;
            Ok(batch
                .iter()
                .map(|operation| inner.books.apply(operation))
                .collect())
        })
    }

    fn standing(&self, subject: Subject) -> StoreFuture<'_, Standing> {
        self.blocking(move |inner| Ok(inner.books.standing(subject)))
    }

    fn set_limit(&self, subject: Subject, limit: Option<Tokens>) -> StoreFuture<'_, Standing> {
        self.blocking(move |inner| {
            inner.append(&[Line::limit(subject, limit)])?;
            Ok(inner.books.set_limit(subject, limit))
        })
    }

    fn lower_limit(&self, subject: Subject, limit: Tokens) -> StoreFuture<'_, Option<Standing>> {
        self.blocking(move |inner| {
            if inner
                .books
                .standing(subject)
                .limit
                .is_some_and(|now| limit > now)
            {
                return Ok(None);
            }
            inner.append(&[Line::limit(subject, Some(limit))])?;
            Ok(Some(inner.books.set_limit(subject, Some(limit))))
        })
    }

    fn totals(&self) -> StoreFuture<'_, Totals> {
        self.blocking(|inner| Ok(inner.books.totals()))
    }
}
