//! Mail to users, through a relay that speaks SMTP. Off where none is configured.
//!
//! Whoever asks for a letter does not wait for it: an answer that took longer for an address that is known would
//! tell who has an account. So letters go through a bounded queue, and one task sends them one after another.
//! A letter that is lost with the process is asked for again by its user.
//!
//! ```
//! use llm_gate_gateway::mail::Letter;
//!
//! let letter = Letter::reset_password("https://gate.example", "ada@example.org", "SECRET");
//! assert!(letter.text().contains("https://gate.example/reset-password?token=SECRET"));
//! assert!(!format!("{letter:?}").contains("SECRET"));
//! ```

mod letter;
mod relay;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

pub use self::letter::{Letter, reset_link};
pub use self::relay::{Relay, RelayError};

/// How many letters may wait to be sent. More are refused.
const QUEUE: usize = 256;
/// How often a letter is tried.
const ATTEMPTS: u32 = 4;
/// The pause before the second time unless told otherwise.
const PAUSE: Duration = Duration::from_secs(2);

/// Takes letters to be sent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    queue: mpsc::Sender<Letter>,
    web_url: Arc<str>,
}

impl Mailer {
    /// Starts the task that sends letters until the last clone of the mailer is gone. `web_url` is the address that
    /// links in them lead to.
    #[must_use]
    pub fn start(relay: Relay, web_url: &str) -> (Self, JoinHandle<()>) {
        Self::start_with(relay, web_url, PAUSE)
    }

    /// Does the same, with another pause before a letter is tried again. It doubles each time.
    #[must_use]
    pub fn start_with(relay: Relay, web_url: &str, pause: Duration) -> (Self, JoinHandle<()>) {
        let (queue, letters) = mpsc::channel(QUEUE);
        let task = tokio::spawn(send(relay, letters, pause));
        let web_url = web_url.trim_end_matches('/').into();
        (Self { queue, web_url }, task)
    }

    /// Returns the address that links lead to.
    #[must_use]
    pub fn web_url(&self) -> &str {
        &self.web_url
    }

    /// Queues a letter. Where the queue is full it is given up, which the log says.
    pub fn post(&self, letter: Letter) {
        if self.queue.try_send(letter).is_err() {
            tracing::error!("a letter was given up: too many are waiting to be sent");
            metrics::counter!("llm_gate_mails_total", "result" => "refused").increment(1);
        }
    }
}

/// Waits until what is queued is sent or given up, no longer than `patience`; returns whether it was. All clones of the
/// mailer must be gone.
pub async fn drain(task: JoinHandle<()>, patience: Duration) -> bool {
    let done = timeout(patience, task).await.is_ok();
    if !done {
        tracing::warn!("letters are left unsent");
    }
    done
}

async fn send(relay: Relay, mut letters: mpsc::Receiver<Letter>, pause: Duration) {
    while let Some(letter) = letters.recv().await {
        let sent = deliver(&relay, &letter, pause).await;
        let result = if sent { "sent" } else { "failed" };
        metrics::counter!("llm_gate_mails_total", "result" => result).increment(1);
    }
}

/// Tries to send a letter, again where the relay says that it is worth it.
async fn deliver(relay: &Relay, letter: &Letter, mut pause: Duration) -> bool {
    for attempt in 1..=ATTEMPTS {
        match relay.send(letter).await {
            Ok(()) => return true,
            Err(error) => {
                let again = error.passes() && attempt < ATTEMPTS;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    subject = letter.subject(),
                    again,
                    "a letter was not sent"
                );
                if !again {
                    return false;
                }
            }
        }
        sleep(pause).await;
        pause *= 2;
    }
    false
}
