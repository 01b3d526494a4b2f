//! Receipts, seals, Locks and the accident brake, without a cluster (DESIGN.md, promises 2 to 5 and 10).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{RoleBinding, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use serde_json::json;
use usher::api::metadata::RELEASE;
use usher::api::{DesiredState, Lock, LockSpec};
use usher::plan::brake::brake;
use usher::plan::change::{Change, Step, Write};
use usher::plan::cluster::ClusterKey;
use usher::plan::departing::departing;
use usher::plan::retention::{End, end_of};

use crate::cluster_model::Model;
use crate::effective::held;
use crate::worlds::{finish, later, model, noon};

/// So many people with workspaces that are deleted a minute after their owners left, and a Role in a shared namespace.
fn company(people: usize, identity: &serde_json::Value) -> Model {
    let mut company = model(noon());
    let workspace = json!({"onDeparture": {"action": "Delete", "deleteAfter": "1m"}});
    let spec = json!({"home": true, "namespaces": {"matchLabels": {"env": "dev"}}, "identity": identity, "workspace": workspace});
    company.add(&object("Environment", "dev", &spec));
    company.add(&json!({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"env": "dev"}}}));
    let access = json!([{"name": "look", "environments": ["dev"], "clusterRoles": ["view"]}]);
    company.add(&object("Role", "viewer", &json!({"access": access})));
    company.add(&object("Binding", "all", &json!({"role": "viewer", "teams": ["all"]})));
    for number in 0..people {
        company.add(&object("Developer", &name(number), &json!({"email": format!("{}@x", name(number)), "teams": ["all"]})));
    }
    company.settle();
    company
}

fn object(kind: &str, name: &str, spec: &serde_json::Value) -> serde_json::Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn name(number: usize) -> String {
    format!("p{number}")
}

fn workspace(number: usize) -> String {
    format!("dev-{}", name(number))
}

fn set(model: &mut Model, number: usize, state: DesiredState) {
    let mut developer = model.world.developer(&name(number)).expect("she is there").as_ref().clone();
    developer.spec.state = state;
    model.set_developer(&name(number), Some(developer));
}

fn departs(model: &mut Model, people: impl IntoIterator<Item = usize>) {
    people.into_iter().for_each(|number| set(model, number, DesiredState::Departed));
    model.settle();
}

fn digest(model: &Model, number: usize) -> Option<String> {
    let uid = model.world.developer(&name(number)).and_then(|it| it.uid()).expect("she is there");
    model.read(|scene| brake(scene, &uid)).map(|brake| brake.digest)
}

/// Whether somebody's workspace may be deleted by now.
fn goes(model: &Model, number: usize) -> bool {
    model.read(|scene| matches!(end_of(scene, &ClusterKey::Home, &workspace(number), later(30)), End::Now(_)))
}

fn release(model: &mut Model, number: usize, word: &str) {
    let of = |model: &Model| model.world.departures().of_name(&name(number)).next().expect("a receipt").as_ref().clone();
    let mut departure = of(model);
    departure.annotations_mut().insert(RELEASE.to_owned(), word.to_owned());
    model.set_departure(&departure.name_any(), Some(departure.clone()));
}

#[test]
fn more_than_the_limit_lose_access_and_keep_their_workspaces_until_exactly_the_batch_is_released() {
    let mut model = company(12, &json!(null));
    departs(&mut model, 0..11);
    assert_eq!(held(&model).len(), 2, "only the one who stays has anything: {:?}", held(&model));
    let word = digest(&model, 0).expect("eleven of twelve are too many");
    assert!((0..11).all(|number| digest(&model, number).as_ref() == Some(&word) && !goes(&model, number)), "all of them are held");

    release(&mut model, 3, "sha256:another");
    assert!(!goes(&model, 0), "another word releases nothing");
    release(&mut model, 3, &word);
    assert!((0..11).all(|number| goes(&model, number)), "one word on any of them releases all");

    departs(&mut model, [11]);
    let grown = digest(&model, 11).expect("a batch that grows is held again");
    assert_ne!(grown, word);
    assert!((0..12).all(|number| !goes(&model, number)));
    release(&mut model, 11, &grown);
    assert!((0..12).all(|number| goes(&model, number)));
}

