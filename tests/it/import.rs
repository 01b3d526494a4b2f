//! `usher import` without a cluster: what it makes of bindings and namespaces that were there before, and what it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use serde_json::{Value, json};
use usher::plan::account::{Account, AccountState, Owner, Profile};
use usher::plan::cluster::ClusterKey;
use usher::plan::covering::Rules;
use usher::plan::environment::{Pending, observing};
use usher::plan::forecast::Stage;
use usher::plan::import::{Accounts, Import, Inputs, OwnerKey, Reach, Sort, import};
use usher::plan::manifests::Others;

use crate::cluster_model::{CLUSTER_ROLES, Model};
use crate::properties::forecast::stage;
use crate::worlds::{model, noon, remote};

/// What is asked for, and the answer's owner.
pub struct Asked {
    pub owner: Option<OwnerKey>,
    pub email: Option<&'static str>,
    pub environments: BTreeSet<String>,
    pub reach: Reach,
    pub accounts: Accounts,
}

impl Default for Asked {
    fn default() -> Self {
        let owner = Some(OwnerKey::Label("owner".to_owned()));
        Self { owner, email: Some("{user}@example.com"), environments: BTreeSet::new(), reach: Reach::Named, accounts: Accounts::new() }
    }
}

impl Asked {
    pub fn of(&self, model: &Model) -> Import {
        self.of_rules(model, &rules(model))
    }

    /// The same where ClusterRoles allow something else.
    fn of_rules(&self, model: &Model, rules: &Rules) -> Import {
        let Self { owner, email, environments, reach, accounts } = self;
        model.read(|scene| import(Inputs { scene, rules, accounts, owner: owner.as_ref(), email: *email, environments, reach: *reach }))
    }
}

/// What the ClusterRoles of models allow.
pub fn rules(model: &Model) -> Rules {
    let rule = |(resource, verb): &(&str, &str)| PolicyRule {
        api_groups: Some(vec![if *resource == "*" { "*".to_owned() } else { String::new() }]),
        resources: Some(vec![(*resource).to_owned()]),
        verbs: vec![(*verb).to_owned()],
        ..PolicyRule::default()
    };
    let all: BTreeMap<String, Vec<PolicyRule>> =
        CLUSTER_ROLES.iter().map(|(name, rules)| ((*name).to_owned(), rules.iter().map(rule).collect())).collect();
    model.clusters.keys().map(|cluster| (cluster.clone(), all.clone())).collect()
}

pub fn user(name: &str) -> Subject {
    Subject { kind: "User".to_owned(), name: name.to_owned(), ..Subject::default() }
}

/// A binding that somebody made before usher: in a namespace, or everywhere.
pub fn bind_in(model: &mut Model, cluster: &ClusterKey, namespace: &str, (kind, role): (&str, &str), subjects: &[Subject]) {
    let number = model.clusters[cluster].role_bindings.len() + model.clusters[cluster].cluster_role_bindings.len();
    let metadata = ObjectMeta {
        name: Some(format!("by-hand-{number}")),
        namespace: Some(namespace.to_owned()).filter(|it| !it.is_empty()),
        uid: Some(format!("by-hand-{number}")),
        ..ObjectMeta::default()
    };
    let key = (namespace.to_owned(), format!("by-hand-{number}"));
    let role_ref = RoleRef { api_group: None, kind: kind.to_owned(), name: role.to_owned() };
    let subjects = Some(subjects.to_vec());
    let state = model.state(cluster);
    if namespace.is_empty() {
        state.set_cluster_role_binding(&key, Some(Arc::new(ClusterRoleBinding { metadata, role_ref, subjects })));
    } else {
        state.set_role_binding(&key, Some(Arc::new(RoleBinding { metadata, role_ref, subjects })));
    }
}

pub fn bind(model: &mut Model, namespace: &str, role: &str, users: &[&str]) {
    let subjects: Vec<Subject> = users.iter().map(|name| user(name)).collect();
    bind_in(model, &ClusterKey::Home, namespace, ("ClusterRole", role), &subjects);
}

