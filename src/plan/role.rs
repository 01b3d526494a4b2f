//! The bindings and ClusterRoles of one Role: what is there, what should be, and the safe order from one to the other.
//!
//! Access that is replaced is at every instant within old ∪ new and at least old ∩ new (DESIGN.md, promise 1): what is added goes first, and a plan
//! that adds is made again before anything is removed. Only people who are leaving lose theirs at once. [`plan_role`] is the entry point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;

use crate::api::metadata::{CLUSTER_PREFIX, ENTRY, ENVIRONMENT, EPOCH, ORPHANS, ROLE_UID};
use crate::api::{ConditionType, Developer, Mode, Reason, Role};

use super::access::{Via, covers, holders, next_change_of_role, paused};
use super::change::{Change, Managed, Step, Write, ensure, remove};
use super::cluster::{Bound, ClusterKey, ClusterState, RbacBinding};
use super::developer;
use super::finding::Finding;
use super::identity::Known;
use super::name;
use super::placement::{Places, Reference, Scene, entry, places, title};
use super::rbac::{self, Named, Origin, issued_to, policy_rules, shards, subject_digest};
use super::subjects::{Names, Owner, behind, names, owner};
use super::verify::outstanding;
use super::world::deleting;

/// What one Role's plan depends on besides the scene.
pub struct RoleInputs<'a> {
    /// What people wrote and clusters hold.
    pub scene: Scene<'a>,
    /// The Role.
    pub role: &'a Role,
    /// The present.
    pub now: Timestamp,
    /// The digest of the UIDs of usher's CRDs.
    pub epoch: &'a str,
    /// Whether the disappearance of an object may end access: not while a CRD is terminating or missing.
    pub may_end: bool,
    /// Whether to wait for what other Roles still have to add, before removing from the same people.
    pub patient: bool,
}

/// The next writes for a Role.
#[derive(Debug, Default)]
pub struct RolePlan {
    /// Writes to make now, in phases: those of one phase do not depend on each other.
    pub phases: Vec<Vec<Step>>,
    /// Whether the plan adds, so that it must be made again before anything is removed.
    pub adds: bool,
    /// Whether access of somebody who stays ends, which wants a look at the CRDs first.
    pub ends: bool,
    /// Whether a removal waits for what another Role still has to add.
    pub waits: bool,
    /// What would be written in Environments that are only observed.
    pub withheld: Vec<Step>,
    /// What to say.
    pub findings: Vec<Finding>,
    /// The people who hold the Role.
    pub holders: BTreeMap<String, Via>,
    /// The Environments in which it gives something.
    pub environments: BTreeSet<String>,
    /// When the plan changes by itself.
    pub recheck_at: Option<Timestamp>,
}

/// Where a binding stands and what it gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    cluster: ClusterKey,
    /// None for a ClusterRoleBinding.
    place: Option<(String, String)>,
    cluster_role: String,
}

/// A binding that was seen.
enum Seen<'a> {
    Inside(&'a Bound<RoleBinding>),
    Wide(&'a Bound<ClusterRoleBinding>),
}

struct SeenBinding<'a> {
    slot: Slot,
    name: String,
    subjects: BTreeSet<Known>,
    /// Whether it names groups or other strangers that no plan contains.
    strangers: bool,
    annotations: &'a BTreeMap<String, String>,
    seen: Seen<'a>,
}

/// Every binding by slot and name, with those whom the plan names in it.
type Targets = BTreeMap<(Slot, String), BTreeSet<Known>>;

/// What a binding should hold in the end, and until all is added.
#[derive(Default)]
struct Target {
    subjects: BTreeSet<Known>,
    orphans: BTreeSet<Known>,
    /// Held a little longer, until they are seen elsewhere.
    moving: bool,
    /// Whether nothing is touched but for those who leave.
    stays: bool,
}

/// The writes of a Role's bindings.
#[derive(Default)]
struct Writes {
    /// Of people who leave.
    leave: Vec<Step>,
    /// Of people who leave, where the rest of the removal has to wait for what is added.
    leave_first: Vec<Step>,
    add: Vec<Step>,
    take: Vec<Step>,
    /// In Environments that are only observed.
    withheld: Vec<Step>,
}

