//! The consistency index: which cells there are, and which of them are right.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, Subject};
use kube::ResourceExt;
use serde_json::json;
use usher::api::environment::DifferenceKind;
use usher::api::metadata::PAUSED;
use usher::api::{Mode, Role};
use usher::plan::cluster::{ClusterKey, Key};
use usher::plan::consistency::{Fault, Tally, cells};

use crate::cluster_model::Model;
use crate::clusters::change;
use crate::silent::{company, depart, silence};
use crate::worlds::remote;

/// Every cell, as `person role environment`, with what is wrong with it.
pub fn sheet(model: &Model) -> BTreeMap<(String, String, String), Option<Fault>> {
    model.read(|scene| {
        let of_role = |(name, role): (&String, &Arc<Role>)| {
            let environments = cells(scene, role, model.now).into_iter();
            let name = name.clone();
            environments
                .flat_map(move |(environment, people)| {
                    let name = name.clone();
                    people.into_iter().map(move |(person, fault)| ((person, name.clone(), environment.clone()), fault))
                })
                .collect::<Vec<_>>()
        };
        scene.world.roles().flat_map(of_role).collect()
    })
}

/// The index, and the cells that are not right.
fn index(model: &Model) -> (String, Vec<String>) {
    let sheet = sheet(model);
    let wrong = sheet.iter().filter_map(|((person, role, environment), fault)| {
        let Fault { kind, message } = fault.as_ref()?;
        Some(format!("{person} {role} {environment} {kind:?}: {message}"))
    });
    (Tally::of(sheet.values()).to_string(), wrong.collect())
}

/// The index and what is wrong but for the words.
fn short(model: &Model) -> (String, Vec<String>) {
    let (tally, wrong) = index(model);
    (tally, wrong.iter().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect())
}

fn right(cells: usize) -> (String, Vec<String>) {
    (format!("{cells}/{cells}"), Vec::new())
}

fn lines(tally: &str, wrong: &[&str]) -> (String, Vec<String>) {
    (tally.to_owned(), wrong.iter().map(|line| (*line).to_owned()).collect())
}

fn account(model: &Model, cluster: &ClusterKey, person: &str) -> Subject {
    let (key, _) = model.clusters[cluster].service_accounts_of(person).next().expect("she has one");
    Subject { kind: "ServiceAccount".to_owned(), namespace: Some(key.0.clone()), name: key.1.clone(), api_group: None }
}

fn by_hand(model: &mut Model, cluster: &ClusterKey, (namespace, name): (&str, &str), subject: Subject) {
    let mut binding = RoleBinding { subjects: Some(vec![subject]), ..RoleBinding::default() };
    binding.metadata.name = Some(name.to_owned());
    binding.metadata.namespace = Some(namespace.to_owned());
    binding.role_ref.name = "admin".to_owned();
    model.state(cluster).set_role_binding(&(namespace.to_owned(), name.to_owned()), Some(Arc::new(binding)));
}

/// The binding of the Role in a cluster's shared namespace.
fn of_role(model: &Model, cluster: &ClusterKey) -> Key {
    let mut keys = model.clusters[cluster].role_bindings_of("viewer").map(|(key, _)| key.clone());
    keys.next().expect("there is one")
}

fn add_by_hand(model: &mut Model, cluster: &ClusterKey, subject: Subject) {
    let key = of_role(model, cluster);
    let mut binding = model.clusters[cluster].role_bindings[&key].whole();
    binding.subjects.get_or_insert_default().push(subject);
    binding.metadata.resource_version = Some("by hand".to_owned());
    model.state(cluster).set_role_binding(&key, Some(Arc::new(binding)));
}

#[test]
fn what_is_settled_is_right_everywhere() {
    assert_eq!(index(&company()), right(4));
}

