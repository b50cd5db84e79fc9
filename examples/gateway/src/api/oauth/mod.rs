//! Logins with other providers: the way there and the way back.

mod answers;
mod failure;
mod people;

use std::borrow::Cow;

use axum::extract::State;
use axum::response::IntoResponse;
use llm_gate::store::StoreErrorKind;
use serde_json::{Value, json};

use self::answers::{Arrived, Departed, WantsJson};
use self::failure::Failure;
use super::auth;
use super::caller::Origin;
use super::cookies::{self, LoginCookie, WithCookies};
use super::error::ApiError;
use super::fields::{Fields, Input, Path, Query, SECRET, Text};
use super::views::{AuthUrl, IdentityView};
use crate::app::App;
use crate::config::Secret;
use crate::oauth::{Departure, Pending, Provider, Purpose, Returned, Sealed, TOO_OLD_AFTER};

/// A place below the web URL, and nowhere else.
pub(super) const PLACE: Text<String> =
    Text::new(|text| place(text).map(str::to_owned).map_err(Cow::Borrowed))
        .pattern(r"^/([!$-.0-;=?-Z_a-z~][!$-;=?-Z_a-z~]*)?$")
        .sized(1, MAX_PLACE);
const MAX_PLACE: usize = 512;

/// Checks a path that a browser is sent to, so that it is one here in every browser's reading: a second slash, or a
/// backslash that some take for one, would begin another host. What follows a `#` is ours.
fn place(text: &str) -> Result<&str, &'static str> {
    const WRONG: &str = "must be a path here, which begins with one slash, such as /console";
    let rest = text.strip_prefix('/').ok_or(WRONG)?;
    let plain = |c: u8| {
        c.is_ascii_graphic()
            && !matches!(
                c,
                b'\\' | b'#' | b'"' | b'<' | b'>' | b'`' | b'^' | b'{' | b'|' | b'}' | b'[' | b']'
            )
    };
    if rest.starts_with('/') || !rest.bytes().all(plain) || text.len() > MAX_PLACE {
        return Err(WRONG);
    }
    Ok(text)
}

/// What somebody wants who goes to log in elsewhere.
pub(super) struct Start {
    redirect: Option<String>,
}

impl Input for Start {
    const NAME: &'static str = "ProviderLogin";

    fn read(fields: &mut Fields) -> Option<Self> {
        let redirect = fields.optional(
            "redirect",
            "Where the browser goes in the end: a path below the web URL. The tokens are in a cookie then",
            &PLACE,
        );
        Some(Self { redirect })
    }

    fn example() -> Value {
        json!({ "redirect": "/console" })
    }
}

/// Sends the browser to log in with another provider.
///
/// A client that prefers JSON (`Accept`) is told where to go. The answer sets a cookie, with which the browser has to come
/// back within ten minutes.
#[utoipa::path(
    get,
    path = "/api/v1/auth/{provider}/login",
    params(("provider" = String, Path, description = "The name of the provider, such as `google` or `github`")),
    responses(
        (status = 404, description = "No such provider"),
        (status = 502, description = "The provider says nothing that can be used"),
    )
)]
pub(super) async fn login(
    State(app): State<App>,
    WantsJson(json): WantsJson,
    Path(name): Path<String>,
    Query(Start { redirect }): Query<Start>,
) -> Result<WithCookies<Departed>, ApiError> {
    let provider = find(&app, &name)?;
    let (url, cookie) = begin(&app, provider, Purpose::Enter, redirect).await?;
    let departed = if json {
        Departed::Told(AuthUrl { auth_url: url })
    } else {
        Departed::Sent(url)
    };
    Ok(WithCookies(departed, vec![cookie]))
}

pub(super) fn find<'a>(app: &'a App, name: &str) -> Result<&'a Provider, ApiError> {
    let provider = app.providers.find(name);
    provider.ok_or_else(|| ApiError::not_found("no such provider"))
}