pub fn namespace(model: &mut Model, name: &str, labels: &[(&str, &str)]) {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    model.set_namespace(&ClusterKey::Home, name, Some(labels));
}

pub fn environment(model: &mut Model, name: &str, more: &Value) {
    let mut spec = json!({"mode": "Observe", "namespaces": {"matchLabels": {"env": name}}});
    spec.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
    model.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Environment", "metadata": {"name": name}, "spec": spec}));
}

/// Workspaces in which owners may edit, and that are else as their namespaces were.
fn template() -> Value {
    json!({"clusterRole": "edit", "isolation": "None", "podSecurity": "privileged"})
}

/// dev with workspaces, and two shared namespaces; prod with one.
fn old() -> Model {
    let mut old = model(noon());
    environment(&mut old, "dev", &json!({"home": true, "workspace": template()}));
    environment(&mut old, "prod", &json!({}));
    for (name, env) in [("shop-api", "dev"), ("shop-web", "dev"), ("shop", "prod")] {
        namespace(&mut old, name, &[("env", env)]);
    }
    old
}

/// The specs of what was made, by name.
fn specs<K: ResourceExt + serde::Serialize>(objects: &[K]) -> BTreeMap<String, Value> {
    let spec = |object: &K| serde_json::to_value(object).expect("JSON")["spec"].clone();
    objects.iter().map(|object| (object.name_any(), spec(object))).collect()
}

/// What is left of people's, a line each.
fn lefts(found: &Import) -> Vec<String> {
    let people = found.left.iter().filter(|left| left.sort == Sort::People);
    people.map(|left| format!("{}: {}: {}", left.object, left.who, left.why)).collect()
}

/// An import that says everything.
fn whole(found: &Import) {
    assert_eq!(lefts(found), Vec::<String>::new());
}

fn own(model: &mut Model, person: &str, role: &str) {
    namespace(model, &format!("{person}-dev"), &[("owner", person)]);
    bind(model, &format!("{person}-dev"), role, &[person]);
}

#[test]
fn people_who_have_the_same_are_named_together() {
    let mut old = old();
    for person in ["ada", "bob", "eve"] {
        own(&mut old, person, "edit");
    }
    for namespace in ["shop-api", "shop-web"] {
        bind(&mut old, namespace, "edit", &["ada", "bob"]);
    }
    bind(&mut old, "shop", "view", &["eve"]);
    let found = Asked::default().of(&old);
    whole(&found);
    let names: Vec<String> = found.developers.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["ada", "bob", "eve"]);
    assert_eq!(
        specs(&found.developers)["ada"],
        json!({
            "email": "ada@example.com", "kubernetesUser": "ada", "state": "Active",
            "workspaces": [{"environment": "dev", "namespace": "ada-dev"}],
        })
    );
    let roles = specs(&found.roles);
    assert_eq!(roles.keys().collect::<Vec<_>>(), ["edit-shop", "view-shop"]);
    let names = json!({"names": ["shop-api", "shop-web"]});
    assert_eq!(
        roles["edit-shop"]["access"],
        json!([{"name": "edit", "environments": ["dev"], "namespaces": names, "clusterRoles": ["edit"]}])
    );
    let bindings = specs(&found.bindings);
    assert_eq!((&bindings["edit-shop"]["developers"], &bindings["view-shop"]["developers"]), (&json!(["ada", "bob"]), &json!(["eve"])));
}

#[test]
fn whoever_wants_it_names_no_namespaces_where_all_are_meant() {
    let mut old = old();
    for namespace in ["shop-api", "shop-web"] {
        bind(&mut old, namespace, "edit", &["ada"]);
    }
    bind(&mut old, "shop-api", "view", &["bob"]);
    let found = Asked { reach: Reach::Whole, ..Asked::default() }.of(&old);
    let entries = |name: &str| specs(&found.roles)[name]["access"].clone();
    assert_eq!(entries("edit-shop"), json!([{"name": "edit", "environments": ["dev"], "clusterRoles": ["edit"]}]));
    assert_eq!(entries("view-shop-api")[0]["namespaces"], json!({"names": ["shop-api"]}), "not all of them");
}

