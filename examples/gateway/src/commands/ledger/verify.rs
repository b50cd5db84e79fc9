use llm_gate::clock::{Clock, SystemClock};
use llm_gate::store::{Check, Verification};

use super::super::error::{CommandError, say};
use crate::config::Config;

pub(super) async fn run(config: &Config) -> Result<(), CommandError> {
    let verification = read(config).await.map_err(CommandError::unreadable)?;
    let Verification {
        counters,
        lines,
        writers,
        reservations,
        pending,
        ..
    } = verification;
    say!("counters      {counters:>12}")?;
    say!("ledger rows   {lines:>12} by {writers} writers")?;
    say!("reservations  {reservations:>12}, {pending} of them under way")?;
    if verification.is_clean() {
        say!("ledger and counters agree")?;
        return Ok(());
    }
    for finding in &verification.findings {
        say!("{finding}")?;
    }
    if verification.more > 0 {
        say!("more: {} findings that are not shown", verification.more)?;
    }
    let found = verification.found();
    let words = format!("the books do not agree, findings: {found}");
    Err(CommandError::failed(words))
}

async fn read(config: &Config) -> Result<Verification, CommandError> {
    let store = super::open(config).await?;
    Ok(store.verify(Check::new(SystemClock.now())).await?)
}
