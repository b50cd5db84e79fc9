use http::StatusCode;
use llm_gate::auth::AuthError;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a provider has not said who somebody is. For the log: nobody else is told more than whether to try again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OAuthError {
    /// It takes too long.
    #[error("the provider does not answer in time")]
    Slow,
    /// There is no connection.
    #[error("the provider cannot be reached")]
    Unreachable(#[source] BoxError),
    /// It could not be reached a moment ago, and is not asked again yet.
    #[error("the provider could not be asked a moment ago")]
    Paused,
    /// It answers with a status that is none of an answer. A redirect too: where it leads was not agreed on.
    #[error("the provider answered {0}")]
    Status(StatusCode),
    /// Its answer has no end within bounds.
    #[error("the provider's answer broke off or is too long")]
    Unread(#[source] BoxError),
    /// Its answer is not one of the protocol.
    #[error("the provider's answer cannot be used: {0}")]
    Useless(&'static str),
    /// It knows us by other words than those of the settings.
    #[error("the provider does not take our client_id, client_secret or callback URL")]
    Client,
    /// It does not know the code, or not from us, or not any more.
    #[error("the provider does not know the code")]
    Code,
    /// Somebody else says that the browser comes from there.
    #[error("the answer is of another issuer")]
    Issuer,
    /// The ID token proves nothing.
    #[error("the ID token proves nothing")]
    Token(#[source] AuthError),
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Of whoever brings it: it proves nothing.
    Caller,
    /// Of the provider, and it may pass.
    Passing,
    /// Of the provider, or of our settings.
    Lasting,
}

impl OAuthError {
    /// Returns whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Slow
            | Self::Unreachable(_)
            | Self::Paused
            | Self::Token(AuthError::Unavailable(_)) => Fault::Passing,
            Self::Status(status)
                if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS =>
            {
                Fault::Passing
            }
            Self::Status(_) | Self::Unread(_) | Self::Useless(_) | Self::Client => Fault::Lasting,
            Self::Code | Self::Issuer | Self::Token(_) => Fault::Caller,
        }
    }

    /// Returns one word for metrics, one of those of [`AuthError::reason`].
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Token(error) => error.reason(),
            _ if self.fault() == Fault::Caller => "invalid",
            _ => "unavailable",
        }
    }
}
