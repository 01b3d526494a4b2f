//! Small random worlds with few names, so that things collide.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelectorRequirement, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use usher::api::developer::WorkspacePin;
use usher::api::environment::{
    ClusterReference, DepartureAction, IdentityKind, NamespaceSelector, OnDeparture, SecretKey, WorkspaceTemplate,
};
use usher::api::metadata::WORKSPACE;
use usher::api::role::{Access, AccessRule, NamespaceChoice};
use usher::api::{
    Binding, BindingSpec, DesiredState, Developer, DeveloperSpec, Environment, EnvironmentSpec, Lock, LockSpec, Mode, Role, RoleSpec,
};
use usher::plan::cluster::ClusterKey;

use crate::cluster_model::Model;

pub const PEOPLE: [&str; 4] = ["ada", "ada-x", "bob", "eve"];
pub const ROLES: [&str; 4] = ["a", "b", "c", "d"];
pub const BINDINGS: [&str; 4] = ["k", "l", "m", "n"];
pub const LOCKS: [&str; 2] = ["x", "y"];
pub const ENVIRONMENTS: [&str; 3] = ["dev", "prod", "stage"];

/// What a model is to see.
pub type Change = Box<dyn FnOnce(&mut Model)>;

/// Everything that people wrote, and the namespaces.
#[derive(Clone, Default)]
pub struct Written {
    pub developers: BTreeMap<String, Developer>,
    pub roles: BTreeMap<String, Role>,
    pub bindings: BTreeMap<String, Binding>,
    pub environments: BTreeMap<String, Environment>,
    pub locks: BTreeMap<String, Lock>,
    pub namespaces: BTreeMap<(ClusterKey, String), BTreeMap<String, String>>,
    pub now: Timestamp,
}

fn line<K: ResourceExt>(object: &K) -> (bool, Option<String>) {
    let paused = object.annotations().keys().map(|key| format!(" {key}")).collect::<String>();
    (object.meta().deletion_timestamp.is_some(), object.creation_timestamp().map(|time| format!("{}{paused}", time.0)))
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = |object: &dyn Fn() -> (bool, Option<String>)| {
            let (deleting, created) = object();
            format!("{}{}", created.unwrap_or_default(), if deleting { " DELETING" } else { "" })
        };
        let text = |value: serde_json::Result<String>| value.unwrap_or_default();
        writeln!(f, "now {}", self.now)?;
        for (name, it) in &self.developers {
            writeln!(f, "dev/{name} {} {}", meta(&|| line(it)), text(serde_json::to_string(&it.spec)))?;
        }
        for (name, it) in &self.roles {
            writeln!(f, "urole/{name}{} {}", meta(&|| line(it)), text(serde_json::to_string(&it.spec)))?;
        }
        for (name, it) in &self.bindings {
            writeln!(f, "ubind/{name}{} {}", meta(&|| line(it)), text(serde_json::to_string(&it.spec)))?;
        }
        for (name, it) in &self.environments {
            writeln!(f, "uenv/{name}{} {}", meta(&|| line(it)), text(serde_json::to_string(&it.spec)))?;
        }
        for (name, it) in &self.locks {
            writeln!(f, "ulock/{name}{} {}", meta(&|| line(it)), text(serde_json::to_string(&it.spec)))?;
        }
        for ((cluster, name), labels) in &self.namespaces {
            writeln!(f, "ns {cluster}/{name} {labels:?}")?;
        }
        Ok(())
    }
}

pub fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().expect("a time")
}

/// So many minutes before noon.
pub fn ago_of(minutes: i64) -> Timestamp {
    later(-minutes)
}

pub fn later(minutes: i64) -> Timestamp {
    noon().checked_add(SignedDuration::from_mins(minutes)).expect("in range")
}

pub fn remote() -> ClusterKey {
    ClusterKey::Remote("other".to_owned(), "kubeconfig".to_owned())
}

/// The clusters that a model of these worlds has.
pub fn model(now: Timestamp) -> Model {
    Model::new(now, [ClusterKey::Home, remote()])
}

