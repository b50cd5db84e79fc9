//! The database: there, up to date, and somebody to manage it.

use llm_gate::identity::Role;
use llm_gate::store::Store;
use llm_gate_diesel::{OpenError, PgConfig, PgStore, SqliteConfig, SqliteStore, Tables};

use super::Findings;
use super::files::open_to_others;
use crate::commands::error::{CommandError, chain};
use crate::config::{Config, Database};
use crate::database;

const CHECK: &str = "database";
/// How many accounts are read at once.
const PAGE: u32 = 100;

pub(super) async fn check(found: &mut Findings, config: &Config) -> Result<(), CommandError> {
    let (place, tables) = match config.database()? {
        Database::Memory => {
            return found.warn(
                CHECK,
                "in memory: everything ends with the process; set DATABASE_URL to a file or a server",
            );
        }
        Database::Sqlite(path) if !path.exists() => {
            return found.warn(
                CHECK,
                format_args!(
                    "{} is not there yet; the gateway makes it, or: llm-gate migrate",
                    path.display()
                ),
            );
        }
        Database::Sqlite(path) => {
            let place = path.display().to_string();
            if let Some(mode) = open_to_others(&path) {
                found.warn(
                    CHECK,
                    format_args!(
                        "{place} is open to others (mode {mode:o}); run: chmod 600 {place}"
                    ),
                )?;
            }
            (place, SqliteStore::inspect(SqliteConfig::new(path)).await)
        }
        Database::Postgres(url) => {
            let place = "the server of DATABASE_URL".to_owned();
            (place, PgStore::inspect(PgConfig::new(url.expose())).await)
        }
    };
    if !compare(found, &place, tables)? {
        return Ok(());
    }
    match database::open(config).await {
        Ok(store) => admins(found, config, &*store).await,
        Err(error) => found.fail(CHECK, chain(&error)),
    }
}

/// Says how the tables are. Returns whether they can be read as they are.
fn compare(
    found: &mut Findings,
    place: &str,
    tables: Result<Tables, OpenError>,
) -> Result<bool, CommandError> {
    match tables {
        Err(error) => found.fail(
            CHECK,
            format_args!("{place}: {}; is DATABASE_URL right?", chain(&error)),
        )?,
        Ok(tables) if !tables.unknown.is_empty() => found.fail(
            CHECK,
            format_args!(
                "{place} was brought up to date by a later llm-gate ({}); use that one, or a backup",
                tables.unknown.join(", ")
            ),
        )?,
        Ok(tables) if !tables.pending.is_empty() => found.warn(
            CHECK,
            format_args!(
                "{place} lacks {} of its migrations; the gateway runs them when it starts, or: llm-gate migrate",
                tables.pending.len()
            ),
        )?,
        Ok(_) => {
            found.good(CHECK, format_args!("up to date: {place}"))?;
            return Ok(true);
        }
    }
    Ok(false)
}

async fn admins(
    found: &mut Findings,
    config: &Config,
    store: &dyn Store,
) -> Result<(), CommandError> {
    const CHECK: &str = "admins";
    let mut after = None;
    loop {
        let users = match store.users(after, PAGE).await {
            Ok(users) => users,
            Err(error) => return found.fail(CHECK, chain(&error)),
        };
        if users
            .iter()
            .any(|user| user.role == Role::Admin && !user.disabled)
        {
            return found.good(CHECK, "somebody can log in and manage the platform");
        }
        match users.last() {
            Some(last) if users.len() == PAGE as usize => after = Some(last.id),
            _ => break,
        }
    }
    if config.auth.api_token_hash.is_some() {
        return found.good(CHECK, "nobody but the holder of the operator key");
    }
    found.warn(
        CHECK,
        "nobody can manage the platform; make an account that can: llm-gate user create NAME --admin",
    )
}
