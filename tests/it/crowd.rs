//! Small worlds in which everybody is there and holds something, so that an edit of Roles always meets somebody.

use std::collections::BTreeMap;

use kube::ResourceExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use usher::api::environment::NamespaceSelector;
use usher::api::role::Access;
use usher::api::{Binding, BindingSpec, Developer, DeveloperSpec, Environment, EnvironmentSpec, Role, RoleSpec};
use usher::plan::cluster::ClusterKey;

use crate::worlds::{Written, finish, namespace_choice, noon, owned, rule, seldom, some_of};

/// A crowded world: everybody is there and holds something, so that an edit of Roles always meets somebody.
pub fn crowded() -> impl Strategy<Value = Written> {
    let role = |name: &'static str| {
        let includes = prop_oneof![3 => Just(Vec::new()), 1 => some_of(&["a", "b", "c"], 1)];
        (includes, vec(0..3_usize, 0..=3), [crowded_access("e"), crowded_access("f"), crowded_access("g")]).prop_map(
            move |(includes, chosen, access)| {
                let access = access.into_iter().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, access)| access).collect();
                finish(Role::new(name, RoleSpec { includes, access, ..RoleSpec::default() }), false, 0)
            },
        )
    };
    (role("a"), role("b"), role("c")).prop_map(|(a, b, c)| held_by_everybody(vec![a, b, c]))
}

/// A world in which ada and bob hold the Roles a, b and c in dev and prod; c in prod ada alone.
pub fn held_by_everybody(roles: Vec<Role>) -> Written {
    let person = |name: &str| {
        let spec = DeveloperSpec { email: format!("{name}@x"), teams: owned(&["t"]), ..DeveloperSpec::default() };
        (name.to_owned(), finish(Developer::new(name, spec), false, 0))
    };
    let binding = |name: &str, role: &str, teams: &[&str], environments: Option<&[&str]>| {
        let spec = BindingSpec {
            role: role.to_owned(),
            teams: owned(teams),
            developers: owned(&["ada"]),
            environments: environments.map(owned),
            ..BindingSpec::default()
        };
        (name.to_owned(), finish(Binding::new(name, spec), false, 0))
    };
    let environment = |name: &str| {
        let match_labels = Some(BTreeMap::from([("env".to_owned(), name.to_owned())]));
        let spec = EnvironmentSpec {
            namespaces: Some(NamespaceSelector { match_labels, match_expressions: None }),
            allow_cluster_scope: true,
            ..EnvironmentSpec::default()
        };
        (name.to_owned(), finish(Environment::new(name, spec), false, 0))
    };
    let namespace = |name: &str, env: &str, team: &str| {
        let labels = [("env", env), ("team", team)].map(|(key, value)| (key.to_owned(), value.to_owned()));
        ((ClusterKey::Home, name.to_owned()), BTreeMap::from(labels))
    };
    Written {
        developers: [person("ada"), person("bob")].into(),
        roles: roles.into_iter().map(|role| (role.name_any(), role)).collect(),
        bindings: [
            binding("k", "a", &["t"], None),
            binding("l", "b", &["t"], None),
            binding("m", "c", &[], None),
            binding("n", "c", &["t"], Some(&["dev"])),
        ]
        .into(),
        environments: [environment("dev"), environment("prod")].into(),
        locks: BTreeMap::new(),
        namespaces: [namespace("n1", "dev", "x"), namespace("n2", "dev", "y"), namespace("p1", "prod", "x")].into(),
        now: noon(),
    }
}

fn crowded_access(name: &'static str) -> impl Strategy<Value = Access> {
    let environments = select(vec![vec!["*"], vec!["dev"], vec!["prod"], vec!["dev", "prod"]]);
    let rules = subsequence(vec![rule(&["pods"], &["get"]), rule(&["pods"], &["list"]), rule(&["pods"], &["get", "list"])], 0..=2);
    (environments, namespace_choice(), some_of(&["view", "edit"], 1), rules, seldom(4)).prop_map(
        move |(environments, namespaces, cluster_roles, mut rules, cluster)| {
            if rules.is_empty() && (cluster || cluster_roles.is_empty()) {
                rules.push(rule(&["pods"], &["get"]));
            }
            Access {
                name: name.to_owned(),
                environments: owned(&environments),
                namespaces: namespaces.filter(|_| !cluster),
                cluster_roles: if cluster { Vec::new() } else { cluster_roles },
                rules,
                cluster,
            }
        },
    )
}