/// Plans the next writes for a Role.
pub fn plan_role(inputs: &RoleInputs<'_>) -> RolePlan {
    let scene = inputs.scene;
    let name = inputs.role.name_any();
    let live = !deleting(inputs.role);
    let places = if live { places(scene, inputs.role) } else { Places::default() };
    let holders = if live { holders(scene.world, &name, inputs.now) } else { BTreeMap::new() };
    let mut plan = RolePlan {
        environments: places.environments(&None).into_iter().map(str::to_owned).collect(),
        recheck_at: next_change_of_role(scene.world, &name, inputs.now),
        ..RolePlan::default()
    };
    let desired = Desired::of(inputs, &places, &holders);
    Planner { inputs, plan: &mut plan, desired: &desired, frozen: frozen_role(inputs) }.bindings();
    cluster_roles(inputs, &desired, &mut plan);
    plan.findings.extend(places.findings);
    plan.findings.extend(references(scene, inputs.role));
    plan.findings.sort();
    plan.findings.dedup();
    plan.phases.retain(|phase| !phase.is_empty());
    plan.holders = holders;
    plan
}

/// What the names in a Role's spec lead to, besides its access entries.
pub fn references(scene: Scene<'_>, role: &Role) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |reason, message| findings.push(Finding::new(ConditionType::ReferencesResolved, reason, message));
    for include in role.spec.includes.iter().filter(|include| scene.world.live_role(include).is_none()) {
        add(Reason::RoleNotFound, format!("urole/{include} does not exist; make it, or take it out of includes"));
    }
    if let Some(ring) = scene.world.includes().cycle(&role.name_any()) {
        let ring: Vec<String> = ring.iter().map(|name| format!("urole/{name}")).collect();
        add(
            Reason::IncludeCycle,
            format!("{} include each other, so each gives its own access only; take one of the includes out", ring.join(" and ")),
        );
    }
    for account in &role.spec.accounts {
        add(
            Reason::ProviderNotFound,
            format!("uprov/{} does not exist, so no account is made there; make it, or take it out of accounts", account.provider),
        );
    }
    if paused(role) {
        findings.push(Finding::new(
            ConditionType::Ready,
            Reason::Paused,
            format!("{} is paused; remove the annotation usher.dev/paused to go on", title(role)),
        ));
    }
    findings
}

/// Why nothing is added to or taken from a Role, but for people who leave.
fn frozen_role(inputs: &RoleInputs<'_>) -> bool {
    let world = inputs.scene.world;
    let name = inputs.role.name_any();
    let by_binding = || {
        let mut bindings = world.includes().giving(&name).flat_map(|giving| world.bindings_of_role(giving));
        bindings.any(|(_, binding)| paused(binding.as_ref()) && !deleting(binding.as_ref()))
    };
    !deleting(inputs.role) && (paused(inputs.role) || by_binding())
}

/// Who should be named where.
struct Desired {
    slots: BTreeMap<Slot, BTreeSet<Known>>,
    /// The ClusterRole of each access entry with inline rules, and the rules.
    inline: BTreeMap<(ClusterKey, String), ClusterRole>,
}

impl Desired {
    fn of(inputs: &RoleInputs<'_>, places: &Places, holders: &BTreeMap<String, Via>) -> Self {
        let people = known_holders(inputs, places, holders);
        let mut by_reference: BTreeMap<(ClusterKey, Option<(String, String)>, Reference), BTreeSet<Known>> = BTreeMap::new();
        for place in &places.inside {
            let subjects = people.names.get(&place.environment).map(|names| names.keys().cloned().collect()).unwrap_or_default();
            let at = Some((place.environment.clone(), place.namespace.clone()));
            by_reference.insert((place.cluster.clone(), at, place.reference.clone()), subjects);
        }
        for (place, subjects) in places.wide.iter().zip(people.wide) {
            by_reference.insert((place.cluster.clone(), None, Reference::Inline(place.entry.clone())), subjects);
        }
        let inline = inline_names(inputs, &by_reference);
        let slots = by_reference
            .into_iter()
            .filter_map(|((cluster, place, reference), subjects)| {
                let cluster_role = match reference {
                    Reference::Existing(name) => name,
                    Reference::Inline(entry) => inline.get(&(cluster.clone(), entry))?.name_any(),
                };
                Some((Slot { cluster, place, cluster_role }, subjects))
            })
            .fold(BTreeMap::new(), |mut slots: BTreeMap<Slot, BTreeSet<Known>>, (slot, subjects)| {
                slots.entry(slot).or_default().extend(subjects);
                slots
            });
        Self { slots, inline }
    }
}