/// Begins a login: where to go, and the cookie to come back with.
pub(super) async fn begin(
    app: &App,
    provider: &Provider,
    purpose: Purpose,
    redirect: Option<String>,
) -> Result<(String, http::HeaderValue), ApiError> {
    let pending = Pending::new(provider.name(), app.clock.now(), purpose, redirect);
    match provider.begin(&app.seal, &pending).await {
        Ok(Departure { url, sealed }) => {
            let cookie = cookies::LOGIN.set(app, sealed.cookie(), TOO_OLD_AFTER);
            Ok((url, cookie))
        }
        Err(error) => {
            let failure = Failure::from(error);
            failure.log(provider.name());
            Err(failure.into())
        }
    }
}

/// What a provider sends back with the browser.
pub(super) struct Back {
    state: Secret,
    code: Option<Secret>,
    issuer: Option<String>,
    error: Option<String>,
}

impl Input for Back {
    const NAME: &'static str = "ProviderCallback";
    // "The client MUST ignore unrecognized response parameters" (RFC 6749, section 4.1.2).
    const OPEN: bool = true;

    fn read(fields: &mut Fields) -> Option<Self> {
        /// Far more than a provider needs.
        const SHORT: Text<String> = Text::new(|text| match text.len() {
            1..=2048 => Ok(text.to_owned()),
            _ => Err(Cow::Borrowed("must have 1 to 2048 bytes")),
        })
        .sized(1, 2048);
        let state = fields.required("state", "What the login was begun with", &SECRET);
        let code = fields.optional("code", "What proves who has logged in there", &SECRET);
        let issuer = fields.optional("iss", "The provider (RFC 9207)", &SHORT);
        let error = fields.optional("error", "Why nobody has logged in there", &SHORT);
        if code.is_none() && error.is_none() && !fields.refused("code") && !fields.refused("error")
        {
            fields.refuse("code", "is required");
        }
        Some(Self {
            state: state?,
            code,
            issuer,
            error,
        })
    }

    fn example() -> Value {
        json!({ "code": "SplxlOBeZQQYbYS6WxSbIA", "state": "af0ifjsldkj" })
    }
}

/// Takes the browser back from another provider, and opens a session.
///
/// Who is known by that provider enters the account it is linked to. Otherwise the provider has to know an e-mail address
/// that is confirmed: the account with that address, if it is confirmed here too, is linked; where there is none it is
/// made, if registration is open. A login that was begun with `redirect` ends there: with the refresh token in a cookie,
/// or with `#login_error=` and a word.
#[utoipa::path(
    get,
    path = "/api/v1/auth/{provider}/callback",
    params(("provider" = String, Path, description = "The name of the provider, such as `google` or `github`")),
    responses(
        (status = 401, description = "The provider does not say who it is, or the account may not log in"),
        (status = 403, description = "Not begun by this browser, begun too long ago, over already, given up at the provider, no confirmed e-mail address, or registration is closed"),
        (status = 404, description = "No such provider"),
        (status = 409, description = "The account with this e-mail address has not confirmed it, the login is linked to another account, or the account to as many as may be"),
        (status = 502, description = "The provider says nothing that can be used"),
    )
)]
pub(super) async fn callback(
    State(app): State<App>,
    origin: Origin,
    LoginCookie(cookie): LoginCookie,
    Path(name): Path<String>,
    Query(back): Query<Back>,
) -> Result<WithCookies<Arrived>, ApiError> {
    let provider = find(&app, &name)?;
    let opened = opened(&app, provider, cookie.as_ref(), &back);
    // Whoever guesses at states or codes guesses at credentials. A login that was begun by this browser is none, whatever
    // others behind its address get wrong.
    let secret = back.code.as_ref().unwrap_or(&back.state);
    let attempt = match app.rates.admit(origin.network, secret.expose()) {
        Err(exceeded) if opened.is_err() => {
            return Err(origin.refuse(&exceeded, "wrong credentials from this address"));
        }
        admitted => admitted.ok().flatten(),
    };
    let failed = |failure: &Failure| {
        failure.log(provider.name());
        if let Some(attempt) = attempt.as_ref().filter(|_| failure.is_a_guess()) {
            attempt.failed();
        }
    };
    let (pending, sealed) = match opened {
        Ok(begun) => begun,
        Err(failure) => {
            // Not the login of this cookie, if there is one: that may go on.
            failed(&failure);
            return Err(failure.into());
        }
    };
    // From here on it is over, whatever comes of it.
    let over = cookies::LOGIN.clear(&app);
    match arrive(&app, &origin, provider, &pending, &sealed, back).await {
        Ok(WithCookies(arrived, mut cookies)) => {
            failure::succeeded(provider.name());
            cookies.push(over);
            Ok(WithCookies(arrived, cookies))
        }
        Err(failure) => {
            failed(&failure);
            let noted = match failure.concerns() {
                Some(user) => auth::note_failure(&app, &origin, user).await,
                None => Ok(()),
            };
            let answer = match (noted, &pending.redirect) {
                (Err(error), _) => Arrived::Refused(error.into_response()),
                (_, Some(path)) => Arrived::at(&app, path, Some(failure.word())),
                (_, None) => Arrived::Refused(ApiError::from(failure).into_response()),
            };
            Ok(WithCookies(answer, vec![over]))
        }
    }
}

