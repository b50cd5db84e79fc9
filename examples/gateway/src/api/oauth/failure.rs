use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use llm_gate::error::Rejection;
use llm_gate::identity::UserId;
use llm_gate::store::StoreError;

use crate::api::error::ApiError;
use crate::oauth::{Fault, OAuthError};

/// When to come back after a provider could not be asked.
const RETRY: Duration = Duration::from_secs(5);

/// Why a login with another provider came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// The browser has begun none.
    NoCookie,
    /// The browser has begun another one.
    NotBegun,
    /// It was begun too long ago.
    TooOld,
    /// It has entered or linked already.
    Used,
    /// Somebody changed their mind, at the provider.
    GivenUp,
    /// The provider has not said who it is.
    Provider(OAuthError),
    /// The provider knows no address that is theirs for certain.
    NoEmail,
    /// Somebody has an account with the address, and nobody knows whether it is theirs.
    Unconfirmed(UserId),
    /// There is no account, and none is made.
    Closed,
    /// The account may do nothing any more, or is gone.
    Disabled(UserId),
    /// The identity is another account's.
    Taken,
    /// The account has as many as may be.
    Full,
    /// Nobody can tell.
    Other(ApiError),
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        Self::Provider(error)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Other(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Other(error.into())
    }
}

impl Failure {
    /// Reads why a provider sends somebody back with nothing (RFC 6749, section 4.1.2.1).
    pub(super) fn given_up(word: &str) -> Self {
        match word {
            "temporarily_unavailable" | "server_error" => Self::Provider(OAuthError::Slow),
            "access_denied"
            | "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required" => Self::GivenUp,
            _ => Self::Provider(OAuthError::Client),
        }
    }

    /// Returns one word for the page that a browser ends on.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::NoCookie | Self::NotBegun | Self::TooOld | Self::Used => "expired",
            Self::GivenUp => "denied",
            Self::Provider(_) | Self::Other(_) => "failed",
            Self::NoEmail => "no_email",
            Self::Unconfirmed(_) => "unconfirmed",
            Self::Closed => "closed",
            Self::Disabled(_) => "refused",
            Self::Taken => "taken",
            Self::Full => "full",
        }
    }

    /// Returns one word for metrics, one of those of the auth layer.
    fn reason(&self) -> &'static str {
        match self {
            Self::NoCookie => "missing",
            Self::TooOld => "expired",
            Self::Disabled(_) => "revoked",
            Self::Provider(error) => error.reason(),
            Self::Other(_) => "unavailable",
            _ => "invalid",
        }
    }

    /// Whether it may be that somebody tries what they can make up.
    pub(super) fn is_a_guess(&self) -> bool {
        match self {
            Self::NoCookie | Self::NotBegun | Self::TooOld | Self::Used => true,
            Self::Provider(error) => error.fault() == Fault::Caller,
            _ => false,
        }
    }

    /// Returns whom an event of it is about, where there is to be one: `Some(None)` if nobody knows.
    pub(super) fn concerns(&self) -> Option<Option<UserId>> {
        match self {
            Self::Disabled(user) | Self::Unconfirmed(user) => Some(Some(*user)),
            Self::Used => Some(None),
            Self::Provider(error) => (error.fault() == Fault::Caller).then_some(None),
            _ => None,
        }
    }

    /// Writes it into log and metrics.
    pub(super) fn log(&self, provider: &str) {
        let reason = self.reason();
        metrics::counter!("auth_failure_total", "reason" => reason).increment(1);
        count(provider, self.word());
        match self {
            Self::Provider(error) if error.fault() == Fault::Caller => {
                tracing::info!(provider, error = error as &dyn Error, "login refused");
            }
            Self::Provider(error) => {
                let error = error as &dyn Error;
                tracing::warn!(provider, error, "a provider has not said who logs in");
            }
            other => tracing::info!(provider, reason, word = other.word(), "login refused"),
        }
    }
}

/// Counts a login that has led somewhere.
pub(super) fn succeeded(provider: &str) {
    metrics::counter!("auth_success_total").increment(1);
    count(provider, "ok");
}

fn count(provider: &str, result: &'static str) {
    let provider = provider.to_owned();
    metrics::counter!("llm_gate_provider_logins_total", "provider" => provider, "result" => result)
        .increment(1);
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoCookie | Failure::NotBegun => {
                Self::forbidden("this browser has not begun this login: begin again")
            }
            Failure::TooOld => Self::forbidden("this login was begun too long ago: begin again"),
            Failure::Used => Self::forbidden("this login is over: begin again"),
            Failure::GivenUp => Self::forbidden("the login was given up at the provider"),
            Failure::Provider(error) => match error.fault() {
                Fault::Caller => {
                    Self::unauthorized("the provider does not say who this is: begin again")
                }
                Fault::Passing => {
                    Rejection::unavailable("the provider cannot be asked now", RETRY).into()
                }
                Fault::Lasting => Self::new(
                    StatusCode::BAD_GATEWAY,
                    "the provider says nothing that can be used",
                ),
            },
            Failure::NoEmail => Self::forbidden(
                "the provider knows no confirmed e-mail address of yours, and nobody here is known by this login",
            ),
            Failure::Unconfirmed(_) => Self::new(
                StatusCode::CONFLICT,
                "an account here has your e-mail address, which nobody has confirmed: log in there and confirm it by \
                 mail, or set a new password by mail, which does the same, and begin again",
            ),
            Failure::Closed => {
                Self::forbidden("registration is closed, and nobody here is known by this login")
            }
            Failure::Disabled(_) => Self::unauthorized("this login is not accepted"),
            Failure::Taken => Self::new(
                StatusCode::CONFLICT,
                "this login is linked to another account",
            ),
            Failure::Full => Self::new(
                StatusCode::CONFLICT,
                "the account is linked to as many logins as may be",
            ),
            Failure::Other(error) => error,
        }
    }
}
