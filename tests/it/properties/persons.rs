//! Promise 10: the same person comes back to what was hers; somebody else of her name is a stranger to it.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use usher::api::environment::WorkspaceTemplate;
use usher::api::metadata::{DEPARTED_AT, PERSON};
use usher::api::role::Access;
use usher::api::{ConditionType, DesiredState, Developer, Reason, Role, RoleSpec};
use usher::plan::cluster::ClusterKey;

use crate::cluster_model::{Model, Task};
use crate::crowd::held_by_everybody;
use crate::effective::{Held, held};
use crate::worlds::{Written, finish, later, model};

/// dev with workspaces, and a Role that gives view in it; ada and bob.
fn world(person_id: Option<&str>) -> Written {
    let access =
        Access { name: "e".to_owned(), environments: vec!["dev".to_owned()], cluster_roles: vec!["view".to_owned()], ..Access::default() };
    let role = finish(Role::new("a", RoleSpec { access: vec![access], ..RoleSpec::default() }), false, 0);
    let mut written = held_by_everybody(vec![role]);
    let dev = written.environments.get_mut("dev").expect("it is there");
    dev.spec.workspace = Some(WorkspaceTemplate::default());
    dev.spec.home = true;
    written.developers.get_mut("ada").expect("she is there").spec.person_id = person_id.map(str::to_owned);
    written
}

fn run(written: &Written) -> Model {
    let mut model = model(written.now);
    written.apply(&mut model);
    model.settle();
    model
}

fn ada(written: &Written, uid: &str) -> Developer {
    let mut developer = written.developers["ada"].clone();
    developer.metadata.uid = Some(uid.to_owned());
    developer
}

/// Deletes ada, as somebody who leaves.
fn delete(model: &mut Model, developer: &Developer) {
    let mut leaving = developer.clone();
    leaving.metadata.deletion_timestamp = Some(Time(later(0)));
    model.set_developer("ada", Some(leaving));
    model.settle();
    model.release();
    model.settle();
}

fn of(model: &Model, namespace: &str) -> BTreeSet<Held> {
    held(model).into_iter().filter(|it| it.namespace.as_deref() == Some(namespace)).collect()
}

fn accounts(model: &Model) -> BTreeSet<String> {
    let accounts = model.clusters[&ClusterKey::Home].service_accounts_of("ada");
    accounts.map(|(key, _)| key.1.clone()).collect()
}

fn kubeconfig(model: &Model, namespace: &str) -> bool {
    model.clusters[&ClusterKey::Home].secrets.contains_key(&(namespace.to_owned(), "usher-kubeconfig".to_owned()))
}

fn departed(model: &Model) -> bool {
    model.clusters[&ClusterKey::Home].namespaces["dev-ada"].annotations().contains_key(DEPARTED_AT)
}

#[test]
fn a_stranger_of_the_same_name_gets_nothing_of_the_first_ones() {
    let written = world(None);
    let mut model = run(&written);
    let first = accounts(&model);
    assert_eq!(first.len(), 1);
    assert_eq!(of(&model, "dev-ada").len(), 1);
    assert!(kubeconfig(&model, "dev-ada"));

    delete(&mut model, &written.developers["ada"]);
    assert!(accounts(&model).is_empty() && of(&model, "dev-ada").is_empty() && !kubeconfig(&model, "dev-ada"));
    assert!(departed(&model), "the workspace is kept, and says that its person left");
    assert!(!held(&model).iter().any(|it| first.iter().any(|name| it.subject.ends_with(name))));

    model.set_developer("ada", Some(ada(&written, "another")));
    model.settle();
    let second = accounts(&model);
    assert!(second.len() == 1 && second.is_disjoint(&first), "an identity of her own: {first:?} {second:?}");
    assert!(of(&model, "dev-ada").is_empty() && !kubeconfig(&model, "dev-ada") && departed(&model), "nothing of the first one's");
    let shared: BTreeSet<String> = of(&model, "n1").into_iter().map(|it| it.subject).collect();
    let hers = format!("ServiceAccount usher-identities/{}", second.first().expect("one"));
    assert!(shared.contains(&hers), "her Roles are in force in shared namespaces: {shared:?}");
    let findings = model.findings();
    let conflict = findings.iter().find(|(task, finding)| *task == Task::Developer("ada".to_owned()) && finding.reason == Reason::Conflict);
    let (_, conflict) = conflict.expect("it is said");
    assert_eq!(conflict.condition, ConditionType::WorkspaceReady);
    assert!(conflict.message.contains("dev-ada") && conflict.message.contains("pin another namespace"), "{}", conflict.message);
    let plan = model.plan_developer("ada").expect("she is there");
    assert!(plan.identities.iter().any(|it| second.contains(&it.name)), "her identity shows");
    assert!(plan.workspaces.is_empty(), "nothing of the first one's shows");
}

