//! Who would have what by what is written, without looking at any cluster: for reviews of manifests.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::role::{Access, NamespaceChoice};
use crate::api::{Developer, Role};

use super::access::{Standing, Via, covers, held_roles, standing};
use super::binding::binding_findings;
use super::cluster::{ClusterKey, ClusterState};
use super::difference::{Matrix, Place, Who, add};
use super::entitlement::{entitlements, login};
use super::environment::environment_findings;
use super::fence;
use super::link::{Links, readable};
use super::manifests::{Manifests, Others};
use super::name::workspace;
use super::placement::{Scene, places};
use super::rbac::{policy_rules, rule_words};
use super::role::references;
use super::settings::Settings;
use super::world::World;

/// What manifests give, and what is wrong with them.
#[derive(Debug, Default)]
pub struct Reading {
    /// Who has what.
    pub matrix: Matrix,
    /// What is wrong, each with the object that it stands in.
    pub problems: BTreeSet<(String, String)>,
}

/// Reads manifests as they would be at a moment, in clusters that have the ClusterRoles which may be named.
pub fn read(manifests: Manifests, settings: &Settings, now: Timestamp) -> Reading {
    let mut world = World::default();
    manifests.lay_over(&mut world, Others::Stay, now);
    let keys = world.environments().map(|(_, environment)| ClusterKey::of(environment));
    let mut states: BTreeMap<ClusterKey, ClusterState> = keys.map(|key| (key, ClusterState::new(&settings.installation))).collect();
    for (key, state) in &mut states {
        state.foreign_cluster_roles.extend(settings.fence.may_bind.iter().cloned());
        state.divide(&world, settings, key);
    }
    let links = Links::new();
    let clusters = readable(&states, &links);
    let scene = Scene { world: &world, clusters: &clusters, links: &links, only: None, settings };
    Reading { matrix: matrix(scene, now), problems: problems(scene) }
}

fn matrix(scene: Scene<'_>, now: Timestamp) -> Matrix {
    let mut matrix = Matrix::new();
    for (name, developer) in scene.world.developers().filter(|(_, developer)| standing(scene.world, developer, now) == Standing::Active) {
        let who = Who::Developer(name.clone());
        for (environment_name, environment) in scene.world.live_environments() {
            let Some(template) = &environment.spec.workspace else { continue };
            let pinned = developer.pinned_workspaces().get(environment_name.as_str()).map(|pin| (*pin).to_owned());
            let namespace = pinned.unwrap_or_else(|| workspace(&template.name, environment_name, name));
            let words = workspace_words(&namespace, &template.cluster_role);
            add(&mut matrix, who.clone(), Place::Environment(environment_name.clone()), [words]);
        }
        for (role, via) in held_roles(scene.world, developer, now) {
            let Some(object) = scene.world.live_role(&role) else { continue };
            for (environment, words) in role_words(scene, object, &via) {
                add(
                    &mut matrix,
                    who.clone(),
                    Place::Environment(environment),
                    words.into_iter().map(|text| format!("urole/{role}: {text}")),
                );
            }
        }
    }
    matrix.extend(accounts(scene.world, now));
    matrix
}

/// The workspace of somebody, in words.
pub(super) fn workspace_words(namespace: &str, cluster_role: &str) -> String {
    format!("workspace {namespace}: {cluster_role}")
}

/// The accounts that people are to have, in words.
pub(super) fn accounts(world: &World, now: Timestamp) -> Matrix {
    let active = world.developers().filter(|(_, developer)| standing(world, developer, now) == Standing::Active);
    active.flat_map(|(name, developer)| account_words(world, name, developer, now)).collect()
}

fn account_words(world: &World, name: &str, developer: &Developer, now: Timestamp) -> Matrix {
    let there = |provider: &String| world.live_providers().any(|(live, _)| live == provider);
    let given = entitlements(world, developer, now).into_iter().filter(|(provider, _)| there(provider));
    let words = |(provider, groups): (String, BTreeSet<String>)| {
        let account = format!("account {}", login(developer, &provider));
        let words = [account].into_iter().chain(groups.into_iter().map(|group| format!("group {group}"))).collect();
        ((Who::Developer(name.to_owned()), Place::Provider(provider)), words)
    };
    given.map(words).collect()
}

/// What a Role gives by some Bindings, in words, by Environment.
fn role_words(scene: Scene<'_>, role: &Role, via: &Via) -> BTreeMap<String, BTreeSet<String>> {
    let found = places(scene, role);
    let mut words: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for access in role.spec.access.iter().filter(|access| !access.cluster) {
        for environment in found.named.iter().filter(|name| access.environments.iter().any(|listed| listed == "*" || listed == *name)) {
            if via.values().any(|scope| covers(scope, environment)) {
                words.entry(environment.clone()).or_default().extend(entry_words(scene, access));
            }
        }
    }
    for place in &found.wide {
        let Some(access) = role.spec.access.iter().find(|access| access.name == place.entry) else { continue };
        if via.values().any(|scope| place.environments.iter().all(|environment| covers(scope, environment))) {
            for environment in &place.environments {
                words
                    .entry(environment.clone())
                    .or_default()
                    .extend(policy_rules(&access.rules).iter().map(|rule| format!("{} cluster-wide", rule_words(rule))));
            }
        }
    }
    words
}

fn entry_words(scene: Scene<'_>, access: &Access) -> Vec<String> {
    let fence = &scene.settings.fence;
    let place = choice_words(access.namespaces.as_ref());
    let roles = access.cluster_roles.iter().filter(|name| fence::refuses_cluster_role(fence, name).is_none());
    let rules = policy_rules(&access.rules).into_iter().filter(|_| fence::refuses_rules(fence, access).is_none());
    roles.map(|name| format!("{name} in {place}")).chain(rules.map(|rule| format!("{} in {place}", rule_words(&rule)))).collect()
}

fn choice_words(choice: Option<&NamespaceChoice>) -> String {
    let Some(choice) = choice else { return "all shared namespaces".to_owned() };
    if let Some(names) = &choice.names {
        return format!("namespaces {}", names.join(", "));
    }
    let labels = choice.match_labels.iter().flatten().map(|(key, value)| format!("{key}={value}"));
    let expressions = choice
        .match_expressions
        .iter()
        .flatten()
        .map(|one| format!("{} {} {}", one.key, one.operator, one.values.clone().unwrap_or_default().join("|")));
    format!("namespaces with {}", labels.chain(expressions).collect::<Vec<_>>().join(", "))
}

/// What is wrong with what is written, each with the object that it stands in.
pub(super) fn problems(scene: Scene<'_>) -> BTreeSet<(String, String)> {
    let mut problems = BTreeSet::new();
    for (name, role) in scene.world.roles() {
        let findings = places(scene, role).findings.into_iter().chain(references(scene, role));
        problems.extend(findings.map(|finding| (format!("urole/{name}"), finding.message)));
    }
    for (name, binding) in scene.world.bindings() {
        problems.extend(binding_findings(scene.world, binding).into_iter().map(|finding| (format!("ubind/{name}"), finding.message)));
    }
    for (name, environment) in scene.world.environments() {
        problems.extend(environment_findings(scene, environment).into_iter().map(|finding| (format!("uenv/{name}"), finding.message)));
    }
    problems
}
