use clap::{Args, Subcommand};
use llm_gate::clock::{Clock, SystemClock};
use llm_gate::identity::Subject;
use llm_gate::store::{
    Author, Limit, LimitChange, LimitKey, MAX_LIMITS, Period, Store, StoreErrorKind, Unit, Zone,
};
use llm_gate::tokens::Amount;
use uuid::Uuid;

use super::error::{CommandError, say};
use super::user;
use crate::accounts;
use crate::config::Loaded;

/// Whom a limit can be for, in the words of the help.
const WHO: &str = "\
WHO is one of
  user:NAME, project:ID, key:ID, key:lg_…   one of them
  user, project, key                        each one that has no limit of its own
  platform                                  everybody together";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List the limits in force for somebody and how they stand; those for all unless said
    #[command(after_help = WHO)]
    List {
        /// Whose
        who: Option<String>,
    },
    /// Set a limit, or change it; in force from the next request on
    #[command(after_help = WHO)]
    Set {
        #[command(flatten)]
        which: Which,
        /// How much; money in millionths
        #[arg(value_parser = amount)]
        amount: Amount,
        /// Whose clocks days and months follow, such as Europe/Berlin
        #[arg(long, default_value = "UTC", value_parser = zone)]
        zone: Zone,
    },
    /// Remove a limit
    #[command(after_help = WHO)]
    Remove {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Whose
    who: String,
    /// tokens, requests or money
    #[arg(long, default_value = "tokens", value_parser = unit)]
    unit: Unit,
    /// total, month, day or minute
    #[arg(long, default_value = "total", value_parser = period)]
    period: Period,
    /// Of one model only
    #[arg(long, value_parser = accounts::model_name)]
    model: Option<String>,
}

fn unit(text: &str) -> Result<Unit, &'static str> {
    Unit::from_word(text).ok_or("must be tokens, requests or money")
}

fn period(text: &str) -> Result<Period, &'static str> {
    Period::from_word(text).ok_or("must be total, month, day or minute")
}

fn zone(text: &str) -> Result<Zone, String> {
    let zone: Result<Zone, _> = text.parse();
    zone.map_err(|error| error.to_string())
}

fn amount(text: &str) -> Result<Amount, String> {
    let amount = text.parse().ok().and_then(Amount::try_new);
    amount.ok_or_else(|| format!("must be a whole number up to {}", Amount::MAX))
}

pub(super) async fn run(loaded: Loaded, command: Command) -> Result<(), CommandError> {
    let store = user::open(&loaded.config).await?;
    let store = &*store;
    match command {
        Command::List { who } => list(store, who.as_deref()).await,
        Command::Set {
            which,
            amount,
            zone,
        } => {
            let key = which.key(store).await?;
            let limit = Limit {
                key,
                zone,
                amount,
                voluntary: false,
            };
            let change = LimitChange::set(limit.clone(), Author::now());
            let set = store.change_limit(change).await;
            set.map_err(|error| match error.kind() {
                StoreErrorKind::Conflict => {
                    CommandError::failed(format!("there are {MAX_LIMITS} limits of it already"))
                }
                _ => error.into(),
            })?;
            say!("{}: {amount}", named(&limit.key))
        }
        Command::Remove { which } => {
            let key = which.key(store).await?;
            let set = store.limits(Some(key.subject)).await?;
            if !set.iter().any(|limit| limit.key == key) {
                let words = format!("there is no limit of {}", named(&key));
                return Err(CommandError::failed(words));
            }
            let name = named(&key);
            let change = LimitChange::remove(key, Author::now());
            store.change_limit(change).await?;
            say!("{name}: no limit")
        }
    }
}

impl Which {
    async fn key(self, store: &dyn Store) -> Result<LimitKey, CommandError> {
        Ok(LimitKey {
            subject: subject(store, &self.who).await?,
            model: self.model.map(Into::into),
            unit: self.unit,
            period: self.period,
        })
    }
}

async fn list(store: &dyn Store, who: Option<&str>) -> Result<(), CommandError> {
    let subjects = match who {
        Some(who) => vec![subject(store, who).await?],
        None => vec![
            Subject::Platform,
            Subject::EACH_USER,
            Subject::EACH_PROJECT,
            Subject::EACH_KEY,
        ],
    };
    say!("WHO\tMODEL\tUNIT\tPERIOD\tZONE\tLIMIT\tUSED\tHELD\tLEFT")?;
    for subject in subjects {
        // What stands for each of a kind uses nothing itself.
        if subject.each() == Some(subject) {
            for limit in store.limits(Some(subject)).await? {
                line(&limit, ["", "", ""].map(str::to_owned))?;
            }
        } else {
            for (limit, standing) in store.standings(subject, SystemClock.now()).await? {
                let left = standing.remaining().unwrap_or_default();
                let figures = [standing.used, standing.reserved, left];
                line(&limit, figures.map(|amount| amount.to_string()))?;
            }
        }
    }
    Ok(())
}

fn line(limit: &Limit, [used, held, left]: [String; 3]) -> Result<(), CommandError> {
    let LimitKey {
        subject,
        model,
        unit,
        period,
    } = &limit.key;
    let model = model.as_deref().unwrap_or("all");
    let (zone, amount) = (&limit.zone, limit.amount);
    say!("{subject}\t{model}\t{unit}\t{period}\t{zone}\t{amount}\t{used}\t{held}\t{left}")
}

fn named(key: &LimitKey) -> String {
    let LimitKey {
        subject,
        model,
        unit,
        period,
    } = key;
    let model = model.as_ref().map(|model| format!(" for {model}"));
    format!("{period} {unit} of {subject}{}", model.unwrap_or_default())
}

/// Reads whom a limit is for.
async fn subject(store: &dyn Store, who: &str) -> Result<Subject, CommandError> {
    let wrong =
        || CommandError::wrong(format!("{who:?} is nobody that can be limited; see --help"));
    let Some((kind, one)) = who.split_once(':') else {
        return Subject::from_parts(who, Uuid::nil()).ok_or_else(wrong);
    };
    let subject = match (kind, one.parse::<Uuid>()) {
        (_, Ok(id)) if id.is_nil() => None,
        ("platform", _) => None,
        (kind, Ok(id)) => Subject::from_parts(kind, id),
        ("user", Err(_)) => Some(Subject::User(user::find(store, one).await?.id)),
        ("key", Err(_)) => {
            let public_id = one.strip_prefix("lg_").unwrap_or(one).to_owned();
            let found = store.key_by_public_id(public_id).await?;
            let found = found.ok_or_else(|| CommandError::failed(format!("there is no {who}")))?;
            Some(Subject::Key(found.key.id))
        }
        _ => None,
    };
    let subject = subject.ok_or_else(wrong)?;
    if store.knows(subject).await? {
        return Ok(subject);
    }
    Err(CommandError::failed(format!("there is no {who}")))
}
