//! How holdings are printed.

use serde_json::json;

use crate::plan::holdings::Holding;
use crate::plan::target::environment_of;

use super::table::{csv, table};

/// How to print who holds what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For terminals.
    Table,
    /// For programs, with every field.
    Json,
    /// For spreadsheets, with every field.
    Csv,
}

/// From when the question looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// What is held now.
    Now,
    /// What was held then.
    Then,
}

const FIELDS: [&str; 17] = [
    "developer",
    "uid",
    "personId",
    "role",
    "roleRevision",
    "targets",
    "since",
    "until",
    "ended",
    "endedBy",
    "endedWhy",
    "via",
    "grantedBy",
    "onBehalfOf",
    "change",
    "reason",
    "grant",
];

/// The holdings as text.
pub fn show(holdings: &[Holding], view: View, output: Output) -> String {
    match output {
        Output::Json => format!("{:#}\n", json!(holdings)),
        Output::Csv => csv(&FIELDS, &holdings.iter().map(fields).collect::<Vec<_>>()),
        Output::Table if holdings.is_empty() && view == View::Now => "Nobody holds anything of that.\n".to_owned(),
        Output::Table if holdings.is_empty() => "Nobody held anything of that, as far as the record goes back.\n".to_owned(),
        Output::Table => in_columns(holdings, view),
    }
}

fn fields(holding: &Holding) -> Vec<String> {
    let value = json!(holding);
    let text = |field: &&str| match value.get(field) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(serde_json::Value::Array(items)) => items.iter().filter_map(|item| item.as_str()).collect::<Vec<_>>().join(" "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    FIELDS.iter().map(text).collect()
}

fn in_columns(holdings: &[Holding], view: View) -> String {
    let places = |holding: &Holding| {
        let short = holding.targets.iter().map(|target| environment_of(target).unwrap_or(target).to_owned());
        short.collect::<Vec<_>>().join(",")
    };
    let row = |holding: &Holding| {
        let mut row = vec![holding.developer.clone(), holding.role.clone(), places(holding), holding.since.clone()];
        match view {
            View::Now => row.push(holding.until.clone()),
            View::Then => row.extend([holding.ended.clone(), holding.ended_by.clone()]),
        }
        row.extend([holding.via.join(","), holding.granted_by.clone(), holding.reason.clone()]);
        row
    };
    let headings: &[&str] = match view {
        View::Now => &["DEVELOPER", "ROLE", "TARGETS", "SINCE", "UNTIL", "VIA", "GRANTED-BY", "REASON"],
        View::Then => &["DEVELOPER", "ROLE", "TARGETS", "SINCE", "ENDED", "ENDED-BY", "VIA", "GRANTED-BY", "REASON"],
    };
    table(headings, &holdings.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_the_spreadsheet() {
        let value = json!(Holding::default());
        let mut known: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let mut printed = FIELDS.to_vec();
        known.sort_unstable();
        printed.sort_unstable();
        assert_eq!(known, printed);
    }
}