struct KnownHolders {
    names: Names,
    wide: Vec<BTreeSet<Known>>,
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
    let awake = holders.iter().filter(|(name, _)| scene.world.developer(name).is_some_and(|developer| !paused(developer.as_ref())));
    let scoped = awake.clone().map(|(name, via)| {
        let covered = environments.iter().copied().filter(|environment| via.values().any(|scope| covers(scope, environment)));
        (name, covered.collect())
    });
    let names = names(scene, scoped, inputs.now);
    let wide = places
        .wide
        .iter()
        .map(|place| {
            let whole: BTreeSet<&String> = awake
                .clone()
                .filter(|(_, via)| via.values().any(|scope| place.environments.iter().all(|environment| covers(scope, environment))))
                .map(|(name, _)| name)
                .collect();
            let known = place.environments.iter().filter_map(|environment| names.get(environment)).flatten();
            known.filter(|(_, developer)| whole.contains(developer)).map(|(known, _)| known.clone()).collect()
        })
        .collect();
    KnownHolders { names, wide }
}

type ByReference = BTreeMap<(ClusterKey, Option<(String, String)>, Reference), BTreeSet<Known>>;

/// Chooses the ClusterRole of each access entry. Rules are edited in place, in one write, unless the places or people change with them:
/// then a second ClusterRole stands beside the first until its bindings are there.
fn inline_names(inputs: &RoleInputs<'_>, wanted: &ByReference) -> BTreeMap<(ClusterKey, String), ClusterRole> {
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
                    Some(old) if in_place(inputs, wanted, (&cluster, &name, wide), old, changed) => old.name_any(),
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
    super::verify::current_cluster_role(inputs.scene.clusters.get(cluster)?, inputs.role, entry, wide)
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

fn in_place(
    inputs: &RoleInputs<'_>,
    wanted: &ByReference,
    (cluster, entry_name, wide): (&ClusterKey, &str, bool),
    old: &ClusterRole,
    changed: usize,
) -> bool {
    let Some(state) = inputs.scene.clusters.get(cluster) else { return false };
    let people_as_seen = |reference: &Reference, cluster_role: &str| {
        let wanted: BTreeMap<Option<(String, String)>, BTreeSet<Known>> = wanted
            .iter()
            .filter(|((at, place, other), subjects)| {
                at == cluster && other == reference && place.is_none() == wide && !subjects.is_empty()
            })
            .map(|((_, place, _), subjects)| (place.clone(), subjects.clone()))
            .collect();
        let mut seen: BTreeMap<Option<(String, String)>, BTreeSet<Known>> = BTreeMap::new();
        for binding in seen_in(inputs, cluster, state).iter().filter(|binding| binding.slot.cluster_role == cluster_role) {
            seen.entry(binding.slot.place.clone()).or_default().extend(binding.subjects.iter().cloned());
        }
        wanted == seen
    };
    let old_rules = old.rules.clone().unwrap_or_default();
    let new_rules = entry(inputs.role, entry_name).map(|access| policy_rules(&access.rules)).unwrap_or_default();
    let widens = old_rules.iter().all(|rule| new_rules.contains(rule));
    let narrows = new_rules.iter().all(|rule| old_rules.contains(rule));
    let rest_as_seen = || {
        let existing: BTreeSet<&String> = wanted
            .keys()
            .filter_map(|(_, _, reference)| match reference {
                Reference::Existing(name) => Some(name),
                Reference::Inline(_) => None,
            })
            .collect();
        let others = seen_in(inputs, cluster, state).into_iter().filter(|binding| binding.slot.cluster_role != old.name_any());
        others.into_iter().all(|binding| existing.contains(&binding.slot.cluster_role) || changed == 1)
            && existing.iter().all(|name| people_as_seen(&Reference::Existing((*name).clone()), name))
    };
    people_as_seen(&Reference::Inline(entry_name.to_owned()), &old.name_any())
        && (((widens || narrows) && changed >= 1) || (changed == 1 && rest_as_seen()))
}

/// The bindings of a Role that were seen in a cluster.
fn seen_in<'a>(inputs: &RoleInputs<'_>, cluster: &ClusterKey, state: &'a ClusterState) -> Vec<SeenBinding<'a>> {
    let role = inputs.role.metadata.name.as_deref().unwrap_or_default();
    let inside = state.role_bindings_of(role).filter(|((namespace, _), _)| {
        state.namespaces.get(namespace).is_none_or(|namespace| !deleting(namespace.as_ref()))
    });
    let inside = inside.map(|((namespace, _), bound)| {
        let environment = bound.object.labels().get(ENVIRONMENT).cloned().unwrap_or_default();
        seen_binding(cluster, Some((environment, namespace.clone())), bound.object.as_ref(), &bound.subjects, Seen::Inside(bound))
    });
    let wide = state.cluster_role_bindings.iter().filter(|(_, bound)| {
        bound.ours && bound.object.labels().get(crate::api::metadata::ROLE).is_some_and(|label| label == role)
    });
    let wide = wide.map(|(_, bound)| seen_binding(cluster, None, bound.object.as_ref(), &bound.subjects, Seen::Wide(bound)));
    inside.chain(wide).collect()
}

fn seen_binding<'a, K: RbacBinding>(
    cluster: &ClusterKey,
    place: Option<(String, String)>,
    object: &'a K,
    subjects: &std::collections::HashSet<Known>,
    seen: Seen<'a>,
) -> SeenBinding<'a> {
    SeenBinding {
        slot: Slot { cluster: cluster.clone(), place, cluster_role: object.role_ref().name.clone() },
        name: object.name_any(),
        strangers: object.subjects().len() != subjects.len(),
        subjects: subjects.iter().cloned().collect(),
        annotations: object.annotations(),
        seen,
    }
}

