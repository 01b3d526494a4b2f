//! Where the access entries of a Role apply, before anybody is named.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use crate::api::environment::Environment;
use crate::api::role::Access;
use crate::api::{ConditionType, Mode, Reason, Role};

use super::access::{Scope, covers};
use super::cluster::{ClusterKey, ClusterState};
use super::fence;
use super::finding::Finding;
use super::link::{self, Links, Trouble};
use super::settings::{Server, Settings};
use super::world::World;

/// What plans read: all that people wrote, all that clusters were seen to hold, and what the installation decides.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// What people wrote.
    pub world: &'a World,
    /// What the clusters were last seen to hold; those of which nothing was read yet are left out.
    pub clusters: &'a BTreeMap<ClusterKey, &'a ClusterState>,
    /// How the clusters besides the home cluster stand.
    pub links: &'a Links,
    /// The one cluster for which something is planned; none: for all of them. What people are called, and who they are, follows from all of them anyway.
    pub only: Option<&'a ClusterKey>,
    /// What the installation decides.
    pub settings: &'a Settings,
}

impl<'a> Scene<'a> {
    /// What an Environment's cluster was seen to hold, if it is known.
    pub fn cluster_of(&self, environment: &Environment) -> Option<&'a ClusterState> {
        self.clusters.get(&ClusterKey::of(environment)).copied()
    }

    /// The same scene, to plan for one cluster.
    #[must_use]
    pub fn only(self, cluster: &'a ClusterKey) -> Self {
        Self { only: Some(cluster), ..self }
    }

    /// Whether something is planned for a cluster.
    pub fn plans(&self, cluster: &ClusterKey) -> bool {
        self.only.is_none_or(|only| only == cluster)
    }

    /// The clusters for which something is planned, and of which something is known.
    pub fn planned(&self) -> impl Iterator<Item = (&'a ClusterKey, &'a ClusterState)> {
        let only = self.only;
        self.clusters.iter().filter(move |(key, _)| only.is_none_or(|only| only == *key)).map(|(key, state)| (key, *state))
    }

    /// What keeps usher from working in a cluster.
    pub fn trouble(&self, cluster: &ClusterKey) -> Option<&'a Trouble> {
        self.links.get(cluster).and_then(|link| link.trouble.as_ref())
    }

    /// Whether a cluster can be read and written to. What is to be done in another one is owed to it.
    pub fn answers(&self, cluster: &ClusterKey) -> bool {
        self.clusters.contains_key(cluster) && self.trouble(cluster).is_none_or(|trouble| !trouble.silent) && self.noted(cluster)
    }

    /// The clusters that answer.
    pub fn answering(&self) -> impl Iterator<Item = &'a ClusterKey> {
        self.clusters.keys().filter(|cluster| self.answers(cluster))
    }

    /// Whether it is written down which cluster it is. Before that nothing is written there.
    fn noted(&self, cluster: &ClusterKey) -> bool {
        let uid = self.links.get(cluster).and_then(|link| link.uid.as_deref());
        uid.is_none_or(|uid| link::recorded(self.world, cluster).any(|noted| noted == uid))
    }

    /// Why nothing is done in a cluster now, if so.
    pub fn silence(&self, cluster: &ClusterKey) -> Option<(Reason, String)> {
        match self.trouble(cluster) {
            Some(trouble) if trouble.silent => Some((trouble.reason, trouble.message.clone())),
            _ if self.answers(cluster) => None,
            _ => Some((Reason::Progressing, "its cluster is being read".to_owned())),
        }
    }

    /// How people reach a cluster, if that is known.
    pub fn server(&self, cluster: &ClusterKey) -> Option<&'a Server> {
        match cluster {
            ClusterKey::Home => Some(&self.settings.server),
            ClusterKey::Remote(..) => self.links.get(cluster).and_then(|link| link.server.as_ref()),
        }
    }
}

/// What a binding refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A ClusterRole that exists.
    Existing(String),
    /// The inline rules of the access entry of this name.
    Inline(String),
}

/// One binding's place: a ClusterRole given in a namespace of an Environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The Environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// What is given.
    pub reference: Reference,
}

/// An access entry that is cluster-wide in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WidePlace {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The access entry.
    pub entry: String,
    /// The Environments of the cluster, all of which must be meant.
    pub environments: BTreeSet<String>,
}

/// Where a Role gives something, and what stands in the way elsewhere.
#[derive(Debug, Default)]
pub struct Places {
    /// In namespaces.
    pub inside: BTreeSet<Place>,
    /// Cluster-wide.
    pub wide: BTreeSet<WidePlace>,
    /// The Environments in which something is given, whether or not they have a namespace for it yet.
    pub named: BTreeSet<String>,
    /// The Environments that are meant and of whose clusters nothing was read yet: what is given there is not known.
    pub unknown: BTreeSet<String>,
    /// The ClusterRoles that are named and not there, by Environment.
    pub lacking: BTreeMap<String, BTreeSet<String>>,
    /// What does not apply, and why.
    pub findings: Vec<Finding>,
}

impl Places {
    /// Whether the Role gives something in an Environment within a scope.
    pub fn environments(&self, scope: &Scope) -> BTreeSet<&str> {
        let inside = self.named.iter().map(String::as_str).filter(|environment| covers(scope, environment));
        let wide = self.wide.iter().filter(|place| place.environments.iter().all(|environment| covers(scope, environment)));
        inside.chain(wide.flat_map(|place| place.environments.iter().map(String::as_str))).collect()
    }
}

