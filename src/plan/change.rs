//! Objects of Kubernetes that usher makes, and the smallest write between what is there and what should be.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, LimitRange, Namespace, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};
use kube_quantity::ParsedQuantity;

use crate::api::metadata::{GROUP, INSTALLATION, MANAGED_BY, MANAGER};

use super::cluster::{ClusterKey, Key};

/// One write of one kind of object.
#[derive(Clone, Debug)]
pub enum Write<K> {
    /// Makes an object that was not seen.
    Create(K),
    /// Replaces what was seen; the resourceVersion says what that was.
    Replace(K),
    /// Deletes exactly the object that was seen.
    Delete(ObjectMeta),
}

/// One write. The list of kinds is closed: usher makes nothing else.
#[derive(Clone, Debug)]
pub enum Change {
    /// A workspace; only its metadata is usher's.
    Namespace(Write<Namespace>),
    /// An identity.
    ServiceAccount(Write<ServiceAccount>),
    /// Access in a namespace.
    RoleBinding(Write<RoleBinding>),
    /// Access in a cluster.
    ClusterRoleBinding(Write<ClusterRoleBinding>),
    /// The inline rules of a Role.
    ClusterRole(Write<ClusterRole>),
    /// The quota of a workspace.
    ResourceQuota(Write<ResourceQuota>),
    /// The limits of a workspace.
    LimitRange(Write<LimitRange>),
    /// The isolation of a workspace.
    NetworkPolicy(Write<NetworkPolicy>),
    /// What a person is told.
    ConfigMap(Write<ConfigMap>),
    /// A credential; made elsewhere, as a plan never holds a secret value.
    Secret(Write<Secret>),
}

/// A write in a cluster, for an Environment.
#[derive(Clone, Debug)]
pub struct Step {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The Environment for which it is; none for what serves the whole cluster.
    pub environment: Option<String>,
    /// The write.
    pub change: Change,
}

/// What a change does, for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Something is added.
    Create,
    /// Something is changed.
    Replace,
    /// Something is removed.
    Delete,
}

impl<K: Resource> Write<K> {
    fn verb(&self) -> Verb {
        match self {
            Self::Create(_) => Verb::Create,
            Self::Replace(_) => Verb::Replace,
            Self::Delete(_) => Verb::Delete,
        }
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Create(object) | Self::Replace(object) => object.meta(),
            Self::Delete(meta) => meta,
        }
    }
}

/// Calls the same for every kind.
macro_rules! each {
    ($change:expr, $write:ident => $do:expr) => {
        match $change {
            Change::Namespace($write) => $do,
            Change::ServiceAccount($write) => $do,
            Change::RoleBinding($write) => $do,
            Change::ClusterRoleBinding($write) => $do,
            Change::ClusterRole($write) => $do,
            Change::ResourceQuota($write) => $do,
            Change::LimitRange($write) => $do,
            Change::NetworkPolicy($write) => $do,
            Change::ConfigMap($write) => $do,
            Change::Secret($write) => $do,
        }
    };
}

impl Change {
    /// What it does.
    pub fn verb(&self) -> Verb {
        each!(self, write => write.verb())
    }

    /// The ClusterRole that a binding would give to more people than before.
    pub fn gives(&self) -> Option<&str> {
        match self {
            Self::RoleBinding(Write::Create(binding) | Write::Replace(binding)) => Some(&binding.role_ref.name),
            Self::ClusterRoleBinding(Write::Create(binding) | Write::Replace(binding)) => Some(&binding.role_ref.name),
            _ => None,
        }
    }

    /// The metadata of the object.
    pub fn meta(&self) -> &ObjectMeta {
        each!(self, write => write.meta())
    }

    /// Which object it is.
    pub fn title(&self) -> (&'static str, Key) {
        let meta = self.meta();
        (self.kind(), (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default()))
    }

    /// The kind of the object.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "Namespace",
            Self::ServiceAccount(_) => "ServiceAccount",
            Self::RoleBinding(_) => "RoleBinding",
            Self::ClusterRoleBinding(_) => "ClusterRoleBinding",
            Self::ClusterRole(_) => "ClusterRole",
            Self::ResourceQuota(_) => "ResourceQuota",
            Self::LimitRange(_) => "LimitRange",
            Self::NetworkPolicy(_) => "NetworkPolicy",
            Self::ConfigMap(_) => "ConfigMap",
            Self::Secret(_) => "Secret",
        }
    }
}

