//! Who holds what by the record, now or at a moment in the past.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::grant::GrantInterval;
use crate::api::{Developer, DeveloperState, Grant, GrantState};

use super::developer::seconds;

/// What stands for a Role where somebody owns a workspace.
pub const OWNER: &str = "(owner)";

/// One holding of one Role by one person.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    /// The Developer.
    pub developer: String,
    /// The UID of the Developer: of several people of one name, which.
    pub uid: String,
    /// The personId of the Developer.
    pub person_id: String,
    /// The Role, or [`OWNER`].
    pub role: String,
    /// The generation of the Role when it began.
    pub role_revision: i64,
    /// Where: environment/<name>, or namespace/<name> of a workspace.
    pub targets: Vec<String>,
    /// Since when.
    pub since: String,
    /// When it will end by itself, as far as was known.
    pub until: String,
    /// When it ended.
    pub ended: String,
    /// Who ended it.
    pub ended_by: String,
    /// Why it ended.
    pub ended_why: String,
    /// The Bindings, each with the team by which it named the person.
    pub via: Vec<String>,
    /// Who asked for it.
    pub granted_by: String,
    /// For whom.
    pub on_behalf_of: String,
    /// By which change.
    pub change: String,
    /// Why it was asked for.
    pub reason: String,
    /// The Grant.
    pub grant: String,
}

/// Which holdings are asked for; what is left out matches all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this Developer.
    pub developer: Option<String>,
    /// Of this Role.
    pub role: Option<String>,
}

impl Filter {
    fn passes(&self, developer: &str, role: &str) -> bool {
        self.developer.as_ref().is_none_or(|wanted| wanted == developer) && self.role.as_ref().is_none_or(|wanted| wanted == role)
    }
}

/// What is held now.
pub fn held_now<'a>(grants: impl IntoIterator<Item = &'a Grant>, filter: &Filter) -> Vec<Holding> {
    let running = grants.into_iter().filter(|grant| grant.spec.state == GrantState::Active);
    collect(running, filter, |interval| interval.until.is_none())
}

/// What was held at a moment: since it had begun, and before it ended.
pub fn held_at<'a>(grants: impl IntoIterator<Item = &'a Grant>, at: Timestamp, filter: &Filter) -> Vec<Holding> {
    let then = grants.into_iter().filter(|grant| {
        let ended = grant.spec.ended.as_ref().map(|end| end.at.0);
        grant.spec.since.0 <= at && ended.is_none_or(|end| at < end)
    });
    collect(then, filter, |interval| interval.since.0 <= at && interval.until.as_ref().is_none_or(|until| at < until.0))
}

fn collect<'a>(grants: impl Iterator<Item = &'a Grant>, filter: &Filter, open: impl Fn(&GrantInterval) -> bool) -> Vec<Holding> {
    let wanted = grants.filter(|grant| filter.passes(&grant.spec.developer.name, &grant.spec.role));
    let mut holdings: Vec<Holding> = wanted.map(|grant| holding(grant, &open)).filter(|holding| !holding.targets.is_empty()).collect();
    holdings.sort();
    holdings
}

fn holding(grant: &Grant, open: &impl Fn(&GrantInterval) -> bool) -> Holding {
    let spec = &grant.spec;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let via = spec.via.iter().filter(|via| open(via)).map(|via| match &via.team {
        Some(team) => format!("{} (team {team})", via.name),
        None => via.name.clone(),
    });
    Holding {
        developer: spec.developer.name.clone(),
        uid: spec.developer.uid.clone(),
        person_id: text(&spec.developer.person_id),
        role: spec.role.clone(),
        role_revision: spec.role_revision,
        targets: spec.targets.iter().filter(|target| open(target)).map(|target| target.name.clone()).collect(),
        since: seconds(spec.since.0),
        until: spec.until.as_ref().map(|time| seconds(time.0)).unwrap_or_default(),
        ended: spec.ended.as_ref().map(|end| seconds(end.at.0)).unwrap_or_default(),
        ended_by: spec.ended.as_ref().map(|end| end.by.clone()).unwrap_or_default(),
        ended_why: spec.ended.as_ref().map(|end| format!("{:?}", end.cause)).unwrap_or_default(),
        via: via.collect(),
        granted_by: spec.granted_by.clone(),
        on_behalf_of: text(&spec.on_behalf_of),
        change: text(&spec.change),
        reason: text(&spec.reason),
        grant: grant.name_any(),
    }
}

/// The workspaces that people own now, as their status says: nobody asked for those but by declaring the person.
pub fn owned_now<'a>(developers: impl IntoIterator<Item = &'a Developer>, filter: &Filter) -> Vec<Holding> {
    let mut holdings = Vec::new();
    for developer in developers {
        let Some(status) = developer.status.as_ref().filter(|status| status.state == Some(DeveloperState::Active)) else { continue };
        let name = developer.name_any();
        for workspace in status.workspaces.iter().filter(|_| filter.passes(&name, OWNER)) {
            holdings.push(Holding {
                developer: name.clone(),
                uid: developer.uid().unwrap_or_default(),
                person_id: developer.spec.person_id.clone().unwrap_or_default(),
                role: OWNER.to_owned(),
                targets: vec![format!("namespace/{}", workspace.namespace)],
                ..Holding::default()
            });
        }
    }
    holdings
}

/// Of every Grant in an export its newest line, by resourceVersion: lines are written at least once, and a Grant that was purged was held all the same.
pub fn newest(grants: impl IntoIterator<Item = Grant>) -> Vec<Grant> {
    let version = |grant: &Grant| grant.resource_version().and_then(|version| version.parse::<u64>().ok()).unwrap_or_default();
    let mut newest: BTreeMap<(String, String), Grant> = BTreeMap::new();
    for grant in grants {
        let key = (grant.uid().unwrap_or_default(), grant.name_any());
        if newest.get(&key).is_none_or(|known| version(known) <= version(&grant)) {
            newest.insert(key, grant);
        }
    }
    newest.into_values().collect()
}

/// Reads a moment: RFC 3339, or a date, which means its beginning in UTC.
///
/// # Errors
/// With an example where it is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    let date = || text.parse::<Date>().ok().filter(|_| text.len() == 10)?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    text.parse().ok().or_else(date).ok_or_else(|| format!("{text} is not a time: write for example 2026-10-31T17:00:00Z or 2026-10-31"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_the_beginning_of_a_day() {
        assert_eq!(moment("2026-10-31T17:00:00+02:00").map(seconds), Ok("2026-10-31T15:00:00Z".to_owned()));
        assert_eq!(moment("2026-10-31").map(seconds), Ok("2026-10-31T00:00:00Z".to_owned()));
        assert!(moment("yesterday").is_err_and(|message| message.contains("2026-10-31T17:00:00Z")));
        assert!(moment("2026-10-31T17:00:00").is_err(), "without an offset it is not said when that is");
    }
}
