//! Whether what the plan gives a person was seen in the clusters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt;

use crate::api::metadata::{CLUSTER_PREFIX, ENTRY, ENVIRONMENT, ROLE};
use crate::api::{Developer, Environment, Mode, Role};

use super::access::{Via, covers, frozen, held_roles, paused};
use super::bound::{Bound, People, RbacBinding};
use super::cluster::{ClusterKey, ClusterState};
use super::identity::Known;
use super::placement::{Places, Reference, Scene, entry, places};
use super::rbac::{issued_names, issued_to, policy_rules};
use super::subjects::known_in;

/// A place where something should be or should not be, for messages.
pub type Cell = (ClusterKey, String, String);

/// The ClusterRole of an access entry that holds exactly its rules now.
pub fn current_cluster_role<'a>(state: &'a ClusterState, role: &'a Role, name: &str, cluster_wide: bool) -> Option<&'a Arc<ClusterRole>> {
    let rules = policy_rules(&entry(role, name)?.rules);
    let role_name = role.metadata.name.as_deref().unwrap_or_default();
    state
        .cluster_roles_of(role_name)
        .map(|(_, object)| object)
        .filter(|object| object.labels().get(ENTRY).is_some_and(|label| label == name))
        .filter(|object| object.name_any().starts_with(CLUSTER_PREFIX) == cluster_wide)
        .find(|object| object.rules.as_deref().unwrap_or_default() == rules)
}

/// The places in which a holder of a Role should be named by now and was not seen to be.
pub fn missing(scene: Scene<'_>, developer: &Developer, role: &Role, via: &Via, places: &Places) -> BTreeSet<Cell> {
    let mut missing = BTreeSet::new();
    let mut names: BTreeMap<&str, Option<Known>> = BTreeMap::new();
    let mut own: BTreeMap<(&ClusterKey, &str), Option<&str>> = BTreeMap::new();
    let role_name = role.name_any();
    for place in &places.inside {
        if !via.values().any(|scope| covers(scope, &place.environment)) {
            continue;
        }
        let Some(environment) = scene.world.environment(&place.environment) else { continue };
        let idle = idle(environment);
        let known = names.entry(&place.environment).or_insert_with(|| known_in(scene, developer, environment).ok());
        let (Some(known), Some(state), false) = (known, scene.clusters.get(&place.cluster), idle) else { continue };
        let reference = match &place.reference {
            Reference::Existing(name) => Some(name.as_str()),
            Reference::Inline(name) => *own
                .entry((&place.cluster, name))
                .or_insert_with(|| current_cluster_role(state, role, name, false).and_then(|object| object.metadata.name.as_deref())),
        };
        let seen = state.role_bindings_naming_in(known, &place.namespace).any(|bound| {
            bound.labels().get(ROLE) == Some(&role_name)
                && Some(bound.role_ref().name.as_str()) == reference
                && bound.labels().get(ENVIRONMENT) == Some(&place.environment)
        });
        if !seen {
            missing.insert((place.cluster.clone(), place.environment.clone(), place.namespace.clone()));
        }
    }
    missing.extend(missing_wide(scene, developer, role, via, places));
    missing
}

fn missing_wide(scene: Scene<'_>, developer: &Developer, role: &Role, via: &Via, places: &Places) -> BTreeSet<Cell> {
    let role_name = role.name_any();
    let mut missing = BTreeSet::new();
    for place in &places.wide {
        let Some(state) = scene.clusters.get(&place.cluster) else { continue };
        if !via.values().any(|scope| place.environments.iter().all(|environment| covers(scope, environment))) {
            continue;
        }
        let reference = current_cluster_role(state, role, &place.entry, true).map(|object| object.name_any());
        for environment in &place.environments {
            let Some(object) = scene.world.environment(environment) else { continue };
            let Ok(known) = known_in(scene, developer, object) else { continue };
            let seen = state
                .cluster_role_bindings_of(&role_name)
                .any(|(_, bound)| Some(&bound.role_ref().name) == reference.as_ref() && bound.subjects.contains(&known));
            if !seen {
                missing.insert((place.cluster.clone(), environment.clone(), String::new()));
            }
        }
    }
    missing
}

/// Whether something that a Developer should have by other Roles is still to be added.
pub fn outstanding(scene: Scene<'_>, developer: &Developer, except: &str, now: Timestamp) -> bool {
    !outstanding_among(scene, &BTreeSet::from([developer.name_any()]), except, now).people.is_empty()
}

/// What is still to be added.
#[derive(Debug, Default)]
pub struct Outstanding {
    /// To whom.
    pub people: BTreeSet<String>,
    /// By which Roles.
    pub roles: BTreeSet<String>,
}

/// Those of some people for whom something that they should have by other Roles is still to be added. Each of those Roles is looked at once.
pub fn outstanding_among(scene: Scene<'_>, people: &BTreeSet<String>, except: &str, now: Timestamp) -> Outstanding {
    let mut by_role: BTreeMap<String, Holders<'_>> = BTreeMap::new();
    for developer in people.iter().filter_map(|name| scene.world.developer(name)).filter(|developer| !paused(developer.as_ref())) {
        for (role, via) in held_roles(scene.world, developer, now).into_iter().filter(|(role, _)| role != except) {
            by_role.entry(role).or_default().push((developer.as_ref(), via));
        }
    }
    let mut outstanding = Outstanding::default();
    for (name, holders) in &by_role {
        let Some(role) = scene.world.live_role(name).filter(|role| !frozen(scene.world, role)) else { continue };
        let lacking = lacking_in(scene, role, holders);
        if !lacking.is_empty() {
            outstanding.roles.insert(name.clone());
        }
        outstanding.people.extend(lacking);
    }
    outstanding
}