#[test]
fn an_environment_that_knows_people_by_a_pattern_needs_no_user_name() {
    let mut old = model(noon());
    environment(&mut old, "dev", &json!({"identity": {"user": "oidc:{email}"}}));
    namespace(&mut old, "shop", &[("env", "dev")]);
    bind(&mut old, "shop", "view", &["oidc:ada@example.org", "bob@example.org"]);
    let found = Asked { email: None, ..Asked::default() }.of(&old);
    whole(&found);
    let people = specs(&found.developers);
    assert_eq!(people["ada"], json!({"email": "ada@example.org", "state": "Active"}));
    assert_eq!(people["bob"]["kubernetesUser"], "bob@example.org", "the pattern would make another name of hers");
}

#[test]
fn one_person_with_a_name_in_each_cluster_is_one_developer_if_the_patterns_say_so() {
    let mut old = model(noon());
    let elsewhere = json!({"kubeconfigSecret": {"name": "other", "key": "kubeconfig"}});
    environment(&mut old, "dev", &json!({"identity": {"user": "oidc:{email}"}}));
    environment(&mut old, "prod", &json!({"identity": {"user": "{email}"}, "cluster": elsewhere}));
    for (cluster, env) in [(ClusterKey::Home, "dev"), (remote(), "prod")] {
        old.set_namespace(&cluster, "shop", Some([("env".to_owned(), env.to_owned())].into()));
    }
    bind(&mut old, "shop", "view", &["oidc:ada@x.org"]);
    bind_in(&mut old, &remote(), "shop", ("ClusterRole", "view"), &[user("ada@x.org")]);
    let found = Asked { email: None, ..Asked::default() }.of(&old);
    whole(&found);
    assert_eq!(specs(&found.developers), [("ada".to_owned(), json!({"email": "ada@x.org", "state": "Active"}))].into());
    let entry = json!([{"name": "view", "environments": ["dev", "prod"], "namespaces": {"names": ["shop"]}, "clusterRoles": ["view"]}]);
    assert_eq!(specs(&found.roles)["view-shop"]["access"], entry);

    environment(&mut old, "prod", &json!({"cluster": {"kubeconfigSecret": {"name": "other", "key": "kubeconfig"}}}));
    let found = Asked { email: None, ..Asked::default() }.of(&old);
    assert!(found.developers.is_empty() && lefts(&found).iter().all(|it| it.contains("several user names")), "{:#?}", lefts(&found));
}

#[test]
fn people_who_would_be_called_alike_are_told_apart() {
    let mut old = old();
    old.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Developer", "metadata": {"name": "cyd"}, "spec": {"email": "cyd@elsewhere.org"}}));
    bind(&mut old, "shop", "view", &["ada@x.org", "ada@y.org", "cyd@x.org", "Bob.Smith@x.org"]);
    let found = Asked::default().of(&old);
    let people = specs(&found.developers);
    let names: Vec<&str> = people.keys().map(String::as_str).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&"bob-smith") && !names.contains(&"ada") && !names.contains(&"cyd"), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("ada-") || name.starts_with("cyd-")).count(), 3);
}

#[test]
fn what_is_no_persons_is_left_and_is_nothing_to_do() {
    let mut old = old();
    let machine = Subject { kind: "ServiceAccount".to_owned(), name: "ci".to_owned(), namespace: Some("shop".to_owned()), api_group: None };
    bind_in(&mut old, &ClusterKey::Home, "shop", ("ClusterRole", "edit"), &[machine, user("system:kube-scheduler")]);
    let found = Asked::default().of(&old);
    whole(&found);
    let sorts: Vec<Sort> = found.left.iter().map(|left| left.sort).collect();
    assert_eq!(sorts, [Sort::Machine, Sort::System]);
    assert!(found.developers.is_empty() && found.roles.is_empty());
}

