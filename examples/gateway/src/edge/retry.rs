use std::time::Duration;

use axum::response::Response;
use http::StatusCode;
use http::header::RETRY_AFTER;

/// When to look again where nothing comes back by itself: a limit that only somebody can raise.
const SPENT: Duration = Duration::from_secs(3600);
/// When to look again where something is away.
const AWAY: Duration = Duration::from_secs(5);

/// Makes sure that no 429 and no 503 leaves the gateway without a word on when to come back, the model server's
/// own included.
pub(super) async fn tell(mut response: Response) -> Response {
    let wait = match response.status() {
        StatusCode::TOO_MANY_REQUESTS => SPENT,
        StatusCode::SERVICE_UNAVAILABLE => AWAY,
        _ => return response,
    };
    let headers = response.headers_mut();
    headers
        .entry(RETRY_AFTER)
        .or_insert_with(|| wait.as_secs().into());
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::HeaderValue;

    use super::*;

    #[tokio::test]
    async fn who_is_sent_away_is_told_when_to_come_back() {
        for (status, said, told) in [
            (StatusCode::TOO_MANY_REQUESTS, None, Some("3600")),
            (StatusCode::TOO_MANY_REQUESTS, Some("7"), Some("7")),
            (StatusCode::SERVICE_UNAVAILABLE, None, Some("5")),
            (StatusCode::SERVICE_UNAVAILABLE, Some("2"), Some("2")),
            (StatusCode::OK, None, None),
            (StatusCode::BAD_GATEWAY, None, None),
        ] {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            if let Some(said) = said {
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from_static(said));
            }
            let response = tell(response).await;
            let wait = response
                .headers()
                .get(RETRY_AFTER)
                .map(|wait| wait.to_str().expect("text"));
            assert_eq!(wait, told, "{status}");
        }
    }
}
