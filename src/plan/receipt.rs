//! The receipt of an offboarding: what was found, as a status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use crate::api::departure::{Brake, DepartureSummary, DepartureTarget, Leftover, Sealed, TargetState};
use crate::api::developer::{Identity, Workspace};
use crate::api::metadata::WAIVE;
use crate::api::{ConditionType, Departure, DepartureState, DepartureStatus, Reason};

use super::cell::{self, Cell};
use super::cluster::ClusterKey;
use super::developer::{seconds, whole_second};
use super::finding::Finding;
use super::status::conditions;
use super::target::PROVIDER;
use super::whereabouts::Whereabouts;
use super::world::World;

/// At most this many leftovers are listed; the count tells of the others.
const MOST: usize = 20;

/// What was found out about a departure.
#[derive(Debug, Default)]
pub struct Found {
    /// How the clusters knew her.
    pub identities: Vec<Identity>,
    /// Her workspaces that are still there, by target.
    pub workspaces: BTreeMap<String, Workspace>,
    /// What was found in each cluster.
    pub clusters: BTreeMap<ClusterKey, FoundIn>,
    /// Where each target in a cluster is.
    pub places: Whereabouts,
    /// Her accounts in outside systems.
    pub accounts: Accounts,
    /// What was taken out of her workspaces.
    pub sealed: Vec<Sealed>,
    /// Whether destruction is held.
    pub brake: Option<Brake>,
    /// When it is looked at again.
    pub next_try: Option<Timestamp>,
}

/// What was found out about a departure in one cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FoundIn {
    /// Milliseconds until all that was asked was denied, once it was.
    pub access_gone_ms: Option<i64>,
    /// Whether access is gone.
    pub access_gone: bool,
    /// Whether what was issued is refused.
    pub credentials_revoked: bool,
    /// What is left by a live reading of everything; nothing while it was not read.
    pub leftovers: Option<Vec<Leftover>>,
    /// What kept it from being found out.
    pub error: Option<String>,
    /// Whether the cluster does not answer: what is to be done there is owed, and nobody waits for it.
    pub silent: bool,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
}

impl FoundIn {
    /// Of a cluster that does not answer, with the reason.
    pub fn silent(error: String, attempts: u32, next_try: Option<Timestamp>) -> Self {
        Self { error: Some(error), silent: true, attempts, next_try, ..Self::default() }
    }

