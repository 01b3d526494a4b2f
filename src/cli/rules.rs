//! What the ClusterRoles of every cluster allow. The operator never needs to know that of those which are not its own, so it is read here.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::cluster::leader::Terms;
use crate::cluster::memory::Memory;
use crate::cluster::remote::{Way, secret_of};
use crate::plan::cluster::ClusterKey;
use crate::plan::covering::Rules;

use super::Failure;
use super::read::list;

/// Reads the ClusterRoles of all clusters that were read.
pub async fn read(memory: &Memory, home: &Client, terms: Terms) -> Result<Rules, Failure> {
    let clusters: BTreeSet<ClusterKey> = memory.read(|_, scene| scene.clusters.keys().cloned().collect());
    let namespace = memory.settings().namespace.clone();
    let mut rules = Rules::new();
    for cluster in clusters {
        let client = match &cluster {
            ClusterKey::Home => home.clone(),
            ClusterKey::Remote(..) => {
                let way = Way { home, namespace: &namespace, secret: secret_of(&cluster), terms };
                way.open().await.map_err(|trouble| trouble.message)?.0
            }
        };
        rules.insert(cluster, of(&client).await?);
    }
    Ok(rules)
}

async fn of(client: &Client) -> Result<BTreeMap<String, Vec<PolicyRule>>, Failure> {
    let all = list::<ClusterRole>(&Api::all(client.clone()), &ListParams::default()).await?;
    Ok(all.into_iter().map(|role| (role.name_any(), role.rules.unwrap_or_default())).collect())
}