/// One thing that cannot be said, and what the message has to name.
fn left(prepare: impl FnOnce(&mut Model), words: &[&str]) {
    let mut old = old();
    prepare(&mut old);
    let found = Asked::default().of(&old);
    let lines = lefts(&found);
    assert!(lines.iter().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} is not in {lines:#?}");
    assert!(found.left.iter().all(|left| !left.remedy.is_empty()));
    assert!(found.roles.is_empty() && found.developers.is_empty(), "{found:#?}");
}

#[test]
fn what_cannot_be_said_is_listed_with_its_reason() {
    let group = Subject { kind: "Group".to_owned(), name: "oidc:devs".to_owned(), ..Subject::default() };
    left(|old| bind_in(old, &ClusterKey::Home, "shop", ("ClusterRole", "view"), &[group]), &["RoleBinding shop/", "Group oidc:devs"]);
    left(|old| bind_in(old, &ClusterKey::Home, "shop", ("Role", "deployer"), &[user("ada")]), &["User ada", "Role deployer"]);
    left(|old| bind(old, "shop", "cluster-admin", &["ada"]), &["User ada", "cluster-admin may not be given"]);
    left(|old| bind(old, "shop", "gone", &["ada"]), &["gone does not exist"]);
    left(|old| bind(old, "default", "view", &["ada"]), &["usher gives nobody anything in default"]);
    left(|old| bind(old, "kube-system", "view", &["ada"]), &["kube-system"]);
    left(
        |old| {
            namespace(old, "lone", &[]);
            bind(old, "lone", "view", &["ada"]);
        },
        &["lone belongs to no Environment"],
    );
    left(
        |old| {
            environment(old, "also", &json!({"namespaces": {"matchLabels": {"env": "prod"}}}));
            bind(old, "shop", "view", &["ada"]);
        },
        &["uenv/also and uenv/prod"],
    );
    left(|old| bind(old, "", "view", &["ada"]), &["ClusterRoleBinding", "allow"]);
    left(|old| namespace(old, "zoe-dev", &[("owner", "zoe")]), &["Namespace zoe-dev: zoe: nobody"]);
    left(|old| own(old, "ada", "view"), &["Namespace ada-dev: ada", "less in it than edit"]);
}

#[test]
fn nobody_is_given_an_address_that_was_not_asked_for() {
    let mut old = old();
    bind(&mut old, "shop", "view", &["ada"]);
    let found = Asked { email: None, ..Asked::default() }.of(&old);
    assert!(found.developers.is_empty() && lefts(&found)[0].contains("e-mail address"), "{:?}", lefts(&found));
}

#[test]
fn a_workspace_is_its_owners_and_says_what_does_not_fit() {
    let mut old = old();
    own(&mut old, "ada", "edit");
    bind(&mut old, "ada-dev", "view", &["ada", "bob"]);
    bind(&mut old, "ada-dev", "cluster-admin", &["ada"]);
    let found = Asked::default().of(&old);
    let lines = lefts(&found);
    assert!(lines.iter().any(|it| it.contains("User bob") && it.contains("workspace of dev/ada")), "{lines:#?}");
    assert!(lines.iter().any(|it| it.contains("User ada") && it.contains("cluster-admin is more than edit")), "{lines:#?}");
    assert_eq!(lines.len(), 2, "view is within edit: {lines:#?}");
    assert_eq!(found.developers.len(), 1, "of bob there is nothing to say");
}

#[test]
fn who_has_two_namespaces_has_to_choose() {
    let mut old = old();
    for name in ["one", "two"] {
        namespace(&mut old, name, &[("owner", "ada")]);
        bind(&mut old, name, "edit", &["ada"]);
    }
    let lines = lefts(&Asked::default().of(&old));
    assert_eq!(lines.iter().filter(|it| it.contains("several namespaces") && it.contains("one, two")).count(), 2, "{lines:#?}");
}

#[test]
fn who_would_get_a_new_workspace_is_named() {
    let mut old = old();
    bind(&mut old, "shop-api", "view", &["ada"]);
    let lines = lefts(&Asked::default().of(&old));
    assert!(lines.len() == 1 && lines[0].starts_with("uenv/dev: dev/ada: ") && lines[0].contains("new one"), "{lines:#?}");
}

#[test]
fn what_a_namespace_would_get_besides_access_is_told() {
    let mut old = old();
    let mut template = template();
    template["isolation"] = "Default".into();
    template["quota"] = json!({"pods": "20"});
    environment(&mut old, "dev", &json!({"workspace": template}));
    for person in ["ada", "bob"] {
        own(&mut old, person, "edit");
    }
    let level = [("owner", "bob"), ("pod-security.kubernetes.io/enforce", "restricted")];
    namespace(&mut old, "bob-dev", &level);
    let found = Asked::default().of(&old);
    assert_eq!(found.developers.len(), 2);
    let lines = lefts(&found);
    assert!(lines.len() == 1 && lines[0].starts_with("uenv/dev: ada-dev, bob-dev: "), "{lines:#?}");
    assert!(lines[0].ends_with("isolation, podSecurity, quota"), "{lines:#?}");
}

#[test]
fn what_holds_everywhere_becomes_rules_where_that_is_allowed() {
    let mut old = old();
    environment(&mut old, "dev", &json!({"allowClusterScope": true}));
    environment(&mut old, "prod", &json!({"allowClusterScope": true}));
    bind(&mut old, "", "view", &["ada"]);
    bind(&mut old, "", "edit", &["bob"]);
    let found = Asked::default().of(&old);
    let roles = specs(&found.roles);
    let entry = &roles["view-everywhere"]["access"][0];
    assert_eq!((&entry["environments"], &entry["cluster"]), (&json!(["dev", "prod"]), &json!(true)));
    assert_eq!(entry["rules"][0], json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}));
    let lines = lefts(&found);
    assert!(lines.len() == 1 && lines[0].contains("User bob") && lines[0].contains("cluster-wide"), "{lines:#?}");
}

