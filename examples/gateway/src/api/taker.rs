use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use llm_gate::auth::Authenticate;
use llm_gate::identity::{Principal, ProjectId};

use super::caller::{Admin, Reader};
use super::error::ApiError;
use super::projects;
use crate::app::App;

/// Who takes an answer that is sent in parts, for as long as it takes. By what right is said before the first.
pub(crate) struct Taker {
    app: App,
    parts: Parts,
}

/// What somebody takes parts by, and must still have at each.
enum Right {
    Admin,
    Reader,
    Member(ProjectId),
}

/// Somebody who takes parts by a right.
pub(crate) struct Taking {
    taker: Taker,
    right: Right,
}

impl Taker {
    /// By the right of [`Admin`].
    pub(crate) const fn by_admin(self) -> Taking {
        self.by(Right::Admin)
    }

    /// By the right of [`Reader`].
    pub(crate) const fn by_reader(self) -> Taking {
        self.by(Right::Reader)
    }

    /// By the right of a [`Reader`] who is a member of the project.
    pub(crate) const fn by_member(self, project: ProjectId) -> Taking {
        self.by(Right::Member(project))
    }

    const fn by(self, right: Right) -> Taking {
        Taking { taker: self, right }
    }
}

impl Taking {
    /// Makes sure that it may still have something, before the next part is read: asks what was asked for the first one,
    /// but for how long the access token of a login lives.
    ///
    /// # Errors
    ///
    /// Fails where it may not, or where nobody knows.
    pub(crate) async fn ask(&mut self) -> Result<(), ApiError> {
        let Taker { app, parts } = &mut self.taker;
        // A login lasts as long as its session, which is asked for below, whatever the life of the token it came with.
        let session = parts
            .extensions
            .get()
            .and_then(|one: &Principal| one.session);
        if session.is_none() {
            let again = app.verifier.authenticate(&parts.headers).await;
            let principal = again.map_err(|error| error.rejection())?;
            parts.extensions.insert(principal);
        }
        match self.right {
            Right::Admin => Admin::from_request_parts(parts, app).await.map(drop),
            Right::Reader => Reader::from_request_parts(parts, app).await.map(drop),
            Right::Member(project) => {
                let Reader(account) = Reader::from_request_parts(parts, app).await?;
                let member = projects::member(app, &account, &project.to_string()).await;
                member.map(drop)
            }
        }
    }
}

impl FromRequestParts<App> for Taker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self {
            app: app.clone(),
            parts: parts.clone(),
        })
    }
}
