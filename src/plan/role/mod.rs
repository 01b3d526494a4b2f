//! The bindings and ClusterRoles of one Role: what is there, what should be, and the safe order from one to the other.
//!
//! Access that is replaced is at every instant within old ∪ new and at least old ∩ new (DESIGN.md, promise 1): what is added goes first, and a plan
//! that adds is made again before anything is removed. Only people who are leaving lose theirs at once. [`plan_role`] is the entry point.

mod bindings;
mod desired;
mod division;
mod rules;
mod seen;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{ConditionType, Reason, Role};

use self::bindings::Planner;
use self::desired::Desired;
use super::access::{Via, frozen, holders, next_change_of_role, paused};
use super::change::{Change, Step, Write};
use super::cluster::ClusterKey;
use super::finding::Finding;
use super::identity::Known;
use super::placement::{Places, Scene, places, title};
use super::verify::{Outstanding, outstanding_among};
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
    /// What could not be written since the pass began.
    pub failed: &'a Failed,
}

/// Where writes failed. Nothing more is added there in this pass, and it holds up nobody elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Failed {
    places: BTreeSet<(ClusterKey, Option<String>)>,
    cluster_roles: BTreeSet<String>,
    /// Whether what was to be added there is still waited for, before anything is removed that it may replace.
    pub awaited: bool,
}

impl Failed {
    /// Nothing failed yet.
    pub fn none(awaited: bool) -> Self {
        Self { awaited, ..Self::default() }
    }

    /// Notes a write that failed, or was not tried as another failed.
    pub fn note(&mut self, step: &Step) {
        self.places.insert(place(step));
        if let Change::ClusterRole(_) = &step.change {
            self.cluster_roles.extend(step.change.meta().name.clone());
        }
    }

    /// Adds what failed later.
    pub fn extend(&mut self, later: Self) {
        self.places.extend(later.places);
        self.cluster_roles.extend(later.cluster_roles);
    }

    /// Whether a write is to where one failed: in the same place, or of the same ClusterRole.
    pub fn holds(&self, step: &Step) -> bool {
        self.places.contains(&place(step)) || self.unmade(step)
    }

    /// Whether a write must not be tried after what failed. A ClusterRole that could not be made may be somebody else's: whoever is bound to it would get
    /// its rules. One that is to go may still be named by a binding that did not go.
    pub fn bars(&self, step: &Step) -> bool {
        let goes = matches!(&step.change, Change::ClusterRole(Write::Delete(_)));
        self.unmade(step) || (goes && !self.places.is_empty())
    }

    fn unmade(&self, step: &Step) -> bool {
        step.change.gives().is_some_and(|name| self.cluster_roles.contains(name))
    }
}

fn place(step: &Step) -> (ClusterKey, Option<String>) {
    (step.cluster.clone(), step.change.meta().namespace.clone())
}

/// Whether anything is still to be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Additions {
    /// Nothing that a removal has to wait for.
    #[default]
    None,
    /// Only what failed in this pass and will be tried again.
    Awaited,
    /// The plan adds.
    Planned,
}

/// Whether access ends for a reason that may be no reason, as the kind itself may be going away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ends {
    /// It does not.
    #[default]
    No,
    /// Of somebody who stays.
    OfStayers,
    /// Of somebody whose Developer is being deleted.
    OfLeavers,
}

/// The next writes for a Role.
#[derive(Debug, Default)]
pub struct RolePlan {
    /// The generation of the Role that it was planned for.
    pub generation: Option<i64>,
    /// Writes to make now, in phases: those of one phase do not depend on each other.
    pub phases: Vec<Vec<Step>>,
    /// What is to be added, so that the plan must be made again before what it may replace is removed.
    pub additions: Additions,
    /// The phases from the first that take access of people who leave. Nothing else is as urgent.
    pub leaving: usize,
    /// Whether something is left to the plan that is made when those are carried out.
    pub postpones: bool,
    /// The phase from which on access of people who stay is taken.
    pub takes: Option<usize>,
    /// Those people. It may be done only while no other Role takes from them, as each may count on what the other is about to take.
    pub losers: HashSet<Known>,
    /// Whether it wants a look at the CRDs first.
    pub ends: Ends,
    /// Whether a removal waits for what another Role still has to add.
    pub waits: bool,
    /// The Roles that it waits for.
    pub waits_for: BTreeSet<String>,
    /// Whether something is not added because Locks cannot be read.
    pub withholds: bool,
    /// What would be written in Environments that are only observed.
    pub withheld: Vec<Step>,
    /// What is to be written in clusters that do not answer.
    pub owed: Vec<Step>,
    /// What to say.
    pub findings: Vec<Finding>,
    /// The people who hold the Role.
    pub holders: BTreeMap<String, Via>,
    /// The Environments in which it gives something.
    pub environments: BTreeSet<String>,
    /// When the plan changes by itself.
    pub recheck_at: Option<Timestamp>,
}

