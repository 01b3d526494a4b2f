//! What `usher plan --live` foretells is what then happens: the operator's passes over a strict cluster come to the same.

use proptest::prelude::*;
use usher::plan::covering::Rules;
use usher::plan::difference::{Matrix, differences};
use usher::plan::forecast::Stage;
use usher::plan::forecast::force::in_force;
use usher::plan::manifests::{Manifests, Others};

use super::config;
use super::exact::settled;
use crate::cluster_model::Model;
use crate::worlds::{Written, edit};

/// The world as a plan reads it.
pub fn stage(model: Model) -> Stage {
    let Model { world, clusters, links, settings, now, epoch, .. } = model;
    Stage { world, clusters, links, rules: Rules::new(), settings, epoch, now }
}

/// Everything that is written, as manifests.
fn manifests(written: &Written) -> Manifests {
    Manifests {
        developers: written.developers.values().cloned().collect(),
        roles: written.roles.values().cloned().collect(),
        bindings: written.bindings.values().cloned().collect(),
        environments: written.environments.values().cloned().collect(),
        locks: written.locks.values().cloned().collect(),
        ..Manifests::default()
    }
}

fn given(model: &Model) -> Matrix {
    model.read(in_force)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_foretold_is_what_then_happens((old, new) in edit()) {
        let (old, new) = (old.alive(), Written { namespaces: old.namespaces.clone(), ..new.alive() });
        let forecast = Stage { now: new.now, ..stage(settled(&old)) }.forecast(manifests(&new), Others::Go);
        let mut model = settled(&old);
        let before = given(&model);
        new.after(&old).apply(&mut model);
        model.settle();
        let happened = differences(&before, &given(&model));
        prop_assert_eq!(forecast.changes, happened);
        prop_assert!(forecast.problems.iter().all(|(object, _)| object != "usher plan"), "{:?}", forecast.problems);
    }

    #[test]
    fn of_what_is_there_already_nothing_is_foretold(old in crate::worlds::written()) {
        let old = old.alive();
        let forecast = stage(settled(&old)).forecast(manifests(&old), Others::Go);
        prop_assert_eq!(forecast.changes, Vec::new());
    }
}
