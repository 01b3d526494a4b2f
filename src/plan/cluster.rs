//! What a cluster was seen to hold: usher's own objects, the namespaces, and what others made that matters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::ResourceExt;

use crate::api::Environment;
use crate::api::metadata::{DEVELOPER, ENVIRONMENT, IDENTITIES_NAMESPACE, ROLE, WORKSPACE};

use super::bound::{Bound, People, RbacBinding};
use super::change::ours;
use super::identity::Known;
use super::person::Mark;
use super::settings::Settings;
use super::shelf::{Shelf, compact};
use super::territory::Territory;
use super::world::World;

/// Which cluster: the home cluster, or the one that a Secret's kubeconfig leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterKey {
    /// The cluster that usher runs in.
    Home,
    /// Another one: Secret and key.
    Remote(String, String),
}

impl ClusterKey {
    /// The cluster of an Environment.
    pub fn of(environment: &Environment) -> Self {
        match &environment.spec.cluster {
            None => Self::Home,
            Some(cluster) => Self::Remote(cluster.kubeconfig_secret.name.clone(), cluster.kubeconfig_secret.key.clone()),
        }
    }

    /// A text that no other cluster has.
    pub fn id(&self) -> String {
        match self {
            Self::Home => self.to_string(),
            Self::Remote(secret, key) => format!("{secret}/{key}"),
        }
    }
}

impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("in-cluster"),
            Self::Remote(secret, _) => f.write_str(secret),
        }
    }
}

/// Namespace (empty for cluster-scoped objects) and name.
pub type Key = (String, String);

/// How a ServiceAccount of a person's name stands.
#[derive(Clone, Copy, Debug)]
pub enum Account<'a> {
    /// It is not there.
    Missing,
    /// This installation made it, for whom its mark says.
    Marked(&'a Mark),
    /// It is somebody else's, or nobody knows whose.
    Unmarked,
}

/// What a cluster was seen to hold.
#[derive(Debug, Default)]
pub struct ClusterState {
    installation: String,
    /// Every namespace, its metadata only.
    pub namespaces: BTreeMap<String, Arc<Namespace>>,
    /// Which namespace belongs to which Environment.
    pub territory: Territory,
    /// ClusterRoles of this installation.
    pub cluster_roles: BTreeMap<String, Arc<ClusterRole>>,
    /// The names of all other ClusterRoles.
    pub foreign_cluster_roles: HashSet<String>,
    /// RoleBindings, those of others too.
    pub role_bindings: BTreeMap<Key, Bound<RoleBinding>>,
    /// ClusterRoleBindings, those of others too.
    pub cluster_role_bindings: BTreeMap<Key, Bound<ClusterRoleBinding>>,
    /// ServiceAccounts of people.
    pub service_accounts: Shelf<ServiceAccount>,
    /// Quotas of workspaces.
    pub quotas: Shelf<ResourceQuota>,
    /// Limits of workspaces.
    pub limits: Shelf<LimitRange>,
    /// Isolation of workspaces.
    pub network_policies: Shelf<NetworkPolicy>,
    /// What people are told.
    pub config_maps: Shelf<ConfigMap>,
    /// Credentials, their values replaced by digests.
    pub secrets: Shelf<Secret>,
    by_role: HashMap<String, Vec<Key>>,
    /// The RoleBindings of Roles that name somebody.
    by_subject: HashMap<Known, Vec<Arc<Key>>>,
    /// How many bindings of Roles have a name, one a namespace, and whom the last of them named.
    named: HashMap<String, (usize, People)>,
    workspaces: HashMap<String, Vec<String>>,
    accounts: HashMap<String, Vec<Key>>,
    /// ServiceAccounts among those of people that others made.
    strangers: HashSet<String>,
    /// By Developer the marks on her workspaces, and on her ServiceAccounts.
    marks: HashMap<String, [Marks; 2]>,
    /// The bindings of others that name somebody.
    foreign: HashMap<Known, Vec<Key>>,
}

/// Takes in that something is there or not under a label.
fn index<K: Ord + Clone>(map: &mut HashMap<String, Vec<K>>, label: Option<&String>, key: &K, present: bool) {
    if let Some(label) = label {
        list(map, label, key, present);
    }
}

