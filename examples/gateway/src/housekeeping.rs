//! What is forgotten in time: sessions and mailed links that ended long ago.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use llm_gate::clock::{Clock, Timestamp};
use llm_gate::store::Store;

/// How often it is done.
const EVERY: Duration = Duration::from_secs(3600);
/// How long ended sessions stay, so that a stolen token that comes back late is still recognised.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many parts are forgotten in a row.
const PARTS: usize = 100;

/// Forgets what ended long ago, now and every hour. Several gateways on one database may all do it.
///
/// # Cancel safety
///
/// Dropping it ends it between two parts, each of which is one transaction.
pub async fn tidy(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    loop {
        for _ in 0..PARTS {
            let before = clock
                .now()
                .as_micros()
                .saturating_sub_unsigned(u64::try_from(KEPT.as_micros()).unwrap_or(u64::MAX));
            match store.prune(Timestamp::from_micros(before)).await {
                Ok(0) => break,
                Ok(forgotten) => {
                    tracing::debug!(forgotten, "ended sessions and links are forgotten")
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn Error, "nothing could be forgotten");
                    break;
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}
