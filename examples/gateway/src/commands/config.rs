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
            for (name, issuer) in &loaded.config.auth.issuers {
                let fields = [
                    ("jwks_url", format!("{:?}", issuer.jwks_url)),
                    ("audience", format!("{:?}", issuer.audience)),
                    ("algorithms", format!("{:?}", issuer.algorithms)),
                    ("accounts", format!("{:?}", issuer.accounts).to_lowercase()),
                ];
                for (field, value) in fields {
                    say!("auth.issuers.{name:?}.{field} = {value}  # file")?;
                }
            }
            for (name, provider) in &loaded.config.oauth {
                for (field, value) in provider.fields() {
                    let setting = format!("oauth.{name}.{field}");
                    // Those that a variable can set are in the list above.
                    if !SETTINGS.iter().any(|listed| listed.name == setting) {
                        say!("{setting} = {value}  # file")?;
                    }
                }
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
