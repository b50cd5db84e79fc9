use clap::Subcommand;
use llm_gate::store::Totals;

use super::error::CommandError;
use super::user;
use crate::config::Loaded;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add up the books both ways; exit code 1 if they do not agree
    Verify,
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let Command::Verify = command;
    let store = user::open(&loaded.config).await?;
    let totals = store.totals().await?;
    for (what, ledger, counters) in lines(&totals) {
        println!("{what:<10} {ledger:>16} {counters:>16}");
    }
    println!(
        "requests   {:>16} settled, {} under way",
        totals.settled, totals.pending
    );
    if totals.balance() {
        println!("ledger and counters agree");
        Ok(())
    } else {
        Err(CommandError::failed("ledger and counters do not agree"))
    }
}

/// What is compared: from the rows of requests and charges, and as the counters have it.
fn lines(totals: &Totals) -> [(&'static str, String, String); 4] {
    let row = |what, rows: u64, counters: u64| (what, rows.to_string(), counters.to_string());
    [
        ("tokens", "by rows".to_owned(), "by counters".to_owned()),
        row("used", totals.ledger_charges, totals.counters_used),
        row("overage", totals.ledger_overages, totals.counters_overage),
        row("held", totals.pending_holds, totals.counters_reserved),
    ]
}
