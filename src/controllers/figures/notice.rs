//! What of all that is seen concerns the figures.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::RoleBinding;

use crate::cluster::seen::{By, Seen};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::identity::Known;
use crate::plan::placement::Scene;
use crate::plan::scorecard::ledger::Touch;
use crate::plan::scorecard::touch::{changed, hand_made, named_newly, of_departure, of_developer, of_provider, of_source};
use crate::plan::subjects::behind;
use crate::plan::world::deleting;

use super::super::context::Context;
use super::differs;

/// So many of the people whom a binding names are asked for their teams: whoever waits for a departure to be seen waits for that.
const MOST_ASKED: usize = 1_000;

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
        Seen::RoleBinding(old, new) if by == By::Watch => touches.extend(inside(context, seen, old.as_ref(), new.as_ref())),
        Seen::ClusterRoleBinding(old, new) if by == By::Watch => touches.extend(bound(context, seen, old.as_ref(), new.as_ref())),
        Seen::ClusterRole(name, roles, came_or_went)
            if by == By::Watch && !roles.is_empty() && !(*came_or_went && there(context, name)) =>
        {
            suspect(context, seen, Vec::new);
        }
        Seen::Personal(developers, Some((_, (namespace, _)))) if by == By::Watch && stays(context, namespace) => {
            suspect(context, seen, || of_people(context, developers));
        }
        Seen::ScorecardGone => context.figures.changed(),
        _ => {}
    }
    touches.into_iter().for_each(|touch| context.figures.touch(touch, context.now()));
}

/// A hand changed what usher made, or removed it.
fn suspect(context: &Context, seen: &Seen, teams: impl FnOnce() -> Vec<String>) {
    if let Some(title) = seen.title() {
        context.figures.hands.changed(title, teams);
    }
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

fn inside(context: &Context, seen: &Seen, old: Option<&Bound<RoleBinding>>, new: Option<&Bound<RoleBinding>>) -> Option<Touch> {
    let namespace = old.or(new).and_then(Bound::namespace).unwrap_or_default();
    if stays(context, namespace) { bound(context, seen, old, new) } else { None }
}

/// A binding that usher made and a hand changed is suspected; one that a hand made is one thing that was done, whoever it names.
fn bound<K: RbacBinding>(context: &Context, seen: &Seen, old: Option<&Bound<K>>, new: Option<&Bound<K>>) -> Option<Touch> {
    if changed(old, new) {
        let of = |bound: Option<&Bound<K>>| bound.map(|bound| bound.subjects.clone()).unwrap_or_default();
        suspect(context, seen, || teams(context, of(old).symmetric_difference(&of(new))));
    }
    let (kind, (namespace, name)) = seen.title()?;
    let place = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
    let named = named_newly(old, new, context.now()).take(MOST_ASKED);
    context.memory.read(|_, scene| hand_made(&format!("{kind} {place}{name}"), named.filter_map(|known| person(scene, known))))
}

fn teams<'a>(context: &Context, concerned: impl Iterator<Item = &'a Known>) -> Vec<String> {
    context.memory.read(|_, scene| {
        let people = concerned.take(MOST_ASKED).filter_map(|known| person(scene, known));
        people.flat_map(|(_, teams)| teams).collect::<BTreeSet<_>>().into_iter().cloned().collect()
    })
}

/// Who is behind a name, in whichever cluster, and her teams.
fn person<'a>(scene: Scene<'a>, known: &Known) -> Option<(&'a str, &'a [String])> {
    let developer = scene.clusters.keys().find_map(|cluster| behind(scene, cluster, known))?;
    Some((developer.metadata.name.as_deref()?, &developer.spec.teams))
}
