//! Requests that the API server denied: whether a Role of whoever asked allows them all the same. Then it is an error of access, and else just what was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::ResourceExt;

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::api::{Developer, Grant, Role};

use super::super::access::{Scope, Standing, covers, held_roles, standing};
use super::super::cluster::ClusterKey;
use super::super::identity::Known;
use super::super::placement::{Places, Reference, Scene, entry, places};
use super::super::rbac::policy_rules;
use super::super::subjects::behind;
use super::super::target::environment_target;
use super::super::why::Question;
use super::ledger::Denial;

/// A request that was denied.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asked, as the API server knows her.
    pub user: String,
    /// What for.
    pub question: Question,
    /// When.
    pub at: Timestamp,
    /// How often the same was asked, if that is known; the first time was `at`.
    pub times: u32,
}

/// Times of Kubernetes are cut to seconds: what is said to have been at one was within this time after it.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What the record tells of somebody who was denied something.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Her Grants: since when what a Role gives was in place.
    pub grants: &'a [Arc<Grant>],
    /// Since when a Role has been in place as it is now; nothing if it is not.
    pub unchanged: &'a dyn Fn(&Role) -> Option<Timestamp>,
}

/// The rules of the existing ClusterRoles that Roles name, by name.
pub type Existing = BTreeMap<String, Vec<PolicyRule>>;

/// Who is known to the home cluster by a user name; nobody for whoever usher does not manage.
pub fn person<'a>(scene: Scene<'a>, user: &str) -> Option<&'a Arc<Developer>> {
    let account = user.strip_prefix("system:serviceaccount:");
    let known = match account {
        Some(account) => Known::ServiceAccount(account.strip_prefix(IDENTITIES_NAMESPACE)?.strip_prefix(':')?.into()),
        None => Known::User(user.into()),
    };
    behind(scene, &ClusterKey::Home, &known)
}

/// The existing ClusterRoles of which it must be known what they allow.
pub fn needed(scene: Scene<'_>, request: &Request, now: Timestamp) -> BTreeSet<String> {
    let Some(developer) = person(scene, &request.user) else { return BTreeSet::new() };
    let mut names = BTreeSet::new();
    names.extend(own_workspaces(scene, developer, request, now).into_iter().map(|(_, cluster_role)| cluster_role.to_owned()));
    for_each_place(scene, developer, now, |places, _, _| {
        names.extend(here(places, request).filter_map(|(_, reference)| match reference {
            Reference::Existing(name) => Some(name.clone()),
            Reference::Inline(_) => None,
        }));
    });
    names
}

/// The error that a denied request is, if a Role that she held by then allows it, and did so by then.
pub fn error(scene: Scene<'_>, request: &Request, existing: &Existing, record: Record<'_>, now: Timestamp) -> Option<Denial> {
    let developer = person(scene, &request.user)?;
    if !there_by_then(scene, request) {
        return None;
    }
    let allowed = |rules: &[PolicyRule]| rules.iter().any(|rule| request.question.allowed_by(rule));
    let by_name = |name: &str| existing.get(name).is_some_and(|rules| allowed(rules));
    let owned = own_workspaces(scene, developer, request, now);
    let mut found = owned.into_iter().find(|(_, cluster_role)| by_name(cluster_role)).map(|(environment, _)| environment.to_owned());
    for_each_place(scene, developer, now, |places, role, scopes| {
        // What began to be given after she asked was not there to be denied; nor was what the Role came to say since.
        if !(record.unchanged)(role).is_some_and(|since| over(since, request.at)) {
            return;
        }
        let since = |environment: &str| record.grants.iter().any(|grant| held_by(grant, &role.name_any(), environment, request.at));
        let meant = |environment: &str| scopes.iter().any(|scope| covers(scope, environment)) && since(environment);
        let inside = here(places, request).filter(|(environment, _)| meant(environment)).find(|(_, reference)| match reference {
            Reference::Existing(name) => by_name(name),
            Reference::Inline(name) => entry(role, name).is_some_and(|entry| allowed(&policy_rules(&entry.rules))),
        });
        let wide = places.wide.iter().filter(|place| place.cluster == ClusterKey::Home).find(|place| {
            let whole = scopes.iter().any(|scope| place.environments.iter().all(|environment| covers(scope, environment)));
            let there = place.environments.iter().any(|environment| since(environment));
            whole && there && entry(role, &place.entry).is_some_and(|entry| allowed(&policy_rules(&entry.rules)))
        });
        let inside = inside.map(|(environment, _)| environment.to_owned());
        found = found.take().or(inside).or_else(|| wide?.environments.first().cloned());
    });
    let environment = found?;
    Some(Denial {
        developer: developer.name_any(),
        target: environment_target(&environment),
        what: format!("{} was denied", request.question.words()),
        times: request.times,
    })
}