/// A kind of object that usher makes.
pub trait Managed: Resource<DynamicType = ()> + Clone {
    /// Whether the content that usher decides is in `observed` already, whatever the API server added.
    fn same_content(&self, observed: &Self) -> bool;
    /// Puts the content that usher decides into `object`.
    fn put_content(&self, object: &mut Self);
    /// Whether `observed` differs in what the API server never changes, so that it must go before the right one can be made.
    fn in_the_way(&self, _observed: &Self) -> bool {
        false
    }
}

/// The write that makes `observed` hold what `desired` says, if one is needed. Labels and annotations of others stay. What cannot be changed is deleted: the
/// next plan makes it.
pub fn ensure<K: Managed>(desired: K, observed: Option<&K>) -> Option<Write<K>> {
    let Some(observed) = observed else { return Some(Write::Create(desired)) };
    if desired.in_the_way(observed) {
        return Some(remove(observed));
    }
    if same_meta(desired.meta(), observed.meta()) && desired.same_content(observed) {
        return None;
    }
    let mut object = observed.clone();
    put_meta(desired.meta(), object.meta_mut());
    desired.put_content(&mut object);
    Some(Write::Replace(object))
}

/// The write that deletes what was observed.
pub fn remove<K: Managed>(observed: &K) -> Write<K> {
    let meta = observed.meta();
    Write::Delete(ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        labels: meta.labels.clone(),
        ..ObjectMeta::default()
    })
}

/// Whether a label or annotation of that key is usher's to write and to remove.
pub fn is_ours(key: &str) -> bool {
    key == MANAGED_BY || key.split_once('/').is_some_and(|(domain, _)| domain == GROUP)
}

/// Whether labels or annotations are as usher wants them: all that it writes, nothing more of its own, and whatever else.
pub fn holds(desired: Option<&BTreeMap<String, String>>, observed: Option<&BTreeMap<String, String>>) -> bool {
    let (none, observed) = (BTreeMap::new(), observed);
    let (desired, observed) = (desired.unwrap_or(&none), observed.unwrap_or(&none));
    desired.iter().all(|(key, value)| observed.get(key) == Some(value))
        && observed.keys().all(|key| !is_ours(key) || desired.contains_key(key))
}

fn same_meta(desired: &ObjectMeta, observed: &ObjectMeta) -> bool {
    holds(desired.labels.as_ref(), observed.labels.as_ref()) && holds(desired.annotations.as_ref(), observed.annotations.as_ref())
}

