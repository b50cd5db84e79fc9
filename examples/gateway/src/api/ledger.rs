use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use llm_gate::identity::RequestId;
use llm_gate::store::Check;
use serde_json::{Value, json};

use super::caller::Admin;
use super::error::ApiError;
use super::fields::{Fields, QueryFields};
use super::views::{CallView, FindingView};
use crate::app::App;
use crate::export::{self, Export, Format};
use crate::presumed::{Refunded, refund};

/// How many presumed charges a page has unless asked for, and at most.
const PAGE: (u32, u32) = (50, 100);

const NO_RESERVATION: &str = "no such reservation";

pub(super) async fn verify(
    State(app): State<App>,
    Admin: Admin,
) -> Result<Answer<Value>, ApiError> {
    // It goes on after its client has left, so who asks again and again must not take every connection there is.
    let audit = {
        let app = app.clone();
        tokio::spawn(async move {
            let Ok(_one) = app.audits.try_acquire() else {
                return None;
            };
            Some(app.store.verify(Check::new(app.clock.now())).await)
        })
    };
    let verified = audit.await.unwrap_or(None);
    let busy = || ApiError::new(StatusCode::CONFLICT, "the books are being checked");
    let verification = verified.ok_or_else(busy)??;
    let findings = verification.findings.iter().map(FindingView::from);
    let findings: Vec<FindingView> = findings.collect();
    Ok(Answer(json!({
        "clean": verification.is_clean(),
        "counters": verification.counters,
        "ledger_rows": verification.lines,
        "writers": verification.writers,
        "reservations": verification.reservations,
        "pending": verification.pending,
        "findings": findings,
        "total_findings": verification.found(),
    })))
}

/// Streams the ledger. Nothing is kept open between pages, however slowly the client reads.
pub(super) async fn export(
    State(app): State<App>,
    Admin: Admin,
    QueryFields(mut fields): QueryFields,
) -> Result<Response, ApiError> {
    let format = match fields.text("format") {
        None => Format::default(),
        Some(word) => Format::from_word(&word).unwrap_or_else(|| {
            fields.refuse("format", "must be csv or jsonl");
            Format::default()
        }),
    };
    let (from, to) = (day(&mut fields, "from"), day(&mut fields, "to"));
    if let Err(reason) = export::in_order(from, to) {
        fields.refuse("to", reason);
    }
    fields.finish()?;
    let mut export = Export::new(Arc::clone(&app.store), format, from, to);
    // While nothing is sent, a store that cannot answer is still a 503.
    let first = export.next().await?.unwrap_or_default();
    let rest = stream::try_unfold(export, |mut export| async move {
        let next = export.next().await.inspect_err(|error| {
            // The client sees an answer that breaks off.
            tracing::warn!(error = error as &dyn std::error::Error, "export broken off");
        })?;
        Ok::<_, llm_gate::store::StoreError>(next.map(|text| (text, export)))
    });
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
    let word = format.word();
    let headers = [
        (CONTENT_TYPE, format.media_type().to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"ledger.{word}\""),
        ),
    ];
    Ok((headers, body).into_response())
}

fn day(fields: &mut Fields, name: &str) -> Option<jiff::civil::Date> {
    let text = fields.text(name)?;
    export::day(&text)
        .map_err(|reason| fields.refuse(name, reason))
        .ok()
}

pub(super) async fn presumed(
    State(app): State<App>,
    Admin: Admin,
    QueryFields(mut fields): QueryFields,
) -> Result<Answer<Value>, ApiError> {
    let limit = fields.number("limit", PAGE.0, PAGE.1);
    let cursor = fields.text("cursor").map(|text| text.parse::<RequestId>());
    if let Some(Err(_)) = cursor {
        fields.refuse("cursor", "must be the next_cursor of an earlier page");
    }
    fields.finish()?;
    // One more than is shown says whether there is another page.
    let after = cursor.and_then(Result::ok);
    let mut calls = app.store.presumed(after, limit + 1).await?;
    let more = calls.len() > limit as usize;
    calls.truncate(limit as usize);
    let next_cursor = calls.last().filter(|_| more).map(|call| call.id);
    let calls: Vec<CallView> = calls.into_iter().map(CallView::from).collect();
    Ok(Answer(
        json!({ "presumed": calls, "next_cursor": next_cursor }),
    ))
}

pub(super) async fn refund_presumed(
    State(app): State<App>,
    Admin: Admin,
    Path(id): Path<String>,
) -> Result<Answer<CallView>, ApiError> {
    let id: RequestId = id
        .parse()
        .map_err(|_| ApiError::not_found(NO_RESERVATION))?;
    match refund(&*app.store, id, app.clock.now()).await? {
        Refunded::Done(call) => {
            tracing::info!(reservation = %id, "a presumed charge is refunded");
            Ok(Answer(call.into()))
        }
        Refunded::NotPresumed(_) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "the charge of this reservation is not presumed",
        )),
        Refunded::Unknown => Err(ApiError::not_found(NO_RESERVATION)),
    }
}