#[test]
fn a_release_holds_although_one_of_the_batch_comes_back() {
    let mut model = company(14, &json!(null));
    departs(&mut model, 0..13);
    let word = digest(&model, 0).expect("too many");
    release(&mut model, 0, &word);
    set(&mut model, 5, DesiredState::Active);
    model.settle();
    assert!(model.world.departures().of_name(&name(5)).all(|it| it.status.as_ref().is_some_and(|status| status.returned_at.is_some())));
    assert!(goes(&model, 1), "what was released stays released");
    assert!(!goes(&model, 5), "who is back keeps hers");
}

#[test]
fn one_named_person_is_never_held() {
    let mut model = company(3, &json!(null));
    departs(&mut model, [1]);
    assert!(digest(&model, 1).is_none() && goes(&model, 1));
}

#[test]
fn the_limit_is_the_larger_of_both_values() {
    let mut model = company(12, &json!(null));
    (model.settings.offboarding.brake_people, model.settings.offboarding.brake_percent) = (2, 50);
    departs(&mut model, 0..6);
    assert!(digest(&model, 0).is_none(), "six are half of twelve");
    departs(&mut model, [6]);
    assert!(digest(&model, 0).is_some(), "seven are more");
    (model.settings.offboarding.brake_people, model.settings.offboarding.brake_percent) = (7, 10);
    assert!(digest(&model, 0).is_none(), "but not more than seven");
}

#[test]
fn departures_further_apart_than_ten_minutes_are_not_one_batch() {
    let mut model = company(12, &json!(null));
    departs(&mut model, 0..6);
    model.now = later(11);
    departs(&mut model, 6..12);
    assert!((0..12).all(|number| digest(&model, number).is_none()));
}

/// To write every receipt of a batch for each new one would be the square of their number.
#[test]
fn receipts_name_a_batch_again_when_it_has_stopped_growing() {
    let mut model = company(6, &json!(null));
    (model.settings.offboarding.brake_people, model.settings.offboarding.brake_percent) = (2, 0);
    departs(&mut model, 0..3);
    let told = |model: &Model, number: usize| {
        let receipt = model.world.departures().of_name(&name(number)).next().cloned().expect("a receipt");
        let view = model.read(|scene| departing(scene, &receipt, model.now));
        (receipt.status.clone().and_then(|status| status.brake).map(|brake| brake.digest), view.recheck_at)
    };
    let three = digest(&model, 0);
    assert!(three.is_some());
    assert_eq!(told(&model, 0), (three.clone(), None));
    departs(&mut model, 3..5);
    let five = digest(&model, 0);
    assert_ne!(three, five, "what lets them through is what is true now");
    let (first, recheck_at) = told(&model, 0);
    assert!(first == three && recheck_at.is_some_and(|at| at > model.now), "{first:?} {recheck_at:?}");
    assert_eq!(told(&model, 4).0, five, "a new one names all of them");
    model.now = recheck_at.expect("a moment");
    model.settle();
    assert!((0..5).all(|number| told(&model, number) == (five.clone(), None)));
}

/// Without a receipt nobody knows whether she left, nor with how many others.
#[test]
fn a_workspace_without_a_receipt_stays() {
    let mut model = company(1, &json!(null));
    departs(&mut model, [0]);
    assert!(goes(&model, 0));
    let receipt = model.world.departures().of_name("p0").next().expect("a receipt").name_any();
    model.set_departure(&receipt, None);
    assert!(!goes(&model, 0));
}