pub fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub fn some_of(names: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<String>> {
    subsequence(names.to_vec(), 0..=most.min(names.len())).prop_map(|names| owned(&names))
}

/// A moment around the two times at which worlds are looked at, or none.
fn moment() -> impl Strategy<Value = Option<Time>> {
    prop_oneof![6 => Just(None), 1 => select(vec![-60, 0, 30, 60, 120]).prop_map(|minutes| Some(Time(later(minutes))))]
}

pub fn seldom(one_in: u32) -> impl Strategy<Value = bool> {
    prop_oneof![one_in - 1 => Just(false), 1 => Just(true)]
}

pub fn finish<K: Resource>(mut object: K, deleting: bool, age: i64) -> K {
    let name = object.meta().name.clone().unwrap_or_default();
    let meta = object.meta_mut();
    meta.uid = Some(format!("uid-{}-{name}", std::any::type_name::<K>().rsplit("::").next().unwrap_or_default()));
    meta.generation = Some(1);
    meta.creation_timestamp = Some(Time(later(-1_000 - age)));
    meta.deletion_timestamp = deleting.then(|| Time(noon()));
    object
}

fn pins(name: &'static str) -> impl Strategy<Value = Vec<WorkspacePin>> {
    let namespace = prop_oneof![3 => Just(format!("pin-{name}")), 1 => Just("kube-x".to_owned()), 1 => Just("n1".to_owned())];
    let pin = (select(ENVIRONMENTS.to_vec()), namespace)
        .prop_filter("n1 is for ada alone", move |(_, namespace)| namespace != "n1" || name == "ada")
        .prop_map(|(environment, namespace)| WorkspacePin { environment: environment.to_owned(), namespace });
    prop_oneof![3 => Just(Vec::new()), 1 => vec![pin].prop_map(|pins| pins)]
}

pub fn developer(name: &'static str) -> impl Strategy<Value = Developer> {
    let state = prop_oneof![10 => Just(DesiredState::Active), 1 => Just(DesiredState::Suspended), 1 => Just(DesiredState::Departed)];
    let identity = (
        select(vec!["ada@x", "bob@x", "system:e@x"]),
        prop_oneof![3 => Just(None), 1 => select(vec!["1", "2"]).prop_map(Some)],
        prop_oneof![3 => Just(None), 1 => select(vec!["ada", "bob", "system:me"]).prop_map(Some)],
        prop_oneof![8 => Just(None), 1 => select(vec!["oidc:ada@x", "ada"]).prop_map(Some)],
    );
    (identity, some_of(&["t", "u"], 2), state, (moment(), moment()), pins(name), (seldom(14), 0..2_i64)).prop_map(
        move |((email, person_id, username, kubernetes_user), teams, state, (starts_at, ends_at), workspaces, (deleting, age))| {
            let spec = DeveloperSpec {
                email: email.to_owned(),
                person_id: person_id.map(str::to_owned),
                username: username.map(str::to_owned),
                kubernetes_user: kubernetes_user.map(str::to_owned),
                teams,
                state,
                starts_at,
                ends_at,
                workspaces,
                ..DeveloperSpec::default()
            };
            finish(Developer::new(name, spec), deleting, age)
        },
    )
}

pub fn rule(resources: &[&str], verbs: &[&str]) -> AccessRule {
    AccessRule { api_groups: owned(&[""]), resources: owned(resources), resource_names: Vec::new(), verbs: owned(verbs) }
}

fn rules() -> impl Strategy<Value = Vec<AccessRule>> {
    let one = prop_oneof![
        3 => Just(rule(&["pods"], &["get"])),
        3 => Just(rule(&["pods"], &["get", "list"])),
        3 => Just(rule(&["pods"], &["create"])),
        2 => Just(rule(&["secrets"], &["get"])),
        1 => Just(rule(&["pods"], &["escalate"])),
        1 => Just(AccessRule { resource_names: owned(&["one"]), ..rule(&["pods"], &["get"]) }),
    ];
    vec(one, 0..=2)
}

pub fn namespace_choice() -> impl Strategy<Value = Option<NamespaceChoice>> {
    let labels =
        NamespaceChoice { match_labels: Some(BTreeMap::from([("team".to_owned(), "x".to_owned())])), ..NamespaceChoice::default() };
    let others = NamespaceChoice { match_expressions: Some(vec![expression("team", "NotIn", &["x"])]), ..NamespaceChoice::default() };
    let names = |names: &[&str]| NamespaceChoice { names: Some(owned(names)), ..NamespaceChoice::default() };
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(labels)),
        1 => Just(Some(others)),
        1 => Just(Some(names(&["n1"]))),
        1 => Just(Some(names(&["n1", "n2", "default", "pin-ada"]))),
        1 => Just(Some(names(&[]))),
    ]
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelectorRequirement {
    let values = (!values.is_empty()).then(|| owned(values));
    LabelSelectorRequirement { key: key.to_owned(), operator: operator.to_owned(), values }
}

