//! Who should be named where, and by which ClusterRole.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::ResourceExt;

use crate::api::metadata::{CLUSTER_PREFIX, ENTRY};
use crate::plan::access::{Via, covers, paused};
use crate::plan::bound::People;
use crate::plan::cluster::ClusterKey;
use crate::plan::identity::Known;
use crate::plan::name;
use crate::plan::placement::{Places, Reference, entry};
use crate::plan::rbac::{self, policy_rules};
use crate::plan::subjects::names;
use crate::plan::verify::current_cluster_role;

use super::seen::{Slot, seen_in};
use super::{Others, RoleInputs};

/// Who should be named where.
pub(super) struct Desired {
    pub(super) slots: BTreeMap<Slot, People>,
    /// The ClusterRole of each access entry with inline rules, and the rules.
    pub(super) inline: BTreeMap<(ClusterKey, String), ClusterRole>,
    /// The names of ClusterRoles among them that are somebody else's, who decides what they give: nobody is bound to those.
    pub(super) taken: BTreeSet<String>,
}

impl Desired {
    pub(super) fn of(inputs: &RoleInputs<'_>, places: &Places, holders: &BTreeMap<String, Via>, others: &Others<'_>) -> Self {
        let people = known_holders(inputs, places, holders);
        let mut by_reference = ByReference::new();
        for place in &places.inside {
            let subjects = people.inside.get(&place.environment).cloned().unwrap_or_default();
            let at = Some((place.environment.clone(), place.namespace.clone()));
            by_reference.insert((place.cluster.clone(), at, place.reference.clone()), subjects);
        }
        for (place, subjects) in places.wide.iter().zip(people.wide) {
            by_reference.insert((place.cluster.clone(), None, Reference::Inline(place.entry.clone())), subjects);
        }
        let (taken, inline): (BTreeMap<_, _>, BTreeMap<_, _>) =
            inline_names(inputs, &by_reference, others).into_iter().partition(|((cluster, _), object)| {
                let state = inputs.scene.clusters.get(cluster);
                state.is_some_and(|state| state.foreign_cluster_roles.contains(&object.name_any()))
            });
        let slots = by_reference
            .into_iter()
            .filter_map(|((cluster, place, reference), subjects)| {
                let cluster_role = match reference {
                    Reference::Existing(name) => name,
                    Reference::Inline(entry) => inline.get(&(cluster.clone(), entry))?.name_any(),
                };
                Some((Slot { cluster, place, cluster_role }, subjects))
            })
            .fold(BTreeMap::new(), |mut slots: BTreeMap<Slot, People>, (slot, subjects)| {
                // Of several entries that give the same there the people are together.
                match slots.entry(slot) {
                    Entry::Vacant(place) => {
                        place.insert(subjects);
                    }
                    Entry::Occupied(mut place) if !Arc::ptr_eq(place.get(), &subjects) => {
                        Arc::make_mut(place.get_mut()).extend(subjects.iter().cloned());
                    }
                    Entry::Occupied(_) => {}
                }
                slots
            });
        Self { slots, inline, taken: taken.values().map(ResourceExt::name_any).collect() }
    }
}

struct KnownHolders {
    /// By Environment.
    inside: BTreeMap<String, People>,
    wide: Vec<People>,
}

/// The names of those who hold the Role and are not paused.
fn known_holders(inputs: &RoleInputs<'_>, places: &Places, holders: &BTreeMap<String, Via>) -> KnownHolders {
    let scene = inputs.scene;
    let environments: BTreeSet<&str> = places
        .inside
        .iter()
        .map(|place| place.environment.as_str())
        .chain(places.wide.iter().flat_map(|place| place.environments.iter().map(String::as_str)))
        .collect();
    let awake = holders.iter().filter_map(|(name, via)| {
        let developer = scene.world.developer(name).filter(|developer| !paused(developer.as_ref()))?;
        Some((name.as_str(), developer.as_ref(), via))
    });
    let covered = |name: &str, environment: &str| holders.get(name).is_some_and(|via| via.values().any(|scope| covers(scope, environment)));
    let names = names(scene, awake.clone().map(|(name, developer, _)| (name, developer)), &environments, covered);
    let wide = places
        .wide
        .iter()
        .map(|place| {
            let whole: BTreeSet<&str> = awake
                .clone()
                .filter(|(.., via)| via.values().any(|scope| place.environments.iter().all(|environment| covers(scope, environment))))
                .map(|(name, ..)| name)
                .collect();
            let known = place.environments.iter().filter_map(|environment| names.get(environment.as_str())).flatten();
            Arc::new(known.filter(|(_, developer)| whole.contains(*developer)).map(|(known, _)| known.clone()).collect())
        })
        .collect();
    let inside = names.into_iter().map(|(environment, names)| (environment.to_owned(), Arc::new(names.into_keys().collect()))).collect();
    KnownHolders { inside, wide }
}

/// Who should hold what where, before it is known by which ClusterRole.
type ByReference = BTreeMap<(ClusterKey, Option<(String, String)>, Reference), People>;