#[test]
fn who_is_declared_already_is_not_declared_again_and_nothing_is_taken_from_others() {
    let mut old = old();
    environment(&mut old, "dev", &json!({}));
    bind(&mut old, "shop-api", "view", &["ada"]);
    let first = Asked::default().of(&old);
    whole(&first);
    first.manifests().lay_over(&mut old.world, Others::Stay, noon());
    let second = Asked::default().of(&old);
    assert_eq!((second.developers.len(), &second.roles, &second.bindings), (0, &first.roles, &first.bindings));

    // The Binding has one more holder by now, and another of that name would take it from her.
    let mut binding = first.bindings[0].clone();
    binding.spec.developers.push("bob".to_owned());
    let name = binding.name_any();
    old.set_binding(&name, Some(binding));
    let third = Asked::default().of(&old);
    assert!(third.bindings.iter().all(|it| it.name_any() != name), "{:?}", third.bindings);
}

#[test]
fn of_what_was_imported_and_is_only_observed_nothing_is_pending() {
    let mut old = old();
    own(&mut old, "ada", "edit");
    bind(&mut old, "shop-api", "view", &["ada"]);
    bind(&mut old, "ada-dev", "cluster-admin", &["bob"]);
    let found = Asked::default().of(&old);
    let rules = rules(&old);
    let forecast = Stage { rules, ..stage(old) }.forecast(found.manifests(), Others::Stay);
    assert_eq!((forecast.changes, forecast.withheld), (Vec::new(), Vec::new()));
    assert!(!forecast.already.is_empty() && forecast.problems.is_empty(), "{:?}", forecast.problems);
}

