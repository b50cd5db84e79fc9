//! The cookies that browsers are given: nothing that a script can read, and nothing that goes elsewhere.
//!
//! Where users come by `https` a cookie is `Secure` and its name begins with `__Host-`, so that no other host and no
//! other page in between can have set it. Only where the gateway is on the machine of its user (`web_url` is `http://` and
//! a loopback address; logins with other providers take no other) it has neither: not all browsers take them there.

use std::fmt::Write;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use llm_gate::identity::UserId;

use super::document::{Part, Reply, Sketch};
use super::error::ApiError;
use crate::app::App;
use crate::config::Secret;
use crate::devices::Device;

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

/// How long a browser remembers it: as long as browsers remember anything (RFC 6265bis, section 5.6.2).
const DEVICE_FOR: Duration = Duration::from_secs(400 * 24 * 3600);

/// What a browser brings of a login under way.
pub(super) struct LoginCookie(pub(super) Option<Secret>);

/// The refresh token that a browser brings.
pub(super) struct RefreshCookie(pub(super) Option<Secret>);

/// The accounts that were entered with a browser before.
pub(super) struct DeviceCookie(pub(super) Option<Device>);

impl DeviceCookie {
    /// Makes the header that adds an account, by the hash of its password that is on record.
    pub(super) fn entered(self, app: &App, user: UserId, hash: &str) -> HeaderValue {
        let device = app.devices.remember(self.0, user, hash);
        DEVICE.set(app, &device.to_string(), DEVICE_FOR)
    }
}

/// An answer that sets cookies.
pub(super) struct WithCookies<T>(pub(super) T, pub(super) Vec<HeaderValue>);

impl Cookie {
    /// Makes the header that sets it. A value has letters, digits and `-._` alone.
    pub(super) fn set(&self, app: &App, value: &str, for_so_long: Duration) -> HeaderValue {
        let name = self.name(app);
        let mut text = format!(
            "{name}={value}; Path=/; HttpOnly; SameSite={}",
            self.same_site
        );
        if secure(app) {
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

    fn name(&self, app: &App) -> &'static str {
        if secure(app) {
            self.name
        } else {
            self.name.trim_start_matches("__Host-")
        }
    }

    /// Finds it. One that is there twice is not known to be ours.
    fn find(&self, app: &App, headers: &HeaderMap) -> Option<Secret> {
        let name = self.name(app);
        let lines = headers.get_all(COOKIE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let mut found = lines
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(value), None) if !value.is_empty() => Some(value.into()),
            _ => None,
        }
    }
}

fn secure(app: &App) -> bool {
    app.web_url.starts_with("https://")
}

impl FromRequestParts<App> for LoginCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(LOGIN.find(app, &parts.headers)))
    }
}

impl FromRequestParts<App> for RefreshCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        Ok(Self(REFRESH.find(app, &parts.headers)))
    }
}

impl FromRequestParts<App> for DeviceCookie {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let found = DEVICE.find(app, &parts.headers);
        // What is none of ours is as good as nothing.
        Ok(Self(found.and_then(|text| text.expose().parse().ok())))
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
