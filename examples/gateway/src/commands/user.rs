use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use llm_gate::identity::{Role, Subject};
use llm_gate::store::{Author, Store, User};
use llm_gate::tokens::Tokens;
use rand::TryRng;
use rand::rngs::SysRng;

use super::error::{CommandError, say};
use crate::accounts::{self, Names};
use crate::config::{Config, Database, Loaded, Secret};
use crate::database;
use crate::passwords::{Passwords, Policy};

/// How many accounts are read at once.
const PAGE: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; prints a generated password, this once
    Create {
        /// A user name or an e-mail address
        name: String,
        /// Let it manage everybody
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
        /// How many tokens it may spend in total: a number or "none"; limits.default_user unless said
        #[arg(long, value_name = "TOKENS", value_parser = limit)]
        token_limit: Option<Limit>,
    },
    /// List accounts
    List,
    /// Set how many tokens an account may spend in total
    SetLimit {
        /// A user name or an e-mail address
        name: String,
        /// A number or "none"
        #[arg(value_parser = limit)]
        tokens: Limit,
    },
    /// Stop an account: its keys, its sessions, its calls
    Disable {
        /// A user name or an e-mail address
        name: String,
    },
    /// Let an account work again
    Enable {
        /// A user name or an e-mail address
        name: String,
    },
}

/// A limit as it is typed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit(Option<Tokens>);

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let tokens = text.parse().ok().and_then(Tokens::try_new);
    tokens
        .map(|tokens| Limit(Some(tokens)))
        .ok_or_else(|| format!("must be \"none\" or a whole number up to {}", Tokens::MAX))
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let config = loaded.config;
    let store = open(&config).await?;
    match command {
        Command::Create {
            name,
            admin,
            password_stdin,
            token_limit,
        } => {
            let role = if admin { Role::Admin } else { Role::User };
            let limit = token_limit.map_or(Some(config.limits.default_user), |limit| limit.0);
            create(&config, &*store, &name, role, password_stdin, limit).await
        }
        Command::List => list(&*store).await,
        Command::SetLimit { name, tokens } => {
            let user = find(&*store, &name).await?;
            store.set_limit(Subject::User(user.id), tokens.0).await?;
            say!("{}: {}", called(&user), shown(tokens.0))?;
            Ok(())
        }
        Command::Disable { name } => set_disabled(&*store, &name, true).await,
        Command::Enable { name } => set_disabled(&*store, &name, false).await,
    }
}

/// Opens the books for a command beside the server.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Store>, CommandError> {
    if matches!(config.database()?, Database::Memory) {
        return Err(CommandError::wrong(
            "a database in memory ends with this command; set DATABASE_URL to a file",
        ));
    }
    Ok(database::open(config).await?)
}

async fn create(
    config: &Config,
    store: &dyn Store,
    name: &str,
    role: Role,
    from_stdin: bool,
    limit: Option<Tokens>,
) -> Result<(), CommandError> {
    let names = Names::of(name)
        .map_err(|reason| CommandError::wrong(format!("the name {name:?} {reason}")))?;
    let (password, generated) = if from_stdin {
        (typed()?, false)
    } else {
        (generate()?, true)
    };
    Policy::new(&config.passwords)
        .check(password.expose(), &names.all())
        .map_err(|reason| CommandError::wrong(format!("the password {reason}")))?;
    let hash = Passwords::new(&config.passwords)
        .hash(password.clone())
        .await?;
    let user = store
        .create_user(names.account(hash, role, limit, Author::now()))
        .await?;
    say!("created {} ({})", called(&user), user.id)?;
    if generated {
        say!("password, shown this once: {}", password.expose())?;
    }
    Ok(())
}

/// Reads the first line of standard input.
fn typed() -> Result<Secret, CommandError> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(Secret::from(line.trim_end_matches(['\r', '\n'])))
}

fn generate() -> Result<Secret, CommandError> {
    let mut bytes = [0; 24];
    SysRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| CommandError::failed(format!("no random numbers: {error}")))?;
    Ok(Secret::from(URL_SAFE_NO_PAD.encode(bytes)))
}

async fn list(store: &dyn Store) -> Result<(), CommandError> {
    say!("NAME\tROLE\tUSED\tLIMIT\tSTATE")?;
    let mut after = None;
    loop {
        let users = store.users(after, PAGE).await?;
        for user in &users {
            let standing = store.standing(Subject::User(user.id)).await?;
            let role = if user.role == Role::Admin {
                "admin"
            } else {
                "user"
            };
            let state = if user.disabled { "disabled" } else { "active" };
            let (used, limit) = (standing.used, shown(standing.limit));
            say!("{}\t{role}\t{used}\t{limit}\t{state}", called(user))?;
        }
        match users.last() {
            Some(last) if users.len() == PAGE as usize => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

async fn set_disabled(store: &dyn Store, name: &str, disabled: bool) -> Result<(), CommandError> {
    let user = find(store, name).await?;
    if !store
        .set_user_disabled(user.id, disabled, Author::now())
        .await?
    {
        return Err(CommandError::failed(format!(
            "{} is the last admin who is enabled: make another one first",
            called(&user)
        )));
    }
    let state = if disabled { "disabled" } else { "enabled" };
    say!("{}: {state}", called(&user))?;
    Ok(())
}

pub(super) async fn find(store: &dyn Store, name: &str) -> Result<User, CommandError> {
    let found = store.user_by_login(accounts::login(name)).await?;
    found
        .map(|record| record.user)
        .ok_or_else(|| CommandError::failed(format!("no user is called {name:?}")))
}

pub(super) fn called(user: &User) -> &str {
    let names = user.username.as_deref().or(user.email.as_deref());
    names.unwrap_or("(no name)")
}

fn shown(limit: Option<Tokens>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string())
}
