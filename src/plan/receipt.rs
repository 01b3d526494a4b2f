//! The receipt of an offboarding: what was found, as a status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::api::departure::{Brake, DepartureSummary, DepartureTarget, Leftover, Sealed, TargetState};
use crate::api::developer::{Identity, Workspace};
use crate::api::metadata::WAIVE;
use crate::api::{ConditionType, Departure, DepartureState, DepartureStatus, Reason};

use super::developer::{seconds, whole_second};
use super::finding::Finding;
use super::status::conditions;

/// At most this many leftovers are listed; the count tells of the others.
const MOST: usize = 20;

/// What was found out about a departure.
#[derive(Debug, Default)]
pub struct Found {
    /// How the clusters knew her.
    pub identities: Vec<Identity>,
    /// Her workspaces that are still there.
    pub workspaces: Vec<Workspace>,
    /// Milliseconds until all that was asked was denied, once it was.
    pub access_gone_ms: Option<i64>,
    /// Whether access is gone everywhere where it could be asked.
    pub access_gone: bool,
    /// Whether what was issued is refused.
    pub credentials_revoked: bool,
    /// What is left by a live reading of everything; nothing while it was not read.
    pub leftovers: Option<Vec<Leftover>>,
    /// What kept it from being found out.
    pub error: Option<String>,
    /// What was taken out of her workspaces.
    pub sealed: Vec<Sealed>,
    /// Whether destruction is held.
    pub brake: Option<Brake>,
    /// When it is looked at again.
    pub next_try: Option<Timestamp>,
}

/// The conditions of a Departure.
pub const DEPARTURE_CONDITIONS: [ConditionType; 3] =
    [ConditionType::AccessGone, ConditionType::CredentialsRevoked, ConditionType::Complete];

/// What was waived: target and reason.
pub fn waived(departure: &Departure) -> BTreeMap<String, String> {
    let text = departure.annotations().get(WAIVE).cloned().unwrap_or_default();
    let entries = text.split(';').filter_map(|entry| entry.split_once('='));
    entries.map(|(target, reason)| (target.trim().to_owned(), reason.trim().to_owned())).filter(|(_, reason)| !reason.is_empty()).collect()
}

/// The status that says what was found.
pub fn receipt(departure: &Departure, found: Found, now: Timestamp) -> DepartureStatus {
    let previous = departure.status.clone().unwrap_or_default();
    let waived = waived(departure);
    let targets = targets(&previous, &found, &waived, now);
    let leftovers = found.leftovers.clone().unwrap_or_else(|| previous.leftovers.clone());
    let open: Vec<&Leftover> = leftovers.iter().filter(|leftover| !waived.contains_key(&leftover.target)).collect();
    let state = state(&found, &leftovers, &open, &targets);
    let complete = matches!(state, DepartureState::Complete | DepartureState::CompleteWithWaivers);
    let message = message(&found, &open);
    let access_gone_ms = previous.access_gone_ms.or(found.access_gone_ms);
    DepartureStatus {
        state: Some(state),
        conditions: departure_conditions(&previous.conditions, &found, (state, &message), now),
        brake: found.brake.clone(),
        access_gone_ms,
        summary: Some(DepartureSummary {
            accounts: format!("{}/{}", targets.iter().filter(|target| in_order(target.state)).count(), targets.len()),
            access_gone: access_gone_ms.map(seconds_of).unwrap_or_default(),
            leftovers: open.len().to_string(),
            next_try: found.next_try.filter(|_| !complete).map(seconds).unwrap_or_default(),
            message,
        }),
        identities: if found.identities.is_empty() { previous.identities } else { found.identities },
        targets,
        sealed: found.sealed,
        leftover_count: (!leftovers.is_empty()).then(|| i64::try_from(leftovers.len()).unwrap_or(i64::MAX)),
        leftovers: leftovers.iter().take(MOST).cloned().collect(),
        completed_at: if complete { previous.completed_at.or_else(|| Some(whole_second(now))) } else { None },
        returned_at: previous.returned_at,
    }
}

/// Milliseconds as a column shows them.
pub fn seconds_of(milliseconds: i64) -> String {
    format!("{}.{}s", milliseconds / 1_000, milliseconds % 1_000 / 100)
}

fn in_order(state: TargetState) -> bool {
    matches!(state, TargetState::Gone | TargetState::Disabled | TargetState::Retained | TargetState::Waived)
}

