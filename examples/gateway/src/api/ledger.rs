use std::sync::Arc;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use jiff::civil::Date;
use llm_gate::identity::RequestId;
use llm_gate::store::Check;
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::caller::{Admin, By};
use super::document::{Reply, Sketch};
use super::error::ApiError;
use super::fields::{DAY, Fields, Input, Page, Path, Query, Word};
use super::taker::Taker;
use super::views::{CallView, FindingView, Presumed, Verified};
use crate::app::App;
use crate::export::{self, Export, Format};
use crate::presumed::{Refunded, refund};

const NO_RESERVATION: &str = "no such reservation";

/// Checks the books: every counter against the rows, every row against its hash.
#[utoipa::path(
    get,
    path = "/api/v1/ledger/verify",
    responses((status = 409, description = "The books are being checked for somebody else"))
)]
pub(super) async fn verify(State(app): State<App>, _: Admin) -> Result<Answer<Verified>, ApiError> {
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
    Ok(Answer(Verified {
        clean: verification.is_clean(),
        counters: verification.counters,
        ledger_rows: verification.lines,
        writers: verification.writers,
        reservations: verification.reservations,
        pending: verification.pending,
        findings: findings.collect(),
        total_findings: verification.found(),
    }))
}

/// Which part of the ledger is wanted, and how.
pub(super) struct Extract {
    format: Format,
    from: Option<Date>,
    to: Option<Date>,
}

impl Input for Extract {
    const NAME: &'static str = "Extract";

    fn read(fields: &mut Fields) -> Option<Self> {
        const FORMAT: Word<Format> = Word::new(
            || vec![Format::Csv.word(), Format::Jsonl.word()],
            Format::from_word,
        );
        let format = fields.optional("format", "How lines are written; csv unless said", &FORMAT);
        let from = fields.optional("from", "The first day, in UTC", &DAY);
        let to = fields.optional("to", "The last day, in UTC, which is included", &DAY);
        if let Err(reason) = export::in_order(from, to) {
            fields.refuse("to", reason);
        }
        Some(Self {
            format: format.unwrap_or_default(),
            from,
            to,
        })
    }

    fn example() -> Value {
        json!({ "format": "csv", "from": "2026-12-01", "to": "2026-12-31" })
    }
}

/// A file that is streamed.
pub(super) struct Download(Response);

impl IntoResponse for Download {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Reply for Download {
    fn describe(sketch: &mut Sketch) {
        let lines = || ObjectBuilder::new().schema_type(Type::String).into();
        sketch.answer(
            StatusCode::OK,
            "The ledger, a line a row",
            [("text/csv", lines()), ("application/jsonl", lines())],
        );
    }
}

/// Exports the ledger.
///
/// An export that breaks off ends without the end of its last chunk, so that no client takes it for whole.
#[utoipa::path(get, path = "/api/v1/ledger/export")]
pub(super) async fn export(
    State(app): State<App>,
    _: Admin,
    taker: Taker,
    Query(Extract { format, from, to }): Query<Extract>,
) -> Result<Download, ApiError> {
    // Nothing is kept open between pages, however slowly the client reads.
    let mut export = Export::new(Arc::clone(&app.store), format, from, to);
    // While nothing is sent, a store that cannot answer is still a 503.
    let first = export.next().await?.unwrap_or_default();
    let parts = (export, taker.by_admin());
    let rest = stream::try_unfold(parts, |(mut export, mut taking)| async move {
        let next = match taking.ask().await {
            Ok(()) => export.next().await.map_err(ApiError::from),
            Err(error) => Err(error),
        };
        let next = next.inspect_err(|error| {
            // The client sees an answer that breaks off.
            tracing::warn!(%error, "export broken off");
        })?;
        Ok::<_, ApiError>(next.map(|text| (text, (export, taking))))
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
    Ok(Download((headers, body).into_response()))
}

/// Lists reservations whose charge is presumed, page by page, the oldest first.
#[utoipa::path(get, path = "/api/v1/ledger/presumed")]
pub(super) async fn presumed(
    State(app): State<App>,
    _: Admin,
    Query(page): Query<Page<RequestId>>,
) -> Result<Answer<Presumed>, ApiError> {
    let found = app.store.presumed(page.after, page.ask()).await?;
    let page = page.of(found, |call| call.id);
    Ok(Answer(Presumed {
        presumed: page.entries.into_iter().map(CallView::from).collect(),
        next_cursor: page.next,
    }))
}

/// Refunds a presumed charge. Again is the same.
#[utoipa::path(
    post,
    path = "/api/v1/ledger/presumed/{id}/refund",
    responses(
        (status = 404, description = "No such reservation"),
        (status = 409, description = "The charge of the reservation is not presumed"),
    )
)]
pub(super) async fn refund_presumed(
    State(app): State<App>,
    _: Admin,
    By(author): By,
    Path(id): Path<String>,
) -> Result<Answer<CallView>, ApiError> {
    let id: RequestId = id
        .parse()
        .map_err(|_| ApiError::not_found(NO_RESERVATION))?;
    match refund(&*app.store, id, author).await? {
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
