//! The ClusterRoles that hold a Role's inline rules.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt;

use crate::api::Mode;
use crate::plan::access::frozen;
use crate::plan::change::{Change, Step, Write, ensure, remove};
use crate::plan::cluster::{ClusterKey, ClusterState};

use super::desired::Desired;
use super::seen::seen_in;
use super::{Additions, Phases, RoleInputs, RolePlan};

/// Adds the writes of ClusterRoles to a plan: what bindings need comes before them, what they do not need any more after them.
pub(super) fn cluster_roles(inputs: &RoleInputs<'_>, desired: &Desired, plan: &mut RolePlan, phases: &mut Phases) {
    if frozen(inputs.scene.world, inputs.role) {
        return;
    }
    let used = |name: &str| desired.slots.iter().any(|(slot, subjects)| slot.cluster_role == name && !subjects.is_empty());
    for ((cluster, _), object) in desired.inline.iter().filter(|(_, object)| used(&object.name_any())) {
        let Some(state) = inputs.scene.clusters.get(cluster) else { continue };
        let seen = state.cluster_roles.get(&object.name_any());
        let Some(write) = ensure(object.clone(), seen.map(AsRef::as_ref)) else { continue };
        let step = Step { cluster: cluster.clone(), environment: None, change: Change::ClusterRole(write) };
        if only_observed(inputs, desired, &object.name_any()) {
            plan.withheld.push(step);
        } else if seen.is_none_or(|seen| widens(seen, object)) {
            if !inputs.failed.holds(&step) && inputs.scene.world.locks_readable() {
                phases.widen.push(step);
            }
        } else if plan.additions == Additions::None {
            // While something is added the narrowing waits: the plan is made again once it is there.
            phases.narrow.push(step);
        }
    }
    if plan.additions == Additions::None {
        unused(inputs, desired, &used, phases);
    }
}

/// Takes away the ClusterRoles that no binding of this Role names once the plan is carried out.
fn unused(inputs: &RoleInputs<'_>, desired: &Desired, used: &impl Fn(&str) -> bool, phases: &mut Phases) {
    let role = inputs.role.name_any();
    let needed: BTreeSet<String> = desired.inline.values().map(ResourceExt::name_any).filter(|name| used(name)).collect();
    for (cluster, state) in inputs.scene.planned() {
        let named = remaining(inputs, cluster, state, phases);
        for (_, object) in state.cluster_roles_of(&role).filter(|(name, _)| !needed.contains(*name) && !named.contains(*name)) {
            let change = Change::ClusterRole(remove(object.as_ref()));
            phases.narrow.push(Step { cluster: cluster.clone(), environment: None, change });
        }
    }
}

/// Whether a ClusterRole serves Environments only that are observed.
fn only_observed(inputs: &RoleInputs<'_>, desired: &Desired, name: &str) -> bool {
    desired.slots.keys().filter(|slot| slot.cluster_role == name).all(|slot| {
        let environment = slot.place.as_ref().and_then(|(environment, _)| inputs.scene.world.environment(environment));
        environment.is_some_and(|environment| environment.spec.mode == Mode::Observe)
    })
}

/// The ClusterRoles that bindings of this Role still name once the plan is carried out.
fn remaining(inputs: &RoleInputs<'_>, cluster: &ClusterKey, state: &ClusterState, phases: &Phases) -> BTreeSet<String> {
    let gone: BTreeSet<(Option<String>, Option<String>)> = phases
        .leave
        .iter()
        .chain(&phases.take)
        .filter(|step| step.cluster == *cluster && !inputs.failed.holds(step))
        .filter_map(|step| match &step.change {
            Change::RoleBinding(Write::Delete(meta)) | Change::ClusterRoleBinding(Write::Delete(meta)) => {
                Some((meta.namespace.clone(), meta.name.clone()))
            }
            _ => None,
        })
        .collect();
    seen_in(inputs, cluster, state)
        .into_iter()
        .filter(|binding| {
            let namespace = binding.slot.place.as_ref().map(|(_, namespace)| namespace.clone());
            !gone.contains(&(namespace, Some(binding.name.clone())))
        })
        .map(|binding| binding.slot.cluster_role)
        .collect()
}

fn widens(seen: &ClusterRole, object: &ClusterRole) -> bool {
    let rules = object.rules.as_deref().unwrap_or_default();
    // What differs in labels alone widens nothing and narrows nothing.
    seen.rules.iter().flatten().all(|rule| rules.contains(rule))
}