#[test]
fn a_binding_that_is_gone_is_missed_by_everybody_in_it_and_nobody_else() {
    let mut company = company();
    let key = of_role(&company, &remote());
    company.state(&remote()).set_role_binding(&key, None);
    let why = "nothing gives her ClusterRole view in namespace shop";
    let wrong = [format!("ada viewer staging Missing: {why}"), format!("bob viewer staging Missing: {why}")];
    assert_eq!(index(&company), ("2/4".to_owned(), wrong.to_vec()));
    company.settle();
    assert_eq!(index(&company), right(4));
}

#[test]
fn a_binding_of_others_makes_only_the_cells_of_whom_it_names_wrong_and_only_where_it_counts() {
    let mut company = company();
    let ada = account(&company, &remote(), "ada");
    company.set_namespace(&remote(), "elsewhere", Some(BTreeMap::new()));
    by_hand(&mut company, &remote(), ("elsewhere", "extra"), ada.clone());
    assert_eq!(index(&company), right(4), "that namespace is no shared one");
    by_hand(&mut company, &remote(), ("shop", "extra"), ada.clone());
    let why = "RoleBinding shop/extra, which usher did not make, names her";
    assert_eq!(index(&company), ("3/4".to_owned(), vec![format!("ada viewer staging More: {why}")]));
    company.settle();
    assert_eq!(short(&company), lines("3/4", &["ada viewer staging More"]), "usher touches nothing of others");
    company.state(&remote()).set_role_binding(&("shop".to_owned(), "extra".to_owned()), None);
    assert_eq!(index(&company), right(4));

    let key = (String::new(), "extra".to_owned());
    let mut wide = ClusterRoleBinding { subjects: Some(vec![ada]), ..ClusterRoleBinding::default() };
    wide.metadata.name = Some(key.1.clone());
    company.state(&remote()).set_cluster_role_binding(&key, Some(Arc::new(wide)));
    assert_eq!(short(&company), lines("3/4", &["ada viewer staging More"]), "what is cluster-wide counts in all of the cluster");
    company.state(&remote()).set_cluster_role_binding(&key, None);
    assert_eq!(index(&company), right(4));
}

#[test]
fn a_cluster_role_that_is_missing_is_missed_by_all_who_should_have_it() {
    let mut company = company();
    company.set_foreign_cluster_role(&remote(), "view", false);
    company.settle();
    let why = "ClusterRole view does not exist there";
    let wrong = [format!("ada viewer staging Missing: {why}"), format!("bob viewer staging Missing: {why}")];
    assert_eq!(index(&company), ("2/4".to_owned(), wrong.to_vec()));
    company.set_foreign_cluster_role(&remote(), "view", true);
    company.settle();
    assert_eq!(index(&company), right(4));
}

#[test]
fn what_is_put_into_ushers_own_binding_is_more() {
    let subject = |kind: &str, name: &str| Subject { kind: kind.to_owned(), name: name.to_owned(), ..Subject::default() };
    let mut company = company();
    add_by_hand(&mut company, &remote(), subject("User", "mallory"));
    assert_eq!(short(&company), lines("4/5", &["mallory viewer staging More"]), "nobody should be in a cell of that name");
    company.settle();
    assert_eq!(index(&company), right(4));
    add_by_hand(&mut company, &remote(), subject("Group", "everybody"));
    assert_eq!(short(&company), lines("2/4", &["ada viewer staging More", "bob viewer staging More"]));
    company.settle();
    assert_eq!(index(&company), right(4));
}

#[test]
fn what_a_cluster_that_does_not_answer_holds_is_not_verified() {
    for read in [true, false] {
        let mut company = company();
        silence(&mut company, read);
        let wrong = ["ada viewer staging Unseen: it hangs".to_owned(), "bob viewer staging Unseen: it hangs".to_owned()];
        assert_eq!(index(&company), ("2/4".to_owned(), wrong.to_vec()));
        depart(&mut company, "ada");
        let owed = lines("1/3", &["ada viewer staging Unseen", "bob viewer staging Unseen"]);
        assert_eq!(short(&company), if read { owed } else { lines("1/2", &["bob viewer staging Unseen"]) });
        company.links.clear();
        company.settle();
        assert_eq!(index(&company), right(2));
    }
}

