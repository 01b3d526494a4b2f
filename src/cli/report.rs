//! The four figures.

use std::collections::BTreeMap;

use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::api::{Scorecard, ScorecardStatus};

use super::connect::Connect;
use super::read::list;
use super::table::{Output, table};
use super::{Failure, print};

/// Print the four figures of the platform, over all and for each team, with the worst cells and what was done by hand.
///
/// It reads the Scorecards, which usher writes when a figure changes, once a minute at most. Exits with 0, also if there is none yet, and with 2 for an error.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  usher report                    everybody, and each team
  usher report --team payments    one team
  usher report -o json            for programs")]
pub struct Report {
    #[command(flatten)]
    connect: Connect,
    /// Only this team
    #[arg(long, value_name = "TEAM")]
    team: Option<String>,
    /// How to print it
    #[arg(long, short = 'o', default_value = "table")]
    output: Output,
}

impl Report {
    /// Prints the figures.
    pub async fn execute(self) -> Result<(), Failure> {
        let client = self.connect.client().await?;
        let mut all: Vec<Scorecard> = list(&Api::all(client), &ListParams::default()).await?;
        if let Some(team) = &self.team {
            all.retain(|scorecard| scorecard.spec.team.as_ref() == Some(team));
            if all.is_empty() {
                return Err(format!("team {team} has no Scorecard: `kubectl get scorecards` lists those that are there; a team has one as soon as somebody is in it, while there are fewer than 200").into());
            }
        }
        // That of everybody first.
        all.sort_by_key(|scorecard| (scorecard.spec.team.is_some(), scorecard.name_any()));
        print(&match self.output {
            Output::Table => in_columns(&all),
            Output::Json => format!("{:#}\n", as_json(&all)),
        })
    }
}

fn in_columns(all: &[Scorecard]) -> String {
    let told: Vec<(&Scorecard, &ScorecardStatus)> =
        all.iter().filter_map(|scorecard| Some((scorecard, scorecard.status.as_ref()?))).collect();
    let Some((first, status)) = told.first() else {
        return "There are no figures yet: usher writes them a moment after it has read the clusters.\n".to_owned();
    };
    let headings = ["OF", "PEOPLE", "ACCESS-P50", "ACCESS-P90", "COMMIT-P50", "COMMIT-P90", "ERRORS", "TOUCHPOINTS", "CONSISTENCY"];
    let rows: Vec<Vec<String>> = told.iter().map(|(scorecard, status)| row(scorecard, status)).collect();
    let mut text = table(&headings, &rows);
    text.push_str(&format!("\n{}: within {}\n", title(first), first.spec.window));
    text.push_str(&details(status));
    text
}

/// Of whom a Scorecard is, as people call it.
fn title(scorecard: &Scorecard) -> String {
    scorecard.spec.team.as_ref().map_or_else(|| "everybody".to_owned(), |team| format!("team {team}"))
}

fn row(scorecard: &Scorecard, status: &ScorecardStatus) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        title(scorecard),
        status.people.to_string(),
        text(&status.time_to_access.p50),
        text(&status.time_to_access.p90),
        text(&status.time_to_first_commit.p50),
        text(&status.time_to_first_commit.p90),
        text(&status.access_error_rate.value),
        text(&status.manual_touchpoints.per_person),
        text(&status.consistency.value),
    ]
}

/// What the figures are made of.
fn details(status: &ScorecardStatus) -> String {
    let (rate, hands, alike) = (&status.access_error_rate, &status.manual_touchpoints, &status.consistency);
    let (came, pushed) = (&status.time_to_access, &status.time_to_first_commit);
    let mut text = format!("  {} came and have everything; {} came and have pushed\n", came.count, pushed.count);
    let denied = if rate.denied > 0 { format!(", {} requests wrongly denied", rate.denied) } else { String::new() };
    text.push_str(&format!("  {} of {} cells in error{denied}\n", rate.errors, rate.expected));
    text.push_str(&format!("  {} touched by hand{}\n", hands.total, kinds(status)));
    text.push_str(&format!("  {} of {} Roles of people alike{}\n", alike.right, alike.cells, of(&alike.environments)));
    if !rate.worst.is_empty() {
        let rows = rate.worst.iter().map(|it| vec![format!("{:?}", it.kind), it.developer.clone(), it.target.clone(), it.message.clone()]);
        text.push('\n');
        text.push_str(&table(&["ERROR", "DEVELOPER", "TARGET", "WHAT"], &rows.collect::<Vec<_>>()));
    }
    if !hands.latest.is_empty() {
        let rows = hands.latest.iter().map(|it| vec![it.at.0.to_string(), word(&json!(it.kind)), it.what.clone()]);
        text.push('\n');
        text.push_str(&table(&["SEEN", "BY HAND", "WHAT"], &rows.collect::<Vec<_>>()));
    }
    text
}

