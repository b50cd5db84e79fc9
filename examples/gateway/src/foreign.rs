//! Whose account a token of another issuer is for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use llm_gate::auth::{Account, Accounts};
use llm_gate::identity::UserId;
use llm_gate::store::{Store, StoreError, StoreFuture, User};

use crate::accounts;
use crate::config::{AccountBy, AuthConfig};

/// Finds accounts in the store, as the settings of each issuer say.
///
/// Nobody is an admin by a token of another issuer: who could make one could make anybody's.
pub struct StoreAccounts {
    store: Arc<dyn Store>,
    issuers: BTreeMap<String, AccountBy>,
}

impl StoreAccounts {
    /// Looks into `store` for the issuers of `auth`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, auth: &AuthConfig) -> Self {
        let issuers = auth.issuers.iter();
        Self {
            store,
            issuers: issuers
                .map(|(name, issuer)| (name.clone(), issuer.accounts))
                .collect(),
        }
    }

    async fn find(&self, issuer: &str, subject: &str) -> Result<Option<User>, StoreError> {
        match self.issuers.get(issuer) {
            Some(AccountBy::Id) => match subject.parse::<UserId>() {
                // An id has one spelling, so that a subject is one account and not several.
                Ok(id) if id.to_string() == subject => self.store.user(id).await,
                _ => Ok(None),
            },
            Some(AccountBy::Name) => {
                let login = accounts::login(subject);
                // One that only the case rules of Unicode make equal to a name, such as with a Kelvin sign for a K, is
                // not that name.
                if login != subject.trim().to_ascii_lowercase() {
                    return Ok(None);
                }
                let record = self.store.user_by_login(login).await?;
                Ok(record.map(|record| record.user))
            }
            None => Ok(None),
        }
    }
}

impl Accounts for StoreAccounts {
    fn account<'a>(
        &'a self,
        issuer: &'a str,
        subject: &'a str,
    ) -> StoreFuture<'a, Option<Account>> {
        Box::pin(async move {
            let user = self.find(issuer, subject).await?;
            Ok(user
                .map(|user| Account::new(user.id, user.personal_project).disabled(user.disabled)))
        })
    }
}

impl fmt::Debug for StoreAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAccounts")
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use llm_gate::identity::Role;
    use llm_gate::store::{Author, MemoryStore, UserStore};

    use super::*;
    use crate::accounts::Names;
    use crate::config::IssuerConfig;

    fn issuer(accounts: AccountBy) -> IssuerConfig {
        IssuerConfig {
            jwks_url: "https://login.example/keys".to_owned(),
            audience: "llm-gate".to_owned(),
            algorithms: vec!["RS256".to_owned()],
            accounts,
        }
    }

    #[tokio::test]
    async fn a_subject_is_the_id_or_the_name_of_an_account_as_its_issuer_is_configured() {
        let store = Arc::new(MemoryStore::new());
        let names = Names::of("ada@example.com").expect("an address");
        let account = names.account(String::new(), Role::Admin, None, Author::default());
        let ada = store.create_user(account).await.expect("a free name");
        let names = Names::of("kim").expect("a name");
        // The last admin could not be disabled.
        let other = names.account(String::new(), Role::Admin, None, Author::default());
        store.create_user(other).await.expect("a free name");
        let mut auth = AuthConfig::default();
        auth.issuers
            .insert("by-id".to_owned(), issuer(AccountBy::Id));
        auth.issuers
            .insert("by-name".to_owned(), issuer(AccountBy::Name));
        let accounts = StoreAccounts::new(store.clone(), &auth);

        let id = ada.id.to_string();
        for (issuer, subject, found) in [
            ("by-id", id.as_str(), true),
            ("by-id", &id.to_uppercase(), false),
            ("by-id", &id.replace('-', ""), false),
            ("by-id", &format!("{{{id}}}"), false),
            ("by-id", "ada@example.com", false),
            ("by-id", "", false),
            ("by-name", "ada@example.com", true),
            ("by-name", "Ada@Example.com", true),
            ("by-name", &id, false),
            ("by-name", "\u{212a}im", false),
            ("by-name", "eve@example.com", false),
            ("unknown", &id, false),
        ] {
            let account = accounts.account(issuer, subject).await.expect("a store");
            assert_eq!(account.is_some(), found, "{issuer}: {subject:?}");
            if let Some(account) = account {
                assert_eq!(
                    (account.user, account.project),
                    (ada.id, ada.personal_project)
                );
                assert_eq!(account.role, Role::User, "admins log in here");
                assert!(!account.disabled);
            }
        }
        let kim = accounts.account("by-name", "Kim").await.expect("a store");
        assert!(kim.is_some(), "with a K, and not with the sign for Kelvin");
        assert!(
            store
                .set_user_disabled(ada.id, true, Author::default())
                .await
                .expect("a store")
        );
        let account = accounts.account("by-id", &id).await.expect("a store");
        assert!(account.expect("still there").disabled);
    }
}
