//! The file below a journal: its names, its lock, and how it comes into being.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::error::JournalError;
use super::header::{HEADER_BYTES, Header};
use super::record::{SLOT_BYTES, encode_free};

const PREFIX: &str = "journal-";
const FINISHED: &str = "slots";
const UNFINISHED: &str = "new";
/// The extension of what was set aside.
pub(super) const ASIDE: &str = "aside";
/// How often a file is made anew that another process tidied away before it was locked.
const ATTEMPTS: usize = 8;

/// The sequence of the last record in every slot of a new file.
pub(super) const FIRST_SEQUENCE: u8 = 1;

/// What slots are written to. A test puts a failing one in place of the file.
pub(super) trait Medium: Send + Sync + 'static {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
}

impl Medium for File {
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }
}

/// Makes a locked file with every slot free. It has its name only when it is whole and on the disk.
pub(super) fn create(folder: &Path, header: &Header) -> Result<(File, PathBuf), JournalError> {
    fs::create_dir_all(folder)?;
    let mut attempt = 1;
    loop {
        let unfinished = folder
            .join(format!("{PREFIX}{}", Uuid::new_v4()))
            .with_extension(UNFINISHED);
        match fill(&unfinished, header) {
            Ok(file) => {
                let path = unfinished.with_extension(FINISHED);
                match fs::rename(&unfinished, &path) {
                    Ok(()) => {
                        File::open(folder)?.sync_all()?;
                        return Ok((file, path));
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(JournalError::Locked) if attempt < ATTEMPTS => {}
            Err(error) => {
                let _ = remove(&unfinished);
                return Err(error);
            }
        }
        attempt += 1;
    }
}

fn fill(path: &Path, header: &Header) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    lock(&file)?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + header.slots as usize * SLOT_BYTES);
    bytes.extend_from_slice(&header.encode());
    for _ in 0..header.slots {
        bytes.extend_from_slice(&encode_free(FIRST_SEQUENCE));
    }
    FileExt::write_all_at(&file, &bytes, 0)?;
    // Written out once, so that every block is there and no later write can find the disk full.
    file.sync_all()?;
    Ok(file)
}

/// Locks the file until it is closed, by this process or by the kernel when the process dies.
pub(super) fn lock(file: &File) -> Result<(), JournalError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => JournalError::Locked,
        TryLockError::Error(error) => JournalError::Io(error),
    })
}

/// Returns whether a file is called like a journal, finished or not.
pub(super) fn is_named(path: &Path) -> bool {
    let ours = path
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with(PREFIX));
    ours && path
        .extension()
        .is_some_and(|extension| extension == FINISHED || extension == UNFINISHED)
}

/// Returns whether a journal never came to be whole. Nothing was ever recorded in it.
pub(super) fn is_unfinished(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == UNFINISHED)
}

/// Deletes an unfinished journal whose maker is dead. What cannot be deleted is tried again next time.
pub(super) fn remove_unlocked(path: &Path) {
    if let Ok(file) = File::open(path)
        && lock(&file).is_ok()
    {
        let _ = remove(path);
    }
}

/// Deletes a file. One that is gone already is deleted.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
