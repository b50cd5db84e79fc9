use clap::Subcommand;

use super::error::{CommandError, say};
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
                say!("{} = {value}  # {}", setting.name, loaded.origin(setting))?;
            }
            for (name, model) in &loaded.config.models {
                let fields = [
                    ("context_length", model.context_length),
                    ("output_cap", model.output_cap),
                    ("allowance", model.allowance),
                    ("bytes_factor", model.bytes_factor),
                ];
                for (field, value) in fields {
                    if let Some(value) = value {
                        say!("models.{name:?}.{field} = {value}  # file")?;
                    }
                }
            }
            Ok(())
        }
    }
}
