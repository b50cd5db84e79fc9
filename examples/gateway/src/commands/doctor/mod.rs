//! Looks whether all is as it should be, and says what to do where it is not. Changes nothing.

mod books;
mod files;
mod network;

use std::fmt::Display;

use super::error::{CommandError, chain, say};
use crate::config::{ConfigError, Loaded};

/// What was found, a line each.
#[derive(Debug, Default)]
struct Findings {
    failed: u32,
}

impl Findings {
    /// All is well.
    fn good(&self, check: &str, words: impl Display) -> Result<(), CommandError> {
        say!("ok    {check:<9} {words}")
    }

    /// It works, and should be another way.
    fn warn(&self, check: &str, words: impl Display) -> Result<(), CommandError> {
        say!("warn  {check:<9} {words}")
    }

    /// It does not work.
    fn fail(&mut self, check: &str, words: impl Display) -> Result<(), CommandError> {
        self.failed += 1;
        let words = words.to_string().replace('\n', " ");
        say!("fail  {check:<9} {words}")
    }
}

/// Checks everything, in the order in which one thing needs another.
pub(super) async fn run(loaded: Result<Loaded, ConfigError>) -> Result<(), CommandError> {
    let mut findings = Findings::default();
    match loaded {
        Ok(loaded) => {
            let found = &mut findings;
            files::settings(found, &loaded)?;
            files::secrets(found, &loaded.config)?;
            files::folder(found, &loaded.config)?;
            books::check(found, &loaded.config).await?;
            network::upstream(found, &loaded.config).await?;
            network::mail(found, &loaded.config).await?;
            let runs = network::gateway(found, &loaded.config).await?;
            network::clients(found, &loaded.config, runs).await?;
        }
        Err(error) => findings.fail("settings", chain(&error))?,
    }
    match findings.failed {
        0 => Ok(()),
        1 => Err(CommandError::failed("one check failed")),
        failed => Err(CommandError::failed(format!("{failed} checks failed"))),
    }
}