/// Returns what was begun, if this browser has begun it, with this provider, and not too long ago.
fn opened(
    app: &App,
    provider: &Provider,
    cookie: Option<&Secret>,
    back: &Back,
) -> Result<(Pending, Sealed), Failure> {
    let cookie = cookie.ok_or(Failure::NoCookie)?;
    let opened = app.seal.open(cookie.expose(), back.state.expose());
    let (pending, sealed) = opened.ok_or(Failure::NotBegun)?;
    if pending.provider != provider.name() {
        return Err(Failure::NotBegun);
    }
    if pending.is_over(app.clock.now()) {
        return Err(Failure::TooOld);
    }
    Ok((pending, sealed))
}

async fn arrive(
    app: &App,
    origin: &Origin,
    provider: &Provider,
    pending: &Pending,
    sealed: &Sealed,
    back: Back,
) -> Result<WithCookies<Arrived>, Failure> {
    let code = match (back.error, back.code) {
        (Some(error), _) => return Err(Failure::given_up(&error)),
        (None, Some(code)) => code,
        (None, None) => return Err(Failure::NotBegun),
    };
    let returned = Returned {
        code,
        issuer: back.issuer,
    };
    let profile = provider.profile(&returned, sealed).await?;
    let redirect = pending.redirect.as_deref();
    match pending.purpose {
        Purpose::Enter => {
            let identity = profile.identity.clone();
            let user = people::entering(app, profile, pending.begun_at, &origin.author).await?;
            let session = sealed.session();
            let opened = auth::open(app, origin, &user, session).await;
            let refresh = opened.map_err(|error| match error.kind() {
                StoreErrorKind::Conflict => Failure::Used,
                _ => Failure::Other(error.into()),
            })?;
            people::still_known(app, &user, identity, session, &origin.author).await?;
            let mut pair = auth::pair(app, &user, session, &refresh)?;
            Ok(match redirect {
                Some(path) => {
                    let cookie = auth::into_cookie(app, &mut pair);
                    let arrived = Arrived::at(app, path, None);
                    WithCookies(arrived, cookie.into_iter().collect())
                }
                None => WithCookies(Arrived::Entered(pair), Vec::new()),
            })
        }
        Purpose::Link { user, session } => {
            let identity = profile.identity.clone();
            let since = pending.begun_at;
            people::link(app, user, session, profile.identity, since, &origin.author).await?;
            let arrived = match redirect {
                Some(path) => Arrived::at(app, path, None),
                None => Arrived::Linked(IdentityView::new(identity, &app.providers)),
            };
            Ok(WithCookies(arrived, Vec::new()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_a_path_here_and_nowhere_else() {
        for good in ["/", "/console", "/a/b?c=d&e=%2F", "/a//b", "/~ada/:x@y"] {
            assert_eq!(place(good), Ok(good));
        }
        for bad in [
            "",
            "console",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\evil.example",
            "/a\\b",
            "https://evil.example",
            "javascript:alert(1)",
            "/a#b",
            "/a b",
            "/a\r\nLocation: x",
            "/a\tb",
            "/\u{e4}",
            " /a",
            "@evil.example",
            ".evil.example",
            &format!("/{}", "a".repeat(512)),
        ] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }
}
