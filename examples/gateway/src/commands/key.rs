use std::time::Duration;

use clap::{Args, Subcommand};
use llm_gate::auth::{ApiKeySecret, KeyHasher};
use llm_gate::clock::{Clock, SystemClock, Timestamp};
use llm_gate::identity::{KeyGrants, KeyId, Network, ProjectId, Role, Scope};
use llm_gate::store::{ApiKey, Author, KeyName, NewKeySecret, Store, StoreErrorKind, User};

use super::error::{CommandError, say};
use super::user;
use crate::accounts::{self, KeyRequest};
use crate::config::{Config, Loaded};
use crate::secrets::Secrets;

/// How many keys are read at once.
const PAGE: u32 = 1000;
/// How long an old secret may work beside the new one, in seconds: a week.
const LONGEST_OVERLAP: u64 = 7 * 24 * 3600;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key for a user; prints it, this once
    Create {
        /// A user name or an e-mail address, or the id of an account, such as a service's
        user: String,
        #[command(flatten)]
        wanted: Wanted,
    },
    /// List the keys of a user
    List {
        /// A user name, an e-mail address or an id
        user: String,
    },
    /// Give a key another secret; prints it, this once
    Rotate {
        /// A user name, an e-mail address or an id
        user: String,
        /// The key's id, or its visible beginning
        key: String,
        /// How long the old secret works beside the new one, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 3600,
              value_parser = clap::value_parser!(u64).range(..=LONGEST_OVERLAP))]
        overlap: u64,
    },
    /// Revoke a key
    Revoke {
        /// A user name, an e-mail address or an id
        user: String,
        /// The key's id, or its visible beginning
        key: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// What the key is called
    #[arg(long, default_value = "key", value_parser = accounts::key_name)]
    name: String,
    /// The project its calls are made for, by its id; the user's personal one unless said
    #[arg(long, value_name = "ID")]
    project: Option<ProjectId>,
    /// What it may be used for, separated by commas: inference, models, usage, manage, admin
    #[arg(long, value_delimiter = ',', value_parser = scope, default_value = "inference,models")]
    scopes: Vec<Scope>,
    /// The models it may call, separated by commas; all unless said
    #[arg(long, value_delimiter = ',', value_parser = accounts::model_name)]
    models: Option<Vec<String>>,
    /// The addresses and networks it may be used from, separated by commas; any unless said
    #[arg(long, value_delimiter = ',')]
    networks: Option<Vec<Network>>,
    /// When it stops working by itself, such as 2026-12-31T23:59:59Z; never unless said
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    expires: Option<Timestamp>,
    /// Cut calls that do not fit down to what is left, instead of refusing them
    #[arg(long)]
    clamps: bool,
}

fn scope(text: &str) -> Result<Scope, &'static str> {
    Scope::from_word(text).ok_or("must be inference, models, usage, manage or admin")
}

fn moment(text: &str) -> Result<Timestamp, &'static str> {
    let moment: jiff::Timestamp = text
        .parse()
        .map_err(|_| "must be a moment such as 2026-12-31T23:59:59Z")?;
    let moment = Timestamp::from_micros(moment.as_microsecond());
    if moment <= SystemClock.now() {
        return Err("must lie in the future");
    }
    Ok(moment)
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let config = loaded.config;
    let store = user::open(&config).await?;
    let store = &*store;
    match command {
        Command::Create { user, wanted } => create(store, &hasher(&config)?, &user, wanted).await,
        Command::List { user } => list(store, &user).await,
        Command::Rotate { user, key, overlap } => {
            rotate(store, &hasher(&config)?, &user, &key, overlap).await
        }
        Command::Revoke { user, key } => {
            let (name, key) = find(store, &user, &key).await?;
            store.revoke_key(name, Author::now()).await?;
            say!("revoked lg_{}", key.public_id)
        }
    }
}

pub(super) fn hasher(config: &Config) -> Result<KeyHasher, CommandError> {
    let secrets = Secrets::load(config)?;
    let hasher = KeyHasher::new(secrets.pepper.expose().as_bytes());
    hasher.map_err(|error| CommandError::wrong(error.to_string()))
}

