//! Who would gain and lose what by manifests: for pull requests, without a cluster.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::plan::offline::{Difference, Manifests, Place, Reading, differences, read};
use crate::plan::settings::{Audit, Fence, Offboarding, Server, Settings};

use super::manifests::load;
use super::{Failure, print};

/// Say who would gain and lose what by manifests, without a cluster.
///
/// Compares the manifests in one folder with those in another, or with nothing, person by person, in each Environment and at each Provider.
/// Exits with 0 for no difference, 1 for some, 2 for an error, as `kubectl diff` does.
#[derive(Debug, clap::Args)]
pub struct Plan {
    /// The folder or file with the manifests as they would be
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    files: PathBuf,
    /// The folder or file with the manifests as they are [default: nothing]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// How to print the plan
    #[arg(short = 'o', long, default_value = "text")]
    output: Output,
    /// The moment to plan for, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// The ClusterRoles that Roles may name (fence.mayBind); may be repeated [default: view, edit, usher-developer]
    #[arg(long = "may-bind", value_name = "CLUSTERROLE")]
    may_bind: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// For terminals.
    Text,
    /// For programs.
    Json,
    /// For comments on pull requests.
    Markdown,
}

impl Plan {
    /// Prints the plan. Returns the exit code.
    pub fn execute(self) -> Result<u8, Failure> {
        let now = self.at.unwrap_or_else(Timestamp::now);
        let settings = self.settings();
        let before = match &self.base {
            Some(base) => read(load(base)?, &settings, now),
            None => read(Manifests::default(), &settings, now),
        };
        let after = read(load(&self.files)?, &settings, now);
        let changes = differences(&before.matrix, &after.matrix);
        print(&match self.output {
            Output::Text => text(&changes, &after),
            Output::Markdown => markdown(&changes, &after),
            Output::Json => json_text(&changes, &after),
        })?;
        Ok(u8::from(!changes.is_empty()))
    }

    fn settings(&self) -> Settings {
        let mut fence = Fence::default();
        if !self.may_bind.is_empty() {
            fence.may_bind = self.may_bind.iter().cloned().collect();
        }
        Settings {
            namespace: "usher-system".to_owned(),
            installation: "offline".to_owned(),
            server: Server::default(),
            token_lifetime: SignedDuration::from_hours(720),
            fence,
            offboarding: Offboarding::default(),
            audit: Audit::default(),
        }
    }
}

fn totals(changes: &[Difference]) -> String {
    let gains: usize = changes.iter().map(|change| change.gains.len()).sum();
    let loses: usize = changes.iter().map(|change| change.loses.len()).sum();
    let mut people: Vec<&str> = changes.iter().map(|change| change.developer.as_str()).collect();
    people.dedup();
    format!("{} people: +{gains} -{loses}", people.len())
}

fn text(changes: &[Difference], after: &Reading) -> String {
    let mut text = String::new();
    for change in changes {
        text.push_str(&format!("dev/{} {}\n", change.developer, change.place));
        change.gains.iter().for_each(|what| text.push_str(&format!("  + {what}\n")));
        change.loses.iter().for_each(|what| text.push_str(&format!("  - {what}\n")));
    }
    for (object, message) in &after.problems {
        text.push_str(&format!("warning: {object}: {message}\n"));
    }
    if changes.is_empty() { text + "Nobody gains or loses anything.\n" } else { format!("{text}{}\n", totals(changes)) }
}

fn markdown(changes: &[Difference], after: &Reading) -> String {
    let mut text = String::from("### Access changes\n\n");
    if changes.is_empty() {
        text.push_str("Nobody gains or loses anything.\n");
    } else {
        text.push_str("| Developer | Where | Gains | Loses |\n|---|---|---|---|\n");
        let cell =
            |items: &std::collections::BTreeSet<String>| items.iter().map(|item| item.replace('|', "\\|")).collect::<Vec<_>>().join("<br>");
        for change in changes {
            text.push_str(&format!(
                "| {} | {} | {} | {} |\n",
                change.developer,
                place_in_table(&change.place),
                cell(&change.gains),
                cell(&change.loses)
            ));
        }
        text.push_str(&format!("\n{}\n", totals(changes)));
    }
    for (object, message) in &after.problems {
        text.push_str(&format!("\n> **{object}**: {message}\n"));
    }
    text
}

fn json_text(changes: &[Difference], after: &Reading) -> String {
    let value = json!({
        "changes": changes.iter().map(|change| json!({
            "developer": change.developer,
            "environment": environment_of(&change.place),
            "provider": provider_of(&change.place),
            "gains": change.gains,
            "loses": change.loses,
        })).collect::<Vec<_>>(),
        "warnings": after.problems.iter().map(|(object, message)| json!({"object": object, "message": message})).collect::<Vec<_>>(),
    });
    format!("{value:#}\n")
}

fn place_in_table(place: &Place) -> String {
    match place {
        Place::Environment(name) => name.clone(),
        Place::Provider(name) => format!("uprov/{name}"),
    }
}

fn environment_of(place: &Place) -> Option<&str> {
    match place {
        Place::Environment(name) => Some(name),
        Place::Provider(_) => None,
    }
}

fn provider_of(place: &Place) -> Option<&str> {
    match place {
        Place::Environment(_) => None,
        Place::Provider(name) => Some(name),
    }
}

/// Whether a path is a manifest by its ending.
pub fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|known| ending == *known))
}
