use std::ops::Range;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http_body_util::Full;
use tower_layer::Layer;
use tower_service::Service;

use super::parse::{Options, Request};
use super::{Call, Route};

/// A place in the client's bytes and what stands there instead.
///
/// For the edits of layers of your own; the gate's are methods of [`Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    place: Range<usize>,
    with: String,
}

/// An edit that lies outside of the body, or over another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the edit lies outside of the body or over another edit")]
pub struct InvalidEdit;

impl Edit {
    /// Puts `with` in the place of the bytes at `place`.
    #[must_use]
    pub fn replace(place: Range<usize>, with: impl Into<String>) -> Self {
        Self {
            place,
            with: with.into(),
        }
    }

    /// Inserts `with` before the byte at `at`.
    #[must_use]
    pub fn insert(at: usize, with: impl Into<String>) -> Self {
        Self::replace(at..at, with)
    }

    /// Inserts a member behind an opening brace.
    fn member(open: usize, empty: bool, member: &str) -> Self {
        let comma = if empty { "" } else { "," };
        Self::insert(open, format!("{member}{comma}"))
    }

    /// Tells whether the two touch the same bytes. Insertions at one place stand one behind the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.place.start < other.place.end && other.place.start < self.place.end
    }

    pub(super) fn fits(&self, body: &[u8]) -> bool {
        self.place.start <= self.place.end && self.place.end <= body.len()
    }
}