/// Whether something that is said to have been at one moment was over by another.
fn over(said: Timestamp, at: Timestamp) -> bool {
    said.checked_add(SECOND).is_ok_and(|latest| latest <= at)
}

/// Whether the namespace in which something was asked for was there by then: a new one has no bindings for a moment.
fn there_by_then(scene: Scene<'_>, request: &Request) -> bool {
    let Some(namespace) = &request.question.namespace else { return true };
    let there = scene.clusters.get(&ClusterKey::Home).and_then(|home| home.namespaces.get(namespace));
    let made = there.and_then(|namespace| namespace.metadata.creation_timestamp.as_ref());
    made.is_none_or(|made| over(made.0, request.at))
}

/// Whether a Grant says that a Role was in place in an Environment at a moment.
fn held_by(grant: &Grant, role: &str, environment: &str, at: Timestamp) -> bool {
    let target = environment_target(environment);
    grant.spec.role == role
        && grant
            .spec
            .targets
            .iter()
            .any(|it| it.name == target && over(it.since.0, at) && it.until.as_ref().is_none_or(|until| at < until.0))
}

/// Her workspaces in which it was asked for, each with the ClusterRole that she holds there.
fn own_workspaces<'a>(scene: Scene<'a>, developer: &'a Developer, request: &Request, now: Timestamp) -> Vec<(&'a str, &'a str)> {
    let active = standing(scene.world, developer, now) == Standing::Active;
    let told = developer.status.iter().flat_map(|status| &status.workspaces);
    let here = told.filter(|workspace| request.question.namespace.as_ref() == Some(&workspace.namespace));
    let ready = developer.status.as_ref().and_then(|status| status.timeline.as_ref()?.access_ready_at.as_ref());
    let by_then = active && ready.is_some_and(|ready| over(ready.0, request.at));
    let live = |name: &str| scene.world.environment(name).filter(|environment| ClusterKey::of(environment) == ClusterKey::Home);
    let given = here.filter(|_| by_then).filter_map(|workspace| {
        let template = live(&workspace.environment)?.spec.workspace.as_ref()?;
        Some((workspace.environment.as_str(), template.cluster_role.as_str()))
    });
    given.collect()
}

/// What is given in the namespace of a request, with the Environment.
fn here<'a>(places: &'a Places, request: &'a Request) -> impl Iterator<Item = (&'a str, &'a Reference)> {
    let inside = places.inside.iter().filter(|place| place.cluster == ClusterKey::Home);
    let here = inside.filter(|place| request.question.namespace.as_ref() == Some(&place.namespace));
    here.map(|place| (place.environment.as_str(), &place.reference))
}

/// Looks at where each Role gives something that she holds: the Role's places, the Role, and the scopes in which she holds it.
fn for_each_place<'a>(scene: Scene<'a>, developer: &Developer, now: Timestamp, mut look: impl FnMut(&Places, &'a Role, &[&Scope])) {
    for (name, via) in held_roles(scene.world, developer, now) {
        if let Some(role) = scene.world.live_role(&name) {
            look(&places(scene, role), role, &via.values().collect::<Vec<_>>());
        }
    }
}
