//! Everything that was seen, kept in memory: by watches, and by our own writes as soon as they are answered.
//!
//! A watch that lags behind a write of our own must not undo it here, so an older version of an object never replaces a newer one, and an object
//! that we deleted does not come back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::api::metadata::{DEVELOPER, ROLE, SOURCE_MANAGER, WORKSPACE};
use crate::api::{Binding, Departure, Developer, Environment, Lock, Provider, Role, Scorecard, Source};
use crate::plan::cluster::{ClusterKey, ClusterState, Key};
use crate::plan::identity::developer_of_service_account;
use crate::plan::link::{Link, Links, readable};
use crate::plan::placement::Scene;
use crate::plan::scim::pushed::Pushed;
use crate::plan::settings::Settings;
use crate::plan::shelf::Shelf;
use crate::plan::world::{World, redrawn};

use super::gone::Gone;
use super::records::{Grants, Revisions};
use super::seen::{By, Seen, Title};
use super::writing::{Writing, Writings};

/// What is kept.
#[derive(Debug, Default)]
pub struct Content {
    /// What people wrote.
    pub world: World,
    /// What clusters hold.
    pub clusters: BTreeMap<ClusterKey, ClusterState>,
    /// How those besides the home cluster stand.
    pub links: Links,
    /// The record.
    pub grants: Grants,
    /// What Roles contained.
    pub revisions: Revisions,
    /// What was pushed by SCIM.
    pub pushed: Pushed,
    /// The figures, as they were last told.
    pub scorecards: BTreeMap<String, Arc<Scorecard>>,
    /// The Secrets of usher's own namespace, without what is in them: Providers' credentials may be there.
    pub own_secrets: BTreeMap<String, Arc<PartialObjectMeta<Secret>>>,
    gone: Gone,
}

/// The version of an object that was deleted for good: nothing that is said of it counts any more.
pub const FOR_GOOD: u64 = u64::MAX;

/// What is kept, shared by all who read it.
#[derive(Debug)]
pub struct Memory {
    content: RwLock<Content>,
    settings: Settings,
    listener: Mutex<Option<UnboundedSender<(Seen, By)>>>,
    writings: Writings,
}

/// A kind of object that is kept.
pub trait Kept: Resource + Clone + Send + Sync + 'static {
    /// Whether all that is kept of it is on the lists of its one watch, by whatever it came into memory.
    const LISTED: bool = false;

    /// The one that is kept under a key.
    fn get(content: &Content, cluster: &ClusterKey, key: &Key) -> Option<Arc<Self>>;
    /// Keeps an object, or forgets it.
    fn put(content: &mut Content, settings: &Settings, cluster: &ClusterKey, key: &Key, object: Option<Arc<Self>>) -> Option<Seen>;
    /// The keys of all that are kept.
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key>;
    /// Whether anything of an object with this UID is kept under a key.
    fn holds(content: &Content, cluster: &ClusterKey, key: &Key, uid: Option<&String>) -> bool {
        same_uid(Self::get(content, cluster, key), uid)
    }
}

/// The keys of cluster-scoped objects of these names.
pub(super) fn named<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Key> {
    names.map(|name| (String::new(), name.clone())).collect()
}

fn same_uid<K: Resource>(kept: Option<Arc<K>>, uid: Option<&String>) -> bool {
    kept.is_some_and(|kept| uid.is_none_or(|uid| kept.meta().uid.as_ref() == Some(uid)))
}

impl Memory {
    /// Nothing kept yet, of these clusters.
    pub fn new(settings: Settings, clusters: impl IntoIterator<Item = ClusterKey>) -> Self {
        let clusters = clusters.into_iter().map(|key| (key, ClusterState::new(&settings.installation))).collect();
        let content = Content { clusters, ..Content::default() };
        Self { content: RwLock::new(content), settings, listener: Mutex::new(None), writings: Writings::default() }
    }

    /// What the installation decides.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All that is kept, and what the installation decides, for whoever goes on with it alone.
    pub fn into_parts(self) -> (Content, Settings) {
        (self.content.into_inner(), self.settings)
    }

    /// From now on every change is told.
    pub fn listen(&self) -> UnboundedReceiver<(Seen, By)> {
        let (sender, receiver) = unbounded_channel();
        *self.listener.lock() = Some(sender);
        receiver
    }

