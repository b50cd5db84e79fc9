//! What an open stream costs in memory: the same streams through a bare hyper proxy and through the
//! gate, each in a process of its own whose resident set is read from outside.
//!
//! ```text
//! cargo run --release -p llm-gate-benches --bin streams [STREAMS]
//! ```
//!
//! Upstream and clients live in the first process. Everything stays on the loopback interface, and
//! everything ends with the first process.

use std::convert::Infallible;
use std::error::Error;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use llm_gate::call::{CallLayer, Model, Models};
use llm_gate::identity::{Credential, Principal, ProjectId, UserId};
use llm_gate::ledger::Ledger;
use llm_gate::meter::TokenMeterLayer;
use llm_gate::proxy::{Upstream, VllmProxyService};
use llm_gate::quota::QuotaLayer;
use llm_gate::store::MemoryStore;
use scripted_vllm::{Config, ScriptedVllm};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tower::{Service, ServiceBuilder, service_fn};

type Failure = Box<dyn Error + Send + Sync>;

/// How many streams are opened unless the command line says otherwise.
const STREAMS: usize = 1000;
/// How many events each client reads before it counts as open.
const EVENTS: usize = 4;
/// How long the whole may take.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", upstream] => serve(bare(upstream.parse()?)).await,
        ["gate", upstream] => serve(gate(upstream.parse()?)?).await,
        [] => timeout(LIMIT, compare(STREAMS)).await?,
        [streams] => timeout(LIMIT, compare(streams.parse()?)).await?,
        _ => Err("usage: streams [STREAMS]".into()),
    }
}

/// Opens the streams through both, and prints the difference.
async fn compare(streams: usize) -> Result<(), Failure> {
    let mut config = Config::default();
    // Slow enough to stay open, fast enough that every stream has been at work.
    config.pace = Duration::from_millis(500);
    config.keep_requests = 0;
    let upstream = ScriptedVllm::start(config).await?;
    let mut grown = Vec::new();
    for kind in ["bare", "gate"] {
        let (process, address) = start(kind, &upstream.url()).await?;
        let pid = process.id().ok_or("it has ended")?;
        // One stream first: what a first stream sets up is not a matter of each.
        let first = open(&address, 1).await?;
        let before = resident(pid)?;
        let clients = open(&address, streams).await?;
        sleep(Duration::from_secs(1)).await;
        let after = resident(pid)?;
        drop((first, clients));
        let mib = (after - before) as f64 / f64::from(1 << 20);
        let each = (after - before) as f64 / 1024.0 / streams as f64;
        println!("{kind}: {streams} open streams take {mib:.1} MiB, {each:.1} KiB each");
        grown.push(mib);
    }
    println!("the gate takes {:.1} MiB more", grown[1] - grown[0]);
    Ok(())
}

/// Starts this program as a server and reads where it listens.
async fn start(kind: &str, upstream: &str) -> Result<(Child, String), Failure> {
    let mut process = Command::new(std::env::current_exe()?)
        .args([kind, upstream])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = process.stdout.take().ok_or("it has no output")?;
    let mut address = String::new();
    BufReader::new(stdout).read_line(&mut address).await?;
    Ok((process, address.trim().to_owned()))
}

/// Opens streams, reads the first events of each, and keeps them open. Their readers go on reading.
async fn open(address: &str, streams: usize) -> Result<Streams, Failure> {
    let mut opened = Vec::with_capacity(streams);
    let mut readers = Streams(Vec::with_capacity(streams));
    for _ in 0..streams {
        let mut client = TcpStream::connect(address).await?;
        client.write_all(request().as_bytes()).await?;
        let (told, is_open) = tokio::sync::oneshot::channel();
        readers.0.push(tokio::spawn(read(client, told)));
        opened.push(is_open);
    }
    for is_open in opened {
        is_open.await.map_err(|_| "a stream ended early")?;
    }
    Ok(readers)
}

/// The readers of open streams, which end with it.
struct Streams(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Streams {
    fn drop(&mut self) {
        for reader in &self.0 {
            reader.abort();
        }
    }
}

async fn read(mut client: TcpStream, told: tokio::sync::oneshot::Sender<()>) {
    let mut told = Some(told);
    let mut buffer = [0; 4096];
    let mut events = 0;
    while let Ok(read @ 1..) = client.read(&mut buffer).await {
        let text = &buffer[..read];
        events += text.windows(6).filter(|word| word == b"data: ").count();
        if events >= EVENTS
            && let Some(told) = told.take()
        {
            let _ = told.send(());
        }
    }
}

fn request() -> String {
    let body = r#"{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":1000,"ignore_eos":true,"stream":true}"#;
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gate.example\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Reads the resident set of a process, in bytes.
fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}

/// A proxy that does nothing but pass on.
fn bare(
    upstream: Uri,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Incoming>,
    Error = hyper_util::client::legacy::Error,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    let authority = Arc::new(upstream.into_parts().authority);
    service_fn(move |mut request: Request<Incoming>| {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(http::uri::Scheme::HTTP);
        uri.authority.clone_from(&authority);
        *request.uri_mut() = Uri::from_parts(uri).expect("a path and an authority");
        request.headers_mut().remove(http::header::HOST);
        client.request(request)
    })
}

/// The gate: everything but authentication, which keeps nothing while a stream runs.
fn gate(
    upstream: Uri,
) -> Result<
    impl Service<
        Request<Incoming>,
        Response = Response<impl Body<Data = Bytes, Error: Into<Failure>> + Send + 'static>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static,
    Failure,
> {
    let (user, project) = (UserId::new(), ProjectId::new());
    let model = Model::new("tiny").context_length(4096);
    Ok(ServiceBuilder::new()
        .map_request(move |mut request: Request<Incoming>| {
            let principal = Principal::new(user, project, Credential::Session);
            request.extensions_mut().insert(principal);
            request
        })
        .layer(CallLayer::new(Models::fixed([model])))
        .layer(QuotaLayer::new(Ledger::spawn(Arc::new(MemoryStore::new()))))
        .layer(TokenMeterLayer::new())
        .service(VllmProxyService::new(Upstream::new(upstream)?)))
}

/// Serves until standard input closes, which it does when the first process ends.
async fn serve<S, B>(service: S) -> Result<(), Failure>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<Failure>, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Body<Data = Bytes, Error: Into<Failure>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let mut nothing = Vec::new();
    let mut input = tokio::io::stdin();
    let closed = input.read_to_end(&mut nothing);
    tokio::pin!(closed);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut closed => return Ok(()),
        };
        let (stream, _) = accepted?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            // A client that left is no failure here.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
