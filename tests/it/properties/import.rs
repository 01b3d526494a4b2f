//! An import gives nobody more than she had, loses nothing in silence, and says the same twice.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{PolicyRule, Subject};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use usher::plan::bound::{Bound, RbacBinding};
use usher::plan::cluster::{ClusterKey, ClusterState};
use usher::plan::forecast::Stage;
use usher::plan::import::{Import, Reach, Sort};
use usher::plan::manifests::Others;

use super::config;
use super::forecast::stage;
use crate::cluster_model::{CLUSTER_ROLES, Model};
use crate::import::{Asked, bind_in, environment, namespace, rules, user};
use crate::worlds::{model, noon};

const USERS: [&str; 6] = ["ada", "oidc:ada", "bob@x.org", "oidc:bob@x.org", "eve", "system:nobody"];
const NAMESPACES: [&str; 7] = ["shop-api", "shop-web", "shop", "lone", "ada-dev", "bob-dev", "default"];
const ROLES: [&str; 4] = ["view", "edit", "usher-developer", "cluster-admin"];

/// A binding: the namespace, or everywhere; whether it gives a ClusterRole; which; and to whom.
type Bind = (Option<&'static str>, bool, &'static str, Vec<Subject>);

fn subject() -> impl Strategy<Value = Subject> {
    let other =
        |kind: &str| Subject { kind: kind.to_owned(), name: "other".to_owned(), namespace: Some("shop".to_owned()), api_group: None };
    prop_oneof![8 => select(USERS.to_vec()).prop_map(user), 1 => Just(other("Group")), 1 => Just(other("ServiceAccount"))]
}

fn binding() -> impl Strategy<Value = Bind> {
    let place = prop_oneof![6 => select(NAMESPACES.to_vec()).prop_map(Some), 1 => Just(None)];
    (place, prop::bool::weighted(0.9), select(ROLES.to_vec()), vec(subject(), 1..=3))
}

/// A cluster before usher, with Environments.
#[derive(Clone, Debug)]
struct Old {
    bindings: Vec<Bind>,
    identity: Value,
    wide: bool,
    /// What owners get in workspaces, if there are any.
    template: Option<&'static str>,
}

fn old() -> impl Strategy<Value = Old> {
    let identity = prop_oneof![Just(json!({})), Just(json!({"user": "oidc:{email}"})), Just(json!({"user": "oidc:{username}"}))];
    let template = select(vec![None, Some("edit"), Some("usher-developer"), Some("cluster-admin")]);
    let all = (vec(binding(), 0..12), identity, any::<bool>(), template);
    all.prop_map(|(bindings, identity, wide, template)| Old { bindings, identity, wide, template })
}

impl Old {
    fn model(&self) -> Model {
        let mut old = model(noon());
        let both = json!({"mode": "Enforce", "allowClusterScope": self.wide, "identity": self.identity});
        let mut dev = both.clone();
        dev["home"] = true.into();
        if let Some(template) = self.template {
            dev["workspace"] = json!({"clusterRole": template});
        }
        environment(&mut old, "dev", &dev);
        environment(&mut old, "prod", &both);
        for (name, labels) in [("shop-api", ("env", "dev")), ("shop-web", ("env", "dev")), ("shop", ("env", "prod"))] {
            namespace(&mut old, name, &[labels]);
        }
        for (name, owner) in [("lone", ""), ("ada-dev", "ada"), ("bob-dev", "bob"), ("default", "ada")] {
            namespace(&mut old, name, &[("owner", owner)]);
        }
        for (place, cluster, role, subjects) in &self.bindings {
            let kind = if *cluster || place.is_none() { "ClusterRole" } else { "Role" };
            bind_in(&mut old, &ClusterKey::Home, place.unwrap_or_default(), (kind, role), subjects);
        }
        old
    }
}

/// Namespace (empty for everywhere), user, resource and verb.
type Right = (String, String, String, String);

/// What users may do by some bindings.
fn rights(state: &ClusterState, ours: bool) -> BTreeSet<Right> {
    let mut all = BTreeSet::new();
    for ((namespace, _), bound) in &state.role_bindings {
        add(state, namespace, bound, ours, &mut all);
    }
    for bound in state.cluster_role_bindings.values() {
        add(state, "", bound, ours, &mut all);
    }
    all
}

fn add<K: RbacBinding>(state: &ClusterState, namespace: &str, bound: &Bound<K>, ours: bool, all: &mut BTreeSet<Right>) {
    if bound.ours != ours || bound.role_ref().kind != "ClusterRole" {
        return;
    }
    for subject in bound.all_subjects().iter().filter(|subject| subject.kind == "User") {
        for (resource, verb) in pairs(state, &bound.role_ref().name) {
            all.insert((namespace.to_owned(), subject.name.clone(), resource, verb));
        }
    }
}

