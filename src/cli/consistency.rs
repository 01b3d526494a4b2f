//! Whether people have in every Environment what their Roles give them there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::json;

use crate::api::environment::Difference;
use crate::cluster::memory::Memory;
use crate::plan::consistency::{Cells, Tally, cells, difference};

use super::connect::Connect;
use super::everywhere::{everywhere, opened};
use super::table::{Output, table};
use super::{Failure, complain, print};

/// Say whether people have in every Environment what their Roles give them there, and nothing more; and name where not.
///
/// A cell is a person, a Role and an Environment that the Role names together with another. It is right if all that the Role gives was found in the cluster, and
/// no other binding names her there. It reads every cluster now, the others by the Secrets in usher's namespace; one that cannot be read is wrong.
///
/// Exits with 0 if the index is at the threshold or above, 1 if it is below, 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher consistency                        who has how many of her Roles where, and what is different
  usher consistency -e staging -e prod     only these Environments
  usher consistency --threshold 99.5       for a pipeline that bears a little
  usher consistency -o json                for programs")]
pub struct Consistency {
    #[command(flatten)]
    connect: Connect,
    /// The namespace that usher is installed in
    #[arg(long, short = 'n', env = "USHER_NAMESPACE", default_value = "usher-system")]
    namespace: String,
    /// Only this Environment; may be repeated
    #[arg(long = "environment", short = 'e', value_name = "ENVIRONMENT")]
    environments: Vec<String>,
    /// The least index in percent that is good enough
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = permille)]
    threshold: usize,
    /// How to print it
    #[arg(long, short = 'o', default_value = "table")]
    output: Output,
}

/// A percentage with at most one decimal, in thousandths.
fn permille(text: &str) -> Result<usize, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |part: &str| part.chars().all(|digit| digit.is_ascii_digit()).then(|| part.parse::<usize>().ok()).flatten();
    let parts = digits(whole).zip(digits(tenth)).filter(|(whole, _)| tenth.len() == 1 && *whole <= 100);
    let permille = parts.map(|(whole, tenth)| whole * 10 + tenth).filter(|permille| *permille <= 1000);
    permille.ok_or_else(|| format!("{text} is no percentage from 0 to 100 with at most one decimal, such as 99.5"))
}

/// What was found.
#[derive(Debug, Default)]
struct Sheet {
    /// How many of her Roles are right, by person and Environment.
    people: BTreeMap<String, BTreeMap<String, Tally>>,
    environments: BTreeMap<String, Tally>,
    differences: BTreeSet<(Difference, String)>,
    all: Tally,
}

impl Sheet {
    fn add(&mut self, role: &str, cells: &Cells) {
        for (environment, people) in cells {
            for (developer, fault) in people {
                let cell = Tally::of([fault]);
                let hers = self.people.entry(developer.clone()).or_default().entry(environment.clone()).or_default();
                *hers = hers.plus(cell);
                let here = self.environments.entry(environment.clone()).or_default();
                *here = here.plus(cell);
                self.all = self.all.plus(cell);
                self.differences.extend(fault.iter().map(|fault| (difference(role, developer, fault), environment.clone())));
            }
        }
    }
}

impl Consistency {
    /// Prints the index and what is different. Returns the exit code.
    pub async fn execute(self) -> Result<u8, Failure> {
        let memory = self.read().await?;
        let now = Timestamp::now();
        let sheet = memory.read(|content, scene| {
            let unknown = self.environments.iter().find(|name| content.world.environment(name).is_none());
            if let Some(name) = unknown {
                return Err(format!("uenv/{name} does not exist; `kubectl get uenv` lists those that do"));
            }
            let wanted = |name: &String| self.environments.is_empty() || self.environments.contains(name);
            let mut sheet = Sheet::default();
            for (name, role) in content.world.roles() {
                let mut cells = cells(scene, role, now);
                cells.retain(|environment, _| wanted(environment));
                sheet.add(name, &cells);
            }
            Ok(sheet)
        })?;
        print(&match self.output {
            Output::Table => in_columns(&sheet),
            Output::Json => format!("{:#}\n", as_json(&sheet)),
        })?;
        Ok(u8::from(sheet.all.right * 1000 < self.threshold * sheet.all.cells))
    }

    /// Reads what people wrote, and what every cluster holds.
    async fn read(&self) -> Result<Memory, Failure> {
        let (client, values, memory) = opened(&self.connect, &self.namespace).await?;
        everywhere(&memory, &client, values.terms()?, std::iter::empty()).await?;
        memory.read(|content, _| {
            for (cluster, trouble) in content.links.iter().filter_map(|(cluster, link)| Some((cluster, link.trouble.as_ref()?))) {
                complain(&format!("warning: {cluster}: {}", trouble.message));
            }
        });
        Ok(memory)
    }
}

fn in_columns(sheet: &Sheet) -> String {
    if sheet.all.cells == 0 {
        return "There is nothing to compare: nobody holds a Role with an access entry that names two Environments or more.\n".to_owned();
    }
    let headings: Vec<&str> = std::iter::once("DEVELOPER").chain(sheet.environments.keys().map(String::as_str)).collect();
    let row = |name: &str, tallies: &BTreeMap<String, Tally>| {
        let cell = |environment: &String| tallies.get(environment).map(ToString::to_string).unwrap_or_default();
        std::iter::once(name.to_owned()).chain(sheet.environments.keys().map(cell)).collect::<Vec<_>>()
    };
    let mut rows: Vec<_> = sheet.people.iter().map(|(name, tallies)| row(name, tallies)).collect();
    rows.push(row("(all)", &sheet.environments));
    let mut text = table(&headings, &rows);
    if !sheet.differences.is_empty() {
        let rows = sheet.differences.iter().map(|(it, environment)| {
            vec![format!("{:?}", it.kind), it.developer.clone(), it.role.clone(), environment.clone(), it.message.clone()]
        });
        text.push('\n');
        text.push_str(&table(&["DIFFERENCE", "DEVELOPER", "ROLE", "ENVIRONMENT", "WHAT"], &rows.collect::<Vec<_>>()));
    }
    format!("{text}\nconsistency: {} ({} cells)\n", sheet.all.percent().unwrap_or_default(), sheet.all)
}

fn as_json(sheet: &Sheet) -> serde_json::Value {
    let tally = |it: &Tally| json!({"consistency": it.percent(), "right": it.right, "cells": it.cells});
    let tallies = |all: &BTreeMap<String, Tally>| -> BTreeMap<String, serde_json::Value> {
        all.iter().map(|(environment, it)| (environment.clone(), tally(it))).collect()
    };
    let people = sheet.people.iter().map(|(name, hers)| json!({"developer": name, "environments": tallies(hers)}));
    let differences = sheet.differences.iter().map(|(it, environment)| {
        json!({"kind": it.kind, "developer": it.developer, "role": it.role, "environment": environment, "message": it.message})
    });
    json!({
        "consistency": sheet.all.percent(),
        "right": sheet.all.right,
        "cells": sheet.all.cells,
        "environments": tallies(&sheet.environments),
        "people": people.collect::<Vec<_>>(),
        "differences": differences.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_percentage_with_at_most_one_decimal() {
        let good = [("100", 1000), ("100%", 1000), ("99.5", 995), ("99.5%", 995), ("0", 0), ("100.0", 1000)];
        good.iter().for_each(|(text, permille_)| assert_eq!(permille(text), Ok(*permille_), "{text}"));
        for text in ["", "101", "100.1", "99.55", "-1", "a", "1.", ".5", "+5"] {
            assert!(permille(text).is_err(), "{text}");
        }
    }
}