#[test]
fn who_waits_because_of_a_pause_or_is_only_observed_is_not_right() {
    for observed in [true, false] {
        let mut company = company();
        change(&mut company, "staging", |staging| {
            if observed {
                staging.spec.mode = Mode::Observe;
            } else {
                staging.annotations_mut().insert(PAUSED.to_owned(), "true".to_owned());
            }
        });
        company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": "eve"}, "spec": {"email": "eve@x", "teams": ["all"]}}));
        company.settle();
        assert_eq!(short(&company), lines("5/6", &["eve viewer staging Missing"]));
    }
}

#[test]
fn cells_are_where_an_entry_names_environments_together_and_the_binding_reaches() {
    let mut company = company();
    let role = |access: serde_json::Value| json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Role", "metadata": {"name": "viewer"}, "spec": {"access": access}});
    let look = |environments: &[&str]| json!({"name": environments.join("-").replace('*', "all"), "environments": environments, "clusterRoles": ["view"]});
    for (access, cells) in [
        (json!([look(&["dev"]), look(&["staging"])]), 0),
        (json!([look(&["dev", "missing"])]), 0),
        (json!([look(&["*"])]), 4),
        (json!([look(&["dev", "staging"]), look(&["staging"])]), 4),
    ] {
        company.add(&role(access.clone()));
        company.settle();
        assert_eq!(index(&company), right(cells), "{access}");
    }
    company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Binding", "metadata": {"name": "all"}, "spec": {"role": "viewer", "teams": ["all"], "environments": ["dev"]}}));
    company.settle();
    assert_eq!(index(&company), right(2));
}

#[test]
fn what_a_role_left_where_it_names_nothing_any_more_is_more() {
    let mut company = company();
    silence(&mut company, true);
    company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "test"}, "spec": {"namespaces": {"matchLabels": {"env": "test"}}}}));
    let access = json!([{"name": "look", "environments": ["dev", "test"], "clusterRoles": ["view"]}]);
    company.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Role", "metadata": {"name": "viewer"}, "spec": {"access": access}}));
    company.settle();
    assert_eq!(short(&company), lines("4/6", &["ada viewer staging Unseen", "bob viewer staging Unseen"]));
    company.links.clear();
    assert_eq!(short(&company), lines("4/6", &["ada viewer staging More", "bob viewer staging More"]));
    company.settle();
    assert_eq!(index(&company), right(4));
}

#[test]
fn rules_that_were_edited_by_hand_are_missed_in_that_cluster_only() {
    for wide in [true, false] {
        let mut company = company();
        for environment in ["dev", "staging"] {
            change(&mut company, environment, |environment| environment.spec.allow_cluster_scope = true);
        }
        let rules = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
        let access = json!([{"name": "look", "environments": ["*"], "cluster": wide, "rules": rules}]);
        company
            .add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Role", "metadata": {"name": "viewer"}, "spec": {"access": access}}));
        company.settle();
        assert_eq!(index(&company), right(4));
        let (name, object) = company.clusters[&remote()].cluster_roles_of("viewer").next().expect("it is there");
        let (name, mut object) = (name.clone(), object.as_ref().clone());
        object.rules = None;
        company.state(&remote()).set_cluster_role(&name, Some(Arc::new(object)));
        let (tally, wrong) = short(&company);
        assert_eq!(tally, "2/4", "{wrong:?}");
        assert!(wrong.iter().all(|line| line.contains("viewer staging")), "{wrong:?}");
        company.settle();
        assert_eq!(index(&company), right(4));
    }
}

/// A fault of the worse kind is told, whichever is found first.
#[test]
fn of_two_faults_the_worse_is_told() {
    let mut company = company();
    let ada = account(&company, &remote(), "ada");
    by_hand(&mut company, &remote(), ("shop", "extra"), ada);
    let key = of_role(&company, &remote());
    company.state(&remote()).set_role_binding(&key, None);
    let kinds: Vec<_> = sheet(&company).into_values().flatten().map(|fault| fault.kind).collect();
    assert_eq!(kinds, [DifferenceKind::More, DifferenceKind::Missing]);
}
