//! Listeners and connections: HTTP/1.1 and HTTP/2 on one port, every wait bounded, and an end that lets
//! open streams finish.

mod doors;
mod received;
mod request;
mod requests;
mod served;
mod stall;
mod unparsed;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use self::doors::Doors;
use self::requests::{Counting, Requests};
use self::served::Served;
pub use self::stall::StallGuard;
use self::unparsed::Unparsed;
use crate::config::ServerConfig;
use crate::edge::Peer;

/// The largest header block that is allowed.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The most header lines that are allowed.
const MAX_HEADERS: usize = 128;
/// The largest list of headers that is read over HTTP/2, and what clients are told of that: one that is larger than is
/// allowed is answered better when it was read. As many as [`MAX_STREAMS`] lie in memory at once, until the first of them
/// is looked at, and one that is not whole yet for as long as its connection: so not much more.
const MAX_READ_BYTES: u32 = 128 * 1024;
/// The most requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 128;
/// How often a silent connection of HTTP/2 is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long a client may be silent in the middle of a body.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// How long a body may take in all.
const BODY_TOTAL: Duration = Duration::from_secs(300);
/// How long to wait when no connection can be accepted, as when all file descriptors are in use.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener serves.
#[derive(Clone, Debug)]
pub struct Routes {
    /// Answers requests, each time with an id that was never said before: over HTTP/2 h2's own answers are told from these
    /// by how little they say.
    pub served: Router,
    /// Answers for requests that could not be read, see [`refusals`](crate::edge::refusals).
    pub refusals: Router,
}

/// Serves `routes` on `listener` until `stop` says so or its sender is gone, then lets requests under
/// way finish within the drain time and cuts what is left.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    config: &ServerConfig,
    mut stop: watch::Receiver<bool>,
) {
    let builder = builder(config);
    let stall = Duration::from_secs(config.stalled_write_seconds);
    let opening = Duration::from_secs(config.header_timeout_seconds);
    let places = Arc::new(Semaphore::new(config.max_connections));
    let doors = Doors::new(config);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            accepted = accept(&listener, &places) => accepted,
            // Reaps the finished ones, so that the set does not grow.
            Some(_) = connections.join_next() => continue,
        };
        let (stream, peer, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(inside) = doors.enter(peer.ip()) else {
            // Closed without a word: whoever has so many open does not wait for one.
            metrics::counter!("llm_gate_connections_refused_total").increment(1);
            tracing::debug!(address = %peer.ip(), "too many connections");
            continue;
        };
        let requests = Arc::new(Requests::default());
        let stream = StallGuard::new(stream, stall).opening(opening);
        let refusals = routes.refusals.clone();
        let stream = Unparsed::new(stream, Arc::clone(&requests), refusals, Peer(peer));
        let routes = routes.clone();
        let peer = Peer(peer);
        let service = Counting::new(Served { routes, peer }, requests);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = connection.into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            let _places = (place, inside);
            if let Err(error) = connection.await {
                tracing::debug!(error = &*error, "connection ended");
            }
        });
    }
    drop(listener);
    let drained = tokio::time::timeout(
        Duration::from_secs(config.drain_seconds),
        graceful.shutdown(),
    );
    if drained.await.is_err() {
        tracing::warn!(
            open = connections.len(),
            "cutting streams that outlast the drain time"
        );
    }
    // Waits for each task to be gone: its bodies are dropped, so its requests are settled.
    connections.shutdown().await;
}

/// Waits for a free place first: connections beyond the limit wait in the kernel's queue.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Without it every event of a stream waits for the acknowledgement of the one before.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

/// Whether the trouble is with one connection, gone before it was accepted, rather than with accepting.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::InvalidInput
    )
}

fn builder(config: &ServerConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(config.header_timeout_seconds))
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_READ_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL);
    builder
}
