//! The command line.

mod client_config;
mod config;
mod demo;
mod doctor;
mod error;
mod key;
mod ledger;
mod limit;
mod migrate;
mod openapi;
mod price;
mod project;
mod serve;
mod signing_key;
mod token;
mod user;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::error::CommandError;
use crate::config::{Environment, Loaded, Sources};

/// What stands below the help.
const AFTER: &str = "\
Settings come from the file, the environment and flags; `llm-gate config show` prints those in force.
Exit codes: 0 done, 1 failed, 2 asked or configured wrongly.";

/// The gate in front of self-hosted language models: accounts, API keys, limits and metering
#[derive(Debug, Parser)]
#[command(name = "llm-gate", version, after_help = AFTER)]
struct Cli {
    /// The configuration file; ./llm-gate.toml if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (what happens without a command)
    Serve(serve::Arguments),
    /// Try everything with a scripted model server, then keep serving
    Demo(demo::Arguments),
    /// Make the database, or bring its tables up to date
    Migrate,
    /// Manage user accounts
    #[command(subcommand)]
    User(user::Command),
    /// Manage projects and their members
    #[command(subcommand)]
    Project(project::Command),
    /// Manage API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Make an operator key; prints it, this once, and its hash for API_TOKEN_HASH
    Token,
    /// Make the files that access tokens are signed with
    #[command(subcommand)]
    SigningKey(signing_key::Command),
    /// Set how much of what may be used, for how long
    #[command(subcommand)]
    Limit(limit::Command),
    /// Set what the tokens of models cost and count
    #[command(subcommand)]
    Price(price::Command),
    /// Look into the books
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Look whether all is as it should be, and say what to do where it is not
    Doctor,
    /// Show the configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Print what to paste into a client
    ClientConfig(client_config::Arguments),
    /// Print the OpenAPI document of the HTTP interface
    Openapi,
}

/// Runs the command of the process's arguments.
///
/// Errors go to standard error in one line; the exit code is 1 for what failed and 2 for what was asked
/// or configured wrongly.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return CommandError::from(error).report(),
    };
    match runtime.block_on(run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

async fn run(cli: Cli) -> Result<(), CommandError> {
    let mut sources = Sources {
        file: cli.config,
        environment: Environment::of_process(),
        flags: Vec::new(),
    };
    match cli
        .command
        .unwrap_or_else(|| Command::Serve(serve::Arguments::default()))
    {
        Command::Serve(arguments) => {
            sources.flags = arguments.flags();
            serve::run(sources.load()?).await
        }
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Migrate => migrate::run(load(sources)?).await,
        Command::User(command) => user::run(load(sources)?, command).await,
        Command::Project(command) => project::run(load(sources)?, command).await,
        Command::Key(command) => key::run(load(sources)?, command).await,
        Command::Token => token::run(),
        // Needs no settings, and may be what is missing in them.
        Command::SigningKey(command) => signing_key::run(command),
        Command::Limit(command) => limit::run(load(sources)?, command).await,
        Command::Price(command) => price::run(load(sources)?, command).await,
        Command::Ledger(command) => ledger::run(load(sources)?, command).await,
        Command::Doctor => doctor::run(sources.load()).await,
        Command::Config(command) => config::run(&load(sources)?, &command),
        Command::ClientConfig(arguments) => client_config::run(&load(sources)?, &arguments),
        Command::Openapi => openapi::run(),
    }
}

fn load(sources: Sources) -> Result<Loaded, CommandError> {
    Ok(sources.load()?)
}
