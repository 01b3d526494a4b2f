//! What a cluster was seen to hold: usher's own objects, the namespaces, and what others made that matters.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding, RoleRef, Subject};
use kube::ResourceExt;

use crate::api::Environment;
use crate::api::metadata::{DEVELOPER, ENVIRONMENT, ROLE, WORKSPACE};

use super::change::ours;
use super::identity::Known;
use super::person::Mark;
use super::territory::Territory;

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
}

impl ClusterKey {
    /// A text that no other cluster has.
    pub fn id(&self) -> String {
        match self {
            Self::Home => "in-cluster".to_owned(),
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

/// Objects by namespace and name.
pub type Table<K> = BTreeMap<Key, Arc<K>>;

/// A RoleBinding or ClusterRoleBinding with its subjects for quick asking.
#[derive(Clone, Debug)]
pub struct Bound<K> {
    /// The object.
    pub object: Arc<K>,
    /// Those of its subjects that could be people.
    pub subjects: HashSet<Known>,
    /// Whether this installation made it.
    pub ours: bool,
}

/// A binding of RBAC, of either scope.
pub trait RbacBinding: ResourceExt {
    /// Its subjects.
    fn subjects(&self) -> &[Subject];
    /// What it gives.
    fn role_ref(&self) -> &RoleRef;
    /// Takes out the subjects that do not pass.
    fn keep_subjects(&mut self, pass: impl FnMut(&Subject) -> bool);
}

impl RbacBinding for RoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
    fn role_ref(&self) -> &RoleRef {
        &self.role_ref
    }
    fn keep_subjects(&mut self, pass: impl FnMut(&Subject) -> bool) {
        self.subjects.get_or_insert_default().retain(pass);
    }
}

impl RbacBinding for ClusterRoleBinding {
    fn subjects(&self) -> &[Subject] {
        self.subjects.as_deref().unwrap_or_default()
    }
    fn role_ref(&self) -> &RoleRef {
        &self.role_ref
    }
    fn keep_subjects(&mut self, pass: impl FnMut(&Subject) -> bool) {
        self.subjects.get_or_insert_default().retain(pass);
    }
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
    pub service_accounts: Table<ServiceAccount>,
    /// Quotas of workspaces.
    pub quotas: Table<ResourceQuota>,
    /// Limits of workspaces.
    pub limits: Table<LimitRange>,
    /// Isolation of workspaces.
    pub network_policies: Table<NetworkPolicy>,
    /// What people are told.
    pub config_maps: Table<ConfigMap>,
    /// Credentials, their values replaced by digests.
    pub secrets: Table<Secret>,
    by_role: HashMap<String, BTreeSet<Key>>,
    /// The RoleBindings of Roles that name somebody.
    by_subject: HashMap<Known, BTreeSet<Arc<Key>>>,
    workspaces: HashMap<String, BTreeSet<String>>,
    accounts: HashMap<String, BTreeSet<Key>>,
    foreign: HashMap<Known, i64>,
}

fn index(map: &mut HashMap<String, BTreeSet<Key>>, label: Option<&String>, key: &Key, present: bool) {
    let Some(label) = label else { return };
    let keys = map.entry(label.clone()).or_default();
    if present {
        keys.insert(key.clone());
    } else {
        keys.remove(key);
    }
    if keys.is_empty() {
        map.remove(label);
    }
}

impl ClusterState {
    /// Nothing seen yet.
    pub fn new(installation: &str) -> Self {
        Self { installation: installation.to_owned(), ..Self::default() }
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
            let names = self.workspaces.entry(developer.clone()).or_default();
            if present {
                names.insert(name.to_owned());
            } else {
                names.remove(name);
            }
        }
        self.territory.set_namespace(name, namespace.as_deref());
        old
    }

    /// Takes in a RoleBinding as it is now, or its going.
    pub fn set_role_binding(&mut self, key: &Key, binding: Option<Arc<RoleBinding>>) -> Option<Bound<RoleBinding>> {
        let bound = binding.map(|object| self.bound(object));
        let old = replace(&mut self.role_bindings, key, bound.clone());
        for (bound, present) in [(&old, false), (&bound, true)] {
            if let Some(bound) = bound {
                self.count(bound, present);
                if bound.ours {
                    index(&mut self.by_role, bound.object.labels().get(ROLE), key, present);
                }
            }
        }
        self.index_subjects(key, old.as_ref(), bound.as_ref());
        old
    }

    /// Takes in whom a RoleBinding of a Role named and names. Most of its people stay when it is written.
    fn index_subjects(&mut self, key: &Key, old: Option<&Bound<RoleBinding>>, new: Option<&Bound<RoleBinding>>) {
        let of_role = |bound: &&Bound<RoleBinding>| bound.ours && bound.object.labels().contains_key(ROLE);
        let (old, new) = (old.filter(of_role).map(|bound| &bound.subjects), new.filter(of_role).map(|bound| &bound.subjects));
        let gone = old.into_iter().flatten().filter(|known| new.is_none_or(|new| !new.contains(known)));
        for known in gone {
            let emptied = self.by_subject.get_mut(known).is_some_and(|keys| {
                keys.remove(key);
                keys.is_empty()
            });
            if emptied {
                self.by_subject.remove(known);
            }
        }
        let key = Arc::new(key.clone());
        let come = new.into_iter().flatten().filter(|known| old.is_none_or(|old| !old.contains(known)));
        for known in come {
            self.by_subject.entry(known.clone()).or_default().insert(key.clone());
        }
    }

    /// Takes in a ClusterRoleBinding as it is now, or its going.
    pub fn set_cluster_role_binding(&mut self, key: &Key, binding: Option<Arc<ClusterRoleBinding>>) -> Option<Bound<ClusterRoleBinding>> {
        let bound = binding.map(|object| self.bound(object));
        let old = replace(&mut self.cluster_role_bindings, key, bound.clone());
        for (bound, present) in [(&old, false), (&bound, true)] {
            if let Some(bound) = bound {
                self.count(bound, present);
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
        let old = replace(&mut self.service_accounts, key, account.clone());
        for (account, present) in [(&old, false), (&account, true)] {
            if let Some(account) = account.as_ref().filter(|account| ours(account.as_ref(), &self.installation)) {
                index(&mut self.accounts, account.labels().get(DEVELOPER), key, present);
            }
        }
        old
    }

    fn bound<K: RbacBinding>(&self, object: Arc<K>) -> Bound<K> {
        let subjects = object.subjects().iter().filter_map(Known::read).collect();
        let ours = ours(object.as_ref(), &self.installation);
        Bound { object, subjects, ours }
    }

    fn count<K>(&mut self, bound: &Bound<K>, present: bool) {
        if bound.ours {
            return;
        }
        for known in &bound.subjects {
            let count = self.foreign.entry(known.clone()).or_default();
            *count += if present { 1 } else { -1 };
            if *count == 0 {
                self.foreign.remove(known);
            }
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
        let keys = self.by_subject.get(known).into_iter().flat_map(move |keys| keys.range::<Key, _>(&from..));
        keys.take_while(move |key| key.0 == namespace).filter_map(|key| self.role_bindings.get(key.as_ref()))
    }

    /// The ClusterRoleBindings that this installation made for a Role.
    pub fn cluster_role_bindings_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a Key, &'a Bound<ClusterRoleBinding>)> {
        self.cluster_role_bindings
            .iter()
            .filter(move |(_, bound)| bound.ours && bound.object.labels().get(ROLE).is_some_and(|label| label == role))
    }

    /// The ClusterRoles that this installation made for a Role.
    pub fn cluster_roles_of<'a>(&'a self, role: &'a str) -> impl Iterator<Item = (&'a String, &'a Arc<ClusterRole>)> {
        self.cluster_roles.iter().filter(move |(_, object)| object.labels().get(ROLE).is_some_and(|label| label == role))
    }

    /// The RoleBindings that this installation made in a workspace for its owner.
    pub fn owner_bindings<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<RoleBinding>> {
        self.own_bindings_in(namespace).filter(|binding| !binding.labels().contains_key(ROLE))
    }

    /// The Roles for which this installation has bindings in a namespace.
    pub fn roles_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a String> {
        self.own_bindings_in(namespace).filter_map(|binding| binding.labels().get(ROLE))
    }

    fn own_bindings_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<RoleBinding>> {
        let from = (namespace.to_owned(), String::new());
        let here = self.role_bindings.range(from..).take_while(move |((at, _), _)| at == namespace);
        here.filter(|(_, bound)| bound.ours).map(|(_, bound)| &bound.object)
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
    pub fn service_accounts_of<'a>(&'a self, developer: &str) -> impl Iterator<Item = (&'a Key, &'a Arc<ServiceAccount>)> {
        self.accounts.get(developer).into_iter().flatten().filter_map(|key| self.service_accounts.get_key_value(key))
    }

    /// The marks on what was made for a Developer of that name.
    pub fn marks_of(&self, developer: &str) -> Vec<Mark> {
        let workspaces = self.workspaces_of(developer).filter_map(|namespace| Mark::read(namespace.labels(), namespace.annotations()));
        let accounts = self.service_accounts_of(developer).filter_map(|(_, account)| Mark::read(account.labels(), account.annotations()));
        workspaces.chain(accounts).collect()
    }

    /// How many bindings of others name somebody.
    pub fn foreign_bindings(&self, known: &Known) -> i64 {
        self.foreign.get(known).copied().unwrap_or_default()
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
        binding.subjects = Some(people.iter().map(|name| Known::ServiceAccount((*name).to_owned()).subject()).collect());
        Arc::new(binding)
    }

    fn naming(state: &ClusterState, name: &str) -> Vec<Key> {
        state.role_bindings_naming(&Known::ServiceAccount(name.to_owned())).map(|(key, _)| key.clone()).collect()
    }

    #[test]
    fn who_is_named_is_found_by_name_as_bindings_come_change_and_go() {
        let mut state = ClusterState::new("here");
        let (one, two) = (("n1".to_owned(), "b".to_owned()), ("n2".to_owned(), "b".to_owned()));
        state.set_role_binding(&one, Some(binding(Some("r"), &["ada", "bob"])));
        state.set_role_binding(&two, Some(binding(Some("r"), &["ada"])));
        assert_eq!((naming(&state, "ada"), naming(&state, "bob")), (vec![one.clone(), two.clone()], vec![one.clone()]));
        let ada = Known::ServiceAccount("ada".to_owned());
        assert_eq!((state.role_bindings_naming_in(&ada, "n2").count(), state.role_bindings_naming_in(&ada, "n").count()), (1, 0));
        state.set_role_binding(&one, Some(binding(Some("r"), &["bob", "eve"])));
        assert_eq!((naming(&state, "ada"), naming(&state, "eve")), (vec![two.clone()], vec![one.clone()]));
        state.set_role_binding(&one, Some(binding(None, &["bob", "eve"])));
        state.set_role_binding(&two, None);
        assert!(state.by_subject.is_empty(), "{:?}", state.by_subject);
    }
}
