//! What is said about a Binding. Its effect is planned with the Roles that it gives.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::binding::BindingSummary;
use crate::api::{Binding, BindingState, BindingStatus, ConditionType, Reason};

use super::access::{active_people, binding_moments, binding_state, next_of, paused};
use super::cluster::ClusterKey;
use super::developer::seconds;
use super::finding::Finding;
use super::placement::title;
use super::world::World;

/// The status of a Binding but for its conditions, and when it changes by itself.
pub fn binding_status(world: &World, binding: &Binding, now: Timestamp) -> (BindingStatus, Option<Timestamp>) {
    let state = binding_state(binding, now);
    let holders = if state == BindingState::Active { active_people(world, binding, now).len() } else { 0 };
    let status = BindingStatus {
        observed_generation: binding.metadata.generation,
        conditions: Vec::new(),
        state: Some(state),
        holders: Some(i64::try_from(holders).unwrap_or(i64::MAX)),
        summary: Some(BindingSummary { expires: binding.spec.expires_at.as_ref().map(|time| seconds(time.0)).unwrap_or_default() }),
    };
    let moments = binding_moments(binding).into_iter().chain([deleted_at(binding)]);
    (status, next_of(moments, now))
}

/// When an expired Binding is to be deleted.
pub fn deleted_at(binding: &Binding) -> Option<Timestamp> {
    let expires = binding.spec.expires_at.as_ref()?.0;
    expires.checked_add(binding.spec.delete_after_expiry.as_ref()?.duration()).ok()
}

/// The cluster-wide access entries that a Binding switches off by leaving out an Environment of a cluster.
fn narrowed(world: &World, binding: &Binding) -> BTreeSet<Finding> {
    let mut findings = BTreeSet::new();
    let Some(meant) = &binding.spec.environments else { return findings };
    let roles = world.includes().given_by_role(&binding.spec.role).filter_map(|name| world.live_role(name));
    for (role, access) in roles.flat_map(|role| role.spec.access.iter().filter(|access| access.cluster).map(move |access| (role, access))) {
        let mut clusters: BTreeMap<ClusterKey, (bool, Vec<&str>)> = BTreeMap::new();
        for (name, environment) in world.live_environments() {
            let (some, left_out) = clusters.entry(ClusterKey::of(environment)).or_default();
            if !access.environments.iter().any(|it| it == "*" || it == name) {
                // The Role says so itself.
                continue;
            }
            if meant.contains(name) { *some = true } else { left_out.push(name) }
        }
        for (cluster, (some, left_out)) in clusters {
            if some && !left_out.is_empty() {
                let left_out: Vec<String> = left_out.iter().map(|name| format!("uenv/{name}")).collect();
                findings.insert(Finding::new(
                    ConditionType::AccessApplied,
                    Reason::ClusterAccessNarrowed,
                    format!(
                        "access {} of {}: nothing cluster-wide in {cluster}, as {} is left out under environments; name it too if that is not meant",
                        access.name,
                        title(role),
                        left_out.join(" and ")
                    ),
                ));
            }
        }
    }
    findings
}

/// What is wrong with a Binding.
pub fn binding_findings(world: &World, binding: &Binding) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut missing = |reason, message| findings.push(Finding::new(ConditionType::ReferencesResolved, reason, message));
    let spec = &binding.spec;
    if world.live_role(&spec.role).is_none() {
        missing(Reason::RoleNotFound, format!("urole/{} does not exist; make it, or name another under role", spec.role));
    }
    let absent: Vec<String> =
        spec.developers.iter().filter(|name| world.developer(name).is_none()).take(10).map(|name| format!("dev/{name}")).collect();
    if !absent.is_empty() {
        missing(
            Reason::DeveloperNotFound,
            format!("{} does not exist; make the Developer, or take the name out of developers", absent.join(", ")),
        );
    }
    let existing: BTreeSet<&String> = world.live_environments().map(|(name, _)| name).collect();
    for name in spec.environments.iter().flatten().filter(|name| !existing.contains(name)) {
        missing(Reason::EnvironmentNotFound, format!("uenv/{name} does not exist; make it, or take it out of environments"));
    }
    findings.extend(narrowed(world, binding));
    if paused(binding) {
        findings.push(Finding::new(
            ConditionType::Ready,
            Reason::Paused,
            format!("ubind/{} is paused; remove the annotation usher.dev/paused to go on", binding.name_any()),
        ));
    }
    findings
}
