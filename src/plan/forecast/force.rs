//! Who has what by the bindings that are in force, in words.

use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::ResourceExt;

use crate::api::metadata::{ENVIRONMENT, ENVIRONMENTS, ROLE, WORKSPACE};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::difference::{Matrix, Place, Who, add};
use crate::plan::identity::Known;
use crate::plan::offline::workspace_words;
use crate::plan::placement::Scene;
use crate::plan::rbac::{issued_to, rule_words};
use crate::plan::subjects::behind;

/// What a binding gives to each whom it names.
struct Given {
    places: Vec<Place>,
    words: Vec<String>,
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

fn inside(cluster: &ClusterKey, state: &ClusterState, namespace: &str, bound: &Bound<RoleBinding>) -> Given {
    let written = bound.labels().get(ENVIRONMENT).filter(|_| bound.ours).cloned();
    let place =
        written.or_else(|| environment_of(state, namespace)).map_or_else(|| Place::Cluster(cluster.to_string()), Place::Environment);
    let words = match bound.labels().get(ROLE) {
        _ if !bound.ours => vec![foreign(bound, &format!("RoleBinding {namespace}/{}", bound.name()))],
        Some(role) => rights(state, bound).into_iter().map(|what| format!("urole/{role}: {what} in namespace {namespace}")).collect(),
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
    format!("{} {} by {title}, which usher did not make", bound.role_ref().kind, bound.role_ref().name)
}

fn name_all<K: RbacBinding>(scene: Scene<'_>, cluster: &ClusterKey, bound: &Bound<K>, given: &Given, matrix: &mut Matrix) {
    for known in bound.subjects.iter() {
        let Some(who) = whose(scene, cluster, bound, known) else { continue };
        let user = match known {
            Known::User(user) if bound.ours => Some(format!("known as User {user}")),
            _ => None,
        };
        for place in &given.places {
            add(matrix, who.clone(), place.clone(), given.words.iter().cloned().chain(user.clone()));
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
