//! Connections that know whether they have answered before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::Upstream;

#[cfg(feature = "tls")]
type Transport = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Transport = HttpConnector;

type TransportStream = <Transport as Service<Uri>>::Response;
type Connecting = Pin<Box<dyn Future<Output = Result<Stream<TransportStream>, BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Makes the connections of the pool.
#[derive(Clone)]
pub(super) struct Connector(Transport);

/// Whether a connection has answered before, and is silent since something was sent on it: the one case in
/// which a request that got no answer may only have met a connection that was just being closed.
#[derive(Clone, Default)]
pub(super) struct Proven(Arc<Marks>);

#[derive(Default)]
struct Marks {
    answered: AtomicBool,
    /// How many reads had a result since something was sent; the end of the stream counts as one.
    reads: AtomicU32,
}

impl Proven {
    /// Notes on the connection of `response`'s extensions that it answers.
    pub(super) fn note(extensions: &Extensions) {
        if let Some(Self(marks)) = extensions.get() {
            marks.answered.store(true, Ordering::Relaxed);
        }
    }

    /// Tells whether `connected` has answered before, but since something was sent last had no more than
    /// `reads` results of reading.
    pub(super) fn is(connected: &Connected, reads: u32) -> bool {
        let mut extensions = Extensions::new();
        connected.get_extras(&mut extensions);
        extensions.get::<Self>().is_some_and(|Self(marks)| {
            marks.answered.load(Ordering::Relaxed) && marks.reads.load(Ordering::Relaxed) <= reads
        })
    }

    fn wrote(&self) {
        self.0.reads.store(0, Ordering::Relaxed);
    }

    fn read(&self) {
        self.0.reads.fetch_add(1, Ordering::Relaxed);
    }
}

impl Connector {
    pub(super) fn new(upstream: &Upstream) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_connect_timeout(Some(upstream.connect_timeout));
        http.enforce_http(false);
        Self(transport(http))
    }
}

#[cfg(feature = "tls")]
fn transport(http: HttpConnector) -> Transport {
    hyper_rustls::HttpsConnectorBuilder::new()
        .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())
        .expect("the provider speaks TLS 1.2 and 1.3")
        .https_or_http()
        .enable_http1()
        .wrap_connector(http)
}

#[cfg(not(feature = "tls"))]
const fn transport(http: HttpConnector) -> Transport {
    http
}

impl Service<Uri> for Connector {
    type Response = Stream<TransportStream>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let inner = connecting.await?;
            Ok(Stream {
                inner,
                proven: Proven::default(),
            })
        })
    }
}

pin_project! {
    /// A connection with its mark.
    pub(super) struct Stream<T> {
        #[pin]
        inner: T,
        proven: Proven,
    }
}

impl<T: Connection> Connection for Stream<T> {
    fn connected(&self) -> Connected {
        self.inner.connected().extra(self.proven.clone())
    }
}

impl<T: Read> Read for Stream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        ready!(this.inner.poll_read(cx, buf))?;
        this.proven.read();
        Poll::Ready(Ok(()))
    }
}

impl<T: Write> Write for Stream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.proven.wrote();
        this.inner.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().inner.poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.proven.wrote();
        this.inner.poll_write_vectored(cx, bufs)
    }
}