/// What usher would write where it only looks.
fn pending(model: &Model) -> Pending {
    let roles = model.world.roles().filter_map(|(name, _)| model.plan_role(name)).flat_map(|plan| plan.withheld);
    let people = model.world.developers().filter_map(|(name, _)| model.plan_developer(name)).flat_map(|plan| plan.withheld);
    let steps: Vec<_> = roles.chain(people).collect();
    model.read(|scene| {
        steps.iter().fold(Pending::default(), |mut pending, step| {
            pending.count(scene, step);
            pending
        })
    })
}

#[test]
fn what_is_pending_tells_whether_it_would_change_what_people_may_do() {
    let mut old = old();
    own(&mut old, "ada", "edit");
    bind(&mut old, "shop-api", "view", &["ada"]);
    Asked::default().of(&old).manifests().lay_over(&mut old.world, Others::Stay, noon());
    assert_eq!(pending(&old), Pending { add: 2, change: 1, remove: 0, access: 0 });
    assert!(observing(pending(&old)).contains("none of the pending changes would change"));

    old.state(&ClusterKey::Home).set_role_binding(&("shop-api".to_owned(), "by-hand-1".to_owned()), None);
    assert_eq!(pending(&old), Pending { add: 2, change: 1, remove: 0, access: 1 });
    assert!(observing(pending(&old)).contains("would change by 1 of the pending changes"));
    bind(&mut old, "shop-api", "edit", &["ada"]);
    assert_eq!(pending(&old).access, 1, "of what another ClusterRole allows the operator knows nothing");
}

#[test]
fn only_the_environments_that_are_named_are_looked_at() {
    let mut old = old();
    bind(&mut old, "shop-api", "view", &["ada"]);
    bind(&mut old, "shop", "view", &["bob"]);
    let found = Asked { environments: ["prod".to_owned()].into(), ..Asked::default() }.of(&old);
    let people: Vec<String> = found.developers.iter().map(ResourceExt::name_any).collect();
    assert_eq!(people, ["bob"]);
}

fn account(username: &str, email: &str, groups: &[&str]) -> Account {
    let profile = Profile { username: username.to_owned(), email: email.to_owned(), ..Profile::default() };
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Account { id: format!("id-{username}"), profile, state: AccountState::Enabled, groups, ..Account::default() }
}

#[test]
fn accounts_are_pinned_to_those_whose_address_they_have() {
    let mut old = old();
    environment(&mut old, "dev", &json!({}));
    let provider = json!({"mode": "Observe", "protected": ["keeper"], "scim": {"url": "https://x.org", "credentialsSecret": {"name": "x", "key": "y"}}});
    old.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "forge"}, "spec": provider}));
    bind(&mut old, "shop-api", "view", &["ada", "bob", "eve", "keeper"]);
    let owner = Owner { installation: "x".to_owned(), person: "y".to_owned(), developer: "eve".to_owned(), adopted: false };
    let accounts = vec![
        account("lovelace", "Ada@example.com", &["devs"]),
        account("bob", "", &["devs", "ops"]),
        account("zoe", "zoe@example.com", &[]),
        account("nameless", "", &[]),
        account("ada", "somebody@elsewhere.org", &["ops"]),
        Account { state: AccountState::Disabled, ..account("eve", "eve@example.com", &[]) },
        Account { owner: Some(owner), ..account("made", "eve@example.com", &[]) },
        account("keeper", "keeper@example.com", &["owners"]),
        Account { administrator: true, ..account("root", "bob@example.com", &[]) },
    ];
    let found = Asked { accounts: [("forge".to_owned(), accounts)].into(), ..Asked::default() }.of(&old);
    let people = specs(&found.developers);
    let pin = |login: &str| json!([{"provider": "forge", "username": login, "id": format!("id-{login}"), "adopt": true}]);
    for (person, login) in [("ada", "lovelace"), ("bob", "bob"), ("zoe", "zoe"), ("somebody", "ada")] {
        assert_eq!(people[person]["accounts"], pin(login), "{person}");
    }
    assert!(people["eve"]["accounts"].is_null() && people["keeper"]["accounts"].is_null());
    assert_eq!(people["zoe"]["email"], "zoe@example.com", "she has nothing but an account");
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for binding in &found.bindings {
        let role = found.roles.iter().find(|role| role.name_any() == binding.spec.role).expect("its Role");
        for group in role.spec.accounts.iter().flat_map(|it| it.groups.iter().flatten()) {
            groups.entry(group.clone()).or_default().extend(binding.spec.developers.iter().cloned());
        }
    }
    let of = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(groups, [("devs".to_owned(), of(&["ada", "bob"])), ("ops".to_owned(), of(&["bob", "somebody"]))].into());
    let lines = lefts(&found);
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for words in ["Account nameless", "Account eve"] {
        assert!(lines.iter().any(|line| line.starts_with(words)), "{words}: {lines:#?}");
    }
}

