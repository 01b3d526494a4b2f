//! The bindings of a Role as they were seen.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;

use crate::api::Developer;
use crate::api::metadata::ENVIRONMENT;
use crate::plan::bound::{Bound, People, RbacBinding};
use crate::plan::change::Change;
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::identity::Known;
use crate::plan::name;
use crate::plan::placement::Scene;
use crate::plan::rbac::issued_to;
use crate::plan::subjects;
use crate::plan::world::deleting;

use super::RoleInputs;

/// Where a binding stands and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) cluster: ClusterKey,
    /// None for a ClusterRoleBinding.
    pub(super) place: Option<(String, String)>,
    pub(super) cluster_role: String,
}

impl SeenBinding<'_> {
    /// Whether it names groups or other strangers that no plan contains.
    pub(super) fn strangers(&self) -> bool {
        match self.seen {
            Seen::Inside(bound) => bound.strangers(),
            Seen::Wide(bound) => bound.strangers(),
        }
    }
}

/// Where people are divided among bindings of the same names: a ClusterRole in all namespaces of an Environment, or everywhere.
pub(super) type Series<'a> = (&'a ClusterKey, Option<&'a str>, &'a str);

impl Slot {
    pub(super) fn series(&self) -> Series<'_> {
        (&self.cluster, self.place.as_ref().map(|(environment, _)| environment.as_str()), &self.cluster_role)
    }

    /// The name of one of the bindings of a Role here.
    pub(super) fn binding(&self, role: &str, shard: usize) -> String {
        match &self.place {
            Some((environment, _)) => name::role_binding(role, &self.cluster_role, environment, shard),
            None => name::cluster_role_binding(role, &self.cluster_role, shard),
        }
    }

    /// Nothing stands for everywhere.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.place.as_ref().map(|(_, namespace)| namespace.as_str())
    }
}

/// A binding that was seen.
pub(super) enum Seen<'a> {
    Inside(&'a Bound<RoleBinding>),
    Wide(&'a Bound<ClusterRoleBinding>),
}

/// A binding that was seen, taken apart.
pub(super) struct SeenBinding<'a> {
    pub(super) slot: Slot,
    pub(super) name: String,
    pub(super) subjects: People,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) seen: Seen<'a>,
}

/// The bindings of a Role that were seen in a cluster.
pub(super) fn seen_in<'a>(inputs: &RoleInputs<'a>, cluster: &ClusterKey, state: &'a ClusterState) -> Vec<SeenBinding<'a>> {
    let role = inputs.role.metadata.name.as_deref().unwrap_or_default();
    let inside = state
        .role_bindings_of(role)
        .filter(|((namespace, _), _)| state.namespaces.get(namespace).is_none_or(|namespace| !deleting(namespace.as_ref())));
    let inside = inside.map(|((namespace, _), bound)| {
        let environment = bound.labels().get(ENVIRONMENT).cloned().unwrap_or_default();
        seen_binding(cluster, Some((environment, namespace.clone())), bound, Seen::Inside(bound))
    });
    let wide = state.cluster_role_bindings_of(role).map(|(_, bound)| seen_binding(cluster, None, bound, Seen::Wide(bound)));
    inside.chain(wide).collect()
}

fn seen_binding<'a, K: RbacBinding>(
    cluster: &ClusterKey,
    place: Option<(String, String)>,
    bound: &'a Bound<K>,
    seen: Seen<'a>,
) -> SeenBinding<'a> {
    SeenBinding {
        slot: Slot { cluster: cluster.clone(), place, cluster_role: bound.role_ref().name.clone() },
        name: bound.name().to_owned(),
        subjects: bound.subjects.clone(),
        annotations: bound.annotations(),
        seen,
    }
}

/// Who is named in bindings that were seen, by the names of these: the same people in several namespaces once.
pub(super) fn named_in<'a>(seen: &'a [SeenBinding<'_>]) -> BTreeMap<Series<'a>, BTreeMap<&'a str, Vec<&'a People>>> {
    let mut named: BTreeMap<Series<'_>, BTreeMap<&str, Vec<&People>>> = BTreeMap::new();
    for binding in seen {
        let people = named.entry(binding.slot.series()).or_default().entry(&binding.name).or_default();
        if !people.iter().any(|known| Arc::ptr_eq(known, &binding.subjects)) {
            people.push(&binding.subjects);
        }
    }
    named
}

/// The Developers whose name was found in a binding: the one it was issued to, whatever her name is now, and the one who has it now.
pub(super) fn behind<'a>(scene: Scene<'a>, binding: &SeenBinding<'_>, known: &Known) -> impl Iterator<Item = &'a Arc<Developer>> {
    let issued = issued_to(binding.annotations, known).and_then(|name| scene.world.developer(name));
    issued.into_iter().chain(subjects::behind(scene, &binding.slot.cluster, known))
}

/// Everybody whom bindings of the Role name.
pub(super) fn people(inputs: &RoleInputs<'_>) -> BTreeSet<String> {
    let mut people = BTreeSet::new();
    for (cluster, state) in inputs.scene.planned() {
        let mut known_already = HashSet::new();
        for binding in seen_in(inputs, cluster, state) {
            for known in binding.subjects.iter() {
                if !known_already.contains(known) {
                    people.extend(behind(inputs.scene, &binding, known).map(|developer| developer.name_any()));
                    known_already.insert(known.clone());
                }
            }
        }
    }
    people
}

/// The write that takes some people out of a binding and leaves the rest of it as it is.
pub(super) fn without(binding: &SeenBinding<'_>, gone: &BTreeSet<Known>) -> Change {
    match &binding.seen {
        Seen::Inside(bound) => Change::RoleBinding(bound.without(gone)),
        Seen::Wide(bound) => Change::ClusterRoleBinding(bound.without(gone)),
    }
}

pub(super) fn delete(binding: &SeenBinding<'_>) -> Change {
    match &binding.seen {
        Seen::Inside(bound) => Change::RoleBinding(bound.removal()),
        Seen::Wide(bound) => Change::ClusterRoleBinding(bound.removal()),
    }
}
