use tower_layer::Layer;

use super::{AnyVerifier, ApiKeyVerifier, AuthService, JwtVerifier};
use crate::error::Envelope;

/// Lets only those through whom its authenticator recognises, and tells the services behind it who
/// they are.
///
/// The [`Principal`](crate::identity::Principal) is put into the request's extensions. Nothing is taken
/// from the request; its credentials are marked
/// [sensitive](http::HeaderValue::is_sensitive). What is refused is answered here and never reaches the
/// inner service. See the [module](super) for an example.
#[derive(Clone, Debug)]
pub struct AuthLayer<A> {
    authenticator: A,
    policy: Policy,
}

/// What the layer decides itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub(super) envelope: Envelope,
    pub(super) operators: bool,
}

/// Accepts JSON web tokens.
pub type JwtAuthLayer = AuthLayer<JwtVerifier>;

/// Accepts API keys.
pub type ApiKeyAuthLayer = AuthLayer<ApiKeyVerifier>;

/// Accepts both, told apart by their form.
pub type AnyAuthLayer = AuthLayer<AnyVerifier>;

impl<A> AuthLayer<A> {
    /// Asks `authenticator` about every request.
    #[must_use]
    pub const fn new(authenticator: A) -> Self {
        Self {
            authenticator,
            policy: Policy {
                envelope: Envelope::OpenAi,
                operators: false,
            },
        }
    }

    /// Sets the JSON form of refusals. [`Envelope::OpenAi`] unless set.
    #[must_use]
    pub const fn envelope(mut self, envelope: Envelope) -> Self {
        self.policy.envelope = envelope;
        self
    }

    /// Sets whether the operator key is let through, for services that need no account. It is answered 403
    /// unless set: there is nobody to charge a call to.
    #[must_use]
    pub const fn operators(mut self, operators: bool) -> Self {
        self.policy.operators = operators;
        self
    }
}

impl<S, A: Clone> Layer<S> for AuthLayer<A> {
    type Service = AuthService<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthService::new(inner, self.authenticator.clone(), self.policy)
    }
}