/// Works out the writes of bindings.
struct Planner<'a, 'b> {
    inputs: &'a RoleInputs<'a>,
    plan: &'b mut RolePlan,
    desired: &'b Desired,
    frozen: bool,
}

impl<'a> Planner<'a, '_> {
    fn bindings(mut self) {
        let clusters = self.inputs.scene.clusters;
        let mut seen: Vec<SeenBinding<'a>> = Vec::new();
        for (cluster, state) in clusters {
            seen.extend(seen_in(self.inputs, cluster, state));
        }
        let targets = self.targets();
        let names: BTreeSet<(Slot, String)> = seen.iter().map(|binding| (binding.slot.clone(), binding.name.clone())).collect();
        let mut writes = Writes::default();
        for ((slot, name), subjects) in &targets {
            if !names.contains(&(slot.clone(), name.clone())) && !subjects.is_empty() && !self.idle(slot) {
                let step = self.step(slot, self.create(slot, name, subjects));
                if self.observed(slot) { writes.withheld.push(step) } else { writes.add.push(step) }
            }
        }
        for binding in &seen {
            self.write(binding, &targets, &mut writes);
        }
        self.plan.withheld = writes.withheld;
        self.plan.adds = !writes.add.is_empty();
        self.plan.phases = if self.plan.adds {
            writes.leave.extend(writes.leave_first);
            vec![writes.leave, Vec::new(), writes.add]
        } else {
            vec![writes.leave, Vec::new(), Vec::new(), writes.take]
        };
    }

    /// Adds the writes that bring a binding to its target. Those who leave go at once, whatever else waits or is only observed.
    fn write(&mut self, binding: &SeenBinding<'_>, targets: &Targets, writes: &mut Writes) {
        let target = self.target(binding, targets);
        let (leavers, losers): (BTreeSet<Known>, BTreeSet<Known>) =
            binding.subjects.difference(&target.subjects).cloned().partition(|known| self.owner(binding, known) == Owner::Leaving);
        self.plan.ends |= leavers.iter().any(|known| self.behind(binding, known).is_some_and(|developer| deleting(developer.as_ref())));
        let leave = (!leavers.is_empty()).then(|| self.step(&binding.slot, without(binding, &leavers)));
        if target.stays {
            writes.leave.extend(leave);
            self.keeps_orphans(binding, &target);
            return;
        }
        let step = self.change(binding, &target).map(|change| self.step(&binding.slot, change));
        if self.observed(&binding.slot) {
            writes.withheld.extend(step);
            writes.leave.extend(leave);
            return;
        }
        self.plan.ends |= !losers.is_empty();
        if target.subjects.iter().any(|known| !binding.subjects.contains(known)) {
            writes.add.extend(step);
        } else if leave.is_some() && losers.is_empty() && !target.moving {
            writes.leave.extend(step);
        } else {
            writes.take.extend(step);
            writes.leave_first.extend(leave);
        }
    }

    /// Every binding by slot and name, with those whom the plan names in it.
    fn targets(&self) -> Targets {
        let role = self.inputs.role.name_any();
        let mut targets = BTreeMap::new();
        for (slot, subjects) in &self.desired.slots {
            for (shard, subjects) in shards(subjects).into_iter().enumerate() {
                let name = match &slot.place {
                    Some((environment, _)) => name::role_binding(&role, &slot.cluster_role, environment, shard),
                    None => name::cluster_role_binding(&role, &slot.cluster_role, shard),
                };
                targets.insert((slot.clone(), name), subjects);
            }
        }
        targets
    }

    /// What a binding that was seen should hold.
    fn target(&mut self, binding: &SeenBinding<'_>, targets: &Targets) -> Target {
        let stays = self.idle(&binding.slot) || self.unknown_environment(&binding.slot);
        let mut target = Target { stays, ..Target::default() };
        if !stays {
            target.subjects = targets.get(&(binding.slot.clone(), binding.name.clone())).cloned().unwrap_or_default();
        }
        let placed = self.desired.slots.get(&binding.slot);
        for known in &binding.subjects {
            if target.subjects.contains(known) {
                continue;
            }
            let elsewhere = placed.is_some_and(|subjects| subjects.contains(known))
                && !targets.iter().any(|((slot, name), subjects)| {
                    slot == &binding.slot && subjects.contains(known) && self.seen_there(slot, name, known)
                });
            match self.owner(binding, known) {
                Owner::Leaving => {}
                _ if stays || (!self.inputs.may_end && !deleting(self.inputs.role)) => {
                    target.subjects.insert(known.clone());
                }
                _ if elsewhere => {
                    target.subjects.insert(known.clone());
                    target.moving = true;
                }
                who => self.keep(binding, known, who, placed.is_some(), &mut target),
            }
        }
        target
    }

    /// Decides about somebody whom no Binding explains in this place.
    fn keep(&mut self, binding: &SeenBinding<'_>, known: &Known, who: Owner, placed: bool, target: &mut Target) {
        let digest = subject_digest(known);
        let listed = |annotation: &str| {
            binding.annotations.get(annotation).is_some_and(|list| list.split(',').any(|item| item == digest))
        };
        let same_origin = binding.annotations.get(ROLE_UID).is_some_and(|uid| Some(uid) == self.inputs.role.metadata.uid.as_ref())
            && binding.annotations.get(EPOCH).is_some_and(|epoch| epoch == self.inputs.epoch);
        let issued = matches!(known, Known::ServiceAccount(_)) || issued_to(binding.annotations, known).is_some();
        let orphan = match who {
            Owner::Nobody => issued,
            _ => !same_origin || listed(ORPHANS),
        };
        if placed && orphan && !deleting(self.inputs.role) {
            target.subjects.insert(known.clone());
            target.orphans.insert(known.clone());
            return;
        }
        let developer = self.behind(binding, known);
        let paused_person = developer.is_some_and(|developer| paused(developer.as_ref()));
        let waits = || {
            self.inputs.patient
                && !deleting(self.inputs.role)
                && developer.is_some_and(|developer| outstanding(self.inputs.scene, developer, &self.inputs.role.name_any(), self.inputs.now))
        };
        if paused_person && placed {
            target.subjects.insert(known.clone());
        } else if waits() {
            target.subjects.insert(known.clone());
            self.plan.waits = true;
        }
    }

    fn seen_there(&self, slot: &Slot, name: &str, known: &Known) -> bool {
        let Some(state) = self.inputs.scene.clusters.get(&slot.cluster) else { return false };
        match &slot.place {
            Some((_, namespace)) => {
                state.role_bindings.get(&(namespace.clone(), name.to_owned())).is_some_and(|bound| bound.subjects.contains(known))
            }
            None => state
                .cluster_role_bindings
                .get(&(String::new(), name.to_owned()))
                .is_some_and(|bound| bound.subjects.contains(known)),
        }
    }

    /// The Developer whose name was found in a binding: the one it was issued to, whatever her name is now, else who has it now.
    fn behind(&self, binding: &SeenBinding<'_>, known: &Known) -> Option<&'a Arc<Developer>> {
        let world = self.inputs.scene.world;
        let issued = issued_to(binding.annotations, known).and_then(|name| world.developer(name));
        issued.or_else(|| behind(self.inputs.scene, &binding.slot.cluster, known))
    }

    fn owner(&self, binding: &SeenBinding<'_>, known: &Known) -> Owner {
        // Developers go with their CRD: that is no departure.
        match self.behind(binding, known) {
            Some(developer) if deleting(developer.as_ref()) && !self.inputs.may_end => Owner::Staying,
            developer => owner(developer, self.inputs.now),
        }
    }

    /// The Developers to whom user names are issued by a binding: those who have them now, or had them when it was written.
    fn issued(&self, slot: &Slot, subjects: &BTreeSet<Known>, before: Option<&SeenBinding<'_>>) -> BTreeMap<Known, String> {
        let placed = self.desired.slots.get(slot);
        let holder = |known: &Known| match known {
            Known::User(user) if placed.is_some_and(|placed| placed.contains(known)) => {
                self.inputs.scene.world.users().holder(&slot.cluster, user)
            }
            _ => None,
        };
        let earlier = |known: &Known| before.and_then(|binding| issued_to(binding.annotations, known));
        subjects.iter().filter_map(|known| Some((known.clone(), holder(known).or_else(|| earlier(known))?.to_owned()))).collect()
    }

    /// Whether a binding's Environment is one that nobody has written (for a cluster-wide one: whether its cluster has none at all): then usher cannot
    /// say that it may go.
    fn unknown_environment(&self, slot: &Slot) -> bool {
        let world = self.inputs.scene.world;
        let unknown = match &slot.place {
            Some((environment, _)) => world.environment(environment).is_none(),
            None => !world.environments().any(|(_, environment)| ClusterKey::of(environment) == slot.cluster),
        };
        unknown && !deleting(self.inputs.role)
    }

    /// Whether nothing is added or taken here, but for people who leave.
    fn idle(&self, slot: &Slot) -> bool {
        let environment = slot.place.as_ref().and_then(|(environment, _)| self.inputs.scene.world.environment(environment));
        self.frozen || environment.is_some_and(|environment| paused(environment.as_ref()) && !deleting(environment.as_ref()))
    }

    fn origin(&self) -> (String, &'a str) {
        (self.inputs.role.name_any(), self.inputs.role.metadata.uid.as_deref().unwrap_or_default())
    }

    fn create(&self, slot: &Slot, name: &str, subjects: &BTreeSet<Known>) -> Change {
        let issued = self.issued(slot, subjects, None);
        match self.build(slot, name, Named { subjects, orphans: &BTreeSet::new(), issued: &issued }) {
            Built::Inside(object) => Change::RoleBinding(Write::Create(object)),
            Built::Wide(object) => Change::ClusterRoleBinding(Write::Create(object)),
        }
    }

    fn build(&self, slot: &Slot, name: &str, named: Named<'_>) -> Built {
        let (role, role_uid) = self.origin();
        let settings = self.inputs.scene.settings;
        let origin = Origin { installation: &settings.installation, role: &role, role_uid, epoch: self.inputs.epoch };
        match &slot.place {
            Some((environment, namespace)) => {
                Built::Inside(rbac::role_binding(&origin, environment, (namespace, name), &slot.cluster_role, named))
            }
            None => Built::Wide(rbac::cluster_role_binding(&origin, name, &slot.cluster_role, named)),
        }
    }

    /// Says that a binding holds people whom no Binding explains.
    fn keeps_orphans(&mut self, binding: &SeenBinding<'_>, target: &Target) {
        if !target.orphans.is_empty() || (self.unknown_environment(&binding.slot) && !target.subjects.is_empty()) {
            self.plan.findings.push(orphans(binding, target));
        }
    }

    /// The write that brings a binding to its target.
    fn change(&mut self, binding: &SeenBinding<'_>, target: &Target) -> Option<Change> {
        self.keeps_orphans(binding, target);
        if target.subjects.is_empty() {
            return Some(delete(binding));
        }
        let untouched = target.subjects == binding.subjects && !binding.strangers;
        if untouched && !self.inputs.may_end {
            return None;
        }
        let issued = self.issued(&binding.slot, &target.subjects, Some(binding));
        let named = Named { subjects: &target.subjects, orphans: &target.orphans, issued: &issued };
        match (self.build(&binding.slot, &binding.name, named), &binding.seen) {
            (Built::Inside(object), Seen::Inside(bound)) => ensure(object, Some(bound.object.as_ref())).map(Change::RoleBinding),
            (Built::Wide(object), Seen::Wide(bound)) => ensure(object, Some(bound.object.as_ref())).map(Change::ClusterRoleBinding),
            _ => None,
        }
    }

    /// Whether an Environment's writes are only reported.
    fn observed(&self, slot: &Slot) -> bool {
        let environment = slot.place.as_ref().and_then(|(environment, _)| self.inputs.scene.world.environment(environment));
        environment.is_some_and(|environment| environment.spec.mode == Mode::Observe && !deleting(environment.as_ref()))
    }

    fn step(&self, slot: &Slot, change: Change) -> Step {
        Step { cluster: slot.cluster.clone(), environment: slot.place.as_ref().map(|(environment, _)| environment.clone()), change }
    }
}

