//! Conditions from findings, and the statuses that need more than one planner's word.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;

use crate::api::developer::{DeveloperSummary, HeldRole, Timeline};
use crate::api::metadata::RECORDED_AT;
use crate::api::role::{LastApplied, RoleSummary};
use crate::api::{ConditionType, Developer, DeveloperState, DeveloperStatus, Reason, Role, RoleStatus};

use super::access::Standing;
use super::cell::ToldAccounts;
use super::developer::{DeveloperPlan, seconds, whole_second};
use super::environment::home;
use super::failing::failing;
use super::finding::Finding;
use super::grant::Held;
use super::role::RolePlan;
use super::target::environment_target;
use super::world::World;

/// Messages are cut to this many characters, so that a status stays small.
const LONGEST_MESSAGE: usize = 512;
/// At most this many of one kind of trouble are told in one message.
const MOST_MESSAGES: usize = 10;

/// The conditions of an object: `Ready` first, then those of its kind, then `Stalled` if waiting cannot help.
/// A transition time moves only when the status flips.
pub fn conditions(
    types: &[ConditionType],
    findings: &[Finding],
    ready: (Reason, &str),
    generation: Option<i64>,
    (previous, now): (&[Condition], Timestamp),
) -> Vec<Condition> {
    let now = whole_second(now);
    let make = |kind: ConditionType, status: bool, reason: Reason, message: String| {
        let status = if status { "True" } else { "False" };
        let kind = kind.to_string();
        let before = previous.iter().find(|condition| condition.type_ == kind && condition.status == status);
        Condition {
            last_transition_time: before.map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
            message: cut(&message),
            observed_generation: generation,
            reason: reason.as_str(),
            status: status.to_owned(),
            type_: kind,
        }
    };
    let of = |kind: ConditionType| -> Vec<&Finding> { findings.iter().filter(|finding| finding.condition == kind).collect() };
    let mut details = Vec::new();
    let mut first: Option<(Reason, String)> = None;
    for kind in types.iter().chain([&ConditionType::Ready]) {
        let troubles = of(*kind);
        let worst = troubles.first().map(|finding| (finding.reason, summary(&troubles)));
        first = first.or_else(|| worst.clone());
        if *kind != ConditionType::Ready {
            details.push(match worst {
                Some((reason, message)) => make(*kind, false, reason, message),
                None => make(*kind, true, Reason::AsPlanned, String::new()),
            });
        }
    }
    let head = match first {
        Some((reason, message)) => make(ConditionType::Ready, false, reason, message),
        None => make(ConditionType::Ready, true, ready.0, ready.1.to_owned()),
    };
    let stalled = findings.iter().find(|finding| finding.reason.stalls());
    let tail = stalled.map(|finding| make(ConditionType::Stalled, true, finding.reason, finding.message.clone()));
    [head].into_iter().chain(details).chain(tail).collect()
}

fn summary(troubles: &[&Finding]) -> String {
    let mut messages: Vec<&str> = troubles.iter().take(MOST_MESSAGES).map(|finding| finding.message.as_str()).collect();
    messages.dedup();
    let more = troubles.len().saturating_sub(MOST_MESSAGES);
    let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{}{rest}", messages.join("; "))
}

fn cut(message: &str) -> String {
    if message.chars().count() <= LONGEST_MESSAGE {
        return message.to_owned();
    }
    message.chars().take(LONGEST_MESSAGE - 1).chain(['…']).collect()
}

/// The conditions of a Developer.
pub const DEVELOPER_CONDITIONS: [ConditionType; 6] = [
    ConditionType::Accepted,
    ConditionType::ReferencesResolved,
    ConditionType::WorkspaceReady,
    ConditionType::AccessApplied,
    ConditionType::CredentialsReady,
    ConditionType::AccountsSynced,
];
/// The conditions of a Role or Binding.
pub const ROLE_CONDITIONS: [ConditionType; 3] = [ConditionType::Accepted, ConditionType::ReferencesResolved, ConditionType::AccessApplied];
/// The conditions of an Environment.
pub const ENVIRONMENT_CONDITIONS: [ConditionType; 3] = [ConditionType::Accepted, ConditionType::Connected, ConditionType::AccessApplied];