/// Each Environment in which she was known, as it stands.
fn targets(previous: &DepartureStatus, found: &Found, waived: &BTreeMap<String, String>, now: Timestamp) -> Vec<DepartureTarget> {
    let environments = found.identities.iter().map(|it| &it.environment).chain(found.workspaces.iter().map(|it| &it.environment));
    let mut names: Vec<String> = previous.targets.iter().map(|target| target.target.clone()).collect();
    names.extend(environments.map(|name| format!("environment/{name}")));
    names.sort();
    names.dedup();
    let make = |name: String| {
        let workspace = found.workspaces.iter().find(|workspace| name == format!("environment/{}", workspace.environment));
        let left = found.leftovers.iter().flatten().any(|leftover| leftover.target == name);
        let state = match (&found.leftovers, workspace) {
            _ if left && waived.contains_key(&name) => TargetState::Waived,
            _ if left => TargetState::Failed,
            (None, _) if found.error.is_some() => TargetState::Unreachable,
            (None, _) => TargetState::Pending,
            _ if !(found.access_gone && found.credentials_revoked) => TargetState::Pending,
            (_, Some(_)) => TargetState::Retained,
            (_, None) => TargetState::Gone,
        };
        let old = previous.targets.iter().find(|target| target.target == name);
        let same = old.filter(|old| old.state == state);
        DepartureTarget {
            state,
            verified_at: if in_order(state) { same.and_then(|old| old.verified_at.clone()).or(Some(whole_second(now))) } else { None },
            delete_at: workspace.and_then(|workspace| workspace.delete_at.clone()),
            last_error: if in_order(state) { None } else { found.error.clone() },
            target: name,
            ..DepartureTarget::default()
        }
    };
    names.into_iter().map(make).collect()
}

fn state(found: &Found, all: &[Leftover], open: &[&Leftover], targets: &[DepartureTarget]) -> DepartureState {
    if !found.access_gone {
        return DepartureState::Revoking;
    }
    if !open.is_empty() || found.error.is_some() {
        return DepartureState::Incomplete;
    }
    if !found.credentials_revoked || found.leftovers.is_none() {
        return DepartureState::Verifying;
    }
    if found.brake.is_some() || !targets.iter().all(|target| in_order(target.state)) {
        return DepartureState::Incomplete;
    }
    if all.is_empty() { DepartureState::Complete } else { DepartureState::CompleteWithWaivers }
}

fn message(found: &Found, open: &[&Leftover]) -> String {
    let left: Vec<String> = open.iter().take(3).map(|leftover| format!("{}: {}", leftover.object, leftover.reason)).collect();
    let more = open.len().saturating_sub(3);
    let braked = found.brake.as_ref().map(|brake| {
        format!(
            "{} of {} people left at once, so nothing is deleted; annotate usher.dev/release={} if that was meant",
            brake.removals, brake.population, brake.digest
        )
    });
    let more = (more > 0).then(|| format!("and {more} more"));
    left.into_iter().chain(more).chain(found.error.clone()).chain(braked).collect::<Vec<_>>().join("; ")
}

fn departure_conditions(previous: &[Condition], found: &Found, (state, message): (DepartureState, &str), now: Timestamp) -> Vec<Condition> {
    let mut findings = Vec::new();
    let mut add = |condition, reason, text: &str| findings.push(Finding::new(condition, reason, text));
    let waiting = if found.error.is_some() { Reason::Unreachable } else { Reason::Departing };
    if !found.access_gone {
        add(ConditionType::AccessGone, waiting, "access is being taken away");
    }
    if !found.credentials_revoked {
        add(ConditionType::CredentialsRevoked, waiting, "API servers remember tokens for ten seconds");
    }
    match state {
        DepartureState::Complete | DepartureState::CompleteWithWaivers => {}
        DepartureState::Revoking | DepartureState::Verifying => add(ConditionType::Complete, waiting, message),
        DepartureState::Incomplete if found.error.is_some() => add(ConditionType::Complete, Reason::Unreachable, message),
        DepartureState::Incomplete if found.leftovers.iter().flatten().next().is_some() => {
            add(ConditionType::Complete, Reason::LeftoversRemain, message);
        }
        DepartureState::Incomplete => add(ConditionType::Complete, Reason::Braked, message),
    }
    let all = conditions(&DEPARTURE_CONDITIONS, &findings, (Reason::Departed, ""), None, (previous, now));
    all.into_iter().filter(|condition| condition.type_ != "Ready").collect()
}
