//! What others do to usher's objects is undone, and what is not usher's is not touched.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleBinding, Subject};
use kube::ResourceExt;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use usher::plan::cluster::Key;

use super::config;
use super::exact::{difference, settled};
use crate::cluster_model::Model;
use crate::crowd::crowded;
use crate::effective::held;
use crate::naive::Naive;
use crate::worlds::written;

/// What a hand may do to a binding or ClusterRole of usher's.
#[derive(Clone, Copy, Debug)]
pub enum Hand {
    AddUser,
    AddGroup,
    AddForeignAccount,
    AddKnownPerson,
    TakeSubject,
    DeleteBinding,
    EditRules,
    DeleteRules,
}

const HANDS: [Hand; 8] = [
    Hand::AddUser,
    Hand::AddGroup,
    Hand::AddForeignAccount,
    Hand::AddKnownPerson,
    Hand::TakeSubject,
    Hand::DeleteBinding,
    Hand::EditRules,
    Hand::DeleteRules,
];

fn subject(kind: &str, namespace: Option<&str>, name: &str) -> Subject {
    Subject { kind: kind.to_owned(), namespace: namespace.map(str::to_owned), name: name.to_owned(), api_group: None }
}

fn edit_binding(model: &mut Model, which: Index, edit: impl FnOnce(&mut RoleBinding)) {
    let all: Vec<_> = model
        .clusters
        .iter()
        .flat_map(|(cluster, state)| state.role_bindings.iter().filter(|(_, it)| it.ours).map(|(key, _)| (cluster.clone(), key.clone())))
        .collect();
    if all.is_empty() {
        return;
    }
    let (cluster, key): (_, Key) = which.get(&all).clone();
    let mut binding = model.clusters[&cluster].role_bindings[&key].whole();
    edit(&mut binding);
    binding.metadata.resource_version = Some("by hand".to_owned());
    model.state(&cluster).set_role_binding(&key, Some(Arc::new(binding)));
}

pub fn act(model: &mut Model, hand: Hand, which: Index) {
    let add = |subject: Subject| move |binding: &mut RoleBinding| binding.subjects.get_or_insert_default().push(subject);
    match hand {
        Hand::AddUser => edit_binding(model, which, add(subject("User", None, "mallory"))),
        Hand::AddGroup => edit_binding(model, which, add(subject("Group", None, "system:authenticated"))),
        Hand::AddForeignAccount => edit_binding(model, which, add(subject("ServiceAccount", Some("n1"), "default"))),
        Hand::AddKnownPerson => {
            let accounts: Vec<_> = model.clusters.values().flat_map(|state| state.service_accounts.keys().cloned()).collect();
            if !accounts.is_empty() {
                edit_binding(model, which, add(subject("ServiceAccount", Some("usher-identities"), &which.get(&accounts).1)));
            }
        }
        Hand::TakeSubject => edit_binding(model, which, |binding| drop(binding.subjects.get_or_insert_default().pop())),
        Hand::DeleteBinding => {
            for (cluster, state) in &model.clusters {
                let keys: Vec<_> = state.role_bindings.iter().filter(|(_, it)| it.ours).map(|(key, _)| key.clone()).collect();
                if !keys.is_empty() {
                    let (cluster, key) = (cluster.clone(), which.get(&keys).clone());
                    model.state(&cluster).set_role_binding(&key, None);
                    return;
                }
            }
        }
        Hand::EditRules | Hand::DeleteRules => {
            for (cluster, state) in &model.clusters {
                let names: Vec<_> = state.cluster_roles.keys().cloned().collect();
                if !names.is_empty() {
                    let (cluster, name) = (cluster.clone(), which.get(&names).clone());
                    let mut role = state.cluster_roles[&name].as_ref().clone();
                    let everything = || Some(vec!["*".to_owned()]);
                    role.rules = Some(vec![PolicyRule {
                        api_groups: everything(),
                        resources: everything(),
                        verbs: vec!["*".to_owned()],
                        ..PolicyRule::default()
                    }]);
                    let gone = matches!(hand, Hand::DeleteRules);
                    model.state(&cluster).set_cluster_role(&name, (!gone).then(|| Arc::new(role)));
                    return;
                }
            }
        }
    }
}

fn check(model: &mut Model, hands: &[(Hand, Index)]) -> Result<(), TestCaseError> {
    for (hand, which) in hands {
        act(model, *hand, *which);
    }
    model.settle();
    let (actual, wanted) = (held(model), Naive::of(model).held());
    prop_assert!(actual == wanted, "{}", difference(&actual, &wanted));
    let again = model.outstanding();
    prop_assert!(again.is_empty(), "{again:#?}");
    Ok(())
}

pub fn hands() -> impl Strategy<Value = Vec<(Hand, Index)>> {
    prop::collection::vec((select(HANDS.to_vec()), any::<Index>()), 1..3)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn hand_edits_are_undone(written in written(), hands in hands()) {
        check(&mut settled(&written), &hands)?;
    }

    #[test]
    fn hand_edits_among_many_are_undone(written in crowded(), hands in hands()) {
        check(&mut settled(&written), &hands)?;
    }

    /// A binding of somebody else is neither changed nor removed, even one that names people.
    #[test]
    fn bindings_of_others_are_left_alone(written in crowded()) {
        let mut model = settled(&written);
        // What usher does otherwise is another test's.
        model.settings.offboarding.remove_foreign = false;
        let account = model.clusters.values().flat_map(|state| state.service_accounts.keys().cloned()).next().expect("somebody is there");
        let mut foreign = RoleBinding { subjects: Some(vec![subject("ServiceAccount", Some(&account.0), &account.1)]), ..RoleBinding::default() };
        foreign.metadata.name = Some("theirs".to_owned());
        foreign.metadata.namespace = Some("n1".to_owned());
        foreign.role_ref.name = "edit".to_owned();
        let key = ("n1".to_owned(), "theirs".to_owned());
        let home = usher::plan::cluster::ClusterKey::Home;
        model.state(&home).set_role_binding(&key, Some(Arc::new(foreign.clone())));
        for name in written.developers.keys() {
            model.set_developer(name, Some({ let mut it = written.developers[name].clone(); it.spec.state = usher::api::DesiredState::Departed; it }));
        }
        model.settle();
        prop_assert_eq!(held(&model), BTreeSet::new());
        prop_assert_eq!(&model.clusters[&home].role_bindings[&key].whole(), &foreign);
        let foreign: Vec<_> = model.world.developers().filter_map(|(name, _)| Some(model.plan_developer(name)?.foreign)).collect();
        prop_assert_eq!(foreign.iter().sum::<i64>(), 1);
        prop_assert!(model.clusters[&home].service_accounts.values().all(|it| it.name_any() != account.1));
    }
}
