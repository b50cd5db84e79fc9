//! Accounts, keys and ways back in, made the same way by the HTTP API and by the command line.

use std::time::Duration;

use llm_gate::auth::{ApiKeySecret, KeyHasher, MailToken};
use llm_gate::clock::Timestamp;
use llm_gate::identity::{KeyGrants, KeyId, ProjectId, Role, UserId};
use llm_gate::store::{
    ApiKey, Author, CredentialStore, NewApiKey, NewTicket, NewUser, StoreError, TicketPurpose,
    User, UserKind, UserStore,
};
use llm_gate::tokens::Tokens;

/// How long what sets a new password is good, whether it is mailed or handed over.
pub const RESET_FOR: Duration = Duration::from_secs(3600);

/// The longest e-mail address there is (RFC 5321).
const MAX_EMAIL: usize = 254;
const MAX_USERNAME: usize = 64;
const MAX_KEY_NAME: usize = 100;
const MAX_MODEL_NAME: usize = 256;
/// How many keys somebody may have in one project that are not revoked; a bound like that of projects.
const MAX_KEYS: u32 = 200;

/// The normalised names of somebody; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The e-mail address.
    pub email: Option<String>,
    /// The user name.
    pub username: Option<String>,
}

impl Names {
    /// Reads a name that is either: an address if it has an `@`.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn of(name: &str) -> Result<Self, &'static str> {
        if name.contains('@') {
            email(name).map(|email| Self {
                email: Some(email),
                username: None,
            })
        } else {
            username(name).map(|username| Self {
                email: None,
                username: Some(username),
            })
        }
    }

    /// Lists the names there are.
    #[must_use]
    pub fn all(&self) -> Vec<&str> {
        [&self.email, &self.username]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect()
    }

    /// Describes the account to be made under these names.
    #[must_use]
    pub fn account(
        self,
        password_hash: impl Into<Option<String>>,
        role: Role,
        token_limit: Option<Tokens>,
        author: Author,
    ) -> NewUser {
        let whose = self
            .all()
            .last()
            .map_or("My", |name| name.split('@').next().unwrap_or(name));
        NewUser {
            id: UserId::new(),
            personal_project: ProjectId::new(),
            personal_project_name: format!("{whose}'s project"),
            email: self.email,
            username: self.username,
            email_verified: false,
            name: None,
            password_hash: password_hash.into(),
            identity: None,
            role,
            token_limit,
            invite: None,
            author,
        }
    }
}

/// Normalises a name for looking somebody up. What nobody can be called finds nobody.
#[must_use]
pub fn login(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Normalises an e-mail address.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn email(text: &str) -> Result<String, &'static str> {
    let email = login(text);
    let good = email
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    if !good
        || email.len() > MAX_EMAIL
        || email.contains(|c: char| c.is_whitespace() || c.is_control())
    {
        return Err("is not an e-mail address");
    }
    Ok(email)
}

/// Normalises a user name, which never looks like an e-mail address.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn username(text: &str) -> Result<String, &'static str> {
    let name = login(text);
    let plain = name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-'));
    let starts = name
        .bytes()
        .next()
        .is_some_and(|c| c.is_ascii_alphanumeric());
    if !plain || !starts || name.len() > MAX_USERNAME {
        return Err(
            "must have 1 to 64 letters, digits, points, hyphens or underscores, and begin with one of the first two",
        );
    }
    Ok(name)
}

/// Checks the name of a key, a project or whoever is called something.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn key_name(text: &str) -> Result<String, &'static str> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > MAX_KEY_NAME || name.contains(char::is_control) {
        return Err("must have 1 to 100 characters and no control characters");
    }
    Ok(name.to_owned())
}

/// Checks the name of a model, which may be one that is not served yet.
///
/// # Errors
///
/// Says what is wrong with it.
pub fn model_name(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > MAX_MODEL_NAME || text.contains(char::is_control) {
        return Err("must have 1 to 256 bytes and no control characters");
    }
    Ok(text.to_owned())
}

/// Whose key, where, and for how long.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    /// Its name.
    pub name: String,
    /// Whose calls it makes.
    pub user: UserId,
    /// The project its calls are made for.
    pub project: ProjectId,
    /// When it stops working by itself.
    pub expires_at: Option<Timestamp>,
    /// What it may do.
    pub grants: KeyGrants,
    /// Who makes it, and when.
    pub author: Author,
}

/// Makes an API key. Its secret exists only in the answer.
///
/// # Errors
///
/// Fails when the store does, and with [`Full`](llm_gate::store::StoreErrorKind::Full) when the user has as many keys in
/// the project as one may have.
pub async fn create_key<S: CredentialStore + ?Sized>(
    store: &S,
    hasher: &KeyHasher,
    request: KeyRequest,
) -> Result<(ApiKey, ApiKeySecret), StoreError> {
    let secret = ApiKeySecret::sealed(hasher, request.user);
    let key = store
        .create_key(NewApiKey {
            id: KeyId::new(),
            public_id: secret.public_id().to_owned(),
            hash: secret.hash(hasher),
            name: request.name,
            user: request.user,
            project: request.project,
            grants: request.grants,
            expires_at: request.expires_at,
            at_most: Some(MAX_KEYS),
            author: request.author,
        })
        .await?;
    Ok((key, secret))
}

/// Checks that somebody can be handed what sets a new password for an account.
///
/// # Errors
///
/// Says why not.
pub fn resettable(user: &User) -> Result<(), &'static str> {
    match user.kind {
        UserKind::Person if user.disabled => Err("the account is disabled: enable it first"),
        UserKind::Person => Ok(()),
        _ => Err("a service account has no password"),
    }
}

/// Makes what sets a new password for a person, to be handed over, with a seal; returns it with its end. It exists only in
/// the answer.
///
/// # Errors
///
/// Fails when the store does.
pub async fn create_reset<S: UserStore + ?Sized>(
    store: &S,
    hasher: &KeyHasher,
    user: UserId,
    author: Author,
) -> Result<(MailToken, Timestamp), StoreError> {
    let token = MailToken::sealed(hasher, user);
    let expires_at = author.at.after(RESET_FOR);
    let ticket = NewTicket {
        hash: token.hash(),
        purpose: TicketPurpose::ResetPassword,
        user,
        email: None,
        asked: true,
        author,
        expires_at,
    };
    store.create_ticket(ticket).await?;
    Ok((token, expires_at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        assert_eq!(
            email("  Ada@Example.COM ").as_deref(),
            Ok("ada@example.com")
        );
        assert_eq!(username(" Ada.L ").as_deref(), Ok("ada.l"));
        let names = Names::of("ADA@example.com").expect("an address");
        assert_eq!(names.all(), ["ada@example.com"]);
    }

    #[test]
    fn names_that_could_be_mistaken_are_refused() {
        for bad in [
            "",
            " ",
            "a b",
            ".ada",
            "ada@example.com",
            "ädä",
            &"a".repeat(65),
        ] {
            assert!(username(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "@",
            "ada@",
            "@example.com",
            "a@b@c",
            "a b@c",
            "a\u{0}@b",
        ] {
            assert!(email(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "  ", "a\nb", &"a".repeat(101)] {
            assert!(key_name(bad).is_err(), "{bad:?}");
        }
    }
}