    /// Reads a consistent view of everything.
    pub fn read<T>(&self, look: impl FnOnce(&Content, Scene<'_>) -> T) -> T {
        let content = self.content.read();
        let clusters = readable(&content.clusters, &content.links);
        look(&content, Scene { world: &content.world, clusters: &clusters, links: &content.links, only: None, settings: &self.settings })
    }

    /// Takes no more room than it needs, after everything was read.
    pub fn compact(&self) {
        let mut content = self.content.write();
        content.grants.compact();
        content.clusters.values_mut().for_each(ClusterState::compact);
    }

    /// Takes in how a cluster stands besides the home cluster; what it holds is taken in from now on.
    pub fn set_link(&self, cluster: &ClusterKey, change: impl FnOnce(&mut Link)) {
        let mut content = self.content.write();
        let old = content.links.get(cluster).cloned();
        let mut new = old.clone().unwrap_or_default();
        change(&mut new);
        content.links.insert(cluster.clone(), new.clone());
        if !content.clusters.contains_key(cluster) {
            let mut state = ClusterState::new(&self.settings.installation);
            state.divide(&content.world, &self.settings, cluster);
            content.clusters.insert(cluster.clone(), state);
        }
        self.tell((old.as_ref() != Some(&new)).then(|| Seen::Link(cluster.clone(), old, Some(new))), By::Watch);
    }

    /// Forgets a cluster besides the home cluster, and what it held.
    pub fn forget_cluster(&self, cluster: &ClusterKey) {
        let mut content = self.content.write();
        content.clusters.remove(cluster);
        let old = content.links.remove(cluster);
        self.tell(old.is_some().then(|| Seen::Link(cluster.clone(), old, None)), By::Watch);
    }

    /// Takes in an object as it is now, unless a newer version is kept already.
    pub fn put<K: Kept>(&self, cluster: &ClusterKey, object: K) {
        self.take_in(cluster, object, By::Watch);
    }

    /// Takes in what a write of our own was answered with, where that is what was meant. Whoever wrote it goes on with it, and needs no other look.
    pub fn put_answer<K: Kept>(&self, cluster: &ClusterKey, object: K) {
        self.take_in(cluster, object, By::Answer);
    }

    fn take_in<K: Kept>(&self, cluster: &ClusterKey, mut object: K, by: By) {
        keep_claims(&mut object);
        let key = key_of(&object);
        let mut content = self.content.write();
        let buried = content.gone.holds(&object);
        let older = K::get(&content, cluster, &key)
            .is_some_and(|kept| kept.meta().uid == object.meta().uid && version(kept.as_ref()) >= version(&object));
        if !buried && !older {
            // A copy has as much room as it needs; lists that were read one by one have up to four times that.
            let seen = K::put(&mut content, &self.settings, cluster, &key, Some(Arc::new(object.clone())));
            let by = self.writings.by(cluster, seen.as_ref(), by);
            self.tell(seen, by);
        }
    }

    /// Takes in that an object is gone: as of a version, as a watch says it, or [`FOR_GOOD`].
    pub fn forget<K: Kept>(&self, cluster: &ClusterKey, key: &Key, uid: Option<&String>, version: u64) {
        let mut content = self.content.write();
        let kept = K::holds(&content, cluster, key, uid);
        if let Some(uid) = uid {
            content.gone.add(uid, version, Instant::now());
        }
        if kept {
            let seen = K::put(&mut content, &self.settings, cluster, key, None);
            let by = self.writings.by(cluster, seen.as_ref(), By::Watch);
            self.tell(seen, by);
        }
    }

    /// The object that is kept under a key.
    pub fn get<K: Kept>(&self, cluster: &ClusterKey, key: &Key) -> Option<Arc<K>> {
        K::get(&self.content.read(), cluster, key)
    }

    /// The objects of a kind that are kept: their keys, and their UIDs where these are kept.
    pub fn kept<K: Kept>(&self, cluster: &ClusterKey) -> Vec<(Key, Option<String>)> {
        let content = self.content.read();
        let known = |key: Key| match K::get(&content, cluster, &key) {
            // Some are kept by name, as they are watched in one namespace.
            Some(object) => (key_of(object.as_ref()), object.meta().uid.clone()),
            None => (key, None),
        };
        K::keys(&content, cluster).into_iter().map(known).collect()
    }

    /// What is pushed by SCIM is watched from now on.
    pub fn serve_pushed(&self) {
        self.content.write().pushed.serve();
    }

    /// Takes in whether Locks are read, and whether their kind is going away or missing, each if known.
    pub fn set_locks_readable(&self, read: Option<bool>, going: Option<bool>) {
        let changed = self.content.write().world.set_locks_readable(read, going);
        self.tell(changed.then_some(Seen::LocksReadable), By::Watch);
    }

    /// A write of our own begins. What is seen of the object before it ends may be that.
    pub fn writing(&self, cluster: &ClusterKey, title: Title) -> Writing<'_> {
        self.writings.begin(cluster, title)
    }