fn access(name: &'static str) -> impl Strategy<Value = Access> {
    let environments =
        select(vec![vec!["*"], vec!["dev"], vec!["prod"], vec!["dev", "prod"], vec!["dev", "prod", "stage"], vec!["missing", "stage"]]);
    let cluster_roles = some_of(&["view", "edit", "cluster-admin", "nope"], 2);
    (environments, namespace_choice(), cluster_roles, rules(), seldom(4)).prop_map(
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

pub fn role(name: &'static str) -> impl Strategy<Value = Role> {
    let includes = some_of(&["a", "b", "c", "d", "missing"], 2);
    let access = (
        proptest::option::weighted(0.8, access("e")),
        proptest::option::weighted(0.4, access("f")),
        proptest::option::weighted(0.2, access("g")),
    );
    (includes, access, seldom(14)).prop_map(move |(includes, (e, f, g), deleting)| {
        let access = [e, f, g].into_iter().flatten().collect();
        finish(Role::new(name, RoleSpec { includes, access, ..RoleSpec::default() }), deleting, 0)
    })
}

pub fn binding(name: &'static str) -> impl Strategy<Value = Binding> {
    let role = select(vec!["a", "b", "c", "d", "a", "b", "missing"]);
    let environments = prop_oneof![
        6 => Just(None),
        1 => Just(Some(Vec::new())),
        1 => Just(Some(owned(&["dev"]))),
        1 => Just(Some(owned(&["dev", "prod"]))),
        1 => Just(Some(owned(&["missing", "prod"]))),
    ];
    (role, some_of(&["ada", "ada-x", "bob", "nobody"], 3), some_of(&["t", "u"], 2), environments, (moment(), moment()), seldom(14))
        .prop_map(move |(role, developers, teams, environments, (starts_at, expires_at), deleting)| {
            let spec =
                BindingSpec { role: role.to_owned(), developers, teams, environments, starts_at, expires_at, ..BindingSpec::default() };
            finish(Binding::new(name, spec), deleting, 0)
        })
}

pub fn lock(name: &'static str) -> impl Strategy<Value = Lock> {
    let developer = select(vec!["ada", "ada-x", "bob", "eve", "nobody"]);
    (developer, moment(), seldom(4), any::<bool>(), seldom(8)).prop_map(move |(developer, until, lifted, revoke_credentials, deleting)| {
        let reason = "SEC-91".to_owned();
        let spec = LockSpec { developer: developer.to_owned(), reason, until, lifted, revoke_credentials };
        finish(Lock::new(name, spec), deleting, 0)
    })
}

fn selector(name: &'static str) -> impl Strategy<Value = Option<NamespaceSelector>> {
    let labels = |key: &str, value: &str| {
        let match_labels = Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        Some(NamespaceSelector { match_labels, match_expressions: None })
    };
    let any = Some(NamespaceSelector { match_labels: None, match_expressions: Some(vec![expression("env", "Exists", &[])]) });
    prop_oneof![8 => Just(labels("env", name)), 1 => Just(labels("team", "x")), 1 => Just(any), 1 => Just(None)]
}

fn template() -> impl Strategy<Value = WorkspaceTemplate> {
    let labels = prop_oneof![6 => Just(None), 1 => Just(Some(("env", "dev"))), 1 => Just(Some(("cost", "rnd")))];
    let cluster_role = select(vec!["usher-developer", "usher-developer", "edit", "cluster-admin"]);
    let name = select(vec!["{environment}-{developer}", "{environment}-{developer}", "{developer}-{environment}", "kube-{developer}"]);
    (name, cluster_role, labels, any::<bool>()).prop_map(|(name, cluster_role, labels, bounded)| {
        let mut template =
            WorkspaceTemplate { name: name.to_owned(), cluster_role: cluster_role.to_owned(), ..WorkspaceTemplate::default() };
        template.labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        if bounded {
            let half = IntOrString::String("0.5".to_owned());
            template.quota = BTreeMap::from([("requests.cpu".to_owned(), half), ("pods".to_owned(), IntOrString::Int(20))]);
            template.on_departure = OnDeparture { action: DepartureAction::Delete, ..OnDeparture::default() };
        }
        template
    })
}

pub fn environment(name: &'static str) -> impl Strategy<Value = Environment> {
    let identity = prop_oneof![
        3 => Just(None),
        3 => select(vec!["oidc:{email}", "{name}", "{username}", "id-{personId}", "{email}"]).prop_map(Some),
    ];
    let mode = prop_oneof![8 => Just(Mode::Enforce), 1 => Just(Mode::Observe)];
    let place = prop_oneof![5 => Just(false), 1 => Just(name == "stage")];
    (selector(name), identity, mode, place, (seldom(3), any::<bool>()), proptest::option::of(template()), seldom(14)).prop_map(
        move |(namespaces, identity, mode, elsewhere, (home, allow_cluster_scope), workspace, deleting)| {
            let secret = SecretKey { name: "other".to_owned(), key: "kubeconfig".to_owned() };
            let spec = EnvironmentSpec {
                cluster: elsewhere.then_some(ClusterReference { kubeconfig_secret: secret }),
                mode,
                namespaces,
                home,
                allow_cluster_scope,
                identity: identity.map(|user| IdentityKind { service_account: None, user: Some(user.to_owned()) }),
                workspace,
            };
            finish(Environment::new(name, spec), deleting, 0)
        },
    )
}

type Namespaces = BTreeMap<(ClusterKey, String), BTreeMap<String, String>>;

fn namespaces() -> impl Strategy<Value = Namespaces> {
    let labels = (
        proptest::option::weighted(0.8, select(ENVIRONMENTS.to_vec())),
        proptest::option::of(select(vec!["x", "y"])),
        proptest::option::weighted(0.05, Just("ada")),
    )
        .prop_map(|(env, team, workspace)| {
            let pairs = [("env", env), ("team", team), (WORKSPACE, workspace)];
            pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned()))).collect::<BTreeMap<_, _>>()
        });
    let home = ["n1", "n2", "n3", "default", "kube-x", "dev-ada", "pin-bob", "usher-system"];
    let all = home.map(|name| (ClusterKey::Home, name)).into_iter().chain(["n1", "r2"].map(|name| (remote(), name)));
    let all: Vec<_> = all.collect();
    vec(proptest::option::weighted(0.7, labels), all.len()).prop_map(move |drawn| {
        let pairs = all.iter().zip(drawn).filter_map(|((cluster, name), labels)| Some(((cluster.clone(), (*name).to_owned()), labels?)));
        pairs.collect()
    })
}

