//! Who has what by the bindings that are in force, in words.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleBinding};
use kube::ResourceExt;

use crate::api::metadata::{ENVIRONMENT, ENVIRONMENTS, ROLE, WORKSPACE};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::covering::{Rules, allows, covers};
use crate::plan::difference::{Matrix, Place, Who, add};
use crate::plan::identity::Known;
use crate::plan::offline::workspace_words;
use crate::plan::placement::Scene;
use crate::plan::rbac::{issued_to, rule_words};
use crate::plan::subjects::behind;

/// What a binding gives to each whom it names, with the words for it.
struct Given<'a> {
    places: Vec<Place>,
    rights: Vec<(Right<'a>, String)>,
}

/// Something that a binding gives.
#[derive(Clone, Copy)]
enum Right<'a> {
    /// A rule of a ClusterRole that usher made.
    Rule(&'a PolicyRule),
    /// A role that others made, by its name.
    Named(&'a str),
}

impl Right<'_> {
    fn words(self) -> String {
        match self {
            Self::Rule(rule) => rule_words(rule),
            Self::Named(name) => name.to_owned(),
        }
    }

    /// Whether who holds a ClusterRole has it.
    fn within(self, held: &str, rules: &Rules, cluster: &ClusterKey) -> bool {
        match self {
            Self::Rule(rule) => allows(rules, cluster, held, rule),
            Self::Named(name) => covers(rules, cluster, held, name),
        }
    }
}

/// Who has what by the bindings in force, usher's and those of others, in the clusters of which something is known.
pub fn in_force(scene: Scene<'_>) -> Matrix {
    let mut matrix = Matrix::new();
    for (cluster, state) in scene.clusters {
        for ((namespace, _), bound) in state.role_bindings.iter().filter(|(_, bound)| !bound.deleting()) {
            name_all(scene, cluster, bound, &inside(cluster, state, namespace, bound), &mut matrix);
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| !bound.deleting()) {
            name_all(scene, cluster, bound, &wide(cluster, state, bound), &mut matrix);
        }
    }
    matrix
}

/// What people have by bindings that usher did not make, told of every place in the cluster: which place it is changes with whose the namespace is.
pub fn by_others(scene: Scene<'_>) -> Matrix {
    let mut matrix = Matrix::new();
    for (cluster, state) in scene.clusters {
        let here = scene.world.environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster);
        let mut places: Vec<Place> = here.map(|(name, _)| Place::Environment(name.clone())).collect();
        places.push(Place::Cluster(cluster.to_string()));
        for bound in state.role_bindings.values().filter(|bound| !(bound.ours || bound.deleting())) {
            name_all(scene, cluster, bound, &Given { places: places.clone(), rights: vec![foreign(bound)] }, &mut matrix);
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| !(bound.ours || bound.deleting())) {
            name_all(scene, cluster, bound, &Given { places: places.clone(), rights: vec![foreign(bound)] }, &mut matrix);
        }
    }
    matrix
}

/// What usher gives to people who have it by bindings of others, too.
pub fn given_twice(scene: Scene<'_>, rules: &Rules) -> Matrix {
    let mut matrix = Matrix::new();
    for (cluster, state) in scene.clusters {
        let held = Held::of(state);
        let mut note = |who: Option<Who>, given: &Given<'_>, known: &Known, namespace: Option<&str>| {
            let Some(who) = who else { return };
            let roles = held.roles(known, namespace);
            let twice = given.rights.iter().filter(|(right, _)| roles.iter().any(|role| right.within(role, rules, cluster)));
            let words: Vec<String> = twice.map(|(_, words)| words.clone()).chain(user_words(known).filter(|_| held.names(known))).collect();
            given.places.iter().for_each(|place| add(&mut matrix, who.clone(), place.clone(), words.iter().cloned()));
        };
        for ((namespace, _), bound) in state.role_bindings.iter().filter(|(_, bound)| bound.ours && !bound.deleting()) {
            let given = inside(cluster, state, namespace, bound);
            bound.subjects.iter().for_each(|known| note(whose(scene, cluster, bound, known), &given, known, Some(namespace)));
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| bound.ours && !bound.deleting()) {
            let given = wide(cluster, state, bound);
            bound.subjects.iter().for_each(|known| note(whose(scene, cluster, bound, known), &given, known, None));
        }
    }
    matrix
}

/// What names hold in a cluster by bindings that usher did not make.
struct Held<'a> {
    /// The ClusterRoles, in a namespace or everywhere.
    roles: BTreeMap<(&'a Known, Option<&'a str>), BTreeSet<&'a str>>,
}

impl<'a> Held<'a> {
    fn of(state: &'a ClusterState) -> Self {
        let mut held = Self { roles: BTreeMap::new() };
        state.role_bindings.values().for_each(|bound| held.add(bound));
        state.cluster_role_bindings.values().for_each(|bound| held.add(bound));
        held
    }

    fn add<K: RbacBinding>(&mut self, bound: &'a Bound<K>) {
        if bound.ours || bound.deleting() {
            return;
        }
        for known in bound.subjects.iter() {
            let roles = self.roles.entry((known, bound.namespace())).or_default();
            roles.extend((bound.role_ref().kind == "ClusterRole").then_some(bound.role_ref().name.as_str()));
        }
    }

