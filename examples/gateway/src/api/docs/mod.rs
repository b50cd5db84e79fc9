//! The document and the page that shows it, all of it in the binary. The page loads nothing from elsewhere
//! and runs under a policy without inline scripts or styles.

use std::marker::PhantomData;
use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::document::{self, Reply, Sketch};
use crate::edge::ContentPolicy;

/// What the page may do: run its own script, use its own style, and fetch the document.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Shows this document.
#[utoipa::path(get, path = "/openapi.json")]
pub(super) async fn openapi(asked: HeaderMap) -> File<Document> {
    static FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(document::text()));
    File::new(&FILE, &asked)
}

/// Shows this document for people to read.
#[utoipa::path(get, path = "/docs")]
pub(super) async fn page(asked: HeaderMap) -> File<Page> {
    static FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(include_str!("page.html")));
    File::new(&FILE, &asked)
}

/// The script of the page.
#[utoipa::path(get, path = "/docs/page.js")]
pub(super) async fn script(asked: HeaderMap) -> File<Script> {
    static FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(include_str!("page.js")));
    File::new(&FILE, &asked)
}

/// The style of the page.
#[utoipa::path(get, path = "/docs/page.css")]
pub(super) async fn style(asked: HeaderMap) -> File<Style> {
    static FILE: LazyLock<Kept> = LazyLock::new(|| Kept::new(include_str!("page.css")));
    File::new(&FILE, &asked)
}

/// What a file is.
pub(super) trait Media {
    /// Its media type.
    const TYPE: &'static str;
    /// The same without parameters.
    const ESSENCE: &'static str;
}

macro_rules! media {
    ($($(#[$doc:meta])* $name:ident = $essence:literal $parameter:literal;)+) => {
        $(
            $(#[$doc])*
            pub(super) struct $name;

            impl Media for $name {
                const TYPE: &'static str = concat!($essence, $parameter);
                const ESSENCE: &'static str = $essence;
            }
        )+
    };
}
media! {
    /// The document.
    Document = "application/json" "";
    /// A page.
    Page = "text/html" "; charset=utf-8";
    /// A script.
    Script = "text/javascript" "; charset=utf-8";
    /// A style.
    Style = "text/css" "; charset=utf-8";
}

/// A file of the binary, and the name of its content.
struct Kept {
    text: &'static str,
    tag: HeaderValue,
}

impl Kept {
    fn new(text: &'static str) -> Self {
        let hash = Sha256::digest(text.as_bytes());
        let tag: String = hash
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let tag = HeaderValue::try_from(format!("\"{tag}\""));
        Self {
            text,
            tag: tag.expect("hexadecimal digits are a header"),
        }
    }
}

/// A file that is answered, or found unchanged.
pub(super) struct File<M> {
    kept: &'static Kept,
    unchanged: bool,
    media: PhantomData<M>,
}

impl<M> File<M> {
    fn new(kept: &'static Kept, asked: &HeaderMap) -> Self {
        // RFC 9110, section 13.1.2: compared weakly.
        let known = asked.get_all(IF_NONE_MATCH).iter().any(|tags| {
            let tags = tags.to_str().unwrap_or_default();
            tags.split(',').map(str::trim).any(|tag| {
                tag == "*" || tag.trim_start_matches("W/").as_bytes() == kept.tag.as_bytes()
            })
        });
        Self {
            kept,
            unchanged: known,
            media: PhantomData,
        }
    }
}

impl<M: Media> IntoResponse for File<M> {
    fn into_response(self) -> Response {
        let mut response = if self.unchanged {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            self.kept.text.into_response()
        };
        let headers = response.headers_mut();
        if self.unchanged {
            headers.remove(CONTENT_TYPE);
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(M::TYPE));
        }
        // Kept by browsers, and asked about each time: another version of the gateway has other files.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(ETAG, self.kept.tag.clone());
        response.extensions_mut().insert(ContentPolicy(POLICY));
        response
    }
}

impl<M: Media> Reply for File<M> {
    fn describe(sketch: &mut Sketch) {
        let of = if M::ESSENCE == Document::ESSENCE {
            Type::Object
        } else {
            Type::String
        };
        let content = ObjectBuilder::new().schema_type(of).into();
        sketch.answer(StatusCode::OK, "The file", [(M::ESSENCE, content)]);
        sketch.answer(StatusCode::NOT_MODIFIED, "As `If-None-Match` has it", []);
    }
}