#[test]
fn the_same_person_id_comes_back_to_her_workspace() {
    let written = world(Some("100417"));
    let mut model = run(&written);
    let namespace = model.clusters[&ClusterKey::Home].namespaces["dev-ada"].uid();
    let access = held(&model);
    delete(&mut model, &written.developers["ada"]);
    assert!(departed(&model));

    model.set_developer("ada", Some(ada(&written, "another")));
    model.settle();
    assert_eq!(model.clusters[&ClusterKey::Home].namespaces["dev-ada"].uid(), namespace);
    assert!(!departed(&model), "she is back");
    assert_eq!(held(&model), access, "today's Roles, under the same identity");
    assert!(kubeconfig(&model, "dev-ada"));
    assert!(model.findings().is_empty(), "{:?}", model.findings());
}

#[test]
fn somebody_who_is_active_again_on_the_same_object_gets_all_back() {
    let written = world(None);
    let mut model = run(&written);
    let access = held(&model);
    for state in [DesiredState::Suspended, DesiredState::Departed] {
        let mut developer = written.developers["ada"].clone();
        developer.spec.state = state;
        model.set_developer("ada", Some(developer));
        model.settle();
        assert!(of(&model, "dev-ada").is_empty() && accounts(&model).is_empty());
        assert_eq!(departed(&model), state == DesiredState::Departed, "only who departs is marked");
        model.set_developer("ada", Some(written.developers["ada"].clone()));
        model.settle();
        assert_eq!(held(&model), access);
        assert!(!departed(&model));
    }
}

#[test]
fn a_developer_made_again_without_a_departure_takes_over_the_marks() {
    let written = world(None);
    let mut model = run(&written);
    let (access, first) = (held(&model), accounts(&model));
    model.set_developer("ada", None);
    model.settle();
    assert_eq!(held(&model), access, "absence ends nothing");
    model.set_developer("ada", Some(ada(&written, "another")));
    model.settle();
    assert_eq!(held(&model), access);
    assert_eq!(accounts(&model), first);
}

#[test]
fn a_person_id_that_is_added_later_changes_the_identity_and_leaves_nothing_behind() {
    let written = world(None);
    for roles_first in [false, true] {
        let mut model = run(&written);
        let first = accounts(&model);
        let mut developer = written.developers["ada"].clone();
        developer.spec.person_id = Some("100417".to_owned());
        model.set_developer("ada", Some(developer));
        let mut tasks = model.tasks();
        tasks.sort_by_key(|task| matches!(task, Task::Role(_)) != roles_first);
        assert!(model.settle_in(&tasks, &mut |_| {}).is_empty());
        let second = accounts(&model);
        assert!(second.len() == 1 && second.is_disjoint(&first));
        assert!(!held(&model).iter().any(|it| first.iter().any(|name| it.subject.ends_with(name))), "the old name is nowhere");
        assert_eq!(of(&model, "dev-ada").len(), 1);
        let person = model.clusters[&ClusterKey::Home].namespaces["dev-ada"].labels()[PERSON].clone();
        assert!(person.starts_with("id-"), "{person}");
    }
}

/// Pain 15: names that differ in case, length or alphabet never share a binding's name or a subject.
#[test]
fn colliding_long_and_foreign_names_stay_apart() {
    let mut written = world(None);
    let users = ["Ada@X", "ada@x", "ädä@x", "ada@x ", "ADA@X", "ada@xx"];
    let mut template = written.developers["ada"].clone();
    written.developers.clear();
    written.environments.get_mut("dev").expect("it is there").spec.identity =
        Some(usher::api::environment::IdentityKind { service_account: None, user: Some("oidc:{email}".to_owned()) });
    for (at, user) in users.iter().enumerate() {
        let name = format!("{}{at}", "x".repeat(if at == 0 { 1 } else { 37 }));
        template.metadata.name = Some(name.clone());
        template.metadata.uid = Some(name.clone());
        template.spec.email = (*user).to_owned();
        written.developers.insert(name, template.clone());
    }
    let mut model = run(&written);
    let subjects: BTreeSet<String> = of(&model, "n1").into_iter().map(|it| it.subject).collect();
    assert_eq!(subjects, users.iter().map(|user| format!("User oidc:{user}")).collect());
    let gone = written.developers.keys().next().expect("somebody").clone();
    let mut leaving = written.developers[&gone].clone();
    leaving.spec.state = DesiredState::Departed;
    let name = format!("User oidc:{}", leaving.spec.email);
    model.set_developer(&gone, Some(leaving));
    model.settle();
    let left: BTreeSet<String> = of(&model, "n1").into_iter().map(|it| it.subject).collect();
    assert_eq!(left, subjects.into_iter().filter(|it| *it != name).collect());
}