    /// Those that hold in a namespace, if there is one.
    fn roles(&self, known: &Known, namespace: Option<&str>) -> BTreeSet<&'a str> {
        let places: BTreeSet<Option<&str>> = [None, namespace].into();
        places.into_iter().filter_map(|place| self.roles.get(&(known, place))).flatten().copied().collect()
    }

    /// Whether somebody is called so there.
    fn names(&self, known: &Known) -> bool {
        let first: (&Known, Option<&str>) = (known, None);
        self.roles.range(first..).next().is_some_and(|((name, _), _)| *name == known)
    }
}

fn inside<'a>(cluster: &ClusterKey, state: &'a ClusterState, namespace: &str, bound: &'a Bound<RoleBinding>) -> Given<'a> {
    let written = bound.labels().get(ENVIRONMENT).filter(|_| bound.ours).cloned();
    let place =
        written.or_else(|| environment_of(state, namespace)).map_or_else(|| Place::Cluster(cluster.to_string()), Place::Environment);
    let rights = match bound.labels().get(ROLE) {
        _ if !bound.ours => vec![foreign(bound)],
        Some(role) => told(rights(state, bound), |what| format!("urole/{role}: {what} in namespace {namespace}")),
        None => told(vec![Right::Named(&bound.role_ref().name)], |what| workspace_words(namespace, what)),
    };
    Given { places: vec![place], rights }
}

fn wide<'a, K: RbacBinding>(cluster: &ClusterKey, state: &'a ClusterState, bound: &'a Bound<K>) -> Given<'a> {
    let listed = bound.annotations().get(ENVIRONMENTS).filter(|_| bound.ours);
    let places = listed.into_iter().flat_map(|list| list.split(',')).map(|name| Place::Environment(name.to_owned())).collect();
    match bound.labels().get(ROLE).filter(|_| bound.ours) {
        Some(role) => Given { places, rights: told(rights(state, bound), |what| format!("urole/{role}: {what} cluster-wide")) },
        None => Given { places: vec![Place::Cluster(cluster.to_string())], rights: vec![foreign(bound)] },
    }
}

fn told(rights: Vec<Right<'_>>, words: impl Fn(&str) -> String) -> Vec<(Right<'_>, String)> {
    rights.into_iter().map(|right| (right, words(&right.words()))).collect()
}

/// The Environment of a namespace that nothing of usher's in it names.
fn environment_of(state: &ClusterState, namespace: &str) -> Option<String> {
    let workspace = state.namespaces.get(namespace).filter(|found| state.ours(found.as_ref()) && found.labels().contains_key(WORKSPACE));
    let shared = || Some(state.territory.of(namespace)).filter(|found| found.len() == 1)?.into_iter().next();
    workspace.and_then(|found| found.labels().get(ENVIRONMENT).cloned()).or_else(shared)
}

/// What the role of a binding allows: the rules of one that usher made, else its name.
fn rights<'a, K: RbacBinding>(state: &'a ClusterState, bound: &'a Bound<K>) -> Vec<Right<'a>> {
    let name = &bound.role_ref().name;
    match state.cluster_roles.get(name) {
        Some(own) => own.rules.iter().flatten().map(Right::Rule).collect(),
        None => vec![Right::Named(name)],
    }
}

/// What a binding gives that usher did not make.
fn foreign<K: RbacBinding>(bound: &Bound<K>) -> (Right<'_>, String) {
    let (role, name) = (bound.role_ref(), bound.name());
    let title =
        bound.namespace().map_or_else(|| format!("ClusterRoleBinding {name}"), |namespace| format!("RoleBinding {namespace}/{name}"));
    (Right::Named(&role.name), format!("{} {} by {title}, which usher did not make", role.kind, role.name))
}

/// What is told of a name that is a user's.
fn user_words(known: &Known) -> impl Iterator<Item = String> {
    let user = match known {
        Known::User(user) => Some(format!("known as User {user}")),
        Known::ServiceAccount(_) => None,
    };
    user.into_iter()
}

fn name_all<K: RbacBinding>(scene: Scene<'_>, cluster: &ClusterKey, bound: &Bound<K>, given: &Given<'_>, matrix: &mut Matrix) {
    for known in bound.subjects.iter() {
        let Some(who) = whose(scene, cluster, bound, known) else { continue };
        for place in &given.places {
            let words = given.rights.iter().map(|(_, words)| words.clone());
            add(matrix, who.clone(), place.clone(), words.chain(user_words(known).filter(|_| bound.ours)));
        }
    }
}

/// Whose a name in a binding is. In bindings of others, names that are no Developer's are none of usher's business.
fn whose<K: RbacBinding>(scene: Scene<'_>, cluster: &ClusterKey, bound: &Bound<K>, known: &Known) -> Option<Who> {
    let issued = issued_to(bound.annotations(), known).filter(|_| bound.ours).and_then(|name| scene.world.developer(name));
    match issued.or_else(|| behind(scene, cluster, known)) {
        Some(developer) => Some(Who::Developer(developer.name_any())),
        None => bound.ours.then(|| Who::Unknown(format!("{} {}", known.subject().kind, known.text()))),
    }
}