fn kinds(status: &ScorecardStatus) -> String {
    let counts = json!(status.manual_touchpoints.by_kind);
    let named = counts.as_object().into_iter().flatten().filter(|(_, count)| count.as_i64() != Some(0));
    let named: Vec<String> = named.map(|(kind, count)| format!("{count} {kind}")).collect();
    if named.is_empty() { String::new() } else { format!(": {}", named.join(", ")) }
}

fn of(environments: &[String]) -> String {
    if environments.is_empty() { String::new() } else { format!(" in {}", environments.join(", ")) }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn as_json(all: &[Scorecard]) -> Value {
    let scorecards = all.iter().map(|scorecard| {
        let mut figures: BTreeMap<String, Value> = match json!(scorecard.status) {
            Value::Object(fields) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        figures.insert("scorecard".to_owned(), json!(scorecard.name_any()));
        figures.insert("team".to_owned(), json!(scorecard.spec.team));
        figures.insert("window".to_owned(), json!(scorecard.spec.window));
        json!(figures)
    });
    json!({"scorecards": scorecards.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scorecard(team: Option<&str>) -> Scorecard {
        let object = json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "Scorecard", "metadata": {"name": team.unwrap_or("all")},
            "spec": {"team": team},
            "status": {
                "people": 2,
                "timeToAccess": {"p50": "1s", "p90": "3s", "count": 2},
                "timeToFirstCommit": {"p50": "9m41s", "p90": "9m41s", "count": 1},
                "accessErrorRate": {"value": "25%", "errors": 1, "expected": 4, "denied": 2, "worst": [
                    {"kind": "Excess", "developer": "ada", "target": "environment/dev", "message": "RoleBinding shop/theirs names her"},
                ]},
                "manualTouchpoints": {"perPerson": "0.5", "total": 1, "byKind": {"handRepair": 1}, "latest": [
                    {"at": "2026-11-23T08:00:00Z", "kind": "handRepair", "what": "RoleBinding shop/x was changed by hand, and put back"},
                ]},
                "consistency": {"value": "50%", "right": 1, "cells": 2, "environments": ["dev", "prod"]},
            },
        });
        serde_json::from_value(object).expect("a Scorecard")
    }

    #[test]
    fn the_worst_cells_and_what_was_done_by_hand_follow_the_figures() {
        let text = in_columns(&[scorecard(None), scorecard(Some("payments"))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["everybody", "2", "1s", "3s", "9m41s", "9m41s", "25%", "0.5", "50%"]);
        for line in [
            "everybody: within 30d",
            "  1 of 4 cells in error, 2 requests wrongly denied",
            "  1 touched by hand: 1 handRepair",
            "  1 of 2 Roles of people alike in dev, prod",
        ] {
            assert!(lines.contains(&line), "{line} is not in\n{text}");
        }
        assert!(text.contains("RoleBinding shop/theirs names her") && text.contains("was changed by hand"), "{text}");
        assert!(in_columns(&[]).starts_with("There are no figures yet"));
    }

    #[test]
    fn programs_read_of_whom_each_is() {
        let value = as_json(&[scorecard(Some("payments"))]);
        assert_eq!((&value["scorecards"][0]["team"], &value["scorecards"][0]["people"]), (&json!("payments"), &json!(2)));
        assert_eq!(value["scorecards"][0]["window"], "30d");
    }
}
