use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::document::{Reply, Sketch, literal};
use crate::app::App;

/// RFC 7517, section 8.5.2.
const MEDIA: &str = "application/jwk-set+json";

/// How long others may rely on the set: a new key is to be published at least this long before it signs.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// Publishes the public keys of access tokens.
///
/// There are none where they are signed with a shared secret.
#[utoipa::path(get, path = "/.well-known/jwks.json")]
pub(super) async fn published(State(app): State<App>) -> Published {
    Published(app.jwks.clone())
}

/// A set of keys (RFC 7517).
pub(super) struct Published(Bytes);

impl IntoResponse for Published {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(MEDIA)),
            (CACHE_CONTROL, CACHED),
        ];
        (headers, self.0).into_response()
    }
}

impl Reply for Published {
    fn describe(sketch: &mut Sketch) {
        let set = literal(json!({
            "type": "object",
            "description": "A JSON Web Key Set (RFC 7517).",
            "required": ["keys"],
            "properties": {
                "keys": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["kty", "kid", "use", "alg"],
                        "properties": {
                            "kty": { "type": "string", "enum": ["OKP", "EC"] },
                            "kid": { "type": "string", "description": "What a token names in its header." },
                            "use": { "type": "string", "enum": ["sig"] },
                            "alg": { "type": "string", "enum": ["EdDSA", "ES256"] },
                            "crv": { "type": "string", "enum": ["Ed25519", "P-256"] },
                            "x": { "type": "string" },
                            "y": { "type": "string" }
                        }
                    }
                }
            }
        }));
        sketch.answer(StatusCode::OK, "The keys", [(MEDIA, set)]);
    }
}