/// Puts a key into the list of something, or takes it out. Lists are in order; most are short, for which a set would have room for eleven.
fn list<Q: Eq + Hash + Clone, K: Ord + Clone>(map: &mut HashMap<Q, Vec<K>>, of: &Q, key: &K, present: bool) {
    let keys = map.entry(of.clone()).or_default();
    match (keys.binary_search(key), present) {
        (Err(place), true) => keys.insert(place, key.clone()),
        (Ok(place), false) => drop(keys.remove(place)),
        (Ok(_), true) | (Err(_), false) => {}
    }
    if keys.is_empty() {
        map.remove(of);
    }
}

/// Marks by what they are on, in order. There are few of each, for which a map would have room for eleven.
type Marks = Vec<(Key, Mark)>;

fn set_mark(marks: &mut Marks, key: &Key, mark: Option<Mark>) {
    marks.retain(|(other, _)| other != key);
    if let Some(mark) = mark {
        marks.reserve_exact(1);
        marks.insert(marks.partition_point(|(other, _)| other < key), (key.clone(), mark));
    }
}

/// Takes in a mark on something of a Developer of that name, or that it is gone.
fn mark_of(marks: &mut HashMap<String, [Marks; 2]>, developer: &str, kind: usize, key: &Key, mark: Option<Mark>) {
    let hers = marks.entry(developer.to_owned()).or_default();
    if let Some(marks) = hers.get_mut(kind) {
        set_mark(marks, key, mark);
    }
    if hers.iter().all(Vec::is_empty) {
        marks.remove(developer);
    }
}

impl ClusterState {
    /// Nothing seen yet.
    pub fn new(installation: &str) -> Self {
        Self { installation: installation.to_owned(), ..Self::default() }
    }

    /// Divides its namespaces among the Environments that are written.
    pub fn divide(&mut self, world: &World, settings: &Settings, cluster: &ClusterKey) {
        let here = world.environments().map(|(_, environment)| environment.as_ref());
        self.territory.set_environments(&settings.namespace, here.filter(|environment| ClusterKey::of(environment) == *cluster));
    }

    /// Takes no more room than it needs, after everything was read.
    pub fn compact(&mut self) {
        compact(&mut self.namespaces);
        compact(&mut self.role_bindings);
        self.service_accounts.compact();
        self.quotas.compact();
        self.limits.compact();
        self.network_policies.compact();
        self.config_maps.compact();
        self.secrets.compact();
    }

    /// The installation whose objects are usher's own here.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Takes in a namespace as it is now, or its going.
    pub fn set_namespace(&mut self, name: &str, namespace: Option<Arc<Namespace>>) -> Option<Arc<Namespace>> {
        let old = match namespace.clone() {
            Some(new) => self.namespaces.insert(name.to_owned(), new),
            None => self.namespaces.remove(name),
        };
        for (namespace, present) in [(&old, false), (&namespace, true)] {
            let Some(namespace) = namespace.as_ref().filter(|namespace| ours(namespace.as_ref(), &self.installation)) else { continue };
            let Some(developer) = namespace.labels().get(WORKSPACE) else { continue };
            index(&mut self.workspaces, Some(developer), &name.to_owned(), present);
            let mark = Mark::read(namespace.labels(), namespace.annotations()).filter(|_| present);
            mark_of(&mut self.marks, developer, 0, &(String::new(), name.to_owned()), mark);
        }
        self.territory.set_namespace(name, namespace.as_deref());
        old
    }

    /// Takes in a RoleBinding as it is now, or its going.
    pub fn set_role_binding(&mut self, key: &Key, binding: Option<Arc<RoleBinding>>) -> Option<Bound<RoleBinding>> {
        let bound = binding.map(|object| self.bound(key, object));
        let old = replace(&mut self.role_bindings, key, bound.clone());
        for (bound, present) in [(&old, false), (&bound, true)] {
            if let Some(bound) = bound {
                self.index_foreign(key, bound, present);
                if bound.ours {
                    index(&mut self.by_role, bound.labels().get(ROLE), key, present);
                    self.count_name(key, bound, present);
                }
            }
        }
        self.index_subjects(key, old.as_ref(), bound.as_ref());
        old
    }

