//! Everything that a question about access depends on, read once.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::ListParams;
use kube::{Api, Client};

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::api::{Binding, Departure, Developer, Environment, Lock, Provider, Role};
use crate::cluster::apply::Written;
use crate::cluster::memory::Memory;
use crate::plan::cluster::ClusterKey;
use crate::plan::settings::Settings;

use super::Failure;
use super::read::{installation, list};

/// Where RoleBindings are read.
#[derive(Clone, Copy, Debug)]
pub enum Where<'a> {
    /// In all namespaces.
    Everywhere,
    /// In one.
    In(&'a str),
    /// In none.
    Nowhere,
}

/// Reads what people wrote, and the RBAC that is in force in the home cluster.
pub async fn snapshot(client: &Client, role_bindings: Where<'_>) -> Result<Memory, Failure> {
    // None of what a chart decides tells who has what now: the questions are answered from what is there.
    let settings = Settings::of("usher-system", installation(client).await?);
    let memory = Memory::new(settings, [ClusterKey::Home]);
    declared(&memory, client).await?;
    observed(&memory, &ClusterKey::Home, client, role_bindings).await?;
    Ok(memory)
}

/// Reads what people wrote.
pub async fn declared(memory: &Memory, client: &Client) -> Result<(), Failure> {
    let home = &ClusterKey::Home;
    keep::<Environment>(memory, home, &Api::all(client.clone())).await?;
    keep::<Role>(memory, home, &Api::all(client.clone())).await?;
    keep::<Binding>(memory, home, &Api::all(client.clone())).await?;
    keep::<Developer>(memory, home, &Api::all(client.clone())).await?;
    keep::<Provider>(memory, home, &Api::all(client.clone())).await?;
    keep::<Lock>(memory, home, &Api::all(client.clone())).await?;
    keep::<Departure>(memory, home, &Api::all(client.clone())).await
}

/// Reads the RBAC that is in force in a cluster, and whom and what it is about.
pub async fn observed(memory: &Memory, cluster: &ClusterKey, client: &Client, role_bindings: Where<'_>) -> Result<(), Failure> {
    keep::<Namespace>(memory, cluster, &Api::all(client.clone())).await?;
    keep::<ClusterRole>(memory, cluster, &Api::all(client.clone())).await?;
    keep::<ServiceAccount>(memory, cluster, &Api::namespaced(client.clone(), IDENTITIES_NAMESPACE)).await?;
    keep::<ClusterRoleBinding>(memory, cluster, &Api::all(client.clone())).await?;
    match role_bindings {
        Where::Everywhere => keep::<RoleBinding>(memory, cluster, &Api::all(client.clone())).await,
        Where::In(namespace) => keep::<RoleBinding>(memory, cluster, &Api::namespaced(client.clone(), namespace)).await,
        Where::Nowhere => Ok(()),
    }
}

async fn keep<K: Written>(memory: &Memory, cluster: &ClusterKey, api: &Api<K>) -> Result<(), Failure> {
    for object in list(api, &ListParams::default()).await? {
        memory.put(cluster, object);
    }
    Ok(())
}
