use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::Letter;
use crate::config::Secret;

/// How long the relay may take for each of its answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// An SMTP relay (RFC 5321), and in whose name letters go out.
pub struct Relay {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// A letter that did not go out, or a relay that cannot be used. Says nothing of the letter's text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The address of the relay is none. It may hold a password, so it is not shown.
    #[error(
        "the address of the mail relay is not like smtps://user:password@host:465 or smtp://host:587?tls=required"
    )]
    Url,
    /// The relay is on another machine and the way there is not encrypted.
    #[error(
        "the mail relay is on another machine: its address must begin with smtps:// or end in ?tls=required"
    )]
    Unencrypted,
    /// The sender is no mailbox.
    #[error("the sender of mail is not like Name <name@example.org>")]
    From,
    /// The receiver is no mailbox.
    #[error("the receiver's address is none")]
    To,
    /// The letter cannot be written.
    #[error("the letter cannot be written")]
    Letter(#[source] lettre::error::Error),
    /// The relay was there and is gone again.
    #[error("the mail relay does not answer")]
    Silent,
    /// The relay did not take it, or did not let us in.
    #[error("the mail relay refused")]
    Refused(#[source] smtp::Error),
}

impl RelayError {
    /// Returns whether trying again may help.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Refused(error) if !error.is_permanent() && !error.is_client())
    }
}

impl Relay {
    /// Describes a relay by its URL: `smtps://` for TLS from the start, `smtp://…?tls=required` for STARTTLS, and plain
    /// `smtp://` on this machine only. User name and password stand before the host, percent-encoded.
    ///
    /// # Errors
    ///
    /// Fails where URL or sender are none, and where credentials and letters would go over a network unencrypted.
    pub fn new(url: &Secret, from: &str) -> Result<Self, RelayError> {
        let url = url.expose();
        if !is_encrypted(url) && !is_local(url) {
            return Err(RelayError::Unencrypted);
        }
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
        let builder = builder.map_err(|_| RelayError::Url)?;
        Ok(Self {
            transport: builder.timeout(Some(PATIENCE)).build(),
            from: from.parse().map_err(|_| RelayError::From)?,
        })
    }

    /// Connects to the relay and logs in there, and leaves again.
    ///
    /// # Errors
    ///
    /// Fails where the relay is away or does not let us in.
    pub async fn greet(&self) -> Result<(), RelayError> {
        match self.transport.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(RelayError::Silent),
            Err(error) => Err(RelayError::Refused(error)),
        }
    }

    /// Hands a letter to the relay.
    ///
    /// # Errors
    ///
    /// Fails where the relay is away or refuses, or the receiver's address is none.
    pub async fn send(&self, letter: &Letter) -> Result<(), RelayError> {
        let to: Address = letter.to().parse().map_err(|_| RelayError::To)?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject())
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text().to_owned())
            .map_err(RelayError::Letter)?;
        let sent = self.transport.send(message).await;
        sent.map(drop).map_err(RelayError::Refused)
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").finish_non_exhaustive()
    }
}

fn is_encrypted(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    url.starts_with("smtps://") || query.split('&').any(|part| part == "tls=required")
}

/// Returns whether the host is this machine, by name or address.
fn is_local(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost"
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(url: &str) -> Result<Relay, RelayError> {
        Relay::new(&url.into(), "llm-gate <gate@example.org>")
    }

    #[test]
    fn nothing_leaves_the_machine_unencrypted() {
        for url in [
            "smtp://127.0.0.1:1025",
            "smtp://localhost",
            "smtp://user:pass@[::1]:25",
            "smtps://user:p%40ss@mail.example.org",
            "smtp://mail.example.org:587?tls=required",
        ] {
            assert!(relay(url).is_ok(), "{url}");
        }
        for url in [
            "smtp://mail.example.org",
            "smtp://mail.example.org:587?tls=opportunistic",
            "smtp://127.0.0.1@mail.example.org",
            "smtp://127.0.0.1.example.org",
            "smtp://mail.example.org#?tls=none",
        ] {
            assert!(matches!(relay(url), Err(RelayError::Unencrypted)), "{url}");
        }
    }

    #[test]
    fn what_is_no_relay_is_refused_without_being_shown() {
        for url in ["", "localhost", "http://hunter2@localhost", "smtps://"] {
            let error = relay(url).expect_err(url);
            assert!(
                !format!("{error:?} {error}").contains("hunter2"),
                "{error:?}"
            );
        }
        let from = Relay::new(&"smtp://localhost".into(), "nobody");
        assert!(matches!(from, Err(RelayError::From)));
    }
}