/// Chooses the ClusterRole of each access entry. Rules are edited in place, in one write, unless the places or people change with them:
/// then a second ClusterRole stands beside the first until its bindings are there.
fn inline_names(inputs: &RoleInputs<'_>, wanted: &ByReference, others: &Others<'_>) -> BTreeMap<(ClusterKey, String), ClusterRole> {
    let role = inputs.role.name_any();
    let entries: BTreeSet<(ClusterKey, String, bool)> = wanted
        .keys()
        .filter_map(|(cluster, place, reference)| match reference {
            Reference::Inline(entry) => Some((cluster.clone(), entry.clone(), place.is_none())),
            Reference::Existing(_) => None,
        })
        .collect();
    let changed = entries.iter().filter(|(cluster, entry, wide)| current(inputs, cluster, entry, *wide).is_none()).count();
    entries
        .into_iter()
        .filter_map(|(cluster, name, wide)| {
            let rules = &entry(inputs.role, &name)?.rules;
            let build = |object: &str| rbac::cluster_role(&inputs.scene.settings.installation, &role, &name, object, rules);
            let chosen = match current(inputs, &cluster, &name, wide) {
                Some(object) => object.name_any(),
                None => match predecessor(inputs, &cluster, &name, wide) {
                    None => name::cluster_role(&role, &name, wide, ""),
                    Some(old) if in_place(inputs, wanted, (&cluster, &name), old, (changed, others)) => old.name_any(),
                    Some(_) => {
                        let salt = name::fingerprint(format!("{rules:?}").as_bytes());
                        name::cluster_role(&role, &name, wide, &salt)
                    }
                },
            };
            Some(((cluster, name.clone()), build(&chosen)))
        })
        .collect()
}

fn current<'a>(inputs: &'a RoleInputs<'_>, cluster: &ClusterKey, entry: &str, wide: bool) -> Option<&'a Arc<ClusterRole>> {
    current_cluster_role(inputs.scene.clusters.get(cluster)?, inputs.role, entry, wide)
}

/// A ClusterRole of the entry with other rules.
fn predecessor<'a>(inputs: &'a RoleInputs<'_>, cluster: &ClusterKey, entry: &str, wide: bool) -> Option<&'a Arc<ClusterRole>> {
    let state = inputs.scene.clusters.get(cluster)?;
    let role = inputs.role.metadata.name.as_deref().unwrap_or_default();
    let mut objects = state.cluster_roles_of(role).map(|(_, object)| object);
    objects.find(|object| {
        object.labels().get(ENTRY).is_some_and(|label| label == entry) && object.name_any().starts_with(CLUSTER_PREFIX) == wide
    })
}

/// Whether the old ClusterRole of an entry may be edited: the same people hold it in the same places, and the rules only widen, or only narrow,
/// or nothing else changes that could take over what they lose. What is lost may not be on its way to them by another Role either.
fn in_place(
    inputs: &RoleInputs<'_>,
    wanted: &ByReference,
    (cluster, entry_name): (&ClusterKey, &str),
    old: &ClusterRole,
    (changed, others): (usize, &Others<'_>),
) -> bool {
    let Some(state) = inputs.scene.clusters.get(cluster) else { return false };
    let name = |reference: &Reference, wide: bool| match reference {
        Reference::Existing(name) => Some(name.clone()),
        Reference::Inline(entry) if entry == entry_name => Some(old.name_any()),
        Reference::Inline(entry) => current(inputs, cluster, entry, wide).map(|object| object.name_any()),
    };
    let mut should = Holdings::default();
    for ((_, place, reference), subjects) in wanted.iter().filter(|((at, ..), subjects)| at == cluster && !subjects.is_empty()) {
        should.add((place.clone(), name(reference, place.is_none())), subjects.clone());
    }
    let mut seen = Holdings::default();
    for binding in seen_in(inputs, cluster, state) {
        seen.add((binding.slot.place, Some(binding.slot.cluster_role)), binding.subjects);
    }
    let old_rules = old.rules.as_deref().unwrap_or_default();
    let new_rules = entry(inputs.role, entry_name).map(|access| policy_rules(&access.rules)).unwrap_or_default();
    let widens = old_rules.iter().all(|rule| new_rules.contains(rule));
    let narrows = new_rules.iter().all(|rule| old_rules.contains(rule));
    should.same(&seen, old.metadata.name.as_ref())
        && (widens || ((narrows || (changed == 1 && should.same(&seen, None))) && !others.lack(None)))
}

/// A place, and a ClusterRole.
type Held = (Option<(String, String)>, Option<String>);

/// Who holds which ClusterRole where: the people of each binding. They are the same in many places, and compared once for all of them.
#[derive(Default)]
struct Holdings(BTreeMap<Held, Vec<People>>);

impl Holdings {
    fn add(&mut self, held: Held, people: People) {
        self.0.entry(held).or_default().push(people);
    }

    /// Whether the same people hold the same in both: of one ClusterRole, or of all.
    fn same(&self, other: &Self, only: Option<&String>) -> bool {
        let (mut here, mut there) = (self.of(only), other.of(only));
        let mut compared: Vec<(&[People], &[People])> = Vec::new();
        loop {
            match (here.next(), there.next()) {
                (None, None) => return true,
                (Some((held, left)), Some((other, right))) if held == other => {
                    if compared.iter().any(|(one, another)| alike(one, left) && alike(another, right)) {
                        continue;
                    }
                    if together(left) != together(right) {
                        return false;
                    }
                    compared.push((left, right));
                }
                _ => return false,
            }
        }
    }

    fn of(&self, only: Option<&String>) -> impl Iterator<Item = (&Held, &[People])> {
        let wanted = move |((_, name), _): &(&Held, &Vec<People>)| only.is_none_or(|only| name.as_ref() == Some(only));
        self.0.iter().filter(wanted).map(|(held, people)| (held, people.as_slice()))
    }
}

/// Whether those are the very same sets.
fn alike(left: &[People], right: &[People]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

fn together(people: &[People]) -> BTreeSet<&Known> {
    people.iter().flat_map(|people| people.iter()).collect()
}