/// What a ClusterRole allows, a resource and a verb each; a star is every word that there is.
fn pairs(state: &ClusterState, role: &str) -> BTreeSet<(String, String)> {
    let known = |name: &str| CLUSTER_ROLES.iter().find(|(it, _)| *it == name).map(|(_, pairs)| pairs.to_vec());
    let words = || CLUSTER_ROLES.iter().flat_map(|(_, pairs)| pairs.iter()).filter(|(resource, _)| *resource != "*");
    let own = |rule: &PolicyRule| {
        let (resources, verbs) = (rule.resources.clone().unwrap_or_default(), rule.verbs.clone());
        resources
            .into_iter()
            .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| (resource.clone(), verb)))
            .collect::<Vec<_>>()
    };
    if let Some(role) = state.cluster_roles.get(role) {
        return role.rules.iter().flatten().flat_map(own).collect();
    }
    let pairs = known(role).unwrap_or_default();
    let all = if pairs.contains(&("*", "*")) { words().copied().collect() } else { pairs };
    all.into_iter().map(|(resource, verb)| (resource.to_owned(), verb.to_owned())).collect()
}

fn has(rights: &BTreeSet<Right>, (namespace, user, resource, verb): &Right) -> bool {
    let at = |namespace: &str| rights.contains(&(namespace.to_owned(), user.clone(), resource.clone(), verb.clone()));
    at(namespace) || at("")
}

/// Applies an import, and lets the operator work. What usher gives then in namespaces that were there before.
fn applied(found: &Import, model: &mut Model) -> BTreeSet<Right> {
    let before: BTreeSet<String> = model.clusters[&ClusterKey::Home].namespaces.keys().cloned().collect();
    found.manifests().lay_over(&mut model.world, Others::Stay, noon());
    model.settle();
    let given = rights(&model.clusters[&ClusterKey::Home], true);
    given.into_iter().filter(|(namespace, ..)| namespace.is_empty() || before.contains(namespace)).collect()
}

fn asked(reach: Reach) -> Asked {
    Asked { reach, ..Asked::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nobody_is_given_more_than_she_had(old in old(), whole in any::<bool>()) {
        let mut old = old.model();
        let found = asked(if whole { Reach::Whole } else { Reach::Named }).of(&old);
        let before = rights(&old.clusters[&ClusterKey::Home], false);
        let more: Vec<Right> = applied(&found, &mut old).into_iter().filter(|right| !has(&before, right)).collect();
        prop_assert!(more.is_empty(), "{:#?}\n{:#?}", more, found);
    }

    #[test]
    fn whatever_is_not_given_is_listed(old in old()) {
        let mut old = old.model();
        let found = asked(Reach::Named).of(&old);
        let state = &old.clusters[&ClusterKey::Home];
        let mut silent = Vec::new();
        let told = |binding: &str, user: &str| {
            found.left.iter().any(|left| left.object == format!("User {user}") || left.object == binding && left.who.ends_with(user))
        };
        for ((namespace, name), bound) in &state.role_bindings {
            let mut only = BTreeSet::new();
            add(state, namespace, bound, false, &mut only);
            silent.extend(only.into_iter().filter(|right| !told(&format!("RoleBinding {namespace}/{name}"), &right.1)));
        }
        for bound in state.cluster_role_bindings.values() {
            let mut only = BTreeSet::new();
            add(state, "", bound, false, &mut only);
            silent.extend(only.into_iter().filter(|right| !told(&format!("ClusterRoleBinding {}", bound.name()), &right.1)));
        }
        let given = applied(&found, &mut old);
        silent.retain(|right| !has(&given, right));
        prop_assert!(silent.is_empty(), "{:#?}\n{:#?}", silent, found);
    }

    #[test]
    fn of_what_was_said_nobody_gains_anything(old in old()) {
        let old = old.model();
        let found = asked(Reach::Named).of(&old);
        let rules = rules(&old);
        let forecast = Stage { rules, ..stage(old) }.forecast(found.manifests(), Others::Stay);
        // Who gets a new workspace is listed.
        let told = |words: &&String| words.starts_with("workspace dev-");
        let gains: Vec<&String> = forecast.changes.iter().chain(&forecast.withheld).flat_map(|it| &it.gains).filter(|it| !told(it)).collect();
        prop_assert!(gains.is_empty(), "{:#?}\n{:#?}", gains, found);
        prop_assert!(forecast.changes.iter().all(|it| it.loses.is_empty()));
    }

    #[test]
    fn the_same_is_said_twice(old in old()) {
        let found = asked(Reach::Named).of(&old.model());
        prop_assert!(found.left.iter().all(|left| left.sort != Sort::Usher));
        prop_assert_eq!(found, asked(Reach::Named).of(&old.model()));
    }
}