/// The write that takes some people out of a binding and leaves the rest of it as it is.
fn without(binding: &SeenBinding<'_>, gone: &BTreeSet<Known>) -> Change {
    match &binding.seen {
        Seen::Inside(bound) => Change::RoleBinding(developer::without(bound.object.as_ref(), gone)),
        Seen::Wide(bound) => Change::ClusterRoleBinding(developer::without(bound.object.as_ref(), gone)),
    }
}

fn delete(binding: &SeenBinding<'_>) -> Change {
    match &binding.seen {
        Seen::Inside(bound) => Change::RoleBinding(remove(bound.object.as_ref())),
        Seen::Wide(bound) => Change::ClusterRoleBinding(remove(bound.object.as_ref())),
    }
}

enum Built {
    Inside(RoleBinding),
    Wide(ClusterRoleBinding),
}

fn orphans(binding: &SeenBinding<'_>, target: &Target) -> Finding {
    let place = binding.slot.place.as_ref().map(|(_, namespace)| format!(" in namespace {namespace}")).unwrap_or_default();
    let count = if target.orphans.is_empty() { target.subjects.len() } else { target.orphans.len() };
    Finding::new(
        ConditionType::AccessApplied,
        Reason::Orphans,
        format!(
            "{} keeps {count} subjects{place} that no Binding explains since usher's objects were made again; make the Binding, or delete the object",
            binding.name
        ),
    )
}

