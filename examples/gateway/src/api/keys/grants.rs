//! What a key may do, and who may give it that.

use std::borrow::Cow;
use std::sync::Arc;

use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, Network, Principal, Scope, Subject, UserId};
use llm_gate::store::{KeyName, UserKind};

use super::NO_KEY;
use crate::api::caller::{Account, key_of};
use crate::api::error::ApiError;
use crate::api::fields::{FLAG, Fields, List, MODEL, Text, Word};
use crate::api::words::SCOPE;
use crate::app::App;

/// A range of addresses.
const NETWORK: Text<Network> = Text::new(|text| {
    text.parse()
        .map_err(|_| Cow::Borrowed("must be an address or a network such as 192.0.2.0/24"))
});

/// What a key may be used for, as it is asked for.
const SCOPES: List<'static, Word<Scope>> = List::new(&SCOPE, 1, 8);

/// What a key may do, as it is asked for.
pub(super) struct Grants {
    scopes: Option<Vec<Scope>>,
    models: Option<Option<Vec<String>>>,
    networks: Option<Option<Vec<Network>>>,
    clamps: Option<bool>,
}

impl Grants {
    pub(super) fn read(fields: &mut Fields) -> Self {
        Self {
            scopes: fields.optional(
                "scopes",
                "What it may be used for; calls of models and their list unless given",
                &SCOPES,
            ),
            models: fields.changed(
                "models",
                "The models it may call, by the names clients use; null for all",
                &List::new(&MODEL, 1, 100),
            ),
            networks: fields.changed(
                "networks",
                "The addresses and networks it may be used from; null for any",
                &List::new(&NETWORK, 1, 100),
            ),
            clamps: fields.optional(
                "clamps",
                "Whether a call that does not fit is cut down to what is left",
                &FLAG,
            ),
        }
    }

    /// Returns whether nothing was asked for.
    pub(super) const fn is_empty(&self) -> bool {
        self.scopes.is_none()
            && self.models.is_none()
            && self.networks.is_none()
            && self.clamps.is_none()
    }

    /// Puts them over what holds so far.
    pub(super) fn over(self, mut grants: KeyGrants) -> KeyGrants {
        if let Some(scopes) = self.scopes {
            grants.scopes = each_once(scopes);
        }
        if let Some(models) = self.models {
            grants.models = models;
        }
        if let Some(networks) = self.networks {
            grants.networks = networks;
        }
        grants.clamps = self.clamps.unwrap_or(grants.clamps);
        grants
    }
}

/// Puts scopes in order, each once.
pub(in crate::api) fn each_once(mut scopes: Vec<Scope>) -> Vec<Scope> {
    scopes.sort_unstable();
    scopes.dedup();
    scopes
}

/// Whose key it is, seen by whoever makes or changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Owner {
    Caller,
    /// A service account of the project.
    Service,
    /// Another person.
    Other,
}

pub(in crate::api) async fn owner_of(
    app: &App,
    maker: &Maker,
    id: UserId,
) -> Result<Owner, ApiError> {
    if maker.user == Some(id) {
        return Ok(Owner::Caller);
    }
    let user = app.store.user(id).await?;
    let service = user.is_some_and(|user| user.kind == UserKind::Service);
    Ok(if service {
        Owner::Service
    } else {
        Owner::Other
    })
}

/// Who makes or changes keys: whoever manages what is its user's, or the operator, whose own no key is.
pub(in crate::api) struct Maker {
    user: Option<UserId>,
    admin: bool,
    /// What the key may that it comes with.
    grants: Option<Arc<KeyGrants>>,
    /// Which key that is.
    pub(super) key: Option<KeyName>,
}

impl Maker {
    /// Describes an admin of the platform.
    pub(in crate::api) fn admin(principal: &Principal) -> Self {
        Self {
            user: principal.has_account().then_some(principal.user),
            admin: true,
            grants: principal.grants.clone(),
            key: key_of(principal),
        }
    }
}

