//! The consistency index tells of every difference between what people have and what they should, and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use usher::api::metadata::{ENVIRONMENT, ROLE};
use usher::api::{Developer, Environment, Mode};

use super::config;
use super::drift::{act, hands};
use super::exact::settled;
use crate::cluster_model::Model;
use crate::consistency::sheet;
use crate::effective::{Held, held_where};
use crate::naive::Naive;
use crate::worlds::{Written, written};

/// The world with all Environments enforced.
fn enforced(mut written: Written) -> Written {
    written.environments.values_mut().for_each(|environment| environment.spec.mode = Mode::Enforce);
    written
}

/// The same with all access in namespaces, and of every entry in all Environments, so that every place is compared.
fn everywhere(written: Written) -> Written {
    let mut written = enforced(written);
    for role in written.roles.values_mut() {
        role.spec.access.retain(|access| !access.cluster);
        role.spec.access.iter_mut().for_each(|access| access.environments = vec!["*".to_owned()]);
    }
    written
}

/// What somebody's name should have in an Environment by Roles, and what it was seen to have. Whoever left may have had the name that somebody else bears now.
fn rights(model: &Model, naive: &Naive<'_>, person: &Developer, (place, environment): (&str, &Environment)) -> [BTreeSet<Held>; 2] {
    let Some(subject) = naive.subject(person, environment) else { return Default::default() };
    let wanted = naive.by_roles().into_iter().map(|cell| (cell.environment, cell.held));
    let wanted = wanted.filter(|(environment, held)| *environment == place && held.subject == subject).map(|(_, held)| held);
    let here = held_where(model, |_, label| label(ENVIRONMENT).as_deref() == Some(place) && label(ROLE).is_some());
    [wanted.collect(), here.into_iter().filter(|held| held.subject == subject).collect()]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_settled_is_right_but_for_those_who_have_no_name_there(written in written()) {
        let model = settled(&enforced(written));
        let naive = Naive::of(&model);
        for ((person, role, place), fault) in sheet(&model) {
            let developer = model.world.developer(&person).expect("cells are of people");
            let environment = model.world.environment(&place).expect("and of Environments");
            let nameless = naive.subject(developer, environment).is_none();
            prop_assert_eq!(fault.is_some(), nameless, "{} {} {}: {:?}", person, role, place, fault);
        }
    }

    #[test]
    fn no_difference_that_a_hand_makes_is_overlooked(written in written(), hands in hands()) {
        let mut model = settled(&everywhere(written));
        prop_assume!(model.world.live_environments().count() > 1);
        let before = sheet(&model);
        for (hand, which) in &hands {
            act(&mut model, *hand, *which);
        }
        let (naive, told) = (Naive::of(&model), sheet(&model));
        for (name, person) in model.world.developers() {
            for (place, environment) in model.world.live_environments() {
                let [wanted, seen] = rights(&model, &naive, person, (place, environment));
                let alike = |whom: &str| model.world.developer(whom).is_some_and(|it| naive.subject(it, environment) == naive.subject(person, environment));
                let wrong = told.iter().any(|((whom, _, at), fault)| (whom == name || alike(whom)) && at == place && fault.is_some());
                prop_assert!(wanted == seen || wrong, "{} in {} should have {:?} and has {:?}", name, place, wanted, seen);
            }
        }
        drop(naive);
        model.settle();
        // Of what is wrong in several ways one is told, which may be another one now.
        let wrong = sheet(&model).into_iter().map(|(cell, fault)| (cell, fault.is_some()));
        prop_assert_eq!(wrong.collect::<BTreeMap<_, _>>(), before.into_iter().map(|(cell, fault)| (cell, fault.is_some())).collect());
    }
}