/// A Role is what the API server takes: of everything no more, and no longer names, than the schema says.
fn fits(role: &usher::api::Role) {
    let spec = &role.spec;
    let names: BTreeSet<&str> = spec.access.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names.len(), spec.access.len(), "entries are told apart: {names:?}");
    assert!(names.iter().all(|name| (1..=40).contains(&name.len())), "{names:?}");
    assert!(role.name_any().len() <= 40 && spec.access.len() <= 32 && spec.accounts.len() <= 32, "{}", role.name_any());
    assert!(spec.access.iter().all(|entry| entry.cluster_roles.len() <= 16 && entry.rules.len() <= 32));
    assert!(spec.accounts.iter().all(|account| account.groups.as_ref().is_none_or(|groups| groups.len() <= 64)));
}

#[test]
fn what_is_more_than_a_role_may_hold_is_in_several() {
    let mut old = old();
    environment(&mut old, "dev", &json!({"allowClusterScope": true}));
    environment(&mut old, "prod", &json!({"allowClusterScope": true}));
    let provider = json!({"mode": "Observe", "scim": {"url": "https://x.org", "credentialsSecret": {"name": "x", "key": "y"}}});
    old.add(&json!({"apiVersion": "usher.dev/v1alpha1", "kind": "Provider", "metadata": {"name": "forge"}, "spec": provider}));
    let many: Vec<String> = (0..20).map(|number| format!("view-of-what-this-department-looks-at-{number}")).collect();
    for name in &many {
        old.settings.fence.may_bind.insert(name.clone());
        old.set_foreign_cluster_role(&ClusterKey::Home, name, true);
        bind(&mut old, "shop-api", name, &["ada"]);
        bind(&mut old, "", name, &["ada"]);
    }
    let groups: Vec<String> = (0..130).map(|number| format!("group-{number}")).collect();
    let names: Vec<&str> = groups.iter().map(String::as_str).collect();
    let accounts = [("forge".to_owned(), vec![account("ada", "ada@example.com", &names)])].into();
    let asked = Asked { accounts, ..Asked::default() };
    let mut rules = rules(&old);
    for all in rules.values_mut() {
        let view = all["view"].clone();
        all.extend(many.iter().map(|name| (name.clone(), view.clone())));
    }
    let found = asked.of_rules(&old, &rules);
    whole(&found);
    found.roles.iter().for_each(fits);
    let said: Vec<&String> =
        found.roles.iter().flat_map(|role| &role.spec.accounts).flat_map(|account| account.groups.iter().flatten()).collect();
    assert_eq!((said.len(), said.into_iter().collect::<BTreeSet<_>>()), (130, groups.iter().collect()));
    let entries = || found.roles.iter().flat_map(|role| &role.spec.access);
    let given: Vec<&String> = entries().flat_map(|entry| &entry.cluster_roles).collect();
    assert_eq!((given.len(), given.into_iter().collect::<BTreeSet<_>>()), (20, many.iter().collect()));
    assert_eq!(entries().filter(|entry| entry.cluster).count(), 20);
    assert_eq!(found.bindings.len(), found.roles.len());
}