/// Adds the writes of ClusterRoles to a plan: what bindings need comes before them, what they do not need any more after them.
fn cluster_roles(inputs: &RoleInputs<'_>, desired: &Desired, plan: &mut RolePlan) {
    let role = inputs.role.name_any();
    let frozen = frozen_role(inputs);
    let used = |name: &str| desired.slots.iter().any(|(slot, subjects)| slot.cluster_role == name && !subjects.is_empty());
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for ((cluster, _), object) in desired.inline.iter().filter(|(_, object)| used(&object.name_any())) {
        let Some(state) = inputs.scene.clusters.get(cluster) else { continue };
        let observed_only = desired.slots.keys().filter(|slot| slot.cluster_role == object.name_any()).all(|slot| {
            let environment = slot.place.as_ref().and_then(|(name, _)| inputs.scene.world.environment(name));
            environment.is_some_and(|environment| environment.spec.mode == Mode::Observe)
        });
        let seen = state.cluster_roles.get(&object.name_any());
        let Some(write) = ensure(object.clone(), seen.map(AsRef::as_ref)) else { continue };
        let step = Step { cluster: cluster.clone(), environment: None, change: Change::ClusterRole(write) };
        if frozen || observed_only {
            if observed_only {
                plan.withheld.push(step);
            }
        } else if seen.is_some_and(|seen| !widens(seen, object)) && plan.adds {
            // Narrowed once what replaces it is there: the plan is made again.
        } else {
            before.push(step);
        }
    }
    if !plan.adds && !frozen {
        for (cluster, state) in inputs.scene.clusters {
            let needed: BTreeSet<&String> = desired.inline.values().filter_map(|object| object.metadata.name.as_ref()).filter(|name| used(name)).collect();
            let bound: BTreeSet<String> = remaining(inputs, cluster, state, plan);
            for (name, object) in state.cluster_roles_of(&role).filter(|(name, _)| !needed.contains(name) && !bound.contains(*name)) {
                let _ = name;
                after.push(Step { cluster: cluster.clone(), environment: None, change: Change::ClusterRole(remove(object.as_ref())) });
            }
        }
    }
    let narrowing = |step: &Step| matches!(&step.change, Change::ClusterRole(Write::Replace(_)));
    plan.phases.resize_with(5, Vec::new);
    let (late, early): (Vec<Step>, Vec<Step>) = before.into_iter().partition(|step| narrowing(step) && !widening(inputs, step));
    if let [_, first, _, _, last] = plan.phases.as_mut_slice() {
        first.extend(early);
        last.extend(late);
        last.extend(after);
    }
}