    /// Takes in whom a RoleBinding of a Role named and names. Most of its people stay when it is written.
    fn index_subjects(&mut self, key: &Key, old: Option<&Bound<RoleBinding>>, new: Option<&Bound<RoleBinding>>) {
        let of_role = |bound: &&Bound<RoleBinding>| bound.ours && bound.labels().contains_key(ROLE);
        let people = |bound: Option<&Bound<RoleBinding>>| bound.filter(of_role).map(|bound| bound.subjects.clone()).unwrap_or_default();
        let (old, new) = (people(old), people(new));
        if Arc::ptr_eq(&old, &new) {
            return;
        }
        let key = Arc::new(key.clone());
        for (people, others, present) in [(&old, &new, false), (&new, &old, true)] {
            people.difference(others).for_each(|known| list(&mut self.by_subject, known, &key, present));
        }
    }

    /// Takes in a ClusterRoleBinding as it is now, or its going.
    pub fn set_cluster_role_binding(&mut self, key: &Key, binding: Option<Arc<ClusterRoleBinding>>) -> Option<Bound<ClusterRoleBinding>> {
        let bound = binding.map(|object| self.bound(key, object));
        let old = replace(&mut self.cluster_role_bindings, key, bound.clone());
        for (bound, present) in [(&old, false), (&bound, true)] {
            if let Some(bound) = bound {
                self.index_foreign(key, bound, present);
            }
        }
        old
    }

    /// Takes in a ClusterRole as it is now, or its going.
    pub fn set_cluster_role(&mut self, name: &str, role: Option<Arc<ClusterRole>>) -> bool {
        let own = role.as_ref().is_some_and(|role| ours(role.as_ref(), &self.installation));
        let had = self.cluster_roles.contains_key(name) || self.foreign_cluster_roles.contains(name);
        if !own {
            self.cluster_roles.remove(name);
        }
        self.foreign_cluster_roles.remove(name);
        match role {
            Some(role) if own => {
                self.cluster_roles.insert(name.to_owned(), role);
            }
            Some(_) => {
                self.foreign_cluster_roles.insert(name.to_owned());
            }
            None => {}
        }
        had
    }

    /// Takes in a ServiceAccount of a person as it is now, or its going.
    pub fn set_service_account(&mut self, key: &Key, account: Option<Arc<ServiceAccount>>) -> Option<Arc<ServiceAccount>> {
        let old = self.service_accounts.replace(key, account.as_deref());
        for (account, present) in [(&old, false), (&account, true)] {
            if let Some(account) = account.as_ref().filter(|account| ours(account.as_ref(), &self.installation)) {
                index(&mut self.accounts, account.labels().get(DEVELOPER), key, present);
                if let Some(developer) = account.labels().get(DEVELOPER) {
                    let mark = Mark::read(account.labels(), account.annotations()).filter(|_| present);
                    mark_of(&mut self.marks, developer, 1, key, mark);
                }
            }
        }
        if account.is_some_and(|account| key.0 == IDENTITIES_NAMESPACE && !ours(account.as_ref(), &self.installation)) {
            self.strangers.insert(key.1.clone());
        } else {
            self.strangers.remove(&key.1);
        }
        old
    }

    fn bound<K: RbacBinding>(&self, (_, name): &Key, object: Arc<K>) -> Bound<K> {
        let ours = ours(object.as_ref(), &self.installation);
        let of_role = ours && object.labels().contains_key(ROLE);
        Bound::new(object, ours, |people| if of_role { self.shared(name, people) } else { Arc::new(people) })
    }

    /// Those people as they are kept already: by the same binding of another namespace, or each of them by other bindings.
    fn shared(&self, binding: &str, people: BTreeSet<Known>) -> People {
        if let Some((_, same)) = self.named.get(binding).filter(|(_, same)| **same == people) {
            return same.clone();
        }
        let kept = |known: Known| self.by_subject.get_key_value(&known).map_or(known, |(kept, _)| kept.clone());
        Arc::new(people.into_iter().map(kept).collect())
    }

