//! Planned writes, carried out in memory.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::plan::change::{Change, Write};
use crate::plan::cluster::{ClusterState, Key};

/// Carries out a write.
pub(super) fn carry_out(state: &mut ClusterState, change: &Change) {
    let key = key(change.meta());
    match change {
        Change::Namespace(write) => drop(state.set_namespace(&key.1, made(write))),
        Change::ServiceAccount(write) => drop(state.set_service_account(&key, made(write))),
        Change::RoleBinding(write) => drop(state.set_role_binding(&key, made(write))),
        Change::ClusterRoleBinding(write) => drop(state.set_cluster_role_binding(&key, made(write))),
        Change::ClusterRole(write) => {
            state.set_cluster_role(&key.1, made(write));
        }
        Change::ResourceQuota(write) => drop(state.quotas.replace(&key, made(write).as_deref())),
        Change::LimitRange(write) => drop(state.limits.replace(&key, made(write).as_deref())),
        Change::NetworkPolicy(write) => drop(state.network_policies.replace(&key, made(write).as_deref())),
        Change::ConfigMap(write) => drop(state.config_maps.replace(&key, made(write).as_deref())),
        Change::Secret(write) => drop(state.secrets.replace(&key, made(write).as_deref())),
    }
}

fn key(meta: &ObjectMeta) -> Key {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// What is there after a write.
fn made<K: Clone>(write: &Write<K>) -> Option<Arc<K>> {
    match write {
        Write::Create(object) | Write::Replace(object) => Some(Arc::new(object.clone())),
        Write::Delete(_) => None,
    }
}
