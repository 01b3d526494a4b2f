//! What of all that is seen concerns the figures.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};

use crate::api::scorecard::TouchpointKind;
use crate::cluster::memory::Seen;
use crate::cluster::writing::By;
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::identity::Known;
use crate::plan::placement::Scene;
use crate::plan::scorecard::ledger::Touch;
use crate::plan::scorecard::touch::{changed, named_newly, of_departure, of_developer, of_provider, of_source};
use crate::plan::subjects::behind;
use crate::plan::world::deleting;

use super::super::context::Context;
use super::differs;

/// So many of the people whom a binding names are asked for their teams.
const MOST_ASKED: usize = 200;

/// Notices what figures follow from.
pub fn notice(context: &Context, seen: &Seen, by: By) {
    let mut touches: Vec<Touch> = Vec::new();
    match seen {
        Seen::Developer(_, old, new) => {
            touches.extend(old.as_ref().zip(new.as_ref()).and_then(|(old, new)| of_developer(old, new)));
            if differs(old.as_deref(), new.as_deref()) {
                context.figures.changed();
            }
        }
        Seen::Departure(_, Some(old), Some(new)) => {
            let teams = context.memory.read(|content, _| content.world.teams_of(&new.spec.developer.name).to_vec());
            touches.extend(of_departure(old, new, &teams));
        }
        Seen::Provider(_, Some(old), Some(new)) => touches.extend(of_provider(old, new)),
        Seen::Source(_, Some(old), Some(new)) => touches.extend(of_source(old, new)),
        Seen::RoleBinding(old, new) if by == By::Watch => touches.extend(inside(context, old.as_ref(), new.as_ref())),
        Seen::ClusterRoleBinding(old, new) if by == By::Watch => touches.extend(wide(context, old.as_ref(), new.as_ref())),
        Seen::ClusterRole(name, roles, came_or_went)
            if by == By::Watch && !roles.is_empty() && !(*came_or_went && there(context, name)) =>
        {
            context.figures.hands.changed(("ClusterRole", String::new(), name.clone()), Vec::new);
        }
        Seen::Personal(developers, Some((kind, (namespace, name)))) if by == By::Watch && stays(context, namespace) => {
            context.figures.hands.changed((*kind, namespace.clone(), name.clone()), || of_people(context, developers));
        }
        Seen::ScorecardGone => context.figures.changed(),
        _ => {}
    }
    touches.into_iter().for_each(|touch| context.figures.touch(touch, context.now()));
}

/// Whether a namespace is there to stay, in whichever cluster: what goes with it was taken by nobody's hand.
fn stays(context: &Context, namespace: &str) -> bool {
    context.memory.read(|_, scene| {
        let mut there = scene.clusters.values().filter_map(|state| state.namespaces.get(namespace));
        there.any(|namespace| !deleting(namespace.as_ref()))
    })
}

/// Whether there is a ClusterRole of usher's: if it came or went, it came.
fn there(context: &Context, name: &str) -> bool {
    context.memory.read(|content, _| content.clusters.values().any(|state| state.cluster_roles.contains_key(name)))
}

/// The teams of some Developers.
fn of_people(context: &Context, developers: &BTreeSet<String>) -> Vec<String> {
    context.memory.read(|content, _| {
        let teams = developers.iter().flat_map(|name| content.world.teams_of(name).to_vec());
        teams.collect::<BTreeSet<_>>().into_iter().collect()
    })
}

fn inside(context: &Context, old: Option<&Bound<RoleBinding>>, new: Option<&Bound<RoleBinding>>) -> Vec<Touch> {
    let namespace = old.or(new).and_then(Bound::namespace).unwrap_or_default();
    if stays(context, namespace) { bound(context, "RoleBinding", old, new) } else { Vec::new() }
}

fn wide(context: &Context, old: Option<&Bound<ClusterRoleBinding>>, new: Option<&Bound<ClusterRoleBinding>>) -> Vec<Touch> {
    bound(context, "ClusterRoleBinding", old, new)
}

fn bound<K: RbacBinding>(context: &Context, kind: &'static str, old: Option<&Bound<K>>, new: Option<&Bound<K>>) -> Vec<Touch> {
    let Some(either) = old.or(new) else { return Vec::new() };
    if changed(old, new) {
        let title = (kind, either.namespace().unwrap_or_default().to_owned(), either.name().to_owned());
        let of = |bound: Option<&Bound<K>>| bound.map(|bound| bound.subjects.clone()).unwrap_or_default();
        context.figures.hands.changed(title, || teams(context, of(old).symmetric_difference(&of(new))));
    }
    let place = either.namespace().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let named = named_newly(old, new, context.now());
    context.memory.read(|_, scene| {
        let people = named.iter().filter_map(|known| person(scene, known));
        people
            .map(|(name, teams)| Touch {
                kind: TouchpointKind::HandMadeAccess,
                teams,
                what: format!("{kind} {place}{} names dev/{name}", either.name()),
            })
            .collect()
    })
}

fn teams<'a>(context: &Context, concerned: impl Iterator<Item = &'a Known>) -> Vec<String> {
    context.memory.read(|_, scene| {
        let people = concerned.take(MOST_ASKED).filter_map(|known| person(scene, known));
        people.flat_map(|(_, teams)| teams).collect::<BTreeSet<_>>().into_iter().collect()
    })
}

/// Who is behind a name, in whichever cluster, and her teams.
fn person(scene: Scene<'_>, known: &Known) -> Option<(String, Vec<String>)> {
    let developer = scene.clusters.keys().find_map(|cluster| behind(scene, cluster, known))?;
    Some((developer.metadata.name.clone()?, developer.spec.teams.clone()))
}
