//! Who has what by the bindings that are in force, in words.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use crate::api::metadata::{ENVIRONMENT, ENVIRONMENTS, ROLE, WORKSPACE};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::difference::{Difference, Matrix, Place, Who, add};
use crate::plan::identity::Known;
use crate::plan::import::{Rules, covers};
use crate::plan::offline::workspace_words;
use crate::plan::placement::Scene;
use crate::plan::rbac::{issued_to, rule_words};
use crate::plan::subjects::behind;

/// How words end that tell of a binding of others.
const FOREIGN: &str = ", which usher did not make";

/// What a binding gives to each whom it names.
struct Given {
    places: Vec<Place>,
    words: Vec<String>,
}

impl Given {
    /// The same in other places.
    fn among(self, places: &[Place]) -> Self {
        Self { places: places.to_vec(), ..self }
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

/// What people have by bindings that usher did not make, wherever in the cluster it is: in the words of these bindings, and in those that usher has for the same
/// and for what is less.
pub fn by_others(scene: Scene<'_>, rules: &Rules) -> Matrix {
    let names = nameable(scene);
    let mut matrix = Matrix::new();
    for (cluster, state) in scene.clusters {
        let here = scene.world.environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster);
        let mut places: Vec<Place> = here.map(|(name, _)| Place::Environment(name.clone())).collect();
        places.push(Place::Cluster(cluster.to_string()));
        for ((namespace, name), bound) in state.role_bindings.iter().filter(|(_, bound)| !(bound.ours || bound.deleting())) {
            let mut words = vec![foreign(bound, &format!("RoleBinding {namespace}/{name}"))];
            if bound.role_ref().kind == "ClusterRole" {
                let within = names.iter().filter(|name| covers(rules, cluster, &bound.role_ref().name, name));
                words.extend(within.flat_map(|role| [inside_words(role, namespace), workspace_words(namespace, role)]));
            }
            name_all(scene, cluster, bound, &Given { places: places.clone(), words }, &mut matrix);
            name_known(scene, cluster, bound, &places, &mut matrix);
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| !(bound.ours || bound.deleting())) {
            name_all(scene, cluster, bound, &wide(cluster, state, bound).among(&places), &mut matrix);
            name_known(scene, cluster, bound, &places, &mut matrix);
        }
    }
    matrix
}

/// The ClusterRoles that usher may give by what is written.
fn nameable(scene: Scene<'_>) -> BTreeSet<&str> {
    let roles = scene.world.roles().flat_map(|(_, role)| &role.spec.access).flat_map(|access| &access.cluster_roles);
    let templates = scene.world.environments().filter_map(|(_, environment)| environment.spec.workspace.as_ref());
    roles.chain(templates.map(|template| &template.cluster_role)).map(String::as_str).collect()
}

/// Takes out of a difference what somebody would gain and has already by bindings that usher did not make; nothing if there is none of that.
pub fn had_already(had: &Matrix, change: &mut Difference) -> Option<Difference> {
    let had = had.get(&(change.who.clone(), change.place.clone()))?;
    // usher's own words name the Role that gives it, in front.
    let plain = |words: &str| words.strip_prefix("urole/").and_then(|rest| Some(rest.split_once(": ")?.1.to_owned()));
    let mut already = change.clone();
    already.gains.retain(|words| had.contains(words) || plain(words).is_some_and(|words| had.contains(&words)));
    already.loses.clear();
    change.gains = change.gains.difference(&already.gains).cloned().collect();
    (!already.gains.is_empty()).then_some(already)
}

/// Takes out of a difference what somebody still has by bindings that usher did not make: a namespace that becomes a workspace is told in another place by then.
pub fn has_still(has: &Matrix, change: &mut Difference) {
    if let Some(has) = has.get(&(change.who.clone(), change.place.clone())) {
        change.loses.retain(|words| !(words.ends_with(FOREIGN) && has.contains(words)));
    }
}

/// A ClusterRole in a namespace, in words.
fn inside_words(what: &str, namespace: &str) -> String {
    format!("{what} in namespace {namespace}")
}

fn known_words(user: &str) -> String {
    format!("known as User {user}")
}

fn inside(cluster: &ClusterKey, state: &ClusterState, namespace: &str, bound: &Bound<RoleBinding>) -> Given {
    let written = bound.labels().get(ENVIRONMENT).filter(|_| bound.ours).cloned();
    let place =
        written.or_else(|| environment_of(state, namespace)).map_or_else(|| Place::Cluster(cluster.to_string()), Place::Environment);
    let words = match bound.labels().get(ROLE) {
        _ if !bound.ours => vec![foreign(bound, &format!("RoleBinding {namespace}/{}", bound.name()))],
        Some(role) => rights(state, bound).into_iter().map(|what| format!("urole/{role}: {}", inside_words(&what, namespace))).collect(),
        None => vec![workspace_words(namespace, &bound.role_ref().name)],
    };
    Given { places: vec![place], words }
}

fn wide<K: RbacBinding>(cluster: &ClusterKey, state: &ClusterState, bound: &Bound<K>) -> Given {
    let listed = bound.annotations().get(ENVIRONMENTS).filter(|_| bound.ours);
    let places = listed.into_iter().flat_map(|list| list.split(',')).map(|name| Place::Environment(name.to_owned())).collect();
    match bound.labels().get(ROLE).filter(|_| bound.ours) {
        Some(role) => {
            Given { places, words: rights(state, bound).into_iter().map(|what| format!("urole/{role}: {what} cluster-wide")).collect() }
        }
        None => {
            let words = vec![foreign(bound, &format!("ClusterRoleBinding {}", bound.name()))];
            Given { places: vec![Place::Cluster(cluster.to_string())], words }
        }
    }
}

/// The Environment of a namespace that nothing of usher's in it names.
fn environment_of(state: &ClusterState, namespace: &str) -> Option<String> {
    let workspace = state.namespaces.get(namespace).filter(|found| state.ours(found.as_ref()) && found.labels().contains_key(WORKSPACE));
    let shared = || Some(state.territory.of(namespace)).filter(|found| found.len() == 1)?.into_iter().next();
    workspace.and_then(|found| found.labels().get(ENVIRONMENT).cloned()).or_else(shared)
}

/// What the role of a binding allows: the rules of one that usher made, else its name.
fn rights<K: RbacBinding>(state: &ClusterState, bound: &Bound<K>) -> Vec<String> {
    let name = &bound.role_ref().name;
    match state.cluster_roles.get(name) {
        Some(own) => own.rules.iter().flatten().map(rule_words).collect(),
        None => vec![name.clone()],
    }
}

fn foreign<K: RbacBinding>(bound: &Bound<K>, title: &str) -> String {
    format!("{} {} by {title}{FOREIGN}", bound.role_ref().kind, bound.role_ref().name)
}

fn name_all<K: RbacBinding>(scene: Scene<'_>, cluster: &ClusterKey, bound: &Bound<K>, given: &Given, matrix: &mut Matrix) {
    for known in bound.subjects.iter() {
        let Some(who) = whose(scene, cluster, bound, known) else { continue };
        let user = match known {
            Known::User(user) if bound.ours => Some(known_words(user)),
            _ => None,
        };
        for place in &given.places {
            add(matrix, who.clone(), place.clone(), given.words.iter().cloned().chain(user.clone()));
        }
    }
}

/// Notes by which user names others know people.
fn name_known<K: RbacBinding>(scene: Scene<'_>, cluster: &ClusterKey, bound: &Bound<K>, places: &[Place], matrix: &mut Matrix) {
    for known in bound.subjects.iter() {
        let (Known::User(user), Some(who)) = (known, whose(scene, cluster, bound, known)) else { continue };
        places.iter().for_each(|place| add(matrix, who.clone(), place.clone(), [known_words(user)]));
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