/// Makes a stream report usage.
pub(super) fn stream_options(request: &Request, continuous: bool) -> Vec<Edit> {
    let stats = if continuous {
        r#","continuous_usage_stats":true"#
    } else {
        ""
    };
    let all = format!(r#"{{"include_usage":true{stats}}}"#);
    match &request.places.stream_options {
        None => {
            let member = format!(r#""stream_options":{all}"#);
            vec![Edit::member(
                request.places.open,
                request.places.empty,
                &member,
            )]
        }
        Some(Options::Null(place)) => vec![Edit::replace(place.clone(), all)],
        Some(Options::Object {
            open,
            empty,
            include,
            continuous: running,
        }) => {
            let wanted = [
                ("include_usage", true, request.usage.include, include),
                (
                    "continuous_usage_stats",
                    continuous,
                    request.usage.continuous,
                    running,
                ),
            ];
            let mut edits = Vec::new();
            let mut missing = Vec::new();
            for (name, wanted, given, place) in wanted {
                match place {
                    Some(place) if wanted && !given => {
                        edits.push(Edit::replace(place.clone(), "true"))
                    }
                    None if wanted => missing.push(format!(r#""{name}":true"#)),
                    _ => {}
                }
            }
            if !missing.is_empty() {
                edits.push(Edit::member(*open, *empty, &missing.join(",")));
            }
            edits
        }
    }
}

/// Sets the output bound of each choice.
pub(super) fn output(route: Route, request: &Request, tokens: u64) -> Edit {
    let places = &request.places;
    let chat = places
        .max_completion_tokens
        .as_ref()
        .filter(|_| route == Route::Chat);
    match chat.or(places.max_tokens.as_ref()) {
        Some(place) => Edit::replace(place.clone(), tokens.to_string()),
        None => Edit::member(
            places.open,
            places.empty,
            &format!(r#""max_tokens":{tokens}"#),
        ),
    }
}

/// Names the model.
pub(super) fn model(request: &Request, name: &str) -> Edit {
    let name = serde_json::Value::from(name);
    match &request.places.model {
        Some(place) => Edit::replace(place.clone(), name.to_string()),
        None => Edit::member(
            request.places.open,
            request.places.empty,
            &format!(r#""model":{name}"#),
        ),
    }
}

/// Puts the edits into the body. Insertions at one place stand in their order; of edits that overlap the
/// first one counts.
pub(super) fn splice(body: &Bytes, edits: &[Edit]) -> Bytes {
    if edits.is_empty() {
        return body.clone();
    }
    let mut sorted: Vec<&Edit> = edits.iter().collect();
    sorted.sort_by_key(|edit| (edit.place.start, edit.place.end));
    let added: usize = sorted.iter().map(|edit| edit.with.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut at = 0;
    for edit in sorted {
        if edit.place.start < at {
            continue;
        }
        out.extend_from_slice(&body[at..edit.place.start]);
        out.extend_from_slice(edit.with.as_bytes());
        at = edit.place.end;
    }
    out.extend_from_slice(&body[at..]);
    out.freeze()
}

/// Splices the edits of a [`Call`] into the request's body, before a service that does not know of
/// calls. [`VllmProxyService`](crate::proxy::VllmProxyService) does it by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct EditLayer;

impl EditLayer {
    /// Makes the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for EditLayer {
    type Service = EditService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EditService { inner }
    }
}

/// The service of [`EditLayer`]. A request without a [`Call`] passes as it is.
#[derive(Clone, Debug)]
pub struct EditService<S> {
    inner: S,
}

impl<S> Service<http::Request<Full<Bytes>>> for EditService<S>
where
    S: Service<http::Request<Full<Bytes>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Full<Bytes>>) -> Self::Future {
        if let Some(call) = request.extensions().get::<Call>() {
            let body = call.apply();
            let length = body.len().into();
            *request.body_mut() = Full::new(body);
            request.headers_mut().insert(CONTENT_LENGTH, length);
        }
        self.inner.call(request)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    const HEAD: &str = r#""model":"m","messages":[{"role":"user","content":"hi"}],"stream":true"#;

    fn asked(body: &str, continuous: bool) -> String {
        let request = parse(Route::Chat, body.as_bytes(), 16).expect("valid");
        let edits = stream_options(&request, continuous);
        let spliced = splice(&Bytes::copy_from_slice(body.as_bytes()), &edits);
        String::from_utf8(spliced.to_vec()).expect("UTF-8")
    }

    #[test]
    fn usage_is_asked_for_whatever_the_client_wrote() {
        for (options, expected) in [
            (
                r#""stream_options":null"#,
                r#""stream_options":{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
            (
                r#""stream_options":{}"#,
                r#""stream_options":{"include_usage":true,"continuous_usage_stats":true}"#,
            ),
            (
                r#""stream_options": { "include_usage" : false }"#,
                r#""stream_options": {"continuous_usage_stats":true, "include_usage" : true }"#,
            ),
            (
                r#""stream_options":{"x":1,"include_usage":null,"continuous_usage_stats":false}"#,
                r#""stream_options":{"x":1,"include_usage":true,"continuous_usage_stats":true}"#,
            ),
        ] {
            let body = format!("{{{HEAD},{options}}}");
            assert_eq!(asked(&body, true), format!("{{{HEAD},{expected}}}"));
        }
        assert_eq!(
            asked(&format!("{{{HEAD}}}"), false),
            format!(r#"{{"stream_options":{{"include_usage":true}},{HEAD}}}"#),
        );
    }

    #[test]
    fn what_was_asked_for_already_is_not_edited() {
        let body = format!(
            r#"{{{HEAD},"stream_options":{{"include_usage":true,"continuous_usage_stats":true}}}}"#
        );
        assert_eq!(asked(&body, true), body);
    }

    #[test]
    fn the_bound_that_wins_is_the_one_that_is_set() {
        let set = |rest: &str| {
            let body = format!("{{{HEAD}{rest}}}");
            let request = parse(Route::Chat, body.as_bytes(), 16).expect("valid");
            let edit = output(Route::Chat, &request, 7);
            String::from_utf8(splice(&Bytes::from(body), &[edit]).to_vec()).expect("UTF-8")
        };
        assert_eq!(set(""), format!(r#"{{"max_tokens":7,{HEAD}}}"#));
        assert_eq!(
            set(r#","max_tokens": null"#),
            format!(r#"{{{HEAD},"max_tokens": 7}}"#)
        );
        assert_eq!(
            set(r#","max_tokens":9,"max_completion_tokens":9"#),
            format!(r#"{{{HEAD},"max_tokens":9,"max_completion_tokens":7}}"#),
        );
    }

    #[test]
    fn edits_that_overlap_never_mix() {
        let body = Bytes::from_static(b"{\"a\":1}");
        let edits = [Edit::replace(1..4, "\"b\""), Edit::replace(2..6, "x")];
        assert!(edits[0].overlaps(&edits[1]));
        assert!(!edits[0].overlaps(&Edit::insert(1, "y")), "beside it");
        assert_eq!(splice(&body, &edits), "{\"b\":1}");
        assert!(!Edit::insert(8, "z").fits(&body));
    }

    #[test]
    fn edits_at_one_place_keep_their_order() {
        let body = Bytes::from_static(b"{\"a\":1}");
        let edits = [Edit::insert(1, "\"b\":2,"), Edit::insert(1, "\"c\":3,")];
        assert_eq!(splice(&body, &edits), "{\"b\":2,\"c\":3,\"a\":1}");
    }
}
