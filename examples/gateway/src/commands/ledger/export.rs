use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::civil::Date;
use llm_gate::store::Store;

use super::super::error::{CommandError, print};
use crate::export::{self, Export, Format};

#[derive(Debug, Args)]
pub(in crate::commands) struct Arguments {
    /// How lines are written
    #[arg(long, value_enum, default_value = "csv")]
    format: Format,
    /// The first day, in UTC
    #[arg(long, value_name = "DATE", value_parser = export::day)]
    from: Option<Date>,
    /// The last day, in UTC
    #[arg(long, value_name = "DATE", value_parser = export::day)]
    to: Option<Date>,
    /// Where to; standard output unless said
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) async fn run(store: Arc<dyn Store>, arguments: Arguments) -> Result<(), CommandError> {
    let Arguments {
        format,
        from,
        to,
        out,
    } = arguments;
    export::in_order(from, to)
        .map_err(|reason| CommandError::wrong(format!("the last day {reason}")))?;
    let mut export = Export::new(store, format, from, to);
    let Some(path) = out else {
        while let Some(text) = export.next().await? {
            print(format_args!("{text}"), "")?;
        }
        return Ok(());
    };
    let failed = |error: io::Error| {
        CommandError::failed(format!("cannot write {}: {error}", path.display()))
    };
    let mut file = BufWriter::new(File::create(&path).map_err(failed)?);
    while let Some(text) = export.next().await? {
        file.write_all(text.as_bytes()).map_err(failed)?;
    }
    let file = file.into_inner().map_err(|error| failed(error.into()))?;
    // Whoever deletes rows of an archive because they are in this file has them on the disk.
    file.sync_all().map_err(failed)
}
