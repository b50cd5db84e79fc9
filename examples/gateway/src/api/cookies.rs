//! The cookies that browsers are given: nothing that a script can read, and nothing that goes elsewhere.
//!
//! Where users come by `https` a cookie is `Secure` and its name begins with `__Host-`, so that no other host and no
//! other page in between can have set it. Only where the gateway is on the machine of its user (`web_url` is `http://` and
//! a loopback address; logins with other providers take no other) it has neither: not all browsers take them there.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{COOKIE, HeaderName, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use llm_gate::store::User;

use super::document::{Part, Reply, Sketch};
use super::error::ApiError;
use crate::app::App;
use crate::config::Secret;
use crate::devices::{Device, Entered};

/// A cookie by its name.
pub(super) struct Cookie {
    name: &'static str,
    same_site: &'static str,
}

/// A login under way with another provider. It comes back with the browser from there, so it cannot be `Strict`.
pub(super) const LOGIN: Cookie = Cookie {
    name: "__Host-llm-gate-login",
    same_site: "Lax",
};

/// A refresh token.
pub(super) const REFRESH: Cookie = Cookie {
    name: "__Host-llm-gate-refresh",
    same_site: "Strict",
};

/// That an account was entered with this browser.
pub(super) const DEVICE: Cookie = Cookie {
    name: "__Host-llm-gate-device",
    same_site: "Strict",
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How long a browser remembers it: as long as browsers remember anything (RFC 6265bis, section 5.6.2).
const DEVICE_FOR: Duration = Duration::from_secs(400 * 24 * 3600);

/// What a browser brings of a login under way.
pub(super) struct LoginCookie(pub(super) Option<Secret>);

/// The refresh token that a browser brings.
pub(super) struct RefreshCookie(pub(super) Option<Secret>);

/// The accounts that were entered with a browser before.
pub(super) struct DeviceCookie {
    pub(super) device: Option<Device>,
    /// Whether a page of somebody else's has sent the browser here, without what it keeps.
    sent_by_others: bool,
}

impl DeviceCookie {
    /// Makes the header that adds an account, by the hash of its password that is on record.
    pub(super) fn entered(self, app: &App, user: &User, hash: &str) -> Vec<HeaderValue> {
        if self.sent_by_others {
            // What the browser keeps would be lost.
            return Vec::new();
        }
        let entered = Entered {
            user: user.id,
            names: [user.username.as_deref(), user.email.as_deref()],
            hash,
        };
        let device = app.devices.remember(self.device, entered);
        vec![DEVICE.set(app, &device.to_string(), DEVICE_FOR)]
    }
}

/// Tells whether a browser says that a page of another site has made it ask. Programs say nothing.
fn sent_by_others(app: &App, headers: &HeaderMap) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    match (site, headers.get(ORIGIN)) {
        (Some(site), _) => !matches!(site, b"same-origin" | b"none"),
        (None, Some(origin)) => {
            let path = app.web_url.strip_prefix(origin.to_str().unwrap_or("?"));
            path.is_none_or(|path| !(path.is_empty() || path.starts_with('/')))
        }
        (None, None) => false,
    }
}

/// An answer that sets cookies.
pub(super) struct WithCookies<T>(pub(super) T, pub(super) Vec<HeaderValue>);

impl Cookie {
    /// Makes the header that sets it. A value has letters, digits and `-._` alone.
    pub(super) fn set(&self, app: &App, value: &str, for_so_long: Duration) -> HeaderValue {
        let https = secure(app);
        let name = self.name(https);
        let mut text = format!(
            "{name}={value}; Path=/; HttpOnly; SameSite={}",
            self.same_site
        );
        if https {
            text.push_str("; Secure");
        }
        // Texts take whatever is written.
        let _ = write!(text, "; Max-Age={}", for_so_long.as_secs());
        let mut header =
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("invalid="));
        header.set_sensitive(true);
        header
    }

    /// Makes the header that takes it away.
    pub(super) fn clear(&self, app: &App) -> HeaderValue {
        self.set(app, "", Duration::ZERO)
    }

    fn name(&self, https: bool) -> &'static str {
        if https {
            self.name
        } else {
            self.name.trim_start_matches("__Host-")
        }
    }

    /// Finds it. One that is there twice is not known to be ours.
    fn find(&self, https: bool, headers: &HeaderMap) -> Option<Secret> {
        let name = self.name(https);
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        // Whatever else stands in the line may be of others, and no text.
        let mut found = pairs.filter_map(|pair| {
            let value = pair.trim_ascii().strip_prefix(name.as_bytes())?;
            value.strip_prefix(b"=")
        });
        match (found.next(), found.next()) {
            (Some(value), None) if !value.is_empty() => {
                Some(std::str::from_utf8(value).ok()?.into())
            }
            _ => None,
        }
    }
}

/// Finds the refresh token that a browser brings.
pub(crate) fn refresh_of(https: bool, headers: &HeaderMap) -> Option<Secret> {
    REFRESH.find(https, headers)
}

/// Finds what a browser brings of the accounts it has entered. What is none of ours is as good as nothing.
pub(crate) fn device_of(https: bool, headers: &HeaderMap) -> Option<Device> {
    DEVICE.find(https, headers)?.expose().parse().ok()
}

fn secure(app: &App) -> bool {
    app.web_url.starts_with("https://")
}

impl FromRequestParts<App> for LoginCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(LOGIN.find(secure(app), &parts.headers)))
    }
}

impl FromRequestParts<App> for RefreshCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(refresh_of(secure(app), &parts.headers)))
    }
}

impl FromRequestParts<App> for DeviceCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self {
            device: device_of(secure(app), &parts.headers),
            sent_by_others: sent_by_others(app, &parts.headers),
        })
    }
}

impl Part for DeviceCookie {
    fn describe(sketch: &mut Sketch) {
        sketch.cookie(
            DEVICE.name,
            "That the account was entered with this browser. Without `__Host-` where `web_url` is `http://`",
        );
    }
}

impl Part for LoginCookie {
    fn describe(sketch: &mut Sketch) {
        sketch.cookie(
            LOGIN.name,
            "What the login was begun with. Without `__Host-` where `web_url` is `http://`",
        );
    }
}

impl Part for RefreshCookie {
    fn describe(sketch: &mut Sketch) {
        sketch.cookie(
            REFRESH.name,
            "The refresh token of a browser, where the body has none. Without `__Host-` where `web_url` is `http://`",
        );
    }
}

impl<T: IntoResponse> IntoResponse for WithCookies<T> {
    fn into_response(self) -> Response {
        let mut response = self.0.into_response();
        for cookie in self.1 {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }
}

impl<T: Reply> Reply for WithCookies<T> {
    fn describe(sketch: &mut Sketch) {
        T::describe(sketch);
    }
}
