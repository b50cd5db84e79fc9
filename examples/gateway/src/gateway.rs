use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use llm_gate::clock::{Clock, SystemClock};
use llm_gate::ledger::Ledger;
use llm_gate::proxy::{Upstream, VllmProxyService};
use llm_gate::store::Store;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::App;
use crate::catalog::Catalog;
use crate::config::Config;
use crate::edge::{Addresses, Hardening, Origins};
use crate::error::StartError;
use crate::mail::{self, Mailer, Relay};
use crate::passwords::Passwords;
use crate::secrets::Secrets;
use crate::stack::stack;
use crate::{api, books, database, edge, housekeeping, observability, server};

/// A gateway that is about to start.
///
/// Holds no global state but the metrics recorder, so many can live in one process.
pub struct Gateway {
    config: Config,
    store: Option<Arc<dyn Store>>,
    durable: bool,
    clock: Arc<dyn Clock>,
}

/// A gateway at work. Dropping it asks it to stop; [`shutdown`](Self::shutdown) also waits.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where operators find it.
    pub metrics_address: SocketAddr,
    catalog: Catalog,
    passwords: Passwords,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Gateway {
    /// Prepares a gateway.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            store: None,
            durable: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Keeps the books in `store`, whatever the configuration says.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Says that what [`store`](Self::store) was given outlives the process, so that a journal is kept in
    /// the data folder as beside a database of the configuration. Without a word there is none.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Reads the time from `clock`. The system's unless set.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Fails when a setting or secret is wrong, the database cannot be opened, or a port is in use.
    pub async fn start(self) -> Result<Running, StartError> {
        let config = self.config;
        config.check()?;
        let secrets = Secrets::load(&config)?;
        let recorder = observability::install_metrics();
        let operated = config.auth.api_token_hash.is_some();
        metrics::gauge!("token_configured").set(if operated { 1.0 } else { 0.0 });
        let durable = self.durable || self.store.is_none();
        let store = match self.store {
            Some(store) => store,
            None => database::open(&config).await?,
        };
        let clock = self.clock;
        let ledger = books::open(&config, Arc::clone(&store), durable, Arc::clone(&clock)).await?;
        let listener = listen((config.server.host, config.server.port).into()).await?;
        let operators = listen((config.metrics.host, config.metrics.port).into()).await?;
        let (address, metrics_address) = (address(&listener)?, address(&operators)?);

        let web_url = config.web_url(address);
        let (mailer, letters) = post_office(&config, &web_url)?.unzip();
        let app = App::new(config.clone(), &web_url, &secrets, store, clock, mailer)?;
        let learned = app.passwords.learn(&*app.store).await;
        learned.map_err(StartError::Accounts)?;
        let (books, clock) = (Arc::clone(&app.store), Arc::clone(&app.clock));
        let tidy = tokio::spawn(housekeeping::tidy(books, clock));
        let proxy = VllmProxyService::new(upstream(&config)?);
        let follow = tokio::spawn(app.catalog.clone().follow(proxy.clone()));
        let stack = stack(&app, ledger.clone(), proxy);
        let rate = app.rates.address.clone();
        let routes = api::management(app.clone()).merge(api::llm(app.clone(), stack));
        let upstream = config.upstream.url.clone();
        let hardening = Hardening::new(&config.headers, web_url.starts_with("https://"))?;
        let addresses = Addresses::new(config.server.clone());
        let origins = Origins::new(&config.cors.origins);
        let around = |routes| {
            let (addresses, origins) = (addresses.clone(), origins.clone());
            edge::around(routes, addresses, hardening.clone(), origins, rate.clone())
        };
        let public = server::Routes {
            served: around(routes),
            refusals: around(edge::refusals()),
        };
        // Operators come without TLS, by a listener of their own.
        let hardening = Hardening::new(&config.headers, false)?;
        let metrics = observability::routes(recorder.clone());
        let metrics = server::Routes {
            served: edge::around_operators(metrics, hardening.clone()),
            refusals: edge::around_operators(edge::refusals(), hardening),
        };
        let (stop, stopped) = watch::channel(false);
        let served = tokio::spawn(async move {
            let (public, operators) = ((listener, public), (operators, metrics));
            serve(&config, public, operators, recorder, stopped).await;
            follow.abort();
            tidy.abort();
            settle(&config, &ledger).await;
            if let Some(letters) = letters {
                mail::drain(letters, drain_time(&config)).await;
            }
        });
        tracing::info!(%address, %metrics_address, upstream, "listening");
        Ok(Running {
            address,
            metrics_address,
            catalog: app.catalog.clone(),
            passwords: app.passwords.clone(),
            stop,
            served,
        })
    }
}

impl Running {
    /// Returns the address as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until the upstream has told its models, before which calls are answered 503.
    pub async fn models_known(&self) {
        self.catalog.known().await;
    }

    /// Returns what hashes passwords.
    #[must_use]
    pub const fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Stops accepting, lets open streams finish within the drain time, settles everything, and waits
    /// for all of that.
    pub async fn shutdown(self) {
        // Fails only when it has stopped already.
        let _ = self.stop.send(true);
        if let Err(error) = self.served.await {
            tracing::error!(error = &error as &dyn std::error::Error, "shutdown failed");
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Serves until stopped and drained.
async fn serve(
    config: &Config,
    (listener, routes): (TcpListener, server::Routes),
    (operators, metrics): (TcpListener, server::Routes),
    recorder: Option<PrometheusHandle>,
    stopped: watch::Receiver<bool>,
) {
    let upkeep = recorder.map(|handle| tokio::spawn(observability::upkeep(handle)));
    let operators = tokio::spawn({
        let (config, stopped) = (config.server.clone(), stopped.clone());
        async move {
            server::serve(operators, metrics, &config, stopped).await;
        }
    });
    server::serve(listener, routes, &config.server, stopped).await;
    let _ = operators.await;
    if let Some(upkeep) = upkeep {
        upkeep.abort();
    }
}

/// Waits for the last settlements to be written.
async fn settle(config: &Config, ledger: &Ledger) {
    if tokio::time::timeout(drain_time(config), ledger.drain())
        .await
        .is_err()
    {
        tracing::error!(
            open = ledger.under_way(),
            "stopped before everything was settled"
        );
    }
}

fn drain_time(config: &Config) -> Duration {
    Duration::from_secs(config.server.drain_seconds.max(1))
}

/// Starts what writes to users, where a relay is configured.
fn post_office(
    config: &Config,
    web_url: &str,
) -> Result<Option<(Mailer, JoinHandle<()>)>, StartError> {
    let Some(url) = &config.mail.url else {
        return Ok(None);
    };
    let relay = Relay::new(url, &config.mail.from)?;
    Ok(Some(Mailer::start(relay, web_url)))
}

/// Describes the model server.
pub(crate) fn upstream(config: &Config) -> Result<Upstream, StartError> {
    let settings = &config.upstream;
    let upstream = Upstream::new(settings.url.parse()?)?
        .name(config.upstream_name()?)
        .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds))
        .stream_head_timeout(Duration::from_secs(settings.stream_head_timeout_seconds))
        .head_timeout(Duration::from_secs(settings.head_timeout_seconds))
        .idle_timeout(Duration::from_secs(settings.idle_timeout_seconds))
        .total_timeout(Duration::from_secs(settings.total_timeout_seconds));
    Ok(match &config.upstream.api_key {
        Some(key) => upstream.credential(key.expose())?,
        None => upstream,
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen { address, source })
}

fn address(listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        address: SocketAddr::from(([0; 4], 0)),
        source,
    })
}