/// A user name belongs to its present holder, also where she is called as the one before.
#[test]
fn a_receipt_does_not_speak_of_the_next_holder_of_a_user_name() {
    for next in ["p0", "q"] {
        let mut model = company(1, &json!({"user": "oidc:{email}"}));
        departs(&mut model, [0]);
        let receipt = model.world.departures().of_name("p0").next().expect("a receipt").as_ref().clone();
        let mut leaving = model.world.developer("p0").expect("she is there").as_ref().clone();
        leaving.metadata.deletion_timestamp = Some(Time(noon()));
        model.set_developer("p0", Some(leaving));
        model.settle();
        model.release();
        let mut stranger = object("Developer", next, &json!({"email": "p0@x", "teams": ["all"]}));
        stranger["metadata"]["uid"] = json!("another");
        model.add(&stranger);
        model.settle();
        assert!(held(&model).iter().any(|it| it.subject == "User oidc:p0@x"), "it is hers now: {:?}", held(&model));
        let view = model.read(|scene| departing(scene, model.world.departures().get(&receipt.name_any()).expect("there"), model.now));
        assert!(!view.named && !view.foreign_bindings && view.faces.is_empty(), "{next}: {view:?}");
    }
}

fn friend(model: &mut Model, subjects: &[&str]) {
    let subject = |name: &&str| Subject { kind: "User".to_owned(), name: (*name).to_owned(), ..Subject::default() };
    let mut binding = RoleBinding { subjects: Some(subjects.iter().map(subject).collect()), ..RoleBinding::default() };
    binding.metadata.name = Some("friend".to_owned());
    binding.metadata.namespace = Some(workspace(0));
    binding.metadata.uid = Some(format!("uid-{}", subjects.len()));
    binding.role_ref.kind = "ClusterRole".to_owned();
    binding.role_ref.name = "view".to_owned();
    model.state(&ClusterKey::Home).set_role_binding(&(workspace(0), "friend".to_owned()), Some(Arc::new(binding)));
}

fn friends(model: &Model) -> Option<Vec<String>> {
    let bound = model.clusters[&ClusterKey::Home].role_bindings.get(&(workspace(0), "friend".to_owned()))?;
    Some(bound.all_subjects().iter().map(|subject| subject.name.clone()).collect())
}

#[test]
fn what_is_made_again_while_it_is_sealed_is_put_back_as_it_was_last() {
    let mut model = company(1, &json!(null));
    friend(&mut model, &["bob"]);
    departs(&mut model, [0]);
    assert_eq!(friends(&model), None, "sealed");
    friend(&mut model, &["bob", "cyd"]);
    model.settle();
    assert_eq!(friends(&model), None, "and again");
    set(&mut model, 0, DesiredState::Active);
    model.settle();
    assert_eq!(friends(&model), Some(vec!["bob".to_owned(), "cyd".to_owned()]));
}

fn lock(model: &mut Model, lifted: bool, until: Option<Timestamp>) {
    let spec = LockSpec { developer: "p0".to_owned(), reason: "x".to_owned(), until: until.map(Time), lifted, revoke_credentials: true };
    let status = model.world.lock("l").and_then(|lock| lock.status.clone());
    let mut lock = finish(Lock::new("l", spec), false, 0);
    lock.status = status;
    model.set_lock("l", Some(lock));
}

#[test]
fn a_departure_takes_over_what_a_lock_has_sealed() {
    let mut model = company(1, &json!(null));
    friend(&mut model, &["bob"]);
    lock(&mut model, false, None);
    model.settle();
    assert_eq!(friends(&model), None, "sealed by the Lock");
    departs(&mut model, [0]);
    lock(&mut model, true, None);
    model.settle();
    assert_eq!(friends(&model), None, "she left");
    model.set_lock("l", None);
    set(&mut model, 0, DesiredState::Active);
    model.settle();
    assert_eq!(friends(&model), Some(vec!["bob".to_owned()]), "and is back");
}

