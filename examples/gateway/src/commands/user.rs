use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Subcommand;
use llm_gate::identity::{Role, Subject};
use llm_gate::store::{Author, Store, User, UserChange, UserOutcome};
use llm_gate::tokens::Tokens;
use rand::TryRng;
use rand::rngs::SysRng;

use super::error::{CommandError, say};
use super::key::hasher;
use crate::accounts::{self, Names};
use crate::config::{Config, Database, Loaded, Secret};
use crate::database;
use crate::mail;
use crate::passwords::{Passwords, Policy};

/// How many accounts are read at once.
const PAGE: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; prints a generated password, this once
    Create {
        /// A user name or an e-mail address
        name: String,
        /// Let it manage everybody; the same as --role admin
        #[arg(long, conflicts_with = "role")]
        admin: bool,
        /// What it may do on the platform: user or admin
        #[arg(long, default_value = "user", value_parser = role)]
        role: Role,
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
    /// Say what an account may do on the platform
    SetRole {
        /// A user name, an e-mail address or an id
        name: String,
        /// user or admin
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Give an account another password and end its sessions; prints a generated one, this once
    ResetPassword {
        /// A user name, an e-mail address or an id
        name: String,
        /// Read the password from standard input instead
        #[arg(long)]
        password_stdin: bool,
    },
    /// Make a link that sets a new password, for a user who is kept out; prints it, this once
    ResetLink {
        /// A user name, an e-mail address or an id
        name: String,
    },
    /// Delete an account, its personal project and its keys; what it used stays in the books
    Delete {
        /// A user name, an e-mail address or an id
        name: String,
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

fn role(text: &str) -> Result<Role, &'static str> {
    match text {
        "user" => Ok(Role::User),
        "admin" => Ok(Role::Admin),
        _ => Err("must be user or admin"),
    }
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::User => "user",
    }
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
            role,
            password_stdin,
            token_limit,
        } => {
            let role = if admin { Role::Admin } else { role };
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
        Command::SetRole { name, role } => {
            let change = UserChange {
                role: Some(role),
                ..UserChange::default()
            };
            let user = change_user(&*store, &name, change).await?;
            say!("{}: {}", called(&user), word(user.role))
        }
        Command::ResetPassword {
            name,
            password_stdin,
        } => reset_password(&config, &*store, &name, password_stdin).await,
        Command::ResetLink { name } => reset_link(&config, &*store, &name).await,
        Command::Delete { name } => {
            let user = find(&*store, &name).await?;
            outcome(store.delete_user(user.id, Author::now()).await?)?;
            say!("deleted {} ({})", called(&user), user.id)
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
    let password = Password::new(config, &names.all(), from_stdin)?;
    let hash = password.hash(config).await?;
    let user = store
        .create_user(names.account(hash, role, limit, Author::now()))
        .await?;
    say!("created {} ({})", called(&user), user.id)?;
    password.show()
}

async fn reset_password(
    config: &Config,
    store: &dyn Store,
    name: &str,
    from_stdin: bool,
) -> Result<(), CommandError> {
    let user = find(store, name).await?;
    let names = [&user.email, &user.username].into_iter().flatten();
    let names: Vec<&str> = names.map(String::as_str).collect();
    let password = Password::new(config, &names, from_stdin)?;
    let hash = password.hash(config).await?;
    if !store
        .set_password(user.id, hash, None, Author::now())
        .await?
    {
        return Err(CommandError::failed("a service has no password"));
    }
    say!("{}: password set, sessions ended", called(&user))?;
    password.show()
}

/// Lets somebody choose a password who is kept out by those who guess at it.
async fn reset_link(config: &Config, store: &dyn Store, name: &str) -> Result<(), CommandError> {
    let user = find(store, name).await?;
    accounts::resettable(&user).map_err(CommandError::failed)?;
    let hasher = hasher(config)?;
    let (token, _) = accounts::create_reset(store, &hasher, user.id, Author::now()).await?;
    let token = token.expose();
    match address(config) {
        Some(web_url) => say!(
            "link, shown this once: {}",
            mail::reset_link(&web_url, token)
        )?,
        None => {
            say!("token, shown this once: {token}")?;
            let path = mail::reset_link("", "…");
            say!(
                "it goes to {path} at the address that users come to, which WEB_URL does not tell"
            )?;
        }
    }
    let minutes = accounts::RESET_FOR.as_secs() / 60;
    let name = called(&user);
    say!("{name}: sets a password within {minutes} minutes, once; another password voids it")
}

/// Returns the address that users come to, where the settings tell.
fn address(config: &Config) -> Option<String> {
    let (host, port) = (config.server.host, config.server.port);
    let told = config.web_url.is_some() || (!host.is_unspecified() && port != 0);
    let web_url = told.then(|| config.web_url((host, port).into()))?;
    Some(web_url.trim_end_matches('/').to_owned())
}

/// A password for somebody.
struct Password {
    secret: Secret,
    generated: bool,
}

impl Password {
    fn new(config: &Config, names: &[&str], from_stdin: bool) -> Result<Self, CommandError> {
        let secret = if from_stdin { typed()? } else { generate()? };
        Policy::new(&config.passwords)
            .check(secret.expose(), names)
            .map_err(|reason| CommandError::wrong(format!("the password {reason}")))?;
        Ok(Self {
            secret,
            generated: !from_stdin,
        })
    }

    async fn hash(&self, config: &Config) -> Result<String, CommandError> {
        let passwords = Passwords::new(&config.passwords);
        Ok(passwords.hash(self.secret.clone()).await?)
    }

    /// Prints one that nobody has seen yet.
    fn show(&self) -> Result<(), CommandError> {
        if self.generated {
            say!("password, shown this once: {}", self.secret.expose())?;
        }
        Ok(())
    }
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
            let role = word(user.role);
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
    let change = UserChange {
        disabled: Some(disabled),
        ..UserChange::default()
    };
    let user = change_user(store, name, change).await?;
    let state = if disabled { "disabled" } else { "enabled" };
    say!("{}: {state}", called(&user))
}

async fn change_user(
    store: &dyn Store,
    name: &str,
    change: UserChange,
) -> Result<User, CommandError> {
    let user = find(store, name).await?;
    outcome(store.change_user(user.id, change, Author::now()).await?)
}

fn outcome(outcome: UserOutcome) -> Result<User, CommandError> {
    Err(CommandError::failed(match outcome {
        UserOutcome::Done(user) => return Ok(user),
        UserOutcome::LastAdmin => {
            "this is the last admin who is enabled: make another one first".to_owned()
        }
        UserOutcome::LastOwner(project) => format!(
            "this is the only owner of the project {project} with other members: make another one first, or archive it"
        ),
        UserOutcome::LastName => "a user name or an e-mail address is required".to_owned(),
        _ => "there is no such person".to_owned(),
    }))
}

/// Finds an account by its id, its user name or its e-mail address. Services are called by their id only.
pub(super) async fn find(store: &dyn Store, name: &str) -> Result<User, CommandError> {
    if let Ok(id) = name.parse()
        && let Some(user) = store.user(id).await?
    {
        return Ok(user);
    }
    let found = store.user_by_login(accounts::login(name)).await?;
    found
        .map(|record| record.user)
        .ok_or_else(|| CommandError::failed(format!("no user is called {name:?}")))
}

pub(super) fn called(user: &User) -> &str {
    let names = [&user.username, &user.email, &user.name];
    let name = names.into_iter().flatten().next();
    name.map_or("(no name)", String::as_str)
}

fn shown(limit: Option<Tokens>) -> String {
    limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string())
}
