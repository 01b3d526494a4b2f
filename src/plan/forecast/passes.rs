//! The operator's passes over Roles, Developers, departures and Locks, in memory.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{Departure, Lock};
use crate::plan::access::{Standing, lock_holds, standing};
use crate::plan::change::Step;
use crate::plan::departing::{begin, departing};
use crate::plan::departures::{complete, lasts, same_person};
use crate::plan::developer::{DeveloperInputs, plan_developer};
use crate::plan::locking::locking;
use crate::plan::placement::Scene;
use crate::plan::role::{Additions, Failed, RoleInputs, RolePlan, plan_role};
use crate::plan::seal::{awaits_workspace, unseal, workspaces};

use super::Stage;
use super::carry::carry_out;

/// How often everything is looked at before it counts as endless.
const MOST_ROUNDS: usize = 60;

/// What becomes of writes where it is only observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Withheld {
    /// They are not made.
    Stays,
    /// They are made, too.
    Done,
}

/// What a round of passes came to.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    wrote: bool,
    /// Whether a removal waits for what another Role has to add.
    waits: bool,
}

impl Stage {
    /// Lets the operator work until nothing is left to do. Returns whether it came to that.
    pub(super) fn settle(&mut self, withheld: Withheld) -> bool {
        let mut patient = true;
        for _ in 0..MOST_ROUNDS {
            let round = self.round(patient, withheld);
            // What a removal waits for may never come, as the operator finds out in time.
            let more = round.wrote || round.waits && patient;
            if !more {
                return true;
            }
            patient = round.wrote;
        }
        false
    }

    fn round(&mut self, patient: bool, withheld: Withheld) -> Round {
        let mut round = Round::default();
        for name in self.names_of_roles() {
            self.pass_over_role(&name, (patient, withheld), &mut round);
        }
        let people: Vec<String> = self.world.developers().map(|(name, _)| name.clone()).collect();
        for name in people {
            let steps = self.steps_of_developer(&name, withheld);
            round.wrote |= self.carry_out(&steps);
        }
        for departure in self.leaving() {
            let steps = self.read(|scene| steps_of_departure(scene, &departure, self.now));
            round.wrote |= self.carry_out(&steps);
        }
        let locks: Vec<_> = self.world.locks().map(|(_, lock)| lock.clone()).collect();
        for lock in locks {
            let steps = self.steps_of_lock(&lock);
            round.wrote |= self.carry_out(&steps);
        }
        round
    }

    pub(super) fn names_of_roles(&self) -> Vec<String> {
        self.world.roles().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn plan_role(&self, name: &str, patient: bool) -> Option<RolePlan> {
        let role = self.world.role(name)?;
        let failed = Failed::none(true);
        let (now, epoch) = (self.now, self.epoch.as_str());
        Some(self.read(|scene| plan_role(&RoleInputs { scene, role, now, epoch, may_end: true, patient, failed: &failed })))
    }

    /// Plans a Role and carries that out; what is added comes first, then the plan is made again, and removes.
    fn pass_over_role(&mut self, name: &str, (patient, withheld): (bool, Withheld), round: &mut Round) {
        for _ in 0..MOST_ROUNDS {
            let Some(plan) = self.plan_role(name, patient) else { return };
            let mut steps = plan.phases.concat();
            steps.extend(plan.withheld.into_iter().filter(|_| withheld == Withheld::Done));
            let wrote = self.carry_out(&steps);
            round.wrote |= wrote;
            round.waits |= plan.waits;
            if !wrote || !(plan.additions == Additions::Planned || plan.postpones) {
                return;
            }
        }
    }

    fn steps_of_developer(&self, name: &str, withheld: Withheld) -> Vec<Step> {
        let Some(developer) = self.world.developer(name) else { return Vec::new() };
        let plan = self.read(|scene| plan_developer(&DeveloperInputs { scene, developer, now: self.now }));
        let gone = plan.standing.leaves() && plan.access_gone();
        let mut steps = if gone { plan.afterwards.concat() } else { plan.phases.concat() };
        steps.extend(plan.withheld.into_iter().filter(|_| withheld == Withheld::Done));
        steps
    }

    /// The departures that are not over: those that were begun, and those of who leaves now.
    fn leaving(&self) -> Vec<Departure> {
        self.read(|scene| {
            let world = scene.world;
            let here = |departure: &Departure| {
                world.developer(&departure.spec.developer.name).is_some_and(|developer| same_person(departure, developer))
            };
            let begun = world.departures().all().map(|(_, departure)| departure.as_ref());
            let begun = begun.filter(|departure| lasts(departure) && (!complete(departure) || here(departure))).cloned();
            let leave =
                world.developers().map(|(_, developer)| developer).filter(|developer| standing(world, developer, self.now).departs());
            let new = leave.filter(|developer| world.departures().current(developer).is_none());
            begun.chain(new.map(|developer| begin(scene, developer, self.now))).collect()
        })
    }

    fn steps_of_lock(&self, lock: &Lock) -> Vec<Step> {
        let view = self.read(|scene| locking(scene, lock, self.now));
        match view.standing {
            Some(_) if lock_holds(lock, self.now) => view.seal.steps,
            Some(Standing::Active) => view.unseal.unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Carries writes out. Returns whether there were any.
    fn carry_out(&mut self, steps: &[Step]) -> bool {
        for step in steps {
            if let Some(state) = self.clusters.get_mut(&step.cluster) {
                carry_out(state, &step.change);
            }
        }
        !steps.is_empty()
    }
}

/// What is done about somebody who left, or who is back.
fn steps_of_departure(scene: Scene<'_>, departure: &Departure, now: Timestamp) -> Vec<Step> {
    let view = departing(scene, departure, now);
    match view.standing {
        Some(Standing::Active) => put_back(scene, departure),
        Some(Standing::Pending | Standing::Suspended | Standing::Locked) => Vec::new(),
        Some(Standing::Departed | Standing::Deleted) | None => [view.seal.steps, view.access_debts, view.foreign, view.debts].concat(),
    }
}

/// What was sealed, back in the workspaces of somebody who is back.
fn put_back(scene: Scene<'_>, departure: &Departure) -> Vec<Step> {
    let name = &departure.spec.developer.name;
    let Some(developer) = scene.world.developer(name) else { return Vec::new() };
    let kept = departure.status.iter().flat_map(|status| status.sealed.clone()).collect::<Vec<_>>();
    let sites = workspaces(scene, name, &developer.uid().unwrap_or_default());
    if awaits_workspace(scene, developer, &sites, &kept) { Vec::new() } else { unseal(scene, &sites, &kept) }
}