type Holders<'a> = Vec<(&'a Developer, Via)>;

/// Those of some holders of a Role who were not seen everywhere where they should be by now.
fn lacking_in(scene: Scene<'_>, role: &Role, holders: &Holders<'_>) -> BTreeSet<String> {
    let places = places(scene, role);
    let role_name = role.name_any();
    let mut seen: HashMap<(&ClusterKey, &str, &str, &str), Vec<&People>> = HashMap::new();
    for (cluster, state) in scene.clusters {
        for ((namespace, _), bound) in state.role_bindings_of(&role_name) {
            let environment = bound.labels().get(ENVIRONMENT).map_or("", String::as_str);
            seen.entry((cluster, namespace, environment, &bound.role_ref().name)).or_default().push(&bound.subjects);
        }
    }
    let mut names: BTreeMap<&str, Vec<Option<Known>>> = BTreeMap::new();
    let mut lacking = BTreeSet::new();
    // Where the very same sets are named, the same people lack.
    let mut looked: HashSet<(&str, Vec<*const BTreeSet<Known>>)> = HashSet::new();
    for place in &places.inside {
        let Some(environment) = scene.world.environment(&place.environment).filter(|environment| !idle(environment)) else { continue };
        let Some(state) = scene.clusters.get(&place.cluster) else { continue };
        let reference = match &place.reference {
            Reference::Existing(name) => Some(name.as_str()),
            Reference::Inline(name) => current_cluster_role(state, role, name, false).and_then(|object| object.metadata.name.as_deref()),
        };
        let there = reference.and_then(|name| seen.get(&(&place.cluster, place.namespace.as_str(), place.environment.as_str(), name)));
        let sets = there.into_iter().flatten().map(|people| Arc::as_ptr(people)).collect();
        if !looked.insert((&place.environment, sets)) {
            continue;
        }
        let known = names
            .entry(&place.environment)
            .or_insert_with(|| holders.iter().map(|(developer, _)| known_in(scene, developer, environment).ok()).collect());
        for ((developer, via), known) in holders.iter().zip(known.iter()) {
            let Some(known) = known else { continue };
            let wanted = via.values().any(|scope| covers(scope, &place.environment));
            if wanted && !there.is_some_and(|bindings| bindings.iter().any(|subjects| subjects.contains(known))) {
                lacking.insert(developer.name_any());
            }
        }
    }
    let wide = holders.iter().filter(|(developer, via)| !missing_wide(scene, developer, role, via, &places).is_empty());
    lacking.extend(wide.map(|(developer, _)| developer.name_any()));
    lacking
}

/// Whether nothing is written in an Environment, but for people who leave.
pub fn idle(environment: &Environment) -> bool {
    environment.spec.mode == Mode::Observe || paused(environment)
}

/// The Roles whose bindings of this installation name somebody, with where.
pub fn found(state: &ClusterState, names: &BTreeSet<Known>) -> BTreeSet<(String, String)> {
    let inside = names.iter().flat_map(|known| state.role_bindings_naming(known));
    let inside = inside.filter_map(|((namespace, _), bound)| Some((role_of(bound)?, namespace.clone())));
    let wide = state.cluster_role_bindings.values().filter(|bound| bound.ours && names.iter().any(|known| bound.subjects.contains(known)));
    inside.chain(wide.filter_map(|bound| Some((role_of(bound)?, String::new())))).collect()
}

/// The same for user names that were issued to a Developer, also those that are hers no more; not those that somebody else has by now.
pub fn found_issued(scene: Scene<'_>, cluster: &ClusterKey, developer: &str) -> BTreeSet<(String, String)> {
    let Some(state) = scene.clusters.get(cluster) else { return BTreeSet::new() };
    let passed_on = |known: &Known| match known {
        Known::User(user) => scene.world.users().holder(cluster, user).is_some_and(|holder| holder != developer),
        Known::ServiceAccount(_) => false,
    };
    let inside = state.role_bindings.iter().filter(|(_, bound)| issued(bound, developer, passed_on));
    let wide = state.cluster_role_bindings.values().filter(|bound| issued(bound, developer, passed_on));
    inside
        .filter_map(|((namespace, _), bound)| Some((role_of(bound)?, namespace.clone())))
        .chain(wide.filter_map(|bound| Some((role_of(bound)?, String::new()))))
        .collect()
}

fn issued<K: RbacBinding>(bound: &Bound<K>, developer: &str, passed_on: impl Fn(&Known) -> bool) -> bool {
    let annotations = bound.annotations();
    bound.ours
        && issued_names(annotations).any(|name| name == developer)
        && bound.subjects.iter().any(|known| issued_to(annotations, known) == Some(developer) && !passed_on(known))
}

fn role_of<K: RbacBinding>(bound: &Bound<K>) -> Option<String> {
    bound.labels().get(ROLE).cloned()
}
