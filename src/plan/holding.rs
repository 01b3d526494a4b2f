//! What somebody holds by a Role, as it was seen in the clusters.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use crate::api::developer::Identity;
use crate::api::metadata::ENVIRONMENT;
use crate::api::{ConditionType, Developer, Reason, Role};

use super::access::{Via, covers, paused};
use super::cluster::ClusterKey;
use super::developer::DeveloperPlan;
use super::finding::Finding;
use super::grant::Held;
use super::placement::{Scene, places};
use super::subjects::known_in;
use super::target::environment_target;
use super::verify::{Cell, missing};

/// What a Developer holds by a Role, where she is known by `identities`, and what is still to come.
pub fn holding(scene: Scene<'_>, developer: &Developer, role: &Role, via: Via, identities: &[Identity]) -> (Held, Vec<Finding>) {
    let places = places(scene, role);
    let missing = missing(scene, developer, role, &via, &places);
    let (late, owed): (Vec<&Cell>, Vec<&Cell>) = missing.iter().partition(|(cluster, ..)| scene.answers(cluster));
    let meant = |name: &&String| via.values().any(|scope| covers(scope, name));
    // Where she is not known she is given nothing.
    let known = |name: &str| identities.iter().any(|identity| identity.environment == name);
    let mut awaited: BTreeSet<String> = owed.iter().map(|(_, environment, _)| environment.clone()).collect();
    awaited.extend(places.unknown.iter().filter(meant).filter(|name| known(name)).cloned());
    let environments: BTreeSet<String> =
        via.values().flat_map(|scope| places.environments(scope)).filter(|name| known(name)).map(str::to_owned).collect();
    awaited.extend(still_named(scene, developer, role).into_iter().filter(|name| !environments.contains(name)));
    let mut findings = Vec::new();
    if !(paused(role) || paused(developer)) {
        findings.extend(not_yet(role, &late));
        findings.extend(awaited.iter().filter_map(|name| silent(scene, role, name)));
    }
    (Held { environments, awaited, in_place: late.is_empty(), accounts: BTreeMap::new(), via }, findings)
}

/// The Environments whose clusters do not answer, and in which a Role's bindings were last seen to name somebody.
fn still_named(scene: Scene<'_>, developer: &Developer, role: &Role) -> BTreeSet<String> {
    let silent = scene.world.environments().filter(|(_, environment)| !scene.answers(&ClusterKey::of(environment)));
    let named = silent.filter(|(name, environment)| {
        let Some((state, known)) = scene.cluster_of(environment).zip(known_in(scene, developer, environment).ok()) else { return false };
        state
            .role_bindings_of(&role.name_any())
            .any(|(_, bound)| bound.labels().get(ENVIRONMENT) == Some(*name) && bound.subjects.contains(&known))
    });
    named.map(|(name, _)| name.clone()).collect()
}

/// What somebody still has, or may have, in clusters that do not answer and by Roles that she does not hold.
pub fn lingering(scene: Scene<'_>, plan: &DeveloperPlan, held: &BTreeMap<String, Held>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (cluster, roles) in &plan.beyond {
        let Some((reason, why)) = scene.silence(cluster) else { continue };
        let mut say = |what: &str| {
            let text = format!("{what} in {cluster} goes as soon as usher may work there: {why}");
            findings.push(Finding::new(ConditionType::AccessApplied, reason, text));
        };
        if plan.standing.leaves() {
            say("what she has");
        } else {
            roles.iter().filter(|role| !held.contains_key(*role)).for_each(|role| say(&format!("urole/{role}")));
        }
    }
    findings
}

fn not_yet(role: &Role, late: &[&Cell]) -> Option<Finding> {
    let (_, environment, namespace) = late.first()?;
    let more = late.len() - 1;
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let text = format!("urole/{} is not yet in place in namespace {namespace} of uenv/{environment}{rest}", role.name_any());
    let places = late.iter().map(|(_, environment, _)| environment_target(environment));
    Some(Finding::new(ConditionType::AccessApplied, Reason::Progressing, text).at_all(places))
}

/// Says that something waits for a cluster.
fn silent(scene: Scene<'_>, role: &Role, environment: &str) -> Option<Finding> {
    let (reason, why) = scene.silence(&ClusterKey::of(scene.world.environment(environment)?))?;
    let text = format!("urole/{} in uenv/{environment} waits: {why}", role.name_any());
    Some(Finding::new(ConditionType::AccessApplied, reason, text).at(environment_target(environment)))
}
