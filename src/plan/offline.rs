//! Who would have what by what is written, without looking at any cluster: for reviews of manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::role::{Access, AccessRule, NamespaceChoice};
use crate::api::{Binding, Developer, Environment, Provider, Role};

use super::access::{Standing, Via, covers, held_roles, standing};
use super::binding::binding_findings;
use super::cluster::{ClusterKey, ClusterState};
use super::entitlement::{entitlements, login};
use super::environment::environment_findings;
use super::fence;
use super::link::Links;
use super::name::workspace;
use super::placement::{Scene, places};
use super::role::references;
use super::settings::Settings;
use super::world::World;

/// What manifests say.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The people.
    pub developers: Vec<Developer>,
    /// The Roles.
    pub roles: Vec<Role>,
    /// The Bindings.
    pub bindings: Vec<Binding>,
    /// The Environments.
    pub environments: Vec<Environment>,
    /// The outside systems.
    pub providers: Vec<Provider>,
}

/// Where somebody has something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In an Environment.
    Environment(String),
    /// At a Provider.
    Provider(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "in uenv/{name}"),
            Self::Provider(name) => write!(f, "at uprov/{name}"),
        }
    }
}

/// Who has what: person and place, with what she has there in words.
pub type Matrix = BTreeMap<(String, Place), BTreeSet<String>>;

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
    let mut states: BTreeMap<ClusterKey, ClusterState> = BTreeMap::new();
    for environment in manifests.environments {
        states.entry(ClusterKey::of(&environment)).or_insert_with(|| ClusterState::new(&settings.installation));
        world.set_environment(&environment.name_any(), Some(environment.into()));
    }
    for state in states.values_mut() {
        state.foreign_cluster_roles.extend(settings.fence.may_bind.iter().cloned());
        state.territory.set_environments(&settings.namespace, world.environments().map(|(_, environment)| environment.as_ref()));
    }
    manifests.developers.into_iter().for_each(|object| drop(world.set_developer(&object.name_any(), Some(object.into()))));
    manifests.roles.into_iter().for_each(|object| drop(world.set_role(&object.name_any(), Some(object.into()))));
    manifests.bindings.into_iter().for_each(|object| drop(world.set_binding(&object.name_any(), Some(object.into()))));
    manifests.providers.into_iter().for_each(|object| drop(world.set_provider(&object.name_any(), Some(object.into()))));
    let clusters = states.iter().map(|(key, state)| (key.clone(), state)).collect();
    let links = Links::new();
    let scene = Scene { world: &world, clusters: &clusters, links: &links, only: None, settings };
    Reading { matrix: matrix(scene, now), problems: problems(scene) }
}

fn matrix(scene: Scene<'_>, now: Timestamp) -> Matrix {
    let mut matrix = Matrix::new();
    for (name, developer) in scene.world.developers().filter(|(_, developer)| standing(scene.world, developer, now) == Standing::Active) {
        for (environment_name, environment) in scene.world.live_environments() {
            let cell = matrix.entry((name.clone(), Place::Environment(environment_name.clone()))).or_default();
            if let Some(template) = &environment.spec.workspace {
                let pinned = developer.pinned_workspaces().get(environment_name.as_str()).map(|pin| (*pin).to_owned());
                let namespace = pinned.unwrap_or_else(|| workspace(&template.name, environment_name, name));
                cell.insert(format!("workspace {namespace}: {}", template.cluster_role));
            }
        }
        for (role, via) in held_roles(scene.world, developer, now) {
            let Some(object) = scene.world.live_role(&role) else { continue };
            for (environment, words) in role_words(scene, object, &via) {
                matrix
                    .entry((name.clone(), Place::Environment(environment)))
                    .or_default()
                    .extend(words.into_iter().map(|text| format!("urole/{role}: {text}")));
            }
        }
        matrix.extend(account_words(scene.world, name, developer, now));
    }
    matrix.retain(|_, words| !words.is_empty());
    matrix
}

/// The accounts that somebody is to have, in words.
fn account_words(world: &World, name: &str, developer: &Developer, now: Timestamp) -> Matrix {
    let there = |provider: &String| world.live_providers().any(|(live, _)| live == provider);
    let given = entitlements(world, developer, now).into_iter().filter(|(provider, _)| there(provider));
    let words = |(provider, groups): (String, BTreeSet<String>)| {
        let account = format!("account {}", login(developer, &provider));
        let words = [account].into_iter().chain(groups.into_iter().map(|group| format!("group {group}"))).collect();
        ((name.to_owned(), Place::Provider(provider)), words)
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
                    .extend(access.rules.iter().map(|rule| format!("{} cluster-wide", rule_words(rule))));
            }
        }
    }
    words
}

fn entry_words(scene: Scene<'_>, access: &Access) -> Vec<String> {
    let fence = &scene.settings.fence;
    let place = choice_words(access.namespaces.as_ref());
    let roles = access.cluster_roles.iter().filter(|name| fence::refuses_cluster_role(fence, name).is_none());
    let rules = access.rules.iter().filter(|_| fence::refuses_rules(fence, access).is_none());
    roles.map(|name| format!("{name} in {place}")).chain(rules.map(|rule| format!("{} in {place}", rule_words(rule)))).collect()
}

fn rule_words(rule: &AccessRule) -> String {
    let groups: Vec<&str> = rule.api_groups.iter().map(String::as_str).filter(|group| !group.is_empty()).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
    let names = if rule.resource_names.is_empty() { String::new() } else { format!(" named {}", rule.resource_names.join(", ")) };
    format!("{} {}{groups}{names}", rule.verbs.join(","), rule.resources.join(","))
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

fn problems(scene: Scene<'_>) -> BTreeSet<(String, String)> {
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

/// What one person gains and loses in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The Developer.
    pub developer: String,
    /// The Environment or Provider.
    pub place: Place,
    /// What she would have that she has not.
    pub gains: BTreeSet<String>,
    /// What she has that she would not have.
    pub loses: BTreeSet<String>,
}

/// Compares two matrices, cell by cell.
pub fn differences(before: &Matrix, after: &Matrix) -> Vec<Difference> {
    let cells: BTreeSet<&(String, Place)> = before.keys().chain(after.keys()).collect();
    let empty = BTreeSet::new();
    cells
        .into_iter()
        .map(|cell| {
            let (old, new) = (before.get(cell).unwrap_or(&empty), after.get(cell).unwrap_or(&empty));
            Difference {
                developer: cell.0.clone(),
                place: cell.1.clone(),
                gains: new.difference(old).cloned().collect(),
                loses: old.difference(new).cloned().collect(),
            }
        })
        .filter(|difference| !(difference.gains.is_empty() && difference.loses.is_empty()))
        .collect()
}