    /// Takes in that a binding of a Role has its name, or has it no more.
    fn count_name(&mut self, (_, name): &Key, bound: &Bound<RoleBinding>, present: bool) {
        if !bound.labels().contains_key(ROLE) {
            return;
        }
        if present {
            let (count, people) = self.named.entry(name.clone()).or_default();
            *count += 1;
            people.clone_from(&bound.subjects);
        } else if let Some((count, _)) = self.named.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(name);
            }
        }
    }

    /// Takes in whom a binding of somebody else's names, or that it is gone.
    fn index_foreign<K>(&mut self, key: &Key, bound: &Bound<K>, present: bool) {
        if !bound.ours {
            bound.subjects.iter().for_each(|known| list(&mut self.foreign, known, key, present));
        }
    }

    /// The RoleBindings that this installation made for a Role.
    pub fn role_bindings_of<'a>(&'a self, role: &str) -> impl Iterator<Item = (&'a Key, &'a Bound<RoleBinding>)> {
        self.by_role.get(role).into_iter().flatten().filter_map(|key| self.role_bindings.get_key_value(key))
    }

    /// The RoleBindings that this installation made for Roles and that name somebody.
    pub fn role_bindings_naming<'a>(&'a self, known: &Known) -> impl Iterator<Item = (&'a Key, &'a Bound<RoleBinding>)> {
        self.by_subject.get(known).into_iter().flatten().filter_map(|key| self.role_bindings.get_key_value(key.as_ref()))
    }

    /// Those of them in one namespace.
    pub fn role_bindings_naming_in<'a>(&'a self, known: &Known, namespace: &'a str) -> impl Iterator<Item = &'a Bound<RoleBinding>> {
        let from = (namespace.to_owned(), String::new());
        let keys =
            self.by_subject.get(known).into_iter().flat_map(move |keys| keys.iter().skip(keys.partition_point(|key| key.as_ref() < &from)));
        keys.take_while(move |key| key.0 == namespace).filter_map(|key| self.role_bindings.get(key.as_ref()))
    }

    /// The same people as the bindings of that name named last, kept once.
    pub fn kept(&self, binding: &str, people: People) -> People {
        // Equal if it is the very same, which is seldom not so.
        self.named.get(binding).map(|(_, same)| same).filter(|same| **same == people).cloned().unwrap_or(people)
    }

    /// The ClusterRoleBindings that this installation made for a Role.
    pub fn cluster_role_bindings_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a Key, &'a Bound<ClusterRoleBinding>)> {
        self.cluster_role_bindings
            .iter()
            .filter(move |(_, bound)| bound.ours && bound.labels().get(ROLE).is_some_and(|label| label == role))
    }

    /// The ClusterRoles that this installation made for a Role.
    pub fn cluster_roles_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a String, &'a Arc<ClusterRole>)> {
        self.cluster_roles.iter().filter(move |(_, object)| object.labels().get(ROLE).is_some_and(|label| label == role))
    }

    /// The RoleBindings that this installation made in a workspace for its owner.
    pub fn owner_bindings<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Bound<RoleBinding>> {
        self.own_bindings_in(namespace).filter(|binding| !binding.labels().contains_key(ROLE))
    }

    /// The Roles for which this installation has bindings in a namespace.
    pub fn roles_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a String> {
        self.own_bindings_in(namespace).filter_map(|binding| binding.labels().get(ROLE))
    }

    fn own_bindings_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Bound<RoleBinding>> {
        let from = (namespace.to_owned(), String::new());
        let here = self.role_bindings.range(from..).take_while(move |((at, _), _)| at == namespace);
        here.map(|(_, bound)| bound).filter(|bound| bound.ours)
    }

    /// The workspaces that this installation made for a Developer of that name.
    pub fn workspaces_of<'a>(&'a self, developer: &str) -> impl Iterator<Item = &'a Arc<Namespace>> {
        self.workspaces.get(developer).into_iter().flatten().filter_map(|name| self.namespaces.get(name))
    }

    /// All workspaces of an Environment.
    pub fn workspaces_in<'a>(&'a self, environment: &'a str) -> impl Iterator<Item = &'a Arc<Namespace>> {
        let names = self.workspaces.values().flatten();
        names
            .filter_map(|name| self.namespaces.get(name))
            .filter(move |namespace| namespace.labels().get(ENVIRONMENT).is_some_and(|label| label == environment))
    }

    /// The ServiceAccounts that this installation made for a Developer of that name.
    pub fn service_accounts_of<'a>(&'a self, developer: &str) -> impl Iterator<Item = (&'a Key, Arc<ServiceAccount>)> {
        self.accounts.get(developer).into_iter().flatten().filter_map(|key| self.service_accounts.get_key_value(key))
    }

    /// Whether a ServiceAccount is not there, or made for a Developer of that name, with its mark.
    pub fn account_of(&self, developer: &str, key: &Key) -> Account<'_> {
        let mark = self.marks.get(developer).and_then(|[_, accounts]| accounts.iter().find(|(account, _)| account == key));
        match mark {
            Some((_, mark)) => Account::Marked(mark),
            None if self.service_accounts.contains_key(key) => Account::Unmarked,
            None => Account::Missing,
        }
    }

    /// The marks on what was made for a Developer of that name.
    pub fn marks_of<'a>(&'a self, developer: &str) -> impl Iterator<Item = &'a Mark> {
        self.marks.get(developer).into_iter().flatten().flatten().map(|(_, mark)| mark)
    }

    /// Whether somebody else made the ServiceAccount of that name.
    pub fn is_stranger(&self, account: &str) -> bool {
        self.strangers.contains(account)
    }

    /// How many bindings of others name somebody.
    pub fn foreign_bindings(&self, known: &Known) -> i64 {
        i64::try_from(self.foreign_bindings_of(known).len()).unwrap_or(i64::MAX)
    }

    /// The bindings of others that name somebody; those without a namespace are cluster-wide.
    pub fn foreign_bindings_of(&self, known: &Known) -> &[Key] {
        self.foreign.get(known).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a ClusterRole exists.
    pub fn has_cluster_role(&self, name: &str) -> bool {
        self.foreign_cluster_roles.contains(name) || self.cluster_roles.contains_key(name)
    }

    /// Whether an object is this installation's.
    pub fn ours(&self, object: &impl ResourceExt) -> bool {
        ours(object, &self.installation)
    }
}

