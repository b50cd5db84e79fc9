use clap::Subcommand;
use llm_gate::identity::RequestId;
use llm_gate::store::{Author, Store};

use super::super::error::{CommandError, say};
use crate::api::moment;
use crate::presumed::{Refunded, refund};

/// How many are read at once.
const PAGE: u32 = 100;

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Command {
    /// List them, the oldest first
    List,
    /// Take one back, for good
    Refund {
        /// The reservation, from the list
        id: RequestId,
    },
}

pub(super) async fn run(store: &dyn Store, command: Command) -> Result<(), CommandError> {
    match command {
        Command::List => list(store).await,
        Command::Refund { id } => match refund(store, id, Author::now()).await? {
            Refunded::Done(_) => say!("refunded {id}"),
            Refunded::NotPresumed(call) => {
                let state = call.state.as_str();
                let words = format!("{id} is {state} and not presumed");
                Err(CommandError::failed(words))
            }
            Refunded::Unknown => Err(CommandError::failed(format!("no reservation is {id}"))),
        },
    }
}

async fn list(store: &dyn Store) -> Result<(), CommandError> {
    say!("ID\tRESERVED\tUSER\tMODEL\tCHARGED\tCOST")?;
    let mut after = None;
    loop {
        let calls = store.presumed(after, PAGE).await?;
        for call in &calls {
            let reserved = moment(call.created_at).map_or_else(String::new, |at| at.to_string());
            let settlement = call.state.settlement();
            say!(
                "{}\t{reserved}\t{}\t{:?}\t{}\t{}",
                call.id,
                call.user,
                call.model,
                settlement.charged,
                settlement.cost
            )?;
        }
        match calls.last() {
            Some(last) if calls.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}