fn put_meta(desired: &ObjectMeta, object: &mut ObjectMeta) {
    let put = |from: Option<&BTreeMap<String, String>>, to: &mut Option<BTreeMap<String, String>>| {
        let to = to.get_or_insert_default();
        to.retain(|key, _| !is_ours(key));
        to.extend(from.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    };
    put(desired.labels.as_ref(), &mut object.labels);
    put(desired.annotations.as_ref(), &mut object.annotations);
    object.managed_fields = None;
}

/// Whether an object was made by this installation.
pub fn ours(object: &impl ResourceExt, installation: &str) -> bool {
    object.labels().get(INSTALLATION).is_some_and(|value| value == installation)
}

/// The labels of everything that this installation makes, and some more.
pub fn labels<'a>(installation: &'a str, more: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let own = [(MANAGED_BY, MANAGER), (INSTALLATION, installation)];
    own.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Managed for Namespace {
    fn same_content(&self, _: &Self) -> bool {
        true
    }
    fn put_content(&self, _: &mut Self) {}
}

impl Managed for ServiceAccount {
    fn same_content(&self, observed: &Self) -> bool {
        self.automount_service_account_token == observed.automount_service_account_token
    }
    fn put_content(&self, object: &mut Self) {
        object.automount_service_account_token = self.automount_service_account_token;
    }
}

impl Managed for RoleBinding {
    fn same_content(&self, observed: &Self) -> bool {
        same_set(self.subjects.as_deref(), observed.subjects.as_deref())
    }
    fn put_content(&self, object: &mut Self) {
        object.subjects.clone_from(&self.subjects);
    }
    fn in_the_way(&self, observed: &Self) -> bool {
        self.role_ref != observed.role_ref
    }
}

impl Managed for ClusterRoleBinding {
    fn same_content(&self, observed: &Self) -> bool {
        same_set(self.subjects.as_deref(), observed.subjects.as_deref())
    }
    fn put_content(&self, object: &mut Self) {
        object.subjects.clone_from(&self.subjects);
    }
    fn in_the_way(&self, observed: &Self) -> bool {
        self.role_ref != observed.role_ref
    }
}

/// Whether two lists hold the same, in any order and without doubles.
fn same_set<T: PartialEq>(left: Option<&[T]>, right: Option<&[T]>) -> bool {
    let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
    left == right || (left.len() == right.len() && left.iter().all(|one| right.contains(one)))
}

impl Managed for ClusterRole {
    fn same_content(&self, observed: &Self) -> bool {
        self.rules.as_deref().unwrap_or_default() == observed.rules.as_deref().unwrap_or_default() && observed.aggregation_rule.is_none()
    }
    fn put_content(&self, object: &mut Self) {
        object.rules.clone_from(&self.rules);
        object.aggregation_rule = None;
    }
}

impl Managed for ResourceQuota {
    fn same_content(&self, observed: &Self) -> bool {
        let hard = |quota: &Self| quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let (desired, observed) = (hard(self), hard(observed));
        desired.len() == observed.len() && within(&desired, &observed)
    }
    fn put_content(&self, object: &mut Self) {
        object.spec.clone_from(&self.spec);
    }
}

impl Managed for LimitRange {
    fn same_content(&self, observed: &Self) -> bool {
        let limits = |range: &Self| range.spec.as_ref().map(|spec| spec.limits.clone()).unwrap_or_default();
        let (desired, observed) = (limits(self), limits(observed));
        desired.len() == observed.len()
            && desired.iter().zip(&observed).all(|(desired, observed)| {
                let part = |map: &Option<BTreeMap<String, Quantity>>| map.clone().unwrap_or_default();
                let (default, seen) = (part(&desired.default), part(&observed.default));
                let (requests, seen_requests) = (part(&desired.default_request), part(&observed.default_request));
                // The API server fills in a request for each default that has none.
                desired.type_ == observed.type_
                    && default.len() == seen.len()
                    && within(&default, &seen)
                    && within(&requests, &seen_requests)
                    && seen_requests.keys().all(|key| requests.contains_key(key) || default.contains_key(key))
                    && observed.max.is_none()
                    && observed.min.is_none()
            })
    }
    fn put_content(&self, object: &mut Self) {
        object.spec.clone_from(&self.spec);
    }
}

fn within(desired: &BTreeMap<String, Quantity>, observed: &BTreeMap<String, Quantity>) -> bool {
    desired.iter().all(|(key, quantity)| observed.get(key).is_some_and(|seen| same_quantity(quantity, seen)))
}

/// Whether two quantities are the same amount: the API server rewrites 0.5 as 500m.
fn same_quantity(left: &Quantity, right: &Quantity) -> bool {
    left == right || matches!((ParsedQuantity::try_from(left), ParsedQuantity::try_from(right)), (Ok(left), Ok(right)) if left == right)
}

impl Managed for NetworkPolicy {
    fn same_content(&self, observed: &Self) -> bool {
        self.spec == observed.spec
    }
    fn put_content(&self, object: &mut Self) {
        object.spec.clone_from(&self.spec);
    }
}

impl Managed for ConfigMap {
    fn same_content(&self, observed: &Self) -> bool {
        self.data == observed.data
    }
    fn put_content(&self, object: &mut Self) {
        object.data.clone_from(&self.data);
    }
}

impl Managed for Secret {
    fn same_content(&self, _: &Self) -> bool {
        true
    }
    fn put_content(&self, _: &mut Self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(pairs: &[(&str, &str)]) -> ServiceAccount {
        let mut account = ServiceAccount::default();
        account.metadata.labels = Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        account
    }

    #[test]
    fn labels_of_others_stay_and_are_no_difference() {
        let desired = labelled(&[("usher.dev/role", "a")]);
        let observed = labelled(&[("usher.dev/role", "a"), ("team", "x")]);
        assert!(ensure(desired.clone(), Some(&observed)).is_none());
        let drifted = labelled(&[("usher.dev/role", "b"), ("usher.dev/person", "p"), ("team", "x")]);
        let Some(Write::Replace(object)) = ensure(desired, Some(&drifted)) else { panic!("a difference") };
        assert_eq!(object.labels(), observed.labels());
    }

    #[test]
    fn quantities_compare_by_amount() {
        let same = |left: &str, right: &str| same_quantity(&Quantity(left.to_owned()), &Quantity(right.to_owned()));
        assert!(same("0.5", "500m") && same("4096Mi", "4Gi") && same("2000m", "2") && same("1e3", "1k"));
        assert!(!same("1", "2") && !same("1G", "1Gi"));
    }
}
