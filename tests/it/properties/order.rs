//! Neither the order in which objects are seen nor the order in which they are worked on decides who has what in the end.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;

use super::config;
use super::exact::settled;
use crate::cluster_model::{Model, Task};
use crate::effective::{Held, held};
use crate::worlds::{Written, edit};

/// What is there in the end, whatever its objects are called.
fn end(model: &Model) -> (BTreeSet<Held>, BTreeSet<String>) {
    let mut objects = BTreeSet::new();
    for (cluster, state) in &model.clusters {
        objects.extend(state.service_accounts.keys().map(|key| format!("{cluster} ServiceAccount {key:?}")));
        objects.extend(
            state.namespaces.iter().filter(|(_, it)| state.ours(it.as_ref())).map(|(name, _)| format!("{cluster} Namespace {name}")),
        );
        objects.extend(state.quotas.keys().map(|key| format!("{cluster} ResourceQuota {key:?}")));
        objects.extend(state.network_policies.keys().map(|key| format!("{cluster} NetworkPolicy {key:?}")));
        objects.extend(state.secrets.keys().map(|key| format!("{cluster} Secret {key:?}")));
    }
    (held(model), objects)
}

fn shuffled<T>(mut items: Vec<T>, order: &[Index]) -> Vec<T> {
    let mut mixed = Vec::new();
    for at in order.iter().cycle() {
        if items.is_empty() {
            break;
        }
        mixed.push(items.swap_remove(at.index(items.len())));
    }
    mixed
}

fn run(old: &Written, new: &Written, order: &[Index]) -> Model {
    let mut model = settled(old);
    let dying = new.after(old);
    model.now = dying.now;
    for change in shuffled(dying.changes(&model), order) {
        change(&mut model);
    }
    dying.apply_namespaces(&mut model);
    let tasks: Vec<Task> = shuffled(model.tasks(), order);
    let waiting = model.settle_in(&tasks, &mut |_| {});
    assert!(waiting.is_empty(), "removals of {waiting:?} wait for something that never comes");
    model
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn order_does_not_matter((old, new) in edit(), one in prop::collection::vec(any::<Index>(), 12), other in prop::collection::vec(any::<Index>(), 12)) {
        prop_assert_eq!(end(&run(&old, &new, &one)), end(&run(&old, &new, &other)));
    }
}