/// The order of writes: what bindings need comes before them, what they do not need any more after them.
#[derive(Default)]
struct Phases {
    /// Bindings of people who leave.
    leave: Vec<Step>,
    /// ClusterRoles that come or widen.
    widen: Vec<Step>,
    /// Bindings that come or grow.
    add: Vec<Step>,
    /// Bindings that shrink or go.
    take: Vec<Step>,
    /// ClusterRoles that narrow or go.
    narrow: Vec<Step>,
}

impl Phases {
    /// Takes out what is to be written in clusters that do not answer.
    fn owed(&mut self, scene: Scene<'_>) -> Vec<Step> {
        let all = [&mut self.leave, &mut self.widen, &mut self.add, &mut self.take, &mut self.narrow];
        all.into_iter().flat_map(|phase| phase.extract_if(.., |step| !scene.answers(&step.cluster)).collect::<Vec<_>>()).collect()
    }

    /// The phases, how many of them are of people who leave, and which is the first that takes from people who stay.
    fn in_order(self) -> (Vec<Vec<Step>>, usize, Option<usize>) {
        let leaving = usize::from(!self.leave.is_empty());
        let filled = |phases: Vec<Vec<Step>>| phases.into_iter().filter(|phase| !phase.is_empty()).collect::<Vec<_>>();
        let (mut phases, taking) = (filled(vec![self.leave, self.widen, self.add]), filled(vec![self.take, self.narrow]));
        let takes = (!taking.is_empty()).then_some(phases.len());
        phases.extend(taking);
        (phases, leaving, takes)
    }
}

/// Plans the next writes for a Role.
pub fn plan_role(inputs: &RoleInputs<'_>) -> RolePlan {
    let scene = inputs.scene;
    let name = inputs.role.name_any();
    let live = !deleting(inputs.role);
    let places = if live { places(scene, inputs.role) } else { Places::default() };
    let holders = if live { holders(scene.world, &name, inputs.now) } else { BTreeMap::new() };
    let mut plan = RolePlan {
        generation: inputs.role.metadata.generation,
        environments: places.environments(&None).into_iter().map(str::to_owned).collect(),
        recheck_at: next_change_of_role(scene.world, &name, inputs.now),
        ..RolePlan::default()
    };
    let others = Others::of(inputs);
    let desired = Desired::of(inputs, &places, &holders, &others);
    let frozen = frozen(scene.world, inputs.role);
    let mut phases = Planner { inputs, plan: &mut plan, desired: &desired, others: &others, frozen }.bindings();
    rules::cluster_roles(inputs, &desired, &mut plan, &mut phases);
    if !phases.narrow.is_empty() {
        plan.losers.extend(desired.slots.values().flat_map(|people| people.iter().cloned()));
    }
    plan.owed = phases.owed(scene);
    if !plan.owed.is_empty() && phases.add.is_empty() && phases.widen.is_empty() {
        // What is added later elsewhere is nothing to wait for here.
        plan.additions = Additions::None;
    }
    (plan.phases, plan.leaving, plan.takes) = phases.in_order();
    if plan.waits {
        plan.waits_for = others.roles();
    }
    plan.findings.extend(places.findings);
    plan.findings.extend(plan.withholds.then(locks_unreadable));
    plan.findings.extend(references(scene, inputs.role));
    plan.findings.extend(desired.taken.iter().map(|name| {
        let message = format!("ClusterRole {name} was not made by usher, so its rules are given to nobody; delete or rename it");
        Finding::new(ConditionType::AccessApplied, Reason::Conflict, message)
    }));
    plan.findings.sort();
    plan.findings.dedup();
    plan.holders = holders;
    plan
}

/// Says that nothing is added to anybody.
pub fn locks_unreadable() -> Finding {
    let message = "Locks cannot be read, so nothing is added to anybody; look whether CRD locks.usher.dev is there and usher may list it";
    Finding::new(ConditionType::AccessApplied, Reason::LocksUnreadable, message)
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
    for account in role.spec.accounts.iter().filter(|account| !scene.world.live_providers().any(|(name, _)| *name == account.provider)) {
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

/// Who of a Role's people has something to come by other Roles, so that nothing may be taken from them yet. Worked out when first asked.
struct Others<'a> {
    inputs: &'a RoleInputs<'a>,
    lacking: OnceCell<Outstanding>,
}

impl<'a> Others<'a> {
    fn of(inputs: &'a RoleInputs<'a>) -> Self {
        Self { inputs, lacking: OnceCell::new() }
    }

    /// Whether a removal has to wait: for one person, or for any.
    fn lack(&self, who: Option<&str>) -> bool {
        if !self.inputs.patient || deleting(self.inputs.role) {
            return false;
        }
        let lacking = self.lacking.get_or_init(|| {
            outstanding_among(self.inputs.scene, &seen::people(self.inputs), &self.inputs.role.name_any(), self.inputs.now)
        });
        who.map_or(!lacking.people.is_empty(), |name| lacking.people.contains(name))
    }

    /// The Roles by which something is still to be added.
    fn roles(&self) -> BTreeSet<String> {
        self.lacking.get().map(|lacking| lacking.roles.clone()).unwrap_or_default()
    }
}