    fn tell(&self, seen: Option<Seen>, by: By) {
        if let (Some(seen), Some(listener)) = (seen, self.listener.lock().as_ref()) {
            // Nobody listens any more once this replica stops leading.
            let _ = listener.send((seen, by));
        }
    }
}

/// Of who manages which field only the word of Sources is read: all of them would be most of what is kept.
fn keep_claims(object: &mut impl Resource) {
    let of_source = |manager: &Option<String>| manager.as_ref().is_some_and(|manager| manager.starts_with(SOURCE_MANAGER));
    let claims = object.meta_mut().managed_fields.take();
    let claims: Vec<_> = claims.into_iter().flatten().filter(|entry| of_source(&entry.manager)).collect();
    object.meta_mut().managed_fields = Some(claims).filter(|claims| !claims.is_empty());
}

/// The key of an object.
pub fn key_of(object: &impl Resource) -> Key {
    let meta = object.meta();
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The version of an object as a number (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions>).
pub fn version(object: &impl Resource) -> u64 {
    object.meta().resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

impl Kept for Developer {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.developers().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.developer(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Developer(name.clone(), content.world.set_developer(name, object.clone()), object))
    }
}

impl Kept for Role {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.roles().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.role(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Role(name.clone(), content.world.set_role(name, object.clone()), object))
    }
}

impl Kept for Binding {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.bindings().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.binding(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Binding(name.clone(), content.world.set_binding(name, object.clone()), object))
    }
}

impl Kept for Environment {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.environments().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.environment(name).cloned()
    }
    fn put(content: &mut Content, settings: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let old = content.world.set_environment(name, object.clone());
        if redrawn(old.as_deref(), object.as_deref()) {
            for (key, state) in &mut content.clusters {
                state.divide(&content.world, settings, key);
            }
        }
        Some(Seen::Environment(name.clone(), old, object))
    }
}

impl Kept for Provider {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.providers().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.provider(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Provider(name.clone(), content.world.set_provider(name, object.clone()), object))
    }
}

impl Kept for Source {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.sources().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.source(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Source(name.clone(), content.world.set_source(name, object.clone()), object))
    }
}

impl Kept for PartialObjectMeta<Secret> {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.own_secrets.keys())
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.own_secrets.get(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        match object {
            Some(object) => content.own_secrets.insert(name.clone(), object),
            None => content.own_secrets.remove(name),
        };
        Some(Seen::OwnSecret(name.clone()))
    }
}

impl Kept for Lock {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.locks().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.lock(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Lock(name.clone(), content.world.set_lock(name, object.clone()), object))
    }
}

impl Kept for Departure {
    fn keys(content: &Content, _: &ClusterKey) -> Vec<Key> {
        named(content.world.departures().all().map(|(name, _)| name))
    }
    fn get(content: &Content, _: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.world.departures().get(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, _: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        Some(Seen::Departure(name.clone(), content.world.set_departure(name, object.clone()), object))
    }
}

impl Kept for Namespace {
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
        content.clusters.get(cluster).map(|state| named(state.namespaces.keys())).unwrap_or_default()
    }
    fn get(content: &Content, cluster: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.clusters.get(cluster)?.namespaces.get(name).cloned()
    }
    fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let old = content.clusters.get_mut(cluster)?.set_namespace(name, object.clone());
        Some(Seen::Namespace(old, object))
    }
}

impl Kept for RoleBinding {
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
        content.clusters.get(cluster).map(|state| state.role_bindings.keys().cloned().collect()).unwrap_or_default()
    }
    fn get(content: &Content, cluster: &ClusterKey, key: &Key) -> Option<Arc<Self>> {
        content.clusters.get(cluster)?.role_bindings.get(key).map(|bound| bound.head().clone())
    }
    fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, key: &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let state = content.clusters.get_mut(cluster)?;
        let old = state.set_role_binding(key, object);
        Some(Seen::RoleBinding(old, state.role_bindings.get(key).cloned()))
    }
}

