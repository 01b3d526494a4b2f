//! Promise 9: uninstalling is not offboarding. When everything is made again, with other UIDs and in any order, nobody loses anything on the way.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Resource, ResourceExt};
use proptest::prelude::*;
use usher::api::Reason;

use super::config;
use super::exact::{difference, settled};
use crate::cluster_model::Model;
use crate::crowd::crowded;
use crate::effective::{Held, held};
use crate::naive::Naive;
use crate::worlds::{Written, finish, written};

/// The same objects, made again: other UIDs, and no memory of what was being deleted.
fn made_again(written: &Written) -> Written {
    fn again<K: Resource>(objects: &mut BTreeMap<String, K>) {
        for object in objects.values_mut() {
            let uid = object.meta().uid.clone().unwrap_or_default();
            object.meta_mut().uid = Some(format!("{uid}-again"));
        }
    }
    let mut next = written.alive();
    again(&mut next.developers);
    again(&mut next.roles);
    again(&mut next.bindings);
    again(&mut next.environments);
    next
}

/// What people can really use: the right, and the ServiceAccount that they log in with as it was.
fn usable(model: &Model) -> BTreeSet<(Held, Option<String>)> {
    let account = |held: &Held| {
        let name = held.subject.strip_prefix("ServiceAccount usher-identities/")?;
        let state = &model.clusters[&held.cluster];
        let object = state.service_accounts.get(&("usher-identities".to_owned(), name.to_owned()))?;
        Some(object.uid().unwrap_or_default())
    };
    held(model).into_iter().map(|held| (held.clone(), account(&held))).collect()
}

/// Nobody's user name is claimed twice: who was first is decided anew when all is made again.
fn without_clashes(mut written: Written) -> Written {
    for (at, (name, developer)) in written.developers.iter_mut().enumerate() {
        developer.spec.email = format!("{name}@x");
        developer.spec.username = None;
        developer.spec.kubernetes_user = None;
        developer.spec.person_id = developer.spec.person_id.as_ref().map(|_| format!("{at}"));
    }
    written
}

/// No Role includes one that includes it. A cycle gives less than its Roles do before it is closed, and until the last of them is made again nobody can
/// tell that it will be one: what only the open chain gave in between ends with it, as for any edit of includes (DESIGN.md, "Words").
fn without_cycles(mut written: Written) -> Written {
    for (name, role) in &mut written.roles {
        role.spec.includes.retain(|include| include > name);
    }
    written
}

fn shuffled<T>(mut items: Vec<T>, mut seed: u64) -> Vec<T> {
    let mut mixed = Vec::new();
    while !items.is_empty() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        mixed.push(items.swap_remove(usize::try_from(seed >> 33).expect("31 bits") % items.len()));
    }
    mixed
}

/// Makes everything again in the order that a seed decides, and works all off after every object.
fn come_back(model: &mut Model, again: &Written, seed: u64, before: &BTreeSet<(Held, Option<String>)>) -> Result<(), TestCaseError> {
    model.epoch = "epoch-2".to_owned();
    let empty = Written { namespaces: again.namespaces.clone(), now: again.now, ..Written::default() };
    empty.apply(model);
    for change in shuffled(again.changes(model), seed) {
        change(model);
        let tasks = shuffled(model.tasks(), seed);
        let mut lost = Vec::new();
        model.settle_in(&tasks, &mut |model| {
            let now = usable(model);
            lost.extend(before.difference(&now).cloned());
        });
        prop_assert!(lost.is_empty(), "lost on the way: {lost:#?}");
    }
    Ok(())
}

fn check(written: &Written, seed: u64) -> Result<(), TestCaseError> {
    let mut model = settled(written);
    let before = usable(&model);
    let again = made_again(written);
    come_back(&mut model, &again, seed, &before)?;
    model.settle();
    let (actual, wanted) = (held(&model), Naive::of(&model).held());
    prop_assert!(actual == wanted, "{}", difference(&actual, &wanted));
    prop_assert!(usable(&model).is_superset(&before));
    let orphans: Vec<_> = model.findings().into_iter().filter(|(_, finding)| finding.reason == Reason::Orphans).collect();
    prop_assert!(orphans.is_empty(), "{orphans:#?}");
    let again = model.outstanding();
    prop_assert!(again.is_empty(), "{again:#?}");
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_reinstallation_takes_nothing_from_anybody(written in written(), seed in any::<u64>().no_shrink()) {
        check(&without_cycles(without_clashes(written)), seed)?;
    }

    #[test]
    fn a_reinstallation_of_a_crowd_takes_nothing_from_anybody(written in crowded(), seed in any::<u64>().no_shrink()) {
        check(&without_cycles(written), seed)?;
    }

    /// What nobody asked for again stays as an orphan, is reported, and goes with its person.
    #[test]
    fn what_is_not_made_again_is_kept_until_its_person_leaves(written in crowded(), seed in any::<u64>().no_shrink()) {
        let written = without_cycles(written);
        let mut model = settled(&written);
        let before = usable(&model);
        prop_assume!(!before.is_empty());
        let mut again = made_again(&written);
        again.bindings.clear();
        come_back(&mut model, &again, seed, &before)?;
        prop_assert_eq!(&usable(&model), &before);
        prop_assert!(model.findings().iter().any(|(_, finding)| finding.reason == Reason::Orphans), "nothing is said of orphans");
        for developer in again.developers.values_mut() {
            *developer = finish(developer.clone(), true, 0);
            developer.metadata.uid = developer.metadata.uid.take().map(|uid| format!("{uid}-again"));
        }
        again.apply(&mut model);
        model.settle();
        prop_assert_eq!(held(&model), BTreeSet::new());
    }
}
