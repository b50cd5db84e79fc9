//! Opens the books: the database, the journal beside it, and the ledger over both.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use llm_gate::clock::Clock;
use llm_gate::ledger::Ledger;
use llm_gate::ledger::journal::{Adoption, BootId, Journal, JournalError, Options};
use llm_gate::store::Store;

use crate::config::{Config, Database};
use crate::error::StartError;

/// How much later than the upstream's total timeout the ledger ends a request: whoever polls its body ends it
/// at that, and knows better how.
const GRACE: Duration = Duration::from_secs(60);

/// Starts the ledger over `store`, and settles what a gateway that was killed left behind, before the
/// first request is let in. `durable` says whether the store outlives the process, so that a journal is of
/// use.
///
/// # Errors
///
/// Fails when the journal cannot be made or the store cannot be written.
pub async fn open(
    config: &Config,
    store: Arc<dyn Store>,
    durable: bool,
    clock: Arc<dyn Clock>,
) -> Result<Ledger, StartError> {
    let total = Duration::from_secs(config.upstream.total_timeout_seconds);
    let builder = Ledger::builder()
        .clock(clock)
        .deadline(total.saturating_add(GRACE));
    if !durable || matches!(config.database()?, Database::Memory) {
        // Nobody else has these books, so there is nobody to tell.
        return Ok(builder.spawn(store as _));
    }
    let folder = config.data_dir.join("journal");
    // Both wait for the disk.
    let opened = tokio::task::spawn_blocking(move || journal(folder)).await;
    let (journal, adoption) = opened.map_err(|gone| JournalError::Io(gone.into()))??;
    let ledger = builder.journal(journal).spawn(store as _);
    let recovery = ledger
        .recover(adoption)
        .await
        .map_err(StartError::Recovery)?;
    if recovery != llm_gate::ledger::Recovery::default() {
        tracing::warn!(
            settled = recovery.settled,
            presumed = recovery.presumed,
            unreadable = recovery.unreadable,
            foreign = recovery.foreign,
            "the gateway was killed while requests were under way; they are settled now"
        );
    }
    let leases = config.ledger.leases();
    ledger.enlist(leases).await.map_err(StartError::Recovery)?;
    Ok(ledger)
}

fn journal(folder: PathBuf) -> Result<(Journal, Adoption), JournalError> {
    let adoption = Journal::adopt(&folder, BootId::current())?;
    Ok((Journal::open(&folder, Options::new())?, adoption))
}
