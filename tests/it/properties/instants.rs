//! Promise 1, at every instant: while Roles are edited access is within old ∪ new and at least old ∩ new, in single verbs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use usher::api::role::Access;
use usher::api::{Role, RoleSpec};
use usher::plan::change::Step;

use super::config;
use super::exact::settled;
use crate::cluster_model::Model;
use crate::crowd::{crowded, held_by_everybody};
use crate::effective::{Held, verbs};
use crate::worlds::{Written, edit, finish, rule};

/// The writes of one Role that were planned together, in phases.
type Queue = VecDeque<Vec<Step>>;

/// Carries out the plans of all Roles, write by write, in an order that chance decides: within a phase any, between Roles any.
struct Scheduler {
    seed: u64,
    queues: BTreeMap<String, Queue>,
}

impl Scheduler {
    fn run(&mut self, model: &mut Model, look: &dyn Fn(&Model, &Step) -> Result<(), TestCaseError>) -> Result<(), TestCaseError> {
        let roles: Vec<String> = model.world.roles().map(|(name, _)| name.clone()).collect();
        let mut idle = BTreeSet::new();
        for _ in 0..5_000 {
            if idle.len() == roles.len() {
                return Ok(());
            }
            let role = &roles[self.draw(roles.len())];
            match self.next(role) {
                Some(step) => {
                    idle.clear();
                    model.carry_out(&step);
                    look(model, &step)?;
                }
                None => {
                    let plan = model.plan_role(role).expect("it exists");
                    if plan.phases.is_empty() {
                        idle.insert(role.clone());
                    }
                    self.queues.insert(role.clone(), plan.phases.into());
                }
            }
        }
        panic!("the edit does not come to an end");
    }

    /// The next number of a row that the seed decides (a linear congruential generator).
    fn draw(&mut self, among: usize) -> usize {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.seed >> 33).expect("31 bits") % among
    }

    fn next(&mut self, role: &str) -> Option<Step> {
        loop {
            let left = self.queues.get(role)?.front()?.len();
            if left == 0 {
                self.queues.get_mut(role)?.pop_front();
                continue;
            }
            let at = self.draw(left);
            return Some(self.queues.get_mut(role)?.front_mut()?.swap_remove(at));
        }
    }
}

fn lines(held: impl Iterator<Item = Held>) -> String {
    held.map(|it| format!("\n  {it:?}")).collect()
}

/// The old world with the Roles of the new one. None is deleted, as that ends at once what it gave.
fn roles_edited(old: &Written, new: &Written) -> Written {
    let mut next = old.alive();
    next.locks.clone_from(&old.locks);
    next.roles.extend(new.roles.clone());
    for role in next.roles.values_mut() {
        role.metadata.deletion_timestamp = None;
    }
    next
}

fn check(old: &Written, new: &Written, seed: u64) -> Result<(), TestCaseError> {
    let next = roles_edited(old, new);
    let after = verbs(&settled(&next));
    let mut model = settled(old);
    let before = verbs(&model);
    next.apply(&mut model);
    let look = |model: &Model, step: &Step| {
        let now = verbs(model);
        let what = format!("{:?} {} {:?}", step.change.verb(), step.change.kind(), step.change.meta().name);
        let gap = lines(before.intersection(&after).filter(|it| !now.contains(it)).cloned());
        let door = lines(now.iter().filter(|it| !before.contains(it) && !after.contains(it)).cloned());
        prop_assert!(gap.is_empty(), "a gap:{gap}\nafter {what}");
        prop_assert!(door.is_empty(), "a door:{door}\nafter {what}");
        Ok(())
    };
    Scheduler { seed, queues: BTreeMap::new() }.run(&mut model, &look)?;
    let roles = model.world.roles().map(|(name, _)| name);
    let waiting: Vec<_> = roles.filter(|name| model.plan_role(name).is_some_and(|plan| plan.waits)).collect();
    prop_assert!(waiting.is_empty(), "{waiting:?} wait for ever");
    let end = verbs(&model);
    let (more, less) = (lines(end.difference(&after).cloned()), lines(after.difference(&end).cloned()));
    prop_assert!(end == after, "too much:{more}\ntoo little:{less}");
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn edits_of_roles_leave_no_gap_and_open_no_door((old, new) in edit(), seed in any::<u64>().no_shrink()) {
        check(&old, &new, seed)?;
    }

    #[test]
    fn edits_of_roles_that_many_hold_leave_no_gap_and_open_no_door(old in crowded(), new in crowded(), seed in any::<u64>().no_shrink()) {
        check(&old, &new, seed)?;
    }

    #[test]
    fn a_verb_that_moves_from_one_role_to_another_is_never_missing(seed in any::<u64>().no_shrink()) {
        let old = crowd([("a", vec![&["get"][..], &["list"]]), ("b", vec![&["get"]])]);
        let new = crowd([("a", vec![&["get"][..]]), ("b", vec![&["get"], &["list"]])]);
        check(&old, &new, seed)?;
        check(&new, &old, seed)?;
    }

    #[test]
    fn verbs_that_two_roles_exchange_are_never_missing(seed in any::<u64>().no_shrink()) {
        let old = crowd([("a", vec![&["get"][..]]), ("b", vec![&["list"]])]);
        let new = crowd([("a", vec![&["list"][..]]), ("b", vec![&["get"]])]);
        check(&old, &new, seed)?;
    }
}

/// Two Roles that everybody holds, each with one entry of rules on pods in dev.
fn crowd(roles: [(&str, Vec<&[&str]>); 2]) -> Written {
    let roles = roles.map(|(name, rules)| {
        let rules = rules.into_iter().map(|verbs| rule(&["pods"], verbs)).collect();
        let access = Access { name: "e".to_owned(), environments: vec!["dev".to_owned()], rules, ..Access::default() };
        finish(Role::new(name, RoleSpec { access: vec![access], ..RoleSpec::default() }), false, 0)
    });
    held_by_everybody(roles.into())
}
