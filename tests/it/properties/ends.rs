//! Taking away only takes away, and leaving wins over everything (promise 2).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use usher::api::metadata::{DEVELOPER, PAUSED};
use usher::api::{DesiredState, Lock, LockSpec};
use usher::plan::identity::Known;

use super::config;
use super::exact::settled;
use crate::cluster_model::Model;
use crate::effective::{Held, held};
use crate::naive::Naive;
use crate::worlds::{Written, edit, finish, later, written};

/// How somebody can leave.
#[derive(Clone, Copy, Debug)]
enum Way {
    Suspended,
    Departed,
    Ended,
    Deleted,
    Locked,
}

const WAYS: [Way; 5] = [Way::Suspended, Way::Departed, Way::Ended, Way::Deleted, Way::Locked];

fn leave(written: &mut Written, name: &str, way: Way) {
    let developer = written.developers.get_mut(name).expect("she is there");
    match way {
        Way::Locked => {
            let spec = LockSpec { developer: name.to_owned(), reason: "x".to_owned(), revoke_credentials: true, ..LockSpec::default() };
            written.locks.insert("z".to_owned(), finish(Lock::new("z", spec), false, 0));
        }
        Way::Suspended => developer.spec.state = DesiredState::Suspended,
        Way::Departed => developer.spec.state = DesiredState::Departed,
        Way::Ended => developer.spec.ends_at = Some(Time(later(-1))),
        Way::Deleted => developer.metadata.deletion_timestamp = Some(Time(later(0))),
    }
}

/// Pauses some of the objects.
fn pause(written: &mut Written, chosen: u64) {
    let metas = written.developers.values_mut().map(ResourceExt::annotations_mut);
    let metas = metas.chain(written.roles.values_mut().map(ResourceExt::annotations_mut));
    let metas = metas.chain(written.bindings.values_mut().map(ResourceExt::annotations_mut));
    let metas = metas.chain(written.environments.values_mut().map(ResourceExt::annotations_mut));
    for (at, annotations) in metas.enumerate() {
        if chosen >> (at % 64) & 1 == 1 {
            annotations.insert(PAUSED.to_owned(), "true".to_owned());
        }
    }
}

/// Every name by which clusters know somebody now.
fn names(model: &Model, name: &str) -> BTreeSet<String> {
    let Some(developer) = model.world.developer(name) else { return BTreeSet::new() };
    let naive = Naive::of(model);
    let users = model.world.environments().filter_map(|(_, environment)| naive.subject(developer, environment));
    let accounts =
        model.clusters.values().flat_map(|state| state.service_accounts_of(name).map(|(key, _)| key.1.clone()).collect::<Vec<_>>());
    users.chain(accounts.map(|account| format!("ServiceAccount usher-identities/{account}"))).collect()
}

/// What others than one person should have.
fn of_others(model: &Model, name: &str) -> BTreeSet<Held> {
    Naive::of(model).cells().into_iter().filter(|cell| cell.person != name).map(|cell| cell.held).collect()
}

/// Whether nothing is left of somebody but what a namesake of her user name has, or had and keeps as it is paused.
fn check_gone(model: &Model, name: &str, hers: &BTreeSet<String>, before: &BTreeSet<Held>) -> Result<(), TestCaseError> {
    let others = of_others(model, name);
    let left: Vec<_> =
        held(model).into_iter().filter(|it| hers.contains(&it.subject) && !others.contains(it) && !before.contains(it)).collect();
    prop_assert!(left.is_empty(), "{name} still has {left:#?}");
    for (cluster, state) in &model.clusters {
        let accounts: Vec<_> = state.service_accounts_of(name).map(|(key, _)| key).collect();
        prop_assert!(accounts.is_empty(), "{name} still has {accounts:?} in {cluster}");
        let secrets: Vec<_> = state.secrets.iter().filter(|(_, it)| it.labels().get(DEVELOPER).is_some_and(|it| it == name)).collect();
        prop_assert!(secrets.is_empty(), "{name} still has {secrets:?} in {cluster}");
    }
    if let Some(plan) = model.plan_developer(name) {
        prop_assert!(plan.access_gone(), "of {name} there is {:?} still", plan.found);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn removing_a_binding_adds_nobody(written in written(), which in any::<Index>()) {
        prop_assume!(!written.bindings.is_empty());
        let mut model = settled(&written);
        let before = held(&model);
        let name = which.index(written.bindings.len());
        let name = written.bindings.keys().nth(name).expect("in range");
        model.set_binding(name, None);
        let tasks = model.tasks();
        model.settle_in(&tasks, &mut |model| {
            let more: Vec<_> = held(model).difference(&before).cloned().collect();
            assert!(more.is_empty(), "without ubind/{name} there is more: {more:#?}");
        });
    }

    #[test]
    fn who_leaves_has_nothing_whatever_else_is_so(
        (old, mut new) in edit(),
        who in any::<Index>(),
        way in select(WAYS.to_vec()),
        (paused, patient, may_end) in (prop_oneof![Just(0_u64), any::<u64>()], any::<bool>(), any::<bool>()),
    ) {
        prop_assume!(!new.developers.is_empty());
        // A deletion alone is no departure while a CRD is being deleted.
        let may_end = may_end || matches!(way, Way::Deleted);
        let name = new.developers.keys().nth(who.index(new.developers.len())).expect("in range").clone();
        let mut model = settled(&old);
        let mut hers = names(&model, &name);
        let others = of_others(&model, &name);
        leave(&mut new, &name, way);
        pause(&mut new, paused);
        let mut last = new.after(&old);
        last.now = later(0);
        last.apply(&mut model);
        hers.extend(names(&model, &name));
        model.patient = patient;
        model.may_end = may_end;
        model.settle();
        check_gone(&model, &name, &hers, &others)?;
    }

    #[test]
    fn while_a_crd_is_missing_nobody_who_stays_loses_anything((old, new) in edit()) {
        let mut model = settled(&old);
        let old = old.alive();
        let mut next = Written { now: old.now, ..new };
        next.developers.clone_from(&old.developers);
        next.environments.clone_from(&old.environments);
        next.namespaces.clone_from(&old.namespaces);
        // Roles are edited or not, but none is being deleted: that is asked of the API server first.
        for (name, role) in &old.roles {
            let now = next.roles.entry(name.clone()).or_insert_with(|| role.clone());
            now.spec.access.clone_from(&role.spec.access);
            now.metadata.deletion_timestamp = None;
        }
        next.apply(&mut model);
        model.may_end = false;
        let before = held(&model);
        let tasks = model.tasks();
        let stays: BTreeSet<String> = model.world.developers().filter(|(name, _)| !model.leaves(name)).flat_map(|(name, _)| names(&model, name)).collect();
        model.settle_in(&tasks, &mut |model| {
            let now = held(model);
            let lost: Vec<_> = before.difference(&now).filter(|it| stays.contains(&it.subject)).cloned().collect();
            assert!(lost.is_empty(), "lost although a CRD is missing: {lost:#?}");
        });
    }
}

#[test]
fn names_of_a_service_account_are_read_back() {
    let subject = Known::ServiceAccount("ada-x-1234567890".into()).subject();
    assert_eq!(Known::read(&subject), Some(Known::ServiceAccount("ada-x-1234567890".into())));
}