/// Each of some names with an object, or without.
fn some<K: fmt::Debug, S: Strategy<Value = K>>(
    names: &'static [&'static str],
    likely: f64,
    make: impl Fn(&'static str) -> S,
) -> impl Strategy<Value = BTreeMap<String, K>> {
    let each: Vec<_> = names.iter().map(|name| proptest::option::weighted(likely, make(name))).collect();
    each.prop_map(|drawn| names.iter().zip(drawn).filter_map(|(name, object)| Some(((*name).to_owned(), object?))).collect())
}

/// A random world, looked at at noon.
pub fn written() -> impl Strategy<Value = Written> {
    (
        some(&PEOPLE, 0.85, developer),
        some(&ROLES, 0.8, role),
        some(&BINDINGS, 0.8, binding),
        some(&ENVIRONMENTS, 0.85, environment),
        some(&LOCKS, 0.25, lock),
        namespaces(),
    )
        .prop_map(|(developers, roles, bindings, environments, locks, namespaces)| Written {
            developers,
            roles,
            bindings,
            environments,
            locks,
            namespaces,
            now: noon(),
        })
}

/// Takes some objects of one world and some of the other.
fn mixed<K: Clone>(old: &BTreeMap<String, K>, new: &BTreeMap<String, K>, keep: u16) -> BTreeMap<String, K> {
    let names = old.keys().chain(new.keys()).collect::<std::collections::BTreeSet<_>>();
    let chosen = names.into_iter().enumerate().filter_map(|(at, name)| {
        let from = if keep >> at & 1 == 1 { old } else { new };
        Some((name.clone(), from.get(name)?.clone()))
    });
    chosen.collect()
}