    /// Whether there is nothing more to do or to find out.
    pub fn finished(&self) -> bool {
        self.access_gone && self.credentials_revoked && self.error.is_none() && self.leftovers.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Found {
    /// Whether access is gone in every cluster that answers.
    pub fn access_gone(&self) -> bool {
        self.clusters.values().filter(|found| !found.silent).all(|found| found.access_gone)
    }

    /// Milliseconds until every cluster that answers had denied, once they have.
    fn access_gone_ms(&self) -> Option<i64> {
        self.clusters.values().filter_map(|found| found.access_gone_ms).max().filter(|_| self.access_gone())
    }

    /// Whether what was issued is refused everywhere.
    fn credentials_revoked(&self) -> bool {
        self.clusters.values().all(|found| found.credentials_revoked)
    }

    /// What kept it from being found out everywhere.
    fn error(&self) -> Option<String> {
        let mut errors: Vec<&str> = self.clusters.values().filter_map(|found| found.error.as_deref()).collect();
        errors.dedup();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    /// Lets what is owed to a cluster that does not answer be, where all of it was waived.
    fn forgive(&mut self, waived: &BTreeMap<String, String>) {
        let places = &self.places;
        for (key, found) in self.clusters.iter_mut().filter(|(_, found)| found.silent) {
            let mut here = places.targets_in(key).peekable();
            if here.peek().is_some() && here.all(|target| waived.contains_key(target)) {
                *found = FoundIn {
                    access_gone: true,
                    credentials_revoked: true,
                    leftovers: Some(Vec::new()),
                    silent: true,
                    ..FoundIn::default()
                };
            }
        }
    }

    /// Whether every cluster was read to the end.
    fn all_read(&self) -> bool {
        self.clusters.values().all(|found| found.leftovers.is_some())
    }

    /// What was found where a target is; nothing where nobody knows where that is, or looked.
    fn at(&self, target: &str) -> FoundIn {
        let place = self.places.place(target);
        place.and_then(|place| self.clusters.get(&place.cluster)).cloned().unwrap_or_default()
    }

    /// What is left in clusters: as told before where it was not read again.
    fn leftovers(&self, previous: &DepartureStatus) -> Vec<Leftover> {
        let read = self.clusters.values().filter_map(|found| found.leftovers.as_ref()).flatten().cloned();
        let before =
            previous.leftovers.iter().filter(|left| !left.target.starts_with(PROVIDER) && self.at(&left.target).leftovers.is_none());
        read.chain(before.cloned()).collect()
    }
}

/// Somebody's accounts in outside systems, as her receipt tells of them.
#[derive(Debug, Default)]
pub struct Accounts {
    /// A line for each.
    pub targets: Vec<DepartureTarget>,
    /// What could not be removed there.
    pub leftovers: Vec<Leftover>,
}

/// A line for each Provider at which somebody may have an account that nobody looked at yet: until that is known nothing is complete.
/// By what is written here it is found when her Developer is gone.
pub fn expected(accounts: &mut Accounts, known: BTreeMap<String, (Option<String>, String)>) {
    for (provider, (id, username)) in known {
        let target = format!("{PROVIDER}{provider}");
        if !accounts.targets.iter().any(|line| line.target == target) {
            accounts.targets.push(DepartureTarget { target, id, username: Some(username), ..DepartureTarget::default() });
        }
    }
    accounts.targets.sort_by(|one, other| one.target.cmp(&other.target));
}

/// What a receipt tells of accounts. One that was not looked at since the start, or not since she left, stays as it was told; at a Provider that is gone nobody
/// looks any more.
pub fn accounts(world: &World, departure: &Departure, cells: &[Cell]) -> Accounts {
    let previous = departure.status.clone().unwrap_or_default();
    let mut told = Accounts::default();
    for cell in cells.iter().filter(|cell| cell.asked_at == Some(departure.spec.requested_at.0)) {
        let name = format!("{PROVIDER}{}", cell.account.provider);
        let provider = world.provider(&cell.account.provider);
        told.targets.push(cell::target(provider.map(AsRef::as_ref), cell, previous.targets.iter().find(|it| it.target == name)));
        told.leftovers.extend(cell::leftovers(provider.map(AsRef::as_ref), cell));
    }
    for target in previous.targets.iter().filter(|target| target.target.starts_with(PROVIDER)) {
        if told.targets.iter().any(|it| it.target == target.target) {
            continue;
        }
        let provider = target.target.trim_start_matches(PROVIDER);
        // What was seen to be settled for good stays so: it needs nobody to look after it any more.
        let settled = target.state == TargetState::Gone
            || (target.state == TargetState::Disabled && target.delete_at.is_none() && previous.completed_at.is_some());
        let gone = world.provider(provider).is_none() && !settled;
        let unwatched = gone.then(|| Leftover {
            target: target.target.clone(),
            object: format!("account {} at uprov/{provider}", target.username.clone().unwrap_or_default()),
            reason: format!("uprov/{provider} was deleted, so nobody looks after the account; make it again, or waive this"),
        });
        let state = if unwatched.is_some() { TargetState::Failed } else { target.state };
        let kept = previous.leftovers.iter().filter(|left| left.target == target.target && !gone).cloned();
        told.leftovers.extend(kept.chain(unwatched));
        told.targets.push(DepartureTarget { state, ..target.clone() });
    }
    told.targets.sort_by(|one, other| one.target.cmp(&other.target));
    told
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
pub fn receipt(departure: &Departure, mut found: Found, now: Timestamp) -> DepartureStatus {
    let previous = departure.status.clone().unwrap_or_default();
    let waived = waived(departure);
    found.forgive(&waived);
    let targets = targets(&previous, &found, &waived, now);
    let mut leftovers = found.leftovers(&previous);
    leftovers.extend(found.accounts.leftovers.iter().cloned());
    let open: Vec<&Leftover> = leftovers.iter().filter(|leftover| !waived.contains_key(&leftover.target)).collect();
    let state = state(&found, &leftovers, &open, &targets);
    let complete = matches!(state, DepartureState::Complete | DepartureState::CompleteWithWaivers);
    let message = message(&found, &open, &targets);
    let access_gone_ms = previous.access_gone_ms.or(found.access_gone_ms());
    DepartureStatus {
        state: Some(state),
        conditions: departure_conditions(&previous.conditions, &found, &targets, (state, &message), now),
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

/// Each place in which she was known, as it stands.
fn targets(previous: &DepartureStatus, found: &Found, waived: &BTreeMap<String, String>, now: Timestamp) -> Vec<DepartureTarget> {
    let clusters = previous.targets.iter().filter(|target| !target.target.starts_with(PROVIDER));
    let mut names: Vec<String> = clusters.map(|target| target.target.clone()).collect();
    names.extend(found.places.targets().cloned());
    names.sort();
    names.dedup();
    let make = |name: String| {
        let workspace = found.workspaces.get(&name);
        let there = found.at(&name);
        let left = there.leftovers.iter().flatten().any(|leftover| leftover.target == name);
        let state = match (&there.leftovers, workspace) {
            _ if left && waived.contains_key(&name) => TargetState::Waived,
            _ if left => TargetState::Failed,
            _ if there.silent && waived.contains_key(&name) => TargetState::Waived,
            (None, _) if there.error.is_some() => TargetState::Unreachable,
            (None, _) => TargetState::Pending,
            _ if !(there.access_gone && there.credentials_revoked) => TargetState::Pending,
            (_, Some(_)) => TargetState::Retained,
            (_, None) => TargetState::Gone,
        };
        let old = previous.targets.iter().find(|target| target.target == name);
        let same = old.filter(|old| old.state == state);
        DepartureTarget {
            state,
            verified_at: if in_order(state) { same.and_then(|old| old.verified_at.clone()).or(Some(whole_second(now))) } else { None },
            delete_at: workspace.and_then(|workspace| workspace.delete_at.clone()),
            last_error: if in_order(state) { None } else { there.error.clone() },
            attempts: Some(i64::from(there.attempts)).filter(|attempts| *attempts > 0 && !in_order(state)),
            next_try_at: there.next_try.map(whole_second).filter(|_| !in_order(state)),
            cluster: found.places.known(&name),
            target: name,
            ..DepartureTarget::default()
        }
    };
    let accounts = found.accounts.targets.iter().cloned().map(|target| {
        let open = matches!(target.state, TargetState::Failed | TargetState::Unreachable);
        let state = if open && waived.contains_key(&target.target) { TargetState::Waived } else { target.state };
        DepartureTarget { state, ..target }
    });
    names.into_iter().map(make).chain(accounts).collect()
}

/// Whether nothing that was issued for an account works any more, as far as it matters.
fn revoked(target: &DepartureTarget) -> bool {
    matches!(target.state, TargetState::Gone | TargetState::Waived)
        || target.credentials.as_deref() == Some("Revoked") && in_order(target.state)
}

fn state(found: &Found, all: &[Leftover], open: &[&Leftover], targets: &[DepartureTarget]) -> DepartureState {
    if !found.access_gone() {
        return DepartureState::Revoking;
    }
    if !open.is_empty() || found.error().is_some() {
        return DepartureState::Incomplete;
    }
    if !found.credentials_revoked() || !found.all_read() {
        return DepartureState::Verifying;
    }
    if targets.iter().any(|target| target.state == TargetState::Pending) {
        return DepartureState::Verifying;
    }
    if found.brake.is_some() || !targets.iter().all(|target| in_order(target.state)) {
        return DepartureState::Incomplete;
    }
    let waived = targets.iter().any(|target| target.state == TargetState::Waived);
    if all.is_empty() && !waived { DepartureState::Complete } else { DepartureState::CompleteWithWaivers }
}

fn message(found: &Found, open: &[&Leftover], targets: &[DepartureTarget]) -> String {
    let silent = targets.iter().filter(|target| target.target.starts_with(PROVIDER) && target.state == TargetState::Unreachable);
    let silent = silent.map(|target| format!("{}: {}", target.target, target.last_error.as_deref().unwrap_or("it does not answer")));
    let left: Vec<String> = open.iter().take(3).map(|leftover| format!("{}: {}", leftover.object, leftover.reason)).collect();
    let more = open.len().saturating_sub(3);
    let braked = found.brake.as_ref().map(|brake| {
        format!(
            "{} of {} people left at once, so nothing is deleted; annotate usher.dev/release={} if that was meant",
            brake.removals, brake.population, brake.digest
        )
    });
    let more = (more > 0).then(|| format!("and {more} more"));
    left.into_iter().chain(more).chain(silent).chain(found.error()).chain(braked).collect::<Vec<_>>().join("; ")
}

fn departure_conditions(
    previous: &[Condition],
    found: &Found,
    targets: &[DepartureTarget],
    (state, message): (DepartureState, &str),
    now: Timestamp,
) -> Vec<Condition> {
    let unrevoked: Vec<&str> =
        targets.iter().filter(|it| it.target.starts_with(PROVIDER) && !revoked(it)).map(|it| it.target.as_str()).collect();
    let mut findings = Vec::new();
    let mut add = |condition, reason, text: &str| findings.push(Finding::new(condition, reason, text));
    let waiting = if found.error().is_some() { Reason::Unreachable } else { Reason::Departing };
    if !found.access_gone() {
        add(ConditionType::AccessGone, waiting, "access is being taken away");
    }
    let owed: Vec<&str> = found.places.targets().filter(|target| found.at(target).silent).map(String::as_str).collect();
    if !found.credentials_revoked() && !owed.is_empty() {
        let text = format!("what was issued may still work in {}, whose clusters do not answer", owed.join(", "));
        add(ConditionType::CredentialsRevoked, Reason::Unreachable, &text);
    } else if !found.credentials_revoked() {
        add(ConditionType::CredentialsRevoked, waiting, "API servers remember tokens for ten seconds");
    } else if !unrevoked.is_empty() {
        let failed = targets.iter().any(|target| !revoked(target) && target.state == TargetState::Failed);
        let reason = if failed { Reason::LeftoversRemain } else { Reason::Departing };
        add(ConditionType::CredentialsRevoked, reason, &format!("what was issued may still work at {}", unrevoked.join(", ")));
    }
    match state {
        DepartureState::Complete | DepartureState::CompleteWithWaivers => {}
        DepartureState::Revoking | DepartureState::Verifying => add(ConditionType::Complete, waiting, message),
        DepartureState::Incomplete if found.error().is_some() => add(ConditionType::Complete, Reason::Unreachable, message),
        DepartureState::Incomplete if targets.iter().any(|target| target.state == TargetState::Unreachable) => {
            add(ConditionType::Complete, Reason::Unreachable, message);
        }
        DepartureState::Incomplete
            if found
                .clusters
                .values()
                .filter_map(|it| it.leftovers.as_ref())
                .flatten()
                .chain(&found.accounts.leftovers)
                .next()
                .is_some() =>
        {
            add(ConditionType::Complete, Reason::LeftoversRemain, message);
        }
        DepartureState::Incomplete => add(ConditionType::Complete, Reason::Braked, message),
    }
    let all = conditions(&DEPARTURE_CONDITIONS, &findings, (Reason::Departed, ""), None, (previous, now));
    all.into_iter().filter(|condition| condition.type_ != "Ready").collect()
}