impl Kept for ClusterRoleBinding {
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
        content.clusters.get(cluster).map(|state| state.cluster_role_bindings.keys().cloned().collect()).unwrap_or_default()
    }
    fn get(content: &Content, cluster: &ClusterKey, key: &Key) -> Option<Arc<Self>> {
        content.clusters.get(cluster)?.cluster_role_bindings.get(key).map(|bound| bound.head().clone())
    }
    fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, key: &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let state = content.clusters.get_mut(cluster)?;
        let old = state.set_cluster_role_binding(key, object);
        Some(Seen::ClusterRoleBinding(old, state.cluster_role_bindings.get(key).cloned()))
    }
}

impl Kept for ClusterRole {
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
        let names = |state: &ClusterState| named(state.cluster_roles.keys().chain(&state.foreign_cluster_roles));
        content.clusters.get(cluster).map(names).unwrap_or_default()
    }
    fn get(content: &Content, cluster: &ClusterKey, (_, name): &Key) -> Option<Arc<Self>> {
        content.clusters.get(cluster)?.cluster_roles.get(name).cloned()
    }
    fn holds(content: &Content, cluster: &ClusterKey, key: &Key, uid: Option<&String>) -> bool {
        // Of those of others only the name is kept.
        let foreign = content.clusters.get(cluster).is_some_and(|state| state.foreign_cluster_roles.contains(&key.1));
        foreign || same_uid(Self::get(content, cluster, key), uid)
    }
    fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, (_, name): &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let state = content.clusters.get_mut(cluster)?;
        let known = state.cluster_roles.get(name).cloned();
        let roles = [&known, &object].into_iter().flatten().filter_map(|object| object.labels().get(ROLE).cloned()).collect();
        let present = object.is_some();
        let had = state.set_cluster_role(name, object);
        Some(Seen::ClusterRole(name.clone(), roles, had != present))
    }
}

/// A kind that belongs to one person and is kept in a table.
macro_rules! personal {
    ($kind:ty, $table:ident $(, $without:expr)?) => {
        impl Kept for $kind {
            fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
                content.clusters.get(cluster).map(|state| state.$table.keys().cloned().collect()).unwrap_or_default()
            }
            fn get(content: &Content, cluster: &ClusterKey, key: &Key) -> Option<Arc<Self>> {
                content.clusters.get(cluster)?.$table.get(key)
            }
            fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, key: &Key, object: Option<Arc<Self>>) -> Option<Seen> {
                $(let object = object.map(|object| Arc::new($without(Arc::unwrap_or_clone(object))));)?
                let state = content.clusters.get_mut(cluster)?;
                Some(put_personal(stringify!($kind), &mut state.$table, &state.namespaces, key, object))
            }
        }
    };
}

// What is counted in it changes without anybody's hand.
personal!(ResourceQuota, quotas, |quota: ResourceQuota| ResourceQuota { status: None, ..quota });
personal!(LimitRange, limits);
personal!(NetworkPolicy, network_policies);
personal!(ConfigMap, config_maps);
personal!(Secret, secrets);

/// Whether an object is another than it was, or gone: not only its version, and what the API server counts. What is on its way out goes by itself.
fn altered<K: Resource + Clone + PartialEq>(old: Option<&K>, new: Option<&K>) -> bool {
    let content = |object: &K| {
        let mut object = object.clone();
        let meta = object.meta_mut();
        (meta.resource_version, meta.generation, meta.managed_fields) = (None, None, None);
        object
    };
    let stays = old.filter(|old| old.meta().deletion_timestamp.is_none());
    stays.is_some_and(|old| new.is_none_or(|new| content(old) != content(new)))
}

fn put_personal<K: ResourceExt + Clone + PartialEq + Serialize + DeserializeOwned>(
    kind: &'static str,
    shelf: &mut Shelf<K>,
    namespaces: &BTreeMap<String, Arc<Namespace>>,
    key: &Key,
    object: Option<Arc<K>>,
) -> Seen {
    let old = shelf.replace(key, object.as_deref());
    let owner = namespaces.get(&key.0).and_then(|namespace| namespace.labels().get(WORKSPACE).cloned());
    let labels = [&old, &object].into_iter().flatten().filter_map(|object| object.labels().get(DEVELOPER).cloned());
    let title = altered(old.as_deref(), object.as_deref()).then(|| (kind, key.clone()));
    Seen::Personal(labels.chain(owner).collect(), title)
}