/// The ClusterRoles that bindings of this Role still name once the plan is carried out.
fn remaining(inputs: &RoleInputs<'_>, cluster: &ClusterKey, state: &ClusterState, plan: &RolePlan) -> BTreeSet<String> {
    let gone: BTreeSet<(Option<String>, Option<String>)> = plan
        .phases
        .iter()
        .flatten()
        .filter(|step| step.cluster == *cluster)
        .filter_map(|step| match &step.change {
            Change::RoleBinding(Write::Delete(meta)) | Change::ClusterRoleBinding(Write::Delete(meta)) => {
                Some((meta.namespace.clone(), meta.name.clone()))
            }
            _ => None,
        })
        .collect();
    seen_in(inputs, cluster, state)
        .into_iter()
        .filter(|binding| {
            let namespace = binding.slot.place.as_ref().map(|(_, namespace)| namespace.clone());
            !gone.contains(&(namespace, Some(binding.name.clone())))
        })
        .map(|binding| binding.slot.cluster_role)
        .collect()
}

fn widens(seen: &ClusterRole, object: &ClusterRole) -> bool {
    let rules = object.rules.as_deref().unwrap_or_default();
    seen.rules.iter().flatten().all(|rule| rules.contains(rule))
}

fn widening(inputs: &RoleInputs<'_>, step: &Step) -> bool {
    let Change::ClusterRole(Write::Replace(object)) = &step.change else { return false };
    let seen = inputs.scene.clusters.get(&step.cluster).and_then(|state| state.cluster_roles.get(&object.name_any()));
    seen.is_some_and(|seen| widens(seen, object) || seen.same_content(object))
}
