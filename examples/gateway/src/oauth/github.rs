use http::{StatusCode, Uri};
use serde::Deserialize;

use super::http::Http;
use super::openid::refused;
use super::{OAuthError, Registered, Returned, Said, Sealed, form, with_query};
use crate::config::{GitHubUrls, Secret};

/// GitHub, which speaks OAuth 2 and has an API that says who somebody is.
#[derive(Debug)]
pub(super) struct GitHub {
    urls: GitHubUrls,
    registered: Registered,
    http: Http,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: Secret,
}

#[derive(Deserialize)]
struct Account {
    /// Never given to another, unlike `login`, which is free again when somebody changes it.
    id: u64,
}

#[derive(Deserialize)]
struct Address {
    email: String,
    primary: bool,
    verified: bool,
}

impl GitHub {
    pub(super) const fn new(urls: GitHubUrls, registered: Registered, http: Http) -> Self {
        Self {
            urls,
            registered,
            http,
        }
    }

    pub(super) fn authorize(&self, sealed: &Sealed) -> String {
        let parameters = [
            ("response_type", "code"),
            ("client_id", &*self.registered.client_id),
            ("redirect_uri", &*self.registered.redirect_uri),
            ("scope", "user:email"),
            ("state", sealed.state()),
            ("code_challenge", &sealed.challenge()),
            ("code_challenge_method", "S256"),
        ];
        with_query(&self.urls.authorize, &parameters)
    }

    pub(super) async fn profile(
        &self,
        returned: &Returned,
        sealed: &Sealed,
    ) -> Result<Said, OAuthError> {
        let access = self.exchange(returned, sealed).await?;
        let url = self.api("/user")?;
        let answer = self.http.get(&url, Some(access.expose())).await?;
        let account: Account = answer.good()?;
        Ok(Said {
            subject: account.id.to_string(),
            email: self.email(&access).await?,
        })
    }

    async fn exchange(&self, returned: &Returned, sealed: &Sealed) -> Result<Secret, OAuthError> {
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("code", returned.code.expose()),
            ("redirect_uri", &self.registered.redirect_uri),
            ("code_verifier", sealed.verifier().expose()),
            ("client_id", &self.registered.client_id),
            ("client_secret", self.registered.client_secret.expose()),
        ]);
        let answer = self.http.post(&self.urls.token, form, None).await?;
        // With status 200.
        refused(&answer, "bad_verification_code")?;
        answer.good().map(|tokens: Tokens| tokens.access_token)
    }

    /// Finds the address that somebody has made the first one, if it is confirmed.
    async fn email(&self, access: &Secret) -> Result<Option<String>, OAuthError> {
        let url = self.api("/user/emails?per_page=100")?;
        let answer = self.http.get(&url, Some(access.expose())).await?;
        if [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&answer.status) {
            // Somebody has not let us know.
            return Ok(None);
        }
        let all: Vec<Address> = answer.good()?;
        let first = all.into_iter().find(|one| one.primary && one.verified);
        Ok(first.map(|one| one.email))
    }

    fn api(&self, path: &str) -> Result<Uri, OAuthError> {
        let base = self.urls.api.to_string();
        let url = format!("{}{path}", base.trim_end_matches('/'));
        url.parse()
            .map_err(|_| OAuthError::Useless("api_url is no address"))
    }
}
