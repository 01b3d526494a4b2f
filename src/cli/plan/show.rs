//! How a plan is printed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::plan::difference::{Difference, Place, Who};
use crate::plan::forecast::Forecast;

/// How to print the plan.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Output {
    /// For terminals.
    Text,
    /// For programs.
    Json,
    /// For comments on pull requests.
    Markdown,
}

/// The plan as text.
pub fn show(forecast: &Forecast, output: Output) -> String {
    match output {
        Output::Text => text(forecast),
        Output::Markdown => markdown(forecast),
        Output::Json => json_text(forecast),
    }
}

fn totals(forecast: &Forecast) -> String {
    let changes = &forecast.changes;
    if changes.is_empty() {
        let place = if forecast.unread.is_empty() { "" } else { " where it could be read" };
        return format!("Nobody gains or loses anything{place}.");
    }
    let gains: usize = changes.iter().map(|change| change.gains.len()).sum();
    let loses: usize = changes.iter().map(|change| change.loses.len()).sum();
    let people: BTreeSet<&Who> = changes.iter().map(|change| &change.who).collect();
    format!("{} people: +{gains} -{loses}", people.len())
}

fn text(forecast: &Forecast) -> String {
    let mut text = String::new();
    for (change, note) in noted(forecast) {
        text.push_str(&format!("{} {}{note}\n", change.who, change.place));
        change.gains.iter().for_each(|what| text.push_str(&format!("  + {what}\n")));
        change.loses.iter().for_each(|what| text.push_str(&format!("  - {what}\n")));
    }
    for (object, message) in &forecast.problems {
        text.push_str(&format!("warning: {object}: {message}\n"));
    }
    for (environment, why) in &forecast.unread {
        text.push_str(&format!("not read: uenv/{environment}: {why}\n"));
    }
    format!("{text}{}{}\n", already(forecast), totals(forecast))
}

/// How much of what is given people have already; empty if nothing.
fn already(forecast: &Forecast) -> String {
    let count: usize = forecast.already.iter().map(|change| change.gains.len()).sum();
    let people: BTreeSet<&Who> = forecast.already.iter().map(|change| &change.who).collect();
    if count == 0 {
        String::new()
    } else {
        format!("{} people would be given {count} things that they have already, by bindings that usher did not make.\n", people.len())
    }
}

/// All changes, each with what is said of it besides.
fn noted(forecast: &Forecast) -> impl Iterator<Item = (&Difference, &'static str)> {
    let done = forecast.changes.iter().map(|change| (change, ""));
    done.chain(forecast.withheld.iter().map(|change| (change, " (only observed: this is not done)")))
}

fn markdown(forecast: &Forecast) -> String {
    let mut text = String::from("### Access changes\n\n");
    let cell = |items: &BTreeSet<String>| items.iter().map(|item| item.replace('|', "\\|")).collect::<Vec<_>>().join("<br>");
    if !(forecast.changes.is_empty() && forecast.withheld.is_empty()) {
        text.push_str("| Developer | Where | Gains | Loses |\n|---|---|---|---|\n");
    }
    for (change, note) in noted(forecast) {
        let (who, place) = (person_in_table(&change.who), place_in_table(&change.place));
        text.push_str(&format!("| {who} | {place}{note} | {} | {} |\n", cell(&change.gains), cell(&change.loses)));
    }
    let gap = if text.ends_with("|\n") { "\n" } else { "" };
    text.push_str(&format!("{gap}{}{}\n", already(forecast), totals(forecast)));
    for (object, message) in &forecast.problems {
        text.push_str(&format!("\n> **{object}**: {message}\n"));
    }
    for (environment, why) in &forecast.unread {
        text.push_str(&format!("\n> **uenv/{environment}** was not read: {why}\n"));
    }
    text
}

fn json_text(forecast: &Forecast) -> String {
    let value = json!({
        "changes": forecast.changes.iter().map(change).collect::<Vec<_>>(),
        "withheld": forecast.withheld.iter().map(change).collect::<Vec<_>>(),
        "already": forecast.already.iter().map(change).collect::<Vec<_>>(),
        "unread": forecast.unread.iter().map(|(environment, why)| json!({"environment": environment, "message": why})).collect::<Vec<_>>(),
        "warnings": forecast.problems.iter().map(|(object, message)| json!({"object": object, "message": message})).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn change(change: &Difference) -> Value {
    let (developer, unknown) = match &change.who {
        Who::Developer(name) => (Some(name), None),
        Who::Unknown(name) => (None, Some(name)),
    };
    let (environment, cluster, provider) = match &change.place {
        Place::Environment(name) => (Some(name), None, None),
        Place::Cluster(name) => (None, Some(name), None),
        Place::Provider(name) => (None, None, Some(name)),
    };
    json!({
        "developer": developer,
        "unknown": unknown,
        "environment": environment,
        "cluster": cluster,
        "provider": provider,
        "gains": change.gains,
        "loses": change.loses,
    })
}

fn person_in_table(who: &Who) -> String {
    match who {
        Who::Developer(name) => name.clone(),
        Who::Unknown(_) => who.to_string(),
    }
}

fn place_in_table(place: &Place) -> String {
    match place {
        Place::Environment(name) => name.clone(),
        Place::Cluster(name) => format!("cluster {name}"),
        Place::Provider(name) => format!("uprov/{name}"),
    }
}