/// Puts an object into a table, or takes it out.
pub fn replace<V>(table: &mut BTreeMap<Key, V>, key: &Key, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => table.insert(key.clone(), value),
        None => table.remove(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::change::labels;

    fn binding(role: Option<&str>, people: &[&str]) -> Arc<RoleBinding> {
        let mut binding = RoleBinding::default();
        binding.metadata.labels = Some(labels("here", role.map(|role| (ROLE, role))));
        binding.subjects = Some(people.iter().map(|name| Known::ServiceAccount((*name).into()).subject()).collect());
        Arc::new(binding)
    }

    fn naming(state: &ClusterState, name: &str) -> Vec<Key> {
        state.role_bindings_naming(&Known::ServiceAccount(name.into())).map(|(key, _)| key.clone()).collect()
    }

    #[test]
    fn who_is_named_is_found_by_name_as_bindings_come_change_and_go() {
        let mut state = ClusterState::new("here");
        let (one, two) = (("n1".to_owned(), "b".to_owned()), ("n2".to_owned(), "b".to_owned()));
        state.set_role_binding(&one, Some(binding(Some("r"), &["ada", "bob"])));
        state.set_role_binding(&two, Some(binding(Some("r"), &["ada"])));
        assert_eq!((naming(&state, "ada"), naming(&state, "bob")), (vec![one.clone(), two.clone()], vec![one.clone()]));
        let ada = Known::ServiceAccount("ada".into());
        assert_eq!((state.role_bindings_naming_in(&ada, "n2").count(), state.role_bindings_naming_in(&ada, "n").count()), (1, 0));
        state.set_role_binding(&one, Some(binding(Some("r"), &["bob", "eve"])));
        assert_eq!((naming(&state, "ada"), naming(&state, "eve")), (vec![two.clone()], vec![one.clone()]));
        state.set_role_binding(&one, Some(binding(None, &["bob", "eve"])));
        state.set_role_binding(&two, None);
        assert!(state.by_subject.is_empty(), "{:?}", state.by_subject);
    }

    #[test]
    fn who_is_named_alike_in_many_namespaces_is_kept_once() {
        let mut state = ClusterState::new("here");
        let key = |namespace: &str| (namespace.to_owned(), "b".to_owned());
        for people in [&["ada", "bob"][..], &["ada", "bob", "eve"]] {
            for namespace in ["n1", "n2"] {
                state.set_role_binding(&key(namespace), Some(binding(Some("r"), people)));
            }
            let kept = |namespace: &str| state.role_bindings.get(&key(namespace)).map(|bound| Arc::as_ptr(&bound.subjects));
            assert_eq!(kept("n1"), kept("n2"));
        }
        state.set_role_binding(&key("n1"), None);
        state.set_role_binding(&key("n2"), None);
        assert!(state.named.is_empty(), "{:?}", state.named);
    }
}
