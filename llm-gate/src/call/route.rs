use std::fmt;

use http::Method;

/// A route of the OpenAI surface that is metered. Everything else is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// `POST /v1/chat/completions`, or `/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/embeddings`.
    Embeddings,
}

/// Why a request is for no [`Route`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownRoute {
    /// No route has that path.
    Path,
    /// The path has a route, for another method: `POST`.
    Method,
}

impl Route {
    /// Every one of them.
    pub const ALL: &[Self] = &[Self::Chat, Self::Completions, Self::Embeddings];

    /// Finds the route of a request. Paths are compared byte by byte: no trailing or double slashes.
    ///
    /// # Errors
    ///
    /// Tells whether the path is unknown or the method is wrong.
    pub fn of(method: &Method, path: &str) -> Result<Self, UnknownRoute> {
        let route = match path {
            "/v1/chat/completions" | "/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/embeddings" => Self::Embeddings,
            _ => return Err(UnknownRoute::Path),
        };
        if method == Method::POST {
            Ok(route)
        } else {
            Err(UnknownRoute::Method)
        }
    }

    /// Returns the path it has at the upstream.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// Reads the word of records back.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|route| route.as_str() == word)
    }

    /// Returns the word for records and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_paths_have_a_route() {
        assert_eq!(
            Route::of(&Method::POST, "/chat/completions"),
            Ok(Route::Chat)
        );
        assert_eq!(
            Route::of(&Method::GET, "/v1/completions"),
            Err(UnknownRoute::Method)
        );
        for path in [
            "/v1/chat/completions/",
            "//v1/chat/completions",
            "/v1/completions/render",
            "/tokenize",
            "/V1/embeddings",
        ] {
            assert_eq!(
                Route::of(&Method::POST, path),
                Err(UnknownRoute::Path),
                "{path}"
            );
        }
    }

    #[test]
    fn every_route_is_found_under_its_own_path() {
        for route in Route::ALL {
            assert_eq!(Route::of(&Method::POST, route.path()), Ok(*route));
        }
    }
}
