use clap::Args;
use figment::value::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CommandError;
use crate::config::Loaded;
use crate::{Gateway, observability};

/// What can be said on the command line, over file and environment.
#[derive(Debug, Default, Args)]
pub(super) struct Arguments {
    /// The address to listen on
    #[arg(long)]
    host: Option<String>,
    /// The port to listen on
    #[arg(long)]
    port: Option<u16>,
    /// Who may make an account: open, invite or closed
    #[arg(long)]
    registration: Option<String>,
    /// Where database and generated secrets lie
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
}

impl Arguments {
    pub(super) fn flags(self) -> Vec<(&'static str, Value)> {
        let texts = [
            ("server.host", self.host),
            ("registration", self.registration),
            ("data_dir", self.data_dir),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text?.into())));
        texts
            .chain(self.port.map(|port| ("server.port", port.into())))
            .collect()
    }
}

pub(super) async fn run(loaded: Loaded) -> Result<(), CommandError> {
    let log = observability::install_log(&loaded.config.log);
    log.map_err(|error| CommandError::failed(format!("the log cannot be written: {error}")))?;
    // Before anything that takes time, so that no signal is lost.
    let mut signals = Signals::new()?;
    let running = Gateway::new(loaded.config).start().await?;
    let name = signals.next().await;
    tracing::info!(signal = name, "shutting down, once more to stop at once");
    tokio::select! {
        () = running.shutdown() => {
            tracing::info!("stopped");
            Ok(())
        }
        _ = signals.next() => Err(CommandError::failed("stopped before everything was drained")),
    }
}

/// The signals that ask for an end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, CommandError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