/// Where a Role applies: the intersection of its entries' Environments with those that exist, and there the chosen namespaces.
pub fn places(scene: Scene<'_>, role: &Role) -> Places {
    let mut places = Places::default();
    for access in &role.spec.access {
        missing_environments(scene, access, &mut places.findings);
        if let Some(refusal) = fence::refuses_rules(&scene.settings.fence, access) {
            places.findings.push(Finding::new(ConditionType::Accepted, Reason::Denied, format!("access {}: {refusal}", access.name)));
            if access.cluster_roles.is_empty() {
                continue;
            }
        }
        if access.cluster {
            wide(scene, access, &mut places);
        } else {
            inside(scene, access, &mut places);
        }
    }
    places.findings.sort();
    places.findings.dedup();
    places
}

/// Whether an access entry names an Environment.
pub fn names(access: &Access, environment: &str) -> bool {
    access.environments.iter().any(|name| name == "*" || name == environment)
}

fn missing_environments(scene: Scene<'_>, access: &Access, findings: &mut Vec<Finding>) {
    for name in access.environments.iter().filter(|name| *name != "*") {
        if !scene.world.live_environments().any(|(existing, _)| existing == name) {
            findings.push(Finding::new(
                ConditionType::ReferencesResolved,
                Reason::EnvironmentNotFound,
                format!("access {}: uenv/{name} does not exist; make it, or take it out of environments", access.name),
            ));
        }
    }
}

fn inside(scene: Scene<'_>, access: &Access, places: &mut Places) {
    for (name, environment) in scene.world.live_environments().filter(|(name, _)| names(access, name)) {
        if !scene.plans(&ClusterKey::of(environment)) {
            continue;
        }
        let Some(state) = scene.cluster_of(environment) else {
            places.unknown.insert(name.clone());
            continue;
        };
        let references = references(scene, state, access, name, places);
        if !references.is_empty() {
            places.named.insert(name.clone());
        }
        for namespace in state.territory.chosen(name, access.namespaces.as_ref()) {
            places.inside.extend(references.iter().map(|reference| Place {
                cluster: ClusterKey::of(environment),
                environment: name.clone(),
                namespace: namespace.clone(),
                reference: reference.clone(),
            }));
        }
    }
}

fn references(scene: Scene<'_>, state: &ClusterState, access: &Access, environment: &str, places: &mut Places) -> Vec<Reference> {
    let mut references = Vec::new();
    for name in &access.cluster_roles {
        if let Some(refusal) = fence::refuses_cluster_role(&scene.settings.fence, name) {
            places.findings.push(Finding::new(ConditionType::Accepted, Reason::Denied, format!("access {}: {refusal}", access.name)));
        } else if state.has_cluster_role(name) {
            references.push(Reference::Existing(name.clone()));
        } else {
            places.lacking.entry(environment.to_owned()).or_default().insert(name.clone());
            places.findings.push(Finding::new(
                ConditionType::ReferencesResolved,
                Reason::ClusterRoleNotFound,
                format!(
                    "access {}: ClusterRole {name} does not exist in the cluster of uenv/{environment}; make it, or name another",
                    access.name
                ),
            ));
        }
    }
    if !access.rules.is_empty() && fence::refuses_rules(&scene.settings.fence, access).is_none() {
        references.push(Reference::Inline(access.name.clone()));
    }
    references
}

fn wide(scene: Scene<'_>, access: &Access, places: &mut Places) {
    let meant =
        scene.world.live_environments().filter(|(name, environment)| names(access, name) && scene.cluster_of(environment).is_none());
    places.unknown.extend(meant.filter(|(_, environment)| scene.plans(&ClusterKey::of(environment))).map(|(name, _)| name.clone()));
    for (cluster, _) in scene.planned() {
        let here: Vec<_> = scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster).collect();
        if !here.iter().any(|(name, _)| names(access, name)) {
            continue;
        }
        let obstacle = here.iter().find_map(|(name, environment)| {
            let why = if !names(access, name) {
                "is on the same cluster and is not named"
            } else if !environment.spec.allow_cluster_scope {
                "does not allow it (allowClusterScope)"
            } else if environment.spec.mode == Mode::Observe {
                "is only observed (mode: Observe)"
            } else {
                return None;
            };
            Some(format!("access {}: nothing cluster-wide in {cluster}, as uenv/{name} {why}", access.name))
        });
        match obstacle {
            Some(message) => {
                places.findings.push(Finding::new(ConditionType::AccessApplied, Reason::ClusterAccessNarrowed, message));
            }
            None => {
                places.wide.insert(WidePlace {
                    cluster: cluster.clone(),
                    entry: access.name.clone(),
                    environments: here.iter().map(|(name, _)| (*name).clone()).collect(),
                });
            }
        }
    }
}

/// An access entry of a Role.
pub fn entry<'a>(role: &'a Role, name: &str) -> Option<&'a Access> {
    role.spec.access.iter().find(|access| access.name == name)
}

/// How a Role is called in messages.
pub fn title(role: &Role) -> String {
    format!("urole/{}", role.name_any())
}
