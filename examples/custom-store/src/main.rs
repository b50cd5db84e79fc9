//! Keeps books in a log file, closes it in the middle of a request, opens it again and settles.
//!
//! ```text
//! cargo run -p llm-gate-custom-store
//! ```

use std::sync::Arc;

use llm_gate::identity::{ProjectId, RequestId, Subject, UserId};
use llm_gate::ledger::{Charge, Ledger, Request};
use llm_gate::store::{CallInfo, Ending, LedgerStore};
use llm_gate::tokens::{Tokens, Usage};
use llm_gate_custom_store::LogStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("books.jsonl");
    let user = UserId::new();
    {
        let store = LogStore::open(&path)?;
        store
            .set_limit(Subject::User(user), Some(Tokens::new(100)))
            .await?;
        let ledger = Ledger::spawn(Arc::new(store));
        let request = Request {
            id: RequestId::new(),
            subjects: vec![Subject::User(user)],
            hold: Tokens::new(60).into(),
            least: Tokens::new(60),
            call: CallInfo::new(user, ProjectId::new(), "chat", "tiny"),
        };
        let reservation = ledger.reserve(request).await?;
        let usage = Usage {
            prompt: 11,
            completion: 17,
            ..Usage::default()
        };
        reservation.settle(Charge::upstream(usage, Ending::Complete, 200));
        ledger.drain().await;
    }
    let lines = std::fs::read_to_string(&path)?;
    print!("{lines}");
    // The lock on the file goes with the last handle, which the writer lets go of when it ends.
    let store = loop {
        match LogStore::open(&path) {
            Ok(store) => break store,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let standing = store.standing(Subject::User(user)).await?;
    println!(
        "opened again: {} of 100 used, {} held",
        standing.used, standing.reserved
    );
    assert_eq!(
        (standing.used.get(), standing.reserved.get()),
        (28, 0),
        "the log has it all"
    );
    Ok(())
}
