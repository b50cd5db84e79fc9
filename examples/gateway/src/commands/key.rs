use clap::Subcommand;
use llm_gate::auth::KeyHasher;
use llm_gate::identity::{KeyGrants, KeyId};
use llm_gate::store::{ApiKey, Author, KeyName, Store};

use super::error::{CommandError, say};
use super::user;
use crate::accounts::{self, KeyRequest};
use crate::config::Loaded;
use crate::secrets::Secrets;

/// How many keys of a project are shown.
const MOST: u32 = 1000;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key for a user's personal project; prints it, this once
    Create {
        /// A user name or an e-mail address
        user: String,
        /// What the key is called
        #[arg(long, default_value = "key")]
        name: String,
        /// Cut calls that do not fit down to what is left, instead of refusing them
        #[arg(long)]
        clamps: bool,
    },
    /// List the keys of a user
    List {
        /// A user name or an e-mail address
        user: String,
    },
    /// Revoke a key
    Revoke {
        /// A user name or an e-mail address
        user: String,
        /// The key's id, or its visible beginning
        key: String,
    },
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let config = loaded.config;
    let store = user::open(&config).await?;
    match command {
        Command::Create { user, name, clamps } => {
            let secrets = Secrets::load(&config)?;
            let hasher = KeyHasher::new(secrets.pepper.expose().as_bytes())
                .map_err(|error| CommandError::wrong(error.to_string()))?;
            create(&*store, &hasher, &user, &name, clamps).await
        }
        Command::List { user } => {
            say!("ID\tPREFIX\tNAME\tSTATE")?;
            for key in keys(&*store, &user).await? {
                let state = if key.revoked_at.is_some() {
                    "revoked"
                } else {
                    "active"
                };
                say!("{}\tlg_{}\t{}\t{state}", key.id, key.public_id, key.name)?;
            }
            Ok(())
        }
        Command::Revoke { user, key } => revoke(&*store, &user, &key).await,
    }
}

async fn create(
    store: &dyn Store,
    hasher: &KeyHasher,
    user: &str,
    name: &str,
    clamps: bool,
) -> Result<(), CommandError> {
    let name = accounts::key_name(name)
        .map_err(|reason| CommandError::wrong(format!("the name of a key {reason}")))?;
    let user = user::find(store, user).await?;
    let request = KeyRequest {
        name,
        user: user.id,
        project: user.personal_project,
        expires_at: None,
        grants: KeyGrants {
            clamps,
            ..KeyGrants::default()
        },
        author: Author::now(),
    };
    let (key, secret) = accounts::create_key(store, hasher, request).await?;
    say!("created {} for {}", key.id, user::called(&user))?;
    say!("key, shown this once: {}", secret.expose())?;
    Ok(())
}

async fn revoke(store: &dyn Store, user: &str, wanted: &str) -> Result<(), CommandError> {
    let owner = user::find(store, user).await?;
    let id: Option<KeyId> = wanted.parse().ok();
    let named = |key: &ApiKey| Some(key.id) == id || wanted == format!("lg_{}", key.public_id);
    let found = keys(store, user).await?.into_iter().find(named);
    let Some(key) = found else {
        return Err(CommandError::failed(format!("{user:?} has no such key")));
    };
    let name = KeyName {
        project: key.project,
        owner: Some(owner.id),
        id: key.id,
    };
    store.revoke_key(name, Author::now()).await?;
    say!("revoked lg_{}", key.public_id)?;
    Ok(())
}

/// Reads the keys of a user in all its projects.
async fn keys(store: &dyn Store, user: &str) -> Result<Vec<ApiKey>, CommandError> {
    let user = user::find(store, user).await?;
    let mut keys = Vec::new();
    for membership in store.projects_of(user.id).await? {
        keys.extend(
            store
                .keys(membership.project.id, Some(user.id), None, MOST)
                .await?,
        );
    }
    Ok(keys)
}
