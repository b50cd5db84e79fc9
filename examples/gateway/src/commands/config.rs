use clap::Subcommand;

use super::error::CommandError;
use crate::config::{Loaded, SETTINGS};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print every setting in force and where it comes from, secrets redacted
    Show,
}

pub(super) fn run(loaded: &Loaded, command: &Command) -> Result<(), CommandError> {
    match command {
        Command::Show => {
            for setting in SETTINGS {
                let value = setting.show(&loaded.config);
                println!("{} = {value}  # {}", setting.name, loaded.origin(setting));
            }
            for (name, model) in &loaded.config.models {
                println!("models.{name:?} = {model:?}  # file");
            }
            Ok(())
        }
    }
}
