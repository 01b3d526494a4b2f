//! Who held what at a moment in the past, by the record or by an export of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use crate::api::Grant;
use crate::plan::developer::seconds;
use crate::plan::export::Line;
use crate::plan::holdings::{Filter, held_at, moment, newest};

use super::connect::Connect;
use super::holdings::{Output, View, show};
use super::read::list;
use super::{Failure, complain, print};

/// Say who held which Role at a moment, where, by whom and why, and how it ended since.
///
/// It reads the Grants of the cluster, which are kept for the time of the value audit.retention; or, with --from, an export of them (audit.export),
/// which needs no cluster. Workspaces are not part of the record. Exits with 0, also if nobody held anything, and with 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher who-had --at 2026-10-31T17:00:00Z                   everybody, at that second
  usher who-had --at 2026-10-31 --developer ada             ada, as that day began in UTC
  usher who-had --at 2026-10-31 --role backend -o csv       for a spreadsheet
  usher who-had --at 2025-10-31 --from grants.jsonl         from an export, also of what is no longer kept in the cluster")]
pub struct WhoHad {
    #[command(flatten)]
    connect: Connect,
    /// The moment: RFC 3339, or a date, which means its beginning in UTC
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Timestamp,
    /// Only of this Developer
    #[arg(long, value_name = "DEVELOPER")]
    developer: Option<String>,
    /// Only of this Role
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// How to print it
    #[arg(long, short = 'o', default_value = "table")]
    output: Output,
    /// An export, of JSON lines, instead of the cluster
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

impl WhoHad {
    /// Prints who held what.
    pub async fn execute(self) -> Result<(), Failure> {
        if self.at > Timestamp::now() {
            return Err(format!(
                "--at {} is still to come; what manifests would give then says `usher plan -f DIR --at TIME`",
                seconds(self.at)
            )
            .into());
        }
        let filter = Filter { developer: self.developer.clone(), role: self.role.clone() };
        let grants = match &self.from {
            Some(file) => from_export(file)?,
            None => {
                let selector = filter.developer.as_ref().map(|name| format!("spec.developer.name={name}"));
                let parameters = selector.iter().fold(ListParams::default(), |parameters, selector| parameters.fields(selector));
                list::<Grant>(&Api::all(self.connect.client().await?), &parameters).await?
            }
        };
        let oldest = grants.iter().map(|grant| grant.spec.since.0).min();
        if oldest.is_none_or(|oldest| self.at < oldest) {
            let begins = oldest.map_or_else(|| "is empty".to_owned(), |oldest| format!("begins at {}", seconds(oldest)));
            complain(&format!("note: the record that was read {begins}: what was before that it does not say"));
        }
        print(&show(&held_at(&grants, self.at, &filter), View::Then, self.output))
    }
}

/// Reads an export. A line that was cut off, as when a disk was full, was written again later, so it is counted and passed over.
fn from_export(file: &Path) -> Result<Vec<Grant>, Failure> {
    let cannot = |error: &std::io::Error| format!("cannot read the export {}: {error}", file.display());
    let reader = BufReader::new(File::open(file).map_err(|error| cannot(&error))?);
    let (mut grants, mut others, mut broken) = (Vec::new(), 0_usize, 0_usize);
    for line in reader.split(b'\n') {
        let line = line.map_err(|error| cannot(&error))?;
        match serde_json::from_slice::<Line>(&line) {
            Ok(line) => match line.grant() {
                Some(grant) => grants.push(grant),
                None => others += 1,
            },
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => broken += 1,
        }
    }
    if grants.is_empty() && others == 0 && broken > 0 {
        return Err(format!("{} is not an export of usher's: none of its {broken} lines is one of its JSON lines", file.display()).into());
    }
    if broken > 0 {
        complain(&format!("note: {broken} lines of {} are not whole and were passed over", file.display()));
    }
    Ok(newest(grants))
}