impl From<&Account> for Maker {
    fn from(account: &Account) -> Self {
        Self {
            user: Some(account.user.id),
            admin: account.admin,
            grants: account.grants.clone(),
            key: account.key,
        }
    }
}

/// Refuses a key that may do more than whoever makes it, or that would act as somebody else beyond the project.
pub(in crate::api) fn grantable(
    maker: &Maker,
    owner: Owner,
    grants: &KeyGrants,
) -> Result<(), ApiError> {
    let own = owner == Owner::Caller;
    beneath(maker.grants.as_deref(), grants)?;
    if grants.allows(Scope::Admin) && !(own && maker.admin) {
        Err(ApiError::forbidden(
            "the scope \"admin\" is for the own keys of admins",
        ))
    } else if grants.allows(Scope::Manage) && !own {
        Err(ApiError::forbidden(
            "the scope \"manage\" is for the own keys of whoever gives it",
        ))
    } else if grants.allows(Scope::Usage) && owner == Owner::Other {
        Err(ApiError::forbidden(
            "the scope \"usage\" shows what a person used everywhere: it is for the own keys",
        ))
    } else {
        Ok(())
    }
}

/// Lists what a key is for that is to have everything: all that `maker` may give it. To manage and to administer is none
/// of that, unless it `had` it.
pub(in crate::api) fn everything(
    maker: &Maker,
    owner: Owner,
    had: &KeyGrants,
) -> Result<Vec<Scope>, ApiError> {
    let limit = maker.grants.as_deref();
    let fits = |scope: Scope| {
        let wide = matches!(scope, Scope::Manage | Scope::Admin);
        let alone = KeyGrants {
            scopes: vec![scope],
            ..limit.cloned().unwrap_or_default()
        };
        (!wide || had.allows(scope)) && grantable(maker, owner, &alone).is_ok()
    };
    let all = Scope::ALL.iter().copied();
    let scopes: Vec<_> = all.filter(|scope| fits(*scope)).collect();
    if scopes.is_empty() {
        // Not a key that may do nothing: to take all away is to revoke it.
        return Err(ApiError::forbidden(
            "there is nothing that may be given to this key",
        ));
    }
    Ok(scopes)
}

/// Refuses a key with limits of its own to make another one, or to get at what another one may do: what is used with
/// that would not count here. `which` is the key it is about, where there is one already.
pub(in crate::api) async fn unlimited(
    app: &App,
    key: Option<KeyName>,
    which: Option<KeyId>,
) -> Result<(), ApiError> {
    let Some(key) = key.filter(|key| Some(key.id) != which) else {
        return Ok(());
    };
    if app
        .store
        .limits(Some(Subject::Key(key.id)))
        .await?
        .is_empty()
    {
        return Ok(());
    }
    Err(ApiError::forbidden(
        "an API key that has limits of its own makes, widens and rotates no other",
    ))
}

/// Refuses a key that works longer than the one it is made with.
pub(in crate::api) async fn outlived(
    app: &App,
    key: Option<KeyName>,
    until: Option<Timestamp>,
) -> Result<(), ApiError> {
    let Some(key) = key else {
        return Ok(());
    };
    let key = app
        .store
        .key(key)
        .await?
        .ok_or_else(|| ApiError::not_found(NO_KEY))?;
    match (key.expires_at, until) {
        (None, _) => Ok(()),
        (Some(end), Some(until)) if until <= end => Ok(()),
        _ => Err(ApiError::forbidden(
            "an API key makes no other that works longer than itself",
        )),
    }
}

/// Refuses a key that may do more than the key it is made with.
pub(in crate::api) fn beneath(
    limit: Option<&KeyGrants>,
    grants: &KeyGrants,
) -> Result<(), ApiError> {
    if limit.is_none_or(|limit| grants.within(limit)) {
        Ok(())
    } else {
        Err(ApiError::forbidden(
            "an API key makes no other that may do more than itself",
        ))
    }
}
