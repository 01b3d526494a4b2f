//! What RBAC in a cluster really gives: bindings expanded to subjects, places and rights.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};
use usher::plan::bound::RbacBinding;
use usher::plan::cluster::{ClusterKey, ClusterState};

use crate::cluster_model::{CLUSTER_ROLES, Model};

/// What somebody may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// All that an existing ClusterRole gives.
    ClusterRole(String),
    /// One verb on one resource, `group/resource/name:verb`.
    Verb(String),
}

/// A right of a subject in a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    pub cluster: ClusterKey,
    /// None for cluster-wide.
    pub namespace: Option<String>,
    pub subject: String,
    pub right: Right,
}

/// The single rights in some rules.
pub fn rights(rules: impl IntoIterator<Item = PolicyRule>) -> Vec<Right> {
    let mut found = Vec::new();
    for rule in rules {
        let names = rule.resource_names.filter(|names| !names.is_empty()).unwrap_or_else(|| vec!["*".to_owned()]);
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                for name in &names {
                    found.extend(rule.verbs.iter().map(|verb| Right::Verb(format!("{group}/{resource}/{name}:{verb}"))));
                }
            }
        }
    }
    found
}

fn title(subject: &Subject) -> String {
    match &subject.namespace {
        Some(namespace) => format!("{} {namespace}/{}", subject.kind, subject.name),
        None => format!("{} {}", subject.kind, subject.name),
    }
}

fn given(state: &ClusterState, binding: &impl RbacBinding) -> Vec<Right> {
    let name = &binding.role_ref().name;
    match state.cluster_roles.get(name) {
        Some(role) => rights(role.rules.clone().unwrap_or_default()),
        None if state.foreign_cluster_roles.contains(name) => vec![Right::ClusterRole(name.clone())],
        None => Vec::new(),
    }
}

fn expand(cluster: &ClusterKey, state: &ClusterState, namespace: Option<&String>, binding: &impl RbacBinding) -> Vec<Held> {
    let rights = given(state, binding);
    let subjects = binding.subjects().iter().map(title);
    subjects
        .flat_map(|subject| {
            rights.iter().map(move |right| Held {
                cluster: cluster.clone(),
                namespace: namespace.cloned(),
                subject: subject.clone(),
                right: right.clone(),
            })
        })
        .collect()
}

/// Everything that the bindings of this installation give, but for those that a filter on their labels leaves out.
pub fn held_where(model: &Model, wanted: impl Fn(&ClusterKey, &dyn Fn(&str) -> Option<String>) -> bool) -> BTreeSet<Held> {
    let mut all = BTreeSet::new();
    for (cluster, state) in &model.clusters {
        for ((namespace, _), bound) in state.role_bindings.iter().filter(|(_, bound)| bound.ours) {
            if wanted(cluster, &|label| bound.labels().get(label).cloned()) {
                all.extend(expand(cluster, state, Some(namespace), &bound.whole()));
            }
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| bound.ours) {
            if wanted(cluster, &|label| bound.labels().get(label).cloned()) {
                all.extend(expand(cluster, state, None, &bound.whole()));
            }
        }
    }
    all
}

/// Everything that the bindings of this installation give.
pub fn held(model: &Model) -> BTreeSet<Held> {
    held_where(model, |_, _| true)
}

/// The same in single verbs: existing ClusterRoles opened, and what holds cluster-wide holds in every namespace.
pub fn verbs(model: &Model) -> BTreeSet<Held> {
    let mut all = BTreeSet::new();
    for held in held(model) {
        let rights = match &held.right {
            Right::ClusterRole(name) => {
                let content = CLUSTER_ROLES.iter().find(|(it, _)| it == name).map(|(_, content)| *content).unwrap_or_default();
                content.iter().map(|(resource, verb)| Right::Verb(format!("/{resource}/*:{verb}"))).collect()
            }
            Right::Verb(_) => vec![held.right.clone()],
        };
        let places: Vec<Option<String>> = match &held.namespace {
            Some(_) => vec![held.namespace.clone()],
            None => [None].into_iter().chain(model.clusters[&held.cluster].namespaces.keys().cloned().map(Some)).collect(),
        };
        for right in rights {
            all.extend(places.iter().map(|namespace| Held { namespace: namespace.clone(), right: right.clone(), ..held.clone() }));
        }
    }
    all
}