/// Where a Developer stands, for the column.
pub fn state(standing: Standing, settled: bool) -> DeveloperState {
    match standing {
        Standing::Pending => DeveloperState::Pending,
        Standing::Active => DeveloperState::Active,
        Standing::Suspended => DeveloperState::Suspended,
        Standing::Locked => DeveloperState::Locked,
        Standing::Departed | Standing::Deleted if settled => DeveloperState::Departed,
        Standing::Departed | Standing::Deleted => DeveloperState::Departing,
    }
}

/// The status of a Developer.
pub fn developer_status(
    world: &World,
    developer: &Developer,
    plan: &DeveloperPlan,
    (held, accounts, findings): (&BTreeMap<String, Held>, &ToldAccounts, &[Finding]),
    now: Timestamp,
) -> DeveloperStatus {
    let previous = developer.status.clone().unwrap_or_default();
    let (reason, settled) = ready_reason(plan.standing, findings);
    let conditions = conditions(&DEVELOPER_CONDITIONS, findings, (reason, ""), developer.metadata.generation, (&previous.conditions, now));
    let ready = conditions.first().is_some_and(|condition| condition.status == "True");
    let message = if ready { String::new() } else { conditions.first().map(|condition| condition.message.clone()).unwrap_or_default() };
    let active = plan.standing == Standing::Active;
    let mut timeline = previous.timeline.unwrap_or_default();
    timeline.declared_at = timeline.declared_at.or_else(|| declared_at(developer));
    timeline.first_commit_at = timeline.first_commit_at.or_else(|| accounts.first_push.map(whole_second));
    if active {
        arrived(&mut timeline, (findings, accounts), now);
    }
    let own = home(world).or_else(|| held.values().flat_map(|held| &held.environments).min()).map(|name| environment_target(name));
    let failing = if active { failing(&previous.failing, findings, own.as_ref(), now) } else { Vec::new() };
    let held: BTreeMap<&String, &Held> = held.iter().collect();
    DeveloperStatus {
        observed_generation: developer.metadata.generation,
        state: Some(state(plan.standing, settled)),
        summary: Some(DeveloperSummary {
            roles: held.keys().map(|name| name.as_str()).collect::<Vec<_>>().join(","),
            teams: developer.spec.teams.join(","),
            workspace: plan
                .workspaces
                .iter()
                .find(|workspace| workspace.home)
                .map(|workspace| workspace.namespace.clone())
                .unwrap_or_default(),
            accounts: accounts.summary(),
            expires: developer.spec.ends_at.as_ref().map(|time| seconds(time.0)).unwrap_or_default(),
            message,
        }),
        conditions,
        identities: plan.identities.clone(),
        workspaces: plan.workspaces.clone(),
        roles: held.iter().map(|(name, held)| held_role(world, name, held)).collect(),
        accounts: accounts.list.clone(),
        foreign_bindings: Some(plan.foreign),
        failing,
        timeline: Some(timeline),
    }
}

/// Notes what came to be in place. When everything first was, that is over: what she is given later is no part of her arrival.
fn arrived(timeline: &mut Timeline, (findings, accounts): (&[Finding], &ToldAccounts), now: Timestamp) {
    let now = || Some(whole_second(now));
    if findings.iter().all(|finding| finding.condition == ConditionType::AccountsSynced) {
        timeline.access_ready_at = timeline.access_ready_at.take().or_else(now);
    }
    if !findings.is_empty() {
        return;
    }
    if accounts.wanted > 0 {
        timeline.accounts_ready_at = timeline.accounts_ready_at.take().or_else(now);
    }
    let last = || [&timeline.access_ready_at, &timeline.accounts_ready_at].into_iter().flatten().max_by_key(|at| at.0).cloned();
    timeline.ready_at = timeline.ready_at.clone().or_else(last);
}