async fn create(
    store: &dyn Store,
    hasher: &KeyHasher,
    user: &str,
    wanted: Wanted,
) -> Result<(), CommandError> {
    let user = user::find(store, user).await?;
    let grants = wanted.grants(&user)?;
    let project = wanted.project.unwrap_or(user.personal_project);
    if store.membership(project, user.id).await?.is_none() {
        return Err(CommandError::failed(format!(
            "{} is no member of the project {project}",
            user::called(&user)
        )));
    }
    let request = KeyRequest {
        name: wanted.name,
        user: user.id,
        project,
        expires_at: wanted.expires,
        grants,
        author: Author::now(),
    };
    let made = accounts::create_key(store, hasher, request).await;
    let (key, secret) = match made {
        Err(error) if error.kind() == StoreErrorKind::Full => {
            return Err(CommandError::failed(format!(
                "{} has as many keys in the project as one may have: revoke one first",
                user::called(&user)
            )));
        }
        other => other?,
    };
    say!("created {} for {}", key.id, user::called(&user))?;
    shown(&secret)
}

impl Wanted {
    fn grants(&self, user: &User) -> Result<KeyGrants, CommandError> {
        let mut scopes = self.scopes.clone();
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.contains(&Scope::Admin) && user.role != Role::Admin {
            return Err(CommandError::wrong(
                "the scope \"admin\" is for keys of admins",
            ));
        }
        Ok(KeyGrants {
            scopes,
            models: self.models.clone(),
            networks: self.networks.clone(),
            clamps: self.clamps,
        })
    }
}

fn shown(secret: &ApiKeySecret) -> Result<(), CommandError> {
    say!("key, shown this once: {}", secret.expose())
}

async fn list(store: &dyn Store, user: &str) -> Result<(), CommandError> {
    let user = user::find(store, user).await?;
    say!("ID\tPREFIX\tNAME\tSTATE\tSCOPES\tPROJECT")?;
    let now = SystemClock.now();
    for key in keys(store, &user).await? {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "active",
        };
        let scopes: Vec<&str> = key.grants.scopes.iter().map(|of| of.as_str()).collect();
        let (id, public_id, name, project) = (key.id, key.public_id, key.name, key.project);
        let scopes = scopes.join(",");
        say!("{id}\tlg_{public_id}\t{name}\t{state}\t{scopes}\t{project}")?;
    }
    Ok(())
}

async fn rotate(
    store: &dyn Store,
    hasher: &KeyHasher,
    user: &str,
    wanted: &str,
    overlap: u64,
) -> Result<(), CommandError> {
    let (name, key) = find(store, user, wanted).await?;
    let secret = ApiKeySecret::sealed(hasher, key.user);
    let author = Author::now();
    let new = NewKeySecret {
        public_id: secret.public_id().to_owned(),
        hash: secret.hash(hasher),
        overlap_until: author.at.after(Duration::from_secs(overlap)),
        judged: None,
        author,
    };
    let rotated = store.rotate_key(name, new).await?;
    let key = rotated.ok_or_else(|| CommandError::failed("the key is revoked"))?;
    say!("rotated {}; the old secret works {overlap} s more", key.id)?;
    shown(&secret)
}

/// Finds a key of a user by its id or its visible beginning.
async fn find(
    store: &dyn Store,
    user: &str,
    wanted: &str,
) -> Result<(KeyName, ApiKey), CommandError> {
    let owner = user::find(store, user).await?;
    let id: Option<KeyId> = wanted.parse().ok();
    let named = |key: &ApiKey| Some(key.id) == id || wanted == format!("lg_{}", key.public_id);
    let found = keys(store, &owner).await?.into_iter().find(named);
    let key = found
        .ok_or_else(|| CommandError::failed(format!("{} has no such key", user::called(&owner))))?;
    let name = KeyName {
        project: key.project,
        owner: Some(owner.id),
        id: key.id,
    };
    Ok((name, key))
}

/// Reads the keys of a user in all its projects.
async fn keys(store: &dyn Store, user: &User) -> Result<Vec<ApiKey>, CommandError> {
    let mut keys = Vec::new();
    for membership in store.projects_of(user.id).await? {
        let (project, mut before) = (membership.project.id, None);
        loop {
            let page = store.keys(project, Some(user.id), before, PAGE).await?;
            before = page.last().map(|key| key.id);
            let last = page.len() < PAGE as usize;
            keys.extend(page);
            if last {
                break;
            }
        }
    }
    Ok(keys)
}
