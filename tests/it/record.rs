//! The record in the model: who holds what as it was seen, and the Grants that follow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use usher::api::Grant;
use usher::plan::access::{held_roles, standing};
use usher::plan::grant::{GrantInputs, GrantPlan, Held, plan_grants};
use usher::plan::placement::places;
use usher::plan::subjects::known_in;
use usher::plan::verify::missing;

use crate::cluster_model::Model;

/// Grants by name.
pub type Grants = BTreeMap<String, Arc<Grant>>;

/// The Roles that somebody holds, where each gives something, and whether all of it was seen.
pub fn held(model: &Model, name: &str) -> BTreeMap<String, Held> {
    let Some(developer) = model.world.developer(name) else { return BTreeMap::new() };
    model.read(|scene| {
        let roles = held_roles(scene.world, developer, model.now).into_iter();
        let seen = roles.filter_map(|(role, via)| {
            let object = scene.world.live_role(&role)?;
            let places = places(scene, object);
            let known = |name: &&str| scene.world.environment(name).is_some_and(|it| known_in(scene, developer, it).is_ok());
            let environments = via.values().flat_map(|scope| places.environments(scope)).filter(known).map(str::to_owned).collect();
            let in_place = missing(scene, developer, object, &via, &places).is_empty();
            Some((role, Held { via, environments, awaited: BTreeSet::new(), in_place, accounts: BTreeMap::new() }))
        });
        seen.collect()
    })
}

fn plan(model: &Model, grants: &Grants, name: &str) -> GrantPlan {
    let (Some(developer), Some(plan)) = (model.world.developer(name), model.plan_developer(name)) else { return GrantPlan::default() };
    let found: BTreeSet<String> = plan.found.iter().map(|(role, _)| role.clone()).collect();
    let hers: Vec<Arc<Grant>> = grants.values().filter(|grant| grant.spec.developer.name == name).cloned().collect();
    let held = held(model, name);
    model.read(|scene| {
        let standing = standing(&model.world, developer, model.now);
        let inputs =
            GrantInputs { scene, developer, standing, held: &held, found: &found, beyond: &plan.beyond, grants: &hers, now: model.now };
        plan_grants(&inputs)
    })
}

/// Brings everybody's Grants up to the present. Returns how many were written.
pub fn record(model: &Model, grants: &mut Grants) -> usize {
    let names: Vec<String> = model.world.developers().map(|(name, _)| name.clone()).collect();
    let mut written = 0;
    for name in names {
        let plan = plan(model, grants, &name);
        for grant in plan.create {
            written += 1;
            let before = grants.insert(grant.name_any(), Arc::new(grant));
            assert!(before.is_none(), "a plan creates a Grant that exists");
        }
        for grant in plan.update {
            written += 1;
            let before = grants.insert(grant.name_any(), Arc::new(grant)).expect("a plan changes a Grant that exists");
            assert!(before.spec.ended.is_none(), "an end is set once");
        }
    }
    written
}
