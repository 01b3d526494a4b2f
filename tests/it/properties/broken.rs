//! Promise 7: what cannot be written in one place holds up nobody elsewhere, least of all a removal.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::config;
use super::exact::{difference, settled};
use crate::cluster_model::{Model, Task};
use crate::crowd::crowded;
use crate::effective::{Held, held};
use crate::naive::Naive;

fn roles(model: &Model) -> Vec<Task> {
    model.tasks().into_iter().filter(|task| matches!(task, Task::Role(_))).collect()
}

proptest! {
    #![proptest_config(config())]

    /// Eve comes, others go, rules are edited, and nothing can be written in n2. While that is waited for, nobody lacks anything elsewhere; once it was
    /// waited for in vain, everything elsewhere is right.
    #[test]
    fn a_broken_namespace_holds_up_nobody_elsewhere(old in crowded(), (bob_goes, n_goes, narrows) in any::<(bool, bool, bool)>()) {
        let mut model = settled(&old);
        let mut next = old;
        let mut eve = next.developers["bob"].clone();
        eve.metadata.name = Some("eve".to_owned());
        eve.metadata.uid = Some("eve".to_owned());
        next.developers.insert("eve".to_owned(), eve);
        next.bindings.remove("k");
        if bob_goes {
            next.developers.get_mut("bob").expect("he is there").spec.teams.clear();
        }
        if n_goes {
            next.bindings.remove("n");
        }
        if narrows {
            for entry in next.roles.values_mut().flat_map(|role| &mut role.spec.access) {
                entry.rules.truncate(1);
            }
        }
        next.apply(&mut model);
        model.broken.insert("n2".to_owned());
        let elsewhere = |all: BTreeSet<Held>| -> BTreeSet<Held> {
            all.into_iter().filter(|it| it.namespace.as_deref() != Some("n2")).collect()
        };
        let wanted = elsewhere(Naive::of(&model).held());
        model.settle_in(&roles(&model), &mut |_| {});
        let actual = elsewhere(held(&model));
        prop_assert!(actual.is_superset(&wanted), "{}", difference(&actual, &wanted));
        model.patient = false;
        model.settle_in(&roles(&model), &mut |_| {});
        let actual = elsewhere(held(&model));
        prop_assert!(actual == wanted, "{}", difference(&actual, &wanted));
        model.broken.clear();
        model.patient = true;
        model.settle();
        let (actual, wanted) = (held(&model), Naive::of(&model).held());
        prop_assert!(actual == wanted, "{}", difference(&actual, &wanted));
    }
}
