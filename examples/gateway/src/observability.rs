//! The log and the metrics of the process. Both are global, so both are installed at most once.

use std::fs::DirBuilder;
use std::io::{self, IsTerminal};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use llm_gate::error::{Envelope, Rejection};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};

use crate::config::{LogConfig, LogFormat, LogRotation};

/// How often histograms are folded; without it they grow.
const UPKEEP: Duration = Duration::from_secs(5);

/// Seconds, from a cached answer to a long stream.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0,
];

/// Operations that are written together.
const BATCHES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Starts the log. A log that is there already stays.
///
/// # Errors
///
/// Fails if its files cannot be written.
pub fn install_log(config: &LogConfig) -> io::Result<()> {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let files = config.folder.as_ref().map(|folder| files(config, folder));
    let files = files.transpose()?;
    let writer = match files {
        Some(files) => BoxMakeWriter::new(io::stderr.and(files)),
        None => BoxMakeWriter::new(io::stderr),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colours are for terminals, and no file is one.
        .with_ansi(config.folder.is_none() && io::stderr().is_terminal())
        .with_writer(writer);
    // Fails only where somebody else has installed one.
    let _ = match config.format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}

/// Opens the files of the log, in a folder that is the owner's alone if it is made here.
fn files(config: &LogConfig, folder: &Path) -> io::Result<RollingFileAppender> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    RollingFileAppender::builder()
        .rotation(match config.rotation {
            LogRotation::Hourly => Rotation::HOURLY,
            LogRotation::Daily => Rotation::DAILY,
            LogRotation::Never => Rotation::NEVER,
        })
        .filename_prefix("llm-gate")
        .filename_suffix("log")
        .max_log_files(usize::try_from(config.files).unwrap_or(usize::MAX))
        .build(folder)
        .map_err(io::Error::other)
}

/// Installs the recorder of the process; `None` where somebody else has installed one.
pub fn install_metrics() -> Option<PrometheusHandle> {
    RECORDER
        .get_or_init(|| {
            let seconds = Matcher::Suffix("_seconds".to_owned());
            let operations = Matcher::Suffix("_operations".to_owned());
            PrometheusBuilder::new()
                .set_buckets_for_metric(seconds, &BUCKETS)
                .ok()?
                .set_buckets_for_metric(operations, &BATCHES)
                .ok()?
                .install_recorder()
                .ok()
        })
        .clone()
}

/// Folds histograms for as long as it is polled.
pub async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// The routes of the listener for operators.
pub fn routes(handle: Option<PrometheusHandle>) -> Router {
    Router::new()
        .route("/metrics", get(async move || render(handle.as_ref())))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "no such route"))
        .method_not_allowed_fallback(async || {
            refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "no such method on this route",
            )
        })
}

fn refuse(status: StatusCode, words: &'static str) -> Response {
    let rejection = Rejection::new(status, "invalid_request_error", words);
    let response = rejection.into_response::<Body>(Envelope::Detail);
    response.map(Body::new)
}

fn render(handle: Option<&PrometheusHandle>) -> Response {
    match handle {
        Some(handle) => (
            [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
            handle.render(),
        )
            .into_response(),
        None => refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "another recorder is installed in this process",
        ),
    }
}