/// When somebody was declared: when her Developer was made, or her Source recorded her if that was earlier.
fn declared_at(developer: &Developer) -> Option<Time> {
    let recorded = developer.annotations().get(RECORDED_AT).and_then(|at| at.parse().ok()).map(whole_second);
    let made = developer.metadata.creation_timestamp.clone()?;
    Some(recorded.filter(|recorded| recorded.0 < made.0).unwrap_or(made))
}

fn ready_reason(standing: Standing, findings: &[Finding]) -> (Reason, bool) {
    let settled = findings.is_empty();
    let reason = match standing {
        Standing::Active => Reason::AsPlanned,
        Standing::Pending => Reason::Pending,
        Standing::Suspended => Reason::Suspended,
        Standing::Locked => Reason::Locked,
        Standing::Departed | Standing::Deleted if settled => Reason::Departed,
        Standing::Departed | Standing::Deleted => Reason::Departing,
    };
    (reason, settled)
}

fn held_role(world: &World, name: &str, held: &Held) -> HeldRole {
    let ends: Vec<Option<Time>> =
        held.via.keys().map(|name| world.binding(name).and_then(|binding| binding.spec.expires_at.clone())).collect();
    let expires_at = if ends.iter().any(Option::is_none) { None } else { ends.into_iter().flatten().max_by_key(|time| time.0) };
    HeldRole {
        name: name.to_owned(),
        via: held.via.keys().cloned().collect(),
        environments: held.environments.iter().cloned().collect(),
        expires_at,
    }
}

/// The status of a Role.
pub fn role_status(role: &Role, plan: &RolePlan, findings: &[Finding], applied: Option<LastApplied>, now: Timestamp) -> RoleStatus {
    let previous = role.status.clone().unwrap_or_default();
    let providers: BTreeSet<&str> = role.spec.accounts.iter().map(|account| account.provider.as_str()).collect();
    RoleStatus {
        observed_generation: role.metadata.generation,
        conditions: conditions(&ROLE_CONDITIONS, findings, (Reason::AsPlanned, ""), role.metadata.generation, (&previous.conditions, now)),
        holders: Some(i64::try_from(plan.holders.len()).unwrap_or(i64::MAX)),
        last_applied: applied.or(previous.last_applied),
        summary: Some(RoleSummary {
            environments: plan.environments.iter().cloned().collect::<Vec<_>>().join(","),
            providers: providers.into_iter().collect::<Vec<_>>().join(","),
        }),
    }
}

/// How an object of usher's is called in messages.
pub fn short_name<K: kube::Resource<DynamicType = ()>>(object: &K) -> String {
    let kind = match K::kind(&()).as_ref() {
        "Developer" => "dev",
        "Role" => "urole",
        "Binding" => "ubind",
        "Environment" => "uenv",
        "Provider" => "uprov",
        "Lock" => "ulock",
        "Source" => "usource",
        "Departure" => "departure",
        "Scorecard" => "scorecard",
        _ => "grant",
    };
    format!("{kind}/{}", object.name_any())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn an_account_that_she_is_given_later_is_no_part_of_her_arrival() {
        let (hired, day) = (Timestamp::UNIX_EPOCH, SignedDuration::from_hours(24));
        let (none, one) = (ToldAccounts::default(), ToldAccounts { wanted: 1, ..ToldAccounts::default() });
        let under_way = [Finding::new(ConditionType::AccountsSynced, Reason::Progressing, "the account is being brought about")];
        let mut timeline = Timeline::default();
        arrived(&mut timeline, (&[], &none), hired);
        arrived(&mut timeline, (&under_way, &one), hired + day * 20);
        arrived(&mut timeline, (&[], &one), hired + day * 20);
        assert_eq!(timeline.ready_at, Some(whole_second(hired)));
        assert_eq!(timeline.accounts_ready_at, Some(whole_second(hired + day * 20)));

        let mut timeline = Timeline::default();
        arrived(&mut timeline, (&under_way, &one), hired);
        assert_eq!((&timeline.access_ready_at, &timeline.ready_at), (&Some(whole_second(hired)), &None));
        arrived(&mut timeline, (&[], &one), hired + day);
        assert_eq!(timeline.ready_at, Some(whole_second(hired + day)), "then all that she was to have was in place");
    }
}
