//! Whether a database has the tables that this program works with.

use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationSource};
use diesel_migrations::EmbeddedMigrations;

use crate::error::OpenError;

/// How the tables of a database compare with those that this program works with, by the versions of the migrations that
/// made them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tables {
    /// What has not run yet. Opening the database runs it.
    pub pending: Vec<String>,
    /// What has run and this program does not know: a later one was here.
    pub unknown: Vec<String>,
    /// Whether nothing has run at all.
    pub empty: bool,
}

impl Tables {
    /// Compares what has run with all there is.
    pub(crate) fn compare<B: Backend>(
        all: &EmbeddedMigrations,
        run: &[String],
    ) -> Result<Self, OpenError> {
        let known: Vec<Box<dyn Migration<B>>> = all.migrations().map_err(OpenError::Migrate)?;
        let mut known: Vec<String> = known
            .iter()
            .map(|migration| migration.name().version().to_string())
            .collect();
        known.sort();
        let missing_in = |those: &[String], these: &[String]| -> Vec<String> {
            let these = these.iter().filter(|version| !those.contains(version));
            these.cloned().collect()
        };
        Ok(Self {
            pending: missing_in(run, &known),
            unknown: missing_in(&known, run),
            empty: run.is_empty(),
        })
    }
}
