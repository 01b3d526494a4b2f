//! The writes of a Role's bindings.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;

use crate::api::metadata::{ENVIRONMENT, ENVIRONMENTS, EPOCH, ORPHANS, ROLE_UID};
use crate::api::{ConditionType, Developer, Mode, Reason};
use crate::plan::access::{paused, standing_as_written};
use crate::plan::bound::{People, bind};
use crate::plan::change::{Change, Step};
use crate::plan::cluster::ClusterKey;
use crate::plan::finding::Finding;
use crate::plan::identity::Known;
use crate::plan::rbac::{self, Named, Origin, issued_to, subject_digest};
use crate::plan::subjects::{Owner, owner};
use crate::plan::world::deleting;

use super::desired::Desired;
use super::seen::{Seen, SeenBinding, Series, Slot, behind, delete, named_in, seen_in, without};
use super::{Additions, Ends, Others, Phases, RoleInputs, RolePlan, division};

/// Every binding by slot and name, with those whom the plan names in it.
type Targets = BTreeMap<(Slot, String), People>;

/// People of a place by the names of the bindings among which they are divided.
type Parts = Vec<(String, People)>;

/// What a binding should hold in the end, and until all is added.
#[derive(Default)]
struct Target {
    subjects: People,
    orphans: BTreeSet<Known>,
    /// Held a little longer, until they are seen elsewhere.
    moving: bool,
    /// Whether nothing is touched but for those who leave.
    stays: bool,
}

impl Target {
    /// Leaves somebody in who was seen there.
    fn keep(&mut self, known: &Known) {
        Arc::make_mut(&mut self.subjects).insert(known.clone());
    }
}

/// The writes of a Role's bindings.
#[derive(Default)]
struct Writes<'a> {
    /// Of people who leave.
    leave: Vec<Step>,
    add: Vec<Step>,
    take: Vec<Taking<'a>>,
    gaining: Gaining<'a>,
    /// In Environments that are only observed.
    withheld: Vec<Step>,
}

/// A removal, of people who leave among others.
struct Taking<'a> {
    binding: &'a SeenBinding<'a>,
    write: Step,
    leavers: BTreeSet<Known>,
    losers: BTreeSet<Known>,
}

/// Who is named somewhere from now on, once what is added is written: in which namespaces, or everywhere.
#[derive(Default)]
struct Gaining<'a>(HashMap<(&'a ClusterKey, Known), HashSet<Option<&'a str>>>);

impl<'a> Gaining<'a> {
    fn add<'b>(&mut self, slot: &'a Slot, subjects: impl Iterator<Item = &'b Known>) {
        for known in subjects {
            self.0.entry((&slot.cluster, known.clone())).or_default().insert(slot.namespace());
        }
    }

    /// Whether what somebody gains may be what replaces her loss in a place.
    fn replaces(&self, slot: &Slot, known: &Known) -> bool {
        let Some(places) = self.0.get(&(&slot.cluster, known.clone())) else { return false };
        slot.namespace().is_none_or(|namespace| places.contains(&None) || places.contains(&Some(namespace)))
    }
}

impl Writes<'_> {
    /// What is added goes first, and the plan is made again before anything is taken from those who gain by it: it may be what replaces their loss.
    /// Nobody else waits for it, as it may never succeed.
    fn in_order(self) -> Phases {
        let mut phases = Phases { leave: self.leave, add: self.add, ..Phases::default() };
        for Taking { binding, write, leavers, losers } in self.take {
            let now: BTreeSet<Known> = losers.iter().filter(|known| !self.gaining.replaces(&binding.slot, known)).cloned().collect();
            if now.len() == losers.len() {
                phases.take.push(write);
            } else if !leavers.is_empty() {
                // The others have their turn when the plan is made again.
                phases.leave.push(step(&binding.slot, without(binding, &leavers)));
            } else if !now.is_empty() {
                phases.take.push(step(&binding.slot, without(binding, &now)));
            }
        }
        phases
    }
}