#[test]
fn a_lock_ends_when_its_time_has_come_and_not_by_being_deleted() {
    let mut model = company(1, &json!(null));
    let before = held(&model);
    lock(&mut model, false, Some(later(5)));
    let mut dying = model.world.lock("l").expect("it is there").as_ref().clone();
    dying.metadata.deletion_timestamp = Some(Time(noon()));
    model.set_lock("l", Some(dying));
    model.settle();
    assert!(held(&model).is_empty(), "{:?}", held(&model));
    model.now = later(5);
    model.settle();
    assert_eq!(held(&model), before);
}

/// Suspension takes credentials; that a Lock would spare them changes nothing.
#[test]
fn who_is_suspended_keeps_no_credentials_by_a_lock_that_spares_them() {
    let mut model = company(1, &json!(null));
    let spec = LockSpec { developer: "p0".to_owned(), reason: "x".to_owned(), revoke_credentials: false, ..LockSpec::default() };
    model.set_lock("l", Some(finish(Lock::new("l", spec), false, 0)));
    model.settle();
    let accounts = |model: &Model| model.clusters[&ClusterKey::Home].service_accounts_of("p0").count();
    assert_eq!(accounts(&model), 1, "spared");
    set(&mut model, 0, DesiredState::Suspended);
    model.settle();
    assert_eq!(accounts(&model), 0);
}

/// While Locks cannot be read somebody might be locked: removals go on, and nothing is given to anybody.
#[test]
fn without_locks_nothing_is_added_and_removals_go_on() {
    let mut model = company(2, &json!(null));
    let before = held(&model);
    model.world.set_locks_readable(Some(false), None);
    model.add(&object("Developer", "new", &json!({"email": "new@x", "teams": ["all"]})));
    let edit = json!({"access": [{"name": "look", "environments": ["dev"], "clusterRoles": ["view", "edit"]}]});
    model.add(&object("Role", "viewer", &edit));
    set(&mut model, 1, DesiredState::Departed);
    let tasks = model.tasks();
    model.settle_in(&tasks, &mut |model| assert!(held(model).is_subset(&before), "something was added"));
    let left: BTreeMap<String, usize> = held(&model).into_iter().fold(BTreeMap::new(), |mut counts, it| {
        *counts.entry(it.subject).or_default() += 1;
        counts
    });
    assert_eq!(
        left.values().copied().collect::<Vec<_>>(),
        [2],
        "the one who left has nothing, the one who stays what she had: {:#?}",
        held(&model)
    );
    model.world.set_locks_readable(Some(true), None);
    model.settle();
    assert!(held(&model).iter().any(|it| it.namespace.as_deref() == Some("dev-new")));
}

/// Whoever leaves does not wait until somebody else has been added, not even in the same binding.
#[test]
fn who_leaves_goes_before_anybody_comes() {
    let mut model = company(2, &json!(null));
    set(&mut model, 0, DesiredState::Departed);
    model.add(&object("Developer", "eve", &json!({"email": "eve@x", "teams": ["all"]})));
    let plan = model.plan_role("viewer").expect("a Role");
    let names = |phase: &[Step]| -> Vec<Vec<String>> {
        let binding = |step: &Step| match &step.change {
            Change::RoleBinding(Write::Replace(binding)) => binding.subjects.iter().flatten().map(|it| it.name.clone()).collect(),
            other => panic!("{other:?}"),
        };
        phase.iter().map(binding).collect()
    };
    let first = names(&plan.phases[0]);
    assert_eq!((plan.leaving, plan.postpones), (1, true));
    assert!(first.len() == 1 && first[0].len() == 1 && first[0][0].starts_with("p1-"), "p0 is out, and nobody in: {first:?}");
    assert!(plan.phases[1..].is_empty(), "eve comes by the next plan: {:?}", plan.phases);
    model.settle();
    assert_eq!(
        held(&model).iter().filter(|it| it.subject.contains("eve")).count(),
        held(&model).iter().filter(|it| it.subject.contains("p1")).count()
    );
}