/// A world and what becomes of it by an edit: everything may change but what admission holds fast.
pub fn edit() -> impl Strategy<Value = (Written, Written)> {
    let keep = || prop_oneof![1 => any::<u16>(), 1 => Just(u16::MAX)];
    (written(), written(), [keep(), keep(), keep(), keep(), keep()], any::<bool>(), seldom(3)).prop_map(
        |(old, new, [developers, roles, bindings, environments, locks], relabel, move_on)| {
            let mut next = Written {
                developers: mixed(&old.developers, &new.developers, developers),
                roles: mixed(&old.roles, &new.roles, roles),
                bindings: mixed(&old.bindings, &new.bindings, bindings),
                environments: mixed(&old.environments, &new.environments, environments),
                locks: mixed(&old.locks, &new.locks, locks),
                namespaces: if relabel { new.namespaces } else { old.namespaces.clone() },
                now: if move_on { later(60) } else { noon() },
            };
            for (name, developer) in &mut next.developers {
                let Some(before) = old.developers.get(name) else { continue };
                developer.spec.kubernetes_user.clone_from(&before.spec.kubernetes_user);
                developer.spec.person_id = before.spec.person_id.clone().or_else(|| developer.spec.person_id.clone());
                developer.metadata.creation_timestamp.clone_from(&before.metadata.creation_timestamp);
            }
            (old, next)
        },
    )
}

fn dying<K: Resource + Clone>(old: &BTreeMap<String, K>, new: &BTreeMap<String, K>, now: Timestamp) -> BTreeMap<String, K> {
    let mut all = new.clone();
    for (name, object) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
        let mut object = object.clone();
        object.meta_mut().deletion_timestamp = Some(Time(now));
        all.insert(name.clone(), object);
    }
    all
}

/// Every name that is there or should be, with what should be.
fn differing<'a, K: Clone>(there: impl Iterator<Item = &'a String>, wanted: &BTreeMap<String, K>) -> BTreeMap<String, Option<K>> {
    let gone = there.map(|name| (name.clone(), None));
    gone.chain(wanted.iter().map(|(name, object)| (name.clone(), Some(object.clone())))).collect()
}

impl Written {
    /// This world with everything of another one that is not in it being deleted: finalizers make every deletion an event.
    pub fn after(&self, old: &Self) -> Self {
        Self {
            developers: dying(&old.developers, &self.developers, self.now),
            roles: dying(&old.roles, &self.roles, self.now),
            bindings: dying(&old.bindings, &self.bindings, self.now),
            environments: dying(&old.environments, &self.environments, self.now),
            locks: dying(&old.locks, &self.locks, self.now),
            namespaces: self.namespaces.clone(),
            now: self.now,
        }
    }

    /// This world when all that is being deleted is gone.
    pub fn alive(&self) -> Self {
        fn alive<K: ResourceExt>(objects: &mut BTreeMap<String, K>) {
            objects.retain(|_, object| object.meta().deletion_timestamp.is_none());
        }
        let mut next = self.clone();
        alive(&mut next.developers);
        alive(&mut next.roles);
        alive(&mut next.bindings);
        alive(&mut next.environments);
        alive(&mut next.locks);
        next
    }

    /// Makes a model see exactly this. Namespaces that usher made stay.
    pub fn apply(&self, model: &mut Model) {
        model.now = self.now;
        for change in self.changes(model) {
            change(model);
        }
        self.apply_namespaces(model);
    }

    /// Everything that a model is to see, object by object.
    pub fn changes(&self, model: &Model) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let world = &model.world;
        for (name, object) in differing(world.environments().map(|(name, _)| name), &self.environments) {
            changes.push(Box::new(move |model| model.set_environment(&name, object)));
        }
        for (name, object) in differing(world.locks().map(|(name, _)| name), &self.locks) {
            changes.push(Box::new(move |model| model.set_lock(&name, object)));
        }
        for (name, object) in differing(world.developers().map(|(name, _)| name), &self.developers) {
            changes.push(Box::new(move |model| model.set_developer(&name, object)));
        }
        for (name, object) in differing(world.roles().map(|(name, _)| name), &self.roles) {
            changes.push(Box::new(move |model| model.set_role(&name, object)));
        }
        for (name, object) in differing(world.bindings().map(|(name, _)| name), &self.bindings) {
            changes.push(Box::new(move |model| model.set_binding(&name, object)));
        }
        changes
    }

    pub fn apply_namespaces(&self, model: &mut Model) {
        for cluster in model.clusters.keys().cloned().collect::<Vec<_>>() {
            let state = &model.clusters[&cluster];
            let theirs = state.namespaces.iter().filter(|(name, it)| !state.ours(it.as_ref()) && *name != "usher-identities");
            let gone = theirs.map(|(name, _)| name.clone()).filter(|name| !self.namespaces.contains_key(&(cluster.clone(), name.clone())));
            for name in gone.collect::<Vec<_>>() {
                model.set_namespace(&cluster, &name, None);
            }
        }
        for ((cluster, name), labels) in &self.namespaces {
            model.set_namespace(cluster, name, Some(labels.clone()));
        }
    }
}