impl Kept for ServiceAccount {
    fn keys(content: &Content, cluster: &ClusterKey) -> Vec<Key> {
        content.clusters.get(cluster).map(|state| state.service_accounts.keys().cloned().collect()).unwrap_or_default()
    }
    fn get(content: &Content, cluster: &ClusterKey, key: &Key) -> Option<Arc<Self>> {
        content.clusters.get(cluster)?.service_accounts.get(key)
    }
    fn put(content: &mut Content, _: &Settings, cluster: &ClusterKey, key: &Key, object: Option<Arc<Self>>) -> Option<Seen> {
        let state = content.clusters.get_mut(cluster)?;
        let old = state.set_service_account(key, object.clone());
        if [&old, &object].into_iter().flatten().any(|account| !state.ours(account.as_ref())) {
            return developer_of_service_account(&key.1).map(|developer| Seen::Stranger(developer.to_owned()));
        }
        let title = altered(old.as_deref(), object.as_deref()).then(|| ("ServiceAccount", key.clone()));
        let labels = [old, object].into_iter().flatten().filter_map(|account| account.labels().get(DEVELOPER).cloned());
        Some(Seen::Personal(labels.collect(), title))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::LockSpec;

    fn memory() -> Memory {
        let settings = Settings::of("usher-system", "here");
        Memory::new(settings, [ClusterKey::Home])
    }

    fn lock(uid: &str, version: &str) -> Lock {
        let mut lock = Lock::new("stolen", LockSpec::default());
        lock.metadata.uid = Some(uid.to_owned());
        lock.metadata.resource_version = Some(version.to_owned());
        lock
    }

    /// The answer to a write may arrive after the watch has said that the object is gone.
    #[test]
    fn what_is_gone_is_not_brought_back_by_a_late_answer() {
        let (memory, key) = (memory(), (String::new(), "stolen".to_owned()));
        let there = |memory: &Memory| memory.get::<Lock>(&ClusterKey::Home, &key).and_then(|lock| lock.uid());
        memory.put(&ClusterKey::Home, lock("1", "5"));
        memory.forget::<Lock>(&ClusterKey::Home, &key, Some(&"1".to_owned()), 7);
        memory.put(&ClusterKey::Home, lock("1", "6"));
        assert_eq!(there(&memory), None);
        memory.put(&ClusterKey::Home, lock("1", "7"));
        assert_eq!(there(&memory).as_deref(), Some("1"), "it had only lost the label by which it is watched");
        memory.forget::<Lock>(&ClusterKey::Home, &key, Some(&"1".to_owned()), FOR_GOOD);
        memory.put(&ClusterKey::Home, lock("1", "8"));
        assert_eq!(there(&memory), None);
        memory.put(&ClusterKey::Home, lock("2", "6"));
        assert_eq!(there(&memory).as_deref(), Some("2"), "another object of the same name is another one");
    }

    /// What becomes of a hand-made change is told by others; what usher writes itself is nobody's hand, whenever it is heard of.
    #[test]
    fn what_is_seen_while_it_is_being_written_is_told_as_that() {
        let (memory, key) = (memory(), (String::new(), "usher:role:r:1".to_owned()));
        let role = |version: &str| {
            let mut role = ClusterRole::default();
            role.metadata.name = Some(key.1.clone());
            role.metadata.uid = Some("1".to_owned());
            role.metadata.resource_version = Some(version.to_owned());
            role
        };
        let mut told = memory.listen();
        let mut by = || told.try_recv().map(|(_, by)| by).ok();
        memory.put(&ClusterKey::Home, role("1"));
        assert_eq!(by(), Some(By::Watch));
        let title = || ("ClusterRole", key.clone());
        let (write, other) = (memory.writing(&ClusterKey::Home, title()), memory.writing(&ClusterKey::Home, title()));
        memory.put(&ClusterKey::Home, role("2"));
        drop(other);
        memory.forget::<ClusterRole>(&ClusterKey::Home, &key, Some(&"1".to_owned()), FOR_GOOD);
        drop(write);
        assert_eq!((by(), by()), (Some(By::Echo), Some(By::Echo)), "its own update and deletion, heard of afterwards");
        let mut again = role("3");
        again.metadata.uid = Some("2".to_owned());
        memory.put(&ClusterKey::Home, again);
        assert_eq!(by(), Some(By::Watch));
    }
}
