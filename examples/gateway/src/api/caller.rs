use axum::extract::FromRequestParts;
use http::request::Parts;
use llm_gate::address::{ClientAddress, Network};
use llm_gate::error::Rejection;
use llm_gate::identity::{Credential, Principal, Role};
use llm_gate::limit::{Endpoint, Exceeded};
use llm_gate::store::User;

use super::error::ApiError;
use crate::app::App;

/// A caller with any credential, looked up now: a disabled user is refused although its credential is
/// still good.
pub(crate) enum Anyone {
    /// Somebody with an account.
    Account { principal: Principal, user: User },
    /// The operator key, which has none.
    Operator,
}

/// A caller that has logged in. An API key manages nothing, and the operator has no account.
pub(crate) struct Session(pub(crate) User);

/// An admin that has logged in, or the operator.
pub(crate) struct Admin;

/// Where a request comes from.
pub(crate) struct Origin {
    pub(crate) network: Network,
    pub(crate) endpoint: Endpoint,
}

impl FromRequestParts<App> for Origin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        // Put there by the edge around all routes.
        let address = parts.extensions.get::<ClientAddress>();
        let address = address.ok_or_else(|| ApiError::defect(&"a request from nowhere"))?;
        Ok(Self {
            network: address.network(),
            endpoint: parts.extensions.get().cloned().unwrap_or_default(),
        })
    }
}

impl Origin {
    /// Makes the answer for somebody who has failed too often.
    pub(crate) fn refuse(&self, exceeded: &Exceeded, what: &str) -> ApiError {
        exceeded.refuse(what, &self.endpoint).into()
    }
}

impl FromRequestParts<App> for Anyone {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        const REFUSED: &str = "missing or invalid credentials";
        // Put there by the auth layer around these routes.
        let Some(principal) = parts.extensions.get::<Principal>().cloned() else {
            return Err(ApiError::unauthorized(REFUSED));
        };
        if !principal.has_account() {
            return Ok(Self::Operator);
        }
        match app.store.user(principal.user).await? {
            Some(user) if !user.disabled => Ok(Self::Account { principal, user }),
            _ => Err(ApiError::unauthorized(REFUSED)),
        }
    }
}

impl Anyone {
    fn session(self) -> Result<User, ApiError> {
        let Self::Account { principal, user } = self else {
            return Err(Rejection::account_required().into());
        };
        match principal.credential {
            Credential::Session => Ok(user),
            _ => Err(ApiError::forbidden(
                "this route needs a login, not an API key",
            )),
        }
    }
}

impl FromRequestParts<App> for Session {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Anyone::from_request_parts(parts, app).await?;
        caller.session().map(Self)
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let caller = Anyone::from_request_parts(parts, app).await?;
        if matches!(caller, Anyone::Operator) {
            return Ok(Self);
        }
        match caller.session()?.role {
            Role::Admin => Ok(Self),
            Role::User => Err(ApiError::forbidden("this route is for admins")),
        }
    }
}