/// Works out the writes of bindings.
pub(super) struct Planner<'a, 'b> {
    pub(super) inputs: &'a RoleInputs<'a>,
    pub(super) plan: &'b mut RolePlan,
    pub(super) desired: &'b Desired,
    pub(super) others: &'b Others<'a>,
    pub(super) frozen: bool,
}

impl<'a> Planner<'a, '_> {
    pub(super) fn bindings(mut self) -> Phases {
        let mut seen: Vec<SeenBinding<'a>> = Vec::new();
        for (cluster, state) in self.inputs.scene.planned() {
            seen.extend(seen_in(self.inputs, cluster, state));
        }
        let targets = self.targets(&seen);
        let names: BTreeSet<(Slot, String)> = seen.iter().map(|binding| (binding.slot.clone(), binding.name.clone())).collect();
        let mut writes = Writes::default();
        for ((slot, name), subjects) in &targets {
            let waits = || slot.place.is_none() && self.awaited(&slot.cluster);
            if !names.contains(&(slot.clone(), name.clone())) && !subjects.is_empty() && !self.idle(slot) && !waits() {
                let Some(change) = self.make(slot, name, subjects) else { continue };
                let write = step(slot, change);
                if self.observed(slot) { writes.withheld.push(write) } else { self.adds(slot, write, subjects.iter(), false, &mut writes) }
            }
        }
        for binding in &seen {
            self.write(binding, &targets, &mut writes);
        }
        self.plan.withheld = std::mem::take(&mut writes.withheld);
        writes.in_order()
    }

    /// Adds a write by which people gain. What failed in this pass is left to the next one. `later`: it is not for this plan, but for the one that is made when
    /// this is carried out.
    fn adds<'c, 'd>(&mut self, slot: &'c Slot, write: Step, gained: impl Iterator<Item = &'d Known>, later: bool, writes: &mut Writes<'c>) {
        if !self.inputs.scene.world.locks_readable() {
            self.plan.additions = self.plan.additions.max(Additions::Awaited);
            self.plan.withholds = true;
            writes.gaining.add(slot, gained);
            return;
        }
        let failed = self.inputs.failed.holds(&write);
        if failed && !self.inputs.failed.awaited {
            return;
        }
        writes.gaining.add(slot, gained);
        if failed {
            self.plan.additions = self.plan.additions.max(Additions::Awaited);
        } else {
            self.plan.additions = Additions::Planned;
            writes.add.extend((!later).then_some(write));
        }
    }

    /// Adds the writes that bring a binding to its target. Those who leave go at once, whatever else waits or is only observed.
    fn write<'c>(&mut self, binding: &'c SeenBinding<'c>, targets: &Targets, writes: &mut Writes<'c>) {
        let target = self.target(binding, targets);
        let (leavers, losers): (BTreeSet<Known>, BTreeSet<Known>) =
            binding.subjects.difference(&target.subjects).cloned().partition(|known| self.owner(binding, known) == Owner::Leaving);
        if leavers.iter().any(|known| self.behind(binding, known).any(|developer| deleting(developer.as_ref()))) {
            self.plan.ends = Ends::OfLeavers;
        }
        let leave = (!leavers.is_empty()).then(|| step(&binding.slot, without(binding, &leavers)));
        if target.stays {
            writes.leave.extend(leave);
            self.keeps_orphans(binding, &target);
            return;
        }
        let write = self.change(binding, &target).map(|change| step(&binding.slot, change));
        if self.observed(&binding.slot) {
            writes.withheld.extend(write);
            writes.leave.extend(leave);
            return;
        }
        if !losers.is_empty() {
            self.plan.ends = self.plan.ends.max(Ends::OfStayers);
        }
        let Some(write) = write else { return };
        let mut gained = target.subjects.difference(&binding.subjects).peekable();
        let gains = gained.peek().is_some();
        if !gains && !leavers.is_empty() && losers.is_empty() && !target.moving {
            writes.leave.push(write);
            return;
        }
        // Nobody who leaves waits for what else is to be done there: that may be much, and may have to wait itself.
        let first = leave.filter(|leave| !self.inputs.failed.holds(leave));
        let later = first.is_some();
        self.plan.postpones |= later;
        writes.leave.extend(first);
        if gains {
            self.adds(&binding.slot, write, gained, later, writes);
        } else if !later {
            self.plan.losers.extend(losers.iter().cloned());
            writes.take.push(Taking { binding, write, leavers, losers });
        }
    }

    /// Every binding by slot and name, with those whom the plan names in it.
    fn targets(&self, seen: &[SeenBinding<'_>]) -> Targets {
        let named = named_in(seen);
        let mut divided: BTreeMap<Series<'_>, (&People, Parts)> = BTreeMap::new();
        let mut targets = BTreeMap::new();
        for (slot, subjects) in &self.desired.slots {
            let series = slot.series();
            if divided.get(&series).is_none_or(|(same, _)| !Arc::ptr_eq(same, subjects)) {
                divided.insert(series, (subjects, self.divided(slot, subjects, named.get(&series))));
            }
            let parts = divided.get(&series).into_iter().flat_map(|(_, parts)| parts);
            targets.extend(parts.map(|(name, people)| ((slot.clone(), name.clone()), people.clone())));
        }
        targets
    }

    /// People of a place by the names of the bindings among which they are divided there.
    fn divided(&self, slot: &Slot, subjects: &People, named: Option<&BTreeMap<&str, Vec<&People>>>) -> Parts {
        let role = self.inputs.role.name_any();
        let names: Vec<String> = (0..division::most(subjects)).map(|shard| slot.binding(&role, shard)).collect();
        let there = names.iter().enumerate().flat_map(|(shard, name)| {
            let people = named.and_then(|named| named.get(name.as_str())).into_iter().flatten();
            people.map(move |people| (shard, people.as_ref()))
        });
        let state = self.inputs.scene.clusters.get(&slot.cluster);
        let parts = division::divide(subjects, there).into_iter().filter_map(|(shard, people)| Some((names.get(shard)?.clone(), people)));
        parts
            .map(|(name, people)| if let Some(state) = state { (name.clone(), state.kept(&name, people)) } else { (name, people) })
            .collect()
    }

    /// What a binding that was seen should hold.
    fn target(&mut self, binding: &SeenBinding<'_>, targets: &Targets) -> Target {
        let stays = self.idle(&binding.slot) || self.unknown_environment(binding);
        let mut target = Target { stays, ..Target::default() };
        if !stays {
            target.subjects = targets.get(&(binding.slot.clone(), binding.name.clone())).cloned().unwrap_or_default();
        }
        if Arc::ptr_eq(&target.subjects, &binding.subjects) {
            return target;
        }
        let placed = self.desired.slots.get(&binding.slot);
        let here: Vec<(&String, &People)> = targets
            .range((binding.slot.clone(), String::new())..)
            .take_while(|((slot, _), _)| *slot == binding.slot)
            .map(|((_, name), subjects)| (name, subjects))
            .collect();
        let planned = target.subjects.clone();
        for known in binding.subjects.difference(&planned) {
            let elsewhere = placed.is_some_and(|subjects| subjects.contains(known))
                && !here.iter().any(|(name, subjects)| subjects.contains(known) && self.seen_there(&binding.slot, name, known));
            match self.owner(binding, known) {
                Owner::Leaving => {}
                _ if stays || (!self.inputs.may_end && !deleting(self.inputs.role)) => {
                    target.keep(known);
                }
                _ if elsewhere => {
                    target.keep(known);
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
        let listed = |annotation: &str| binding.annotations.get(annotation).is_some_and(|list| list.split(',').any(|item| item == digest));
        let issued = matches!(known, Known::ServiceAccount(_)) || issued_to(binding.annotations, known).is_some();
        let orphan = match who {
            Owner::Nobody => issued,
            _ => !self.same_origin(binding) || listed(ORPHANS),
        };
        if placed && orphan && !deleting(self.inputs.role) {
            target.keep(known);
            target.orphans.insert(known.clone());
            return;
        }
        let developer = self.behind(binding, known).next();
        let paused_person = developer.is_some_and(|developer| paused(developer.as_ref()));
        let waits = || developer.is_some_and(|developer| self.others.lack(Some(&developer.name_any())));
        // What her Role gives here may be another ClusterRole by now, which she gets when she goes on: until then she has the old one, not neither.
        let given_here = || self.desired.slots.keys().any(|slot| slot.cluster == binding.slot.cluster && slot.place == binding.slot.place);
        if paused_person && (placed || given_here()) {
            target.keep(known);
        } else if waits() {
            target.keep(known);
            self.plan.waits = true;
        }
    }

    fn seen_there(&self, slot: &Slot, name: &str, known: &Known) -> bool {
        let Some(state) = self.inputs.scene.clusters.get(&slot.cluster) else { return false };
        match &slot.place {
            Some((_, namespace)) => {
                state.role_bindings.get(&(namespace.clone(), name.to_owned())).is_some_and(|bound| bound.subjects.contains(known))
            }
            None => state.cluster_role_bindings.get(&(String::new(), name.to_owned())).is_some_and(|bound| bound.subjects.contains(known)),
        }
    }

    fn behind(&self, binding: &SeenBinding<'_>, known: &Known) -> impl Iterator<Item = &'a Arc<Developer>> {
        behind(self.inputs.scene, binding, known)
    }

    fn owner(&self, binding: &SeenBinding<'_>, known: &Known) -> Owner {
        let mut owners = self.behind(binding, known).map(|developer| {
            // Developers go with their CRD: that alone is no departure.
            let goes_with_crd = !self.inputs.may_end && deleting(developer.as_ref());
            let (world, now) = (self.inputs.scene.world, self.inputs.now);
            if goes_with_crd && !standing_as_written(world, developer, now).leaves() {
                Owner::Staying
            } else {
                owner(world, Some(developer), now)
            }
        });
        let first = owners.next().unwrap_or(Owner::Nobody);
        if owners.any(|owner| owner == Owner::Leaving) { Owner::Leaving } else { first }
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

    /// Whether a binding's Environment is one that nobody has written, or for a cluster-wide one whether such a one is awaited: then usher cannot say
    /// that it may go.
    fn unknown_environment(&self, binding: &SeenBinding<'_>) -> bool {
        let unknown = match &binding.slot.place {
            Some((environment, _)) => self.inputs.scene.world.environment(environment).is_none(),
            None => self.awaited(&binding.slot.cluster),
        };
        unknown && !deleting(self.inputs.role)
    }

    /// Whether bindings in a cluster name an Environment that is not there again since usher's kinds were made anew. What is cluster-wide needs all
    /// of them to agree, so until then nothing cluster-wide is added or taken.
    fn awaited(&self, cluster: &ClusterKey) -> bool {
        let Some(state) = self.inputs.scene.clusters.get(cluster) else { return false };
        let missing = |name: &str| self.inputs.scene.world.environment(name).is_none();
        let old = |annotations: &BTreeMap<String, String>| annotations.get(EPOCH).is_some_and(|epoch| epoch != self.inputs.epoch);
        let inside = state.role_bindings.values().filter(|bound| bound.ours && old(bound.annotations()));
        let wide = state.cluster_role_bindings.values().filter(|bound| bound.ours && old(bound.annotations()));
        let names = wide.filter_map(|bound| bound.annotations().get(ENVIRONMENTS)).flat_map(|list| list.split(','));
        inside.filter_map(|bound| bound.labels().get(ENVIRONMENT)).any(|name| missing(name)) || names.into_iter().any(missing)
    }

    /// Whether a binding was written for this Role object, and since usher's kinds were last defined.
    fn same_origin(&self, binding: &SeenBinding<'_>) -> bool {
        binding.annotations.get(ROLE_UID).is_some_and(|uid| Some(uid) == self.inputs.role.metadata.uid.as_ref())
            && binding.annotations.get(EPOCH).is_some_and(|epoch| epoch == self.inputs.epoch)
    }

    /// Whether nothing is added or taken here, but for people who leave.
    fn idle(&self, slot: &Slot) -> bool {
        let environment = slot.place.as_ref().and_then(|(environment, _)| self.inputs.scene.world.environment(environment));
        self.frozen || environment.is_some_and(|environment| paused(environment.as_ref()) && !deleting(environment.as_ref()))
    }

    fn origin(&self) -> (String, &'a str) {
        (self.inputs.role.name_any(), self.inputs.role.metadata.uid.as_deref().unwrap_or_default())
    }

    /// The write that makes a binding. One of usher's that bears the name but whose marks or roleRef somebody changed is mended, or goes first.
    fn make(&self, slot: &Slot, name: &str, subjects: &People) -> Option<Change> {
        let state = self.inputs.scene.clusters.get(&slot.cluster)?;
        let issued = self.issued(slot, subjects, None);
        let namespace = slot.place.as_ref().map(|(_, namespace)| namespace.clone()).unwrap_or_default();
        let key = (namespace, name.to_owned());
        match self.build(slot, name, Named { orphans: &BTreeSet::new(), issued: &issued }) {
            Built::Inside(object) => {
                let seen = state.role_bindings.get(&key).filter(|bound| bound.ours);
                bind(object, subjects, seen).map(Change::RoleBinding)
            }
            Built::Wide(object) => {
                let seen = state.cluster_role_bindings.get(&key).filter(|bound| bound.ours);
                bind(object, subjects, seen).map(Change::ClusterRoleBinding)
            }
        }
    }

    fn build(&self, slot: &Slot, name: &str, named: Named<'_>) -> Built {
        let (role, role_uid) = self.origin();
        let settings = self.inputs.scene.settings;
        let origin = Origin { installation: &settings.installation, role: &role, role_uid, epoch: self.inputs.epoch };
        if let Some((environment, namespace)) = &slot.place {
            return Built::Inside(rbac::role_binding(&origin, environment, (namespace, name), &slot.cluster_role, named));
        }
        let here = self.inputs.scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == slot.cluster);
        let here: Vec<&str> = here.map(|(name, _)| name.as_str()).collect();
        Built::Wide(rbac::cluster_role_binding(&origin, &here, name, &slot.cluster_role, named))
    }

    /// Says that a binding holds people whom no Binding explains.
    fn keeps_orphans(&mut self, binding: &SeenBinding<'_>, target: &Target) {
        if !target.orphans.is_empty() || (self.unknown_environment(binding) && !target.subjects.is_empty()) {
            self.plan.findings.push(orphans(binding, target));
        }
    }

    /// The write that brings a binding to its target.
    fn change(&mut self, binding: &SeenBinding<'_>, target: &Target) -> Option<Change> {
        self.keeps_orphans(binding, target);
        if target.subjects.is_empty() {
            return Some(delete(binding));
        }
        let untouched = target.subjects == binding.subjects && !binding.strangers();
        if untouched && !self.inputs.may_end {
            return None;
        }
        let issued = self.issued(&binding.slot, &target.subjects, Some(binding));
        let named = Named { orphans: &target.orphans, issued: &issued };
        match (self.build(&binding.slot, &binding.name, named), &binding.seen) {
            (Built::Inside(object), Seen::Inside(bound)) => bound.become_like(object, &target.subjects).map(Change::RoleBinding),
            (Built::Wide(object), Seen::Wide(bound)) => bound.become_like(object, &target.subjects).map(Change::ClusterRoleBinding),
            _ => None,
        }
    }

    /// Whether an Environment's writes are only reported.
    fn observed(&self, slot: &Slot) -> bool {
        let environment = slot.place.as_ref().and_then(|(environment, _)| self.inputs.scene.world.environment(environment));
        environment.is_some_and(|environment| environment.spec.mode == Mode::Observe && !deleting(environment.as_ref()))
    }
}

fn step(slot: &Slot, change: Change) -> Step {
    Step { cluster: slot.cluster.clone(), environment: slot.place.as_ref().map(|(environment, _)| environment.clone()), change }
}

/// A binding but for its subjects.
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
