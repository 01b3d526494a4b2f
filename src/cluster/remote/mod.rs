//! Clusters besides the home cluster: the kubeconfigs that lead to them, what usher may do there, and whether they answer.
//!
//! Each has a keeper of its own ([`keeper`]), who connects, watches, and says in memory how it stands. Nobody waits for another. Keepers only read: they work in
//! every replica, so that the one that takes over knows all clusters already.

mod keeper;
mod kubeconfig;
mod rights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::plan::change::ours;
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::telemetry::metrics::Metrics;

use super::leader::Terms;
use super::memory::Memory;

use self::keeper::Keeper;

/// How often it is looked which clusters Environments name, and whether a Secret changed. It is a look at memory.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The connections to clusters that were reached.
#[derive(Default)]
pub struct Connections(RwLock<BTreeMap<ClusterKey, Connection>>);

#[derive(Clone)]
struct Connection {
    client: Client,
    /// The UID of its `kube-system`, which says which cluster it is.
    uid: String,
    doubted: Arc<Notify>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.read().keys()).finish()
    }
}

impl Connections {
    /// A client of a cluster.
    pub fn client(&self, cluster: &ClusterKey) -> Option<Client> {
        self.0.read().get(cluster).map(|connection| connection.client.clone())
    }

    /// Has a cluster looked at now: something went wrong there.
    pub fn doubt(&self, cluster: &ClusterKey) {
        if let Some(connection) = self.0.read().get(cluster) {
            connection.doubted.notify_one();
        }
    }

    /// The other key by which a cluster is reached already.
    fn rival(&self, cluster: &ClusterKey, uid: &str) -> Option<ClusterKey> {
        self.0.read().iter().find(|(key, connection)| *key != cluster && connection.uid == uid).map(|(key, _)| key.clone())
    }
}

/// What all keepers need.
#[derive(Clone)]
pub struct Remotes {
    /// A client of the home cluster, where the Secrets are.
    pub home: Client,
    /// What is seen.
    pub memory: Arc<Memory>,
    /// Measurements.
    pub metrics: Arc<Metrics>,
    /// The connections.
    pub connections: Arc<Connections>,
    /// How long the Lease holds: what was sent to any cluster must not arrive when another replica leads.
    pub terms: Terms,
}

impl Remotes {
    /// Keeps the clusters that Environments name, for ever.
    pub async fn run(self) {
        let mut keepers: BTreeMap<ClusterKey, JoinSet<()>> = BTreeMap::new();
        loop {
            let named = self.named();
            for cluster in named.iter().filter(|cluster| !keepers.contains_key(cluster)).cloned().collect::<Vec<_>>() {
                let mut task = JoinSet::new();
                task.spawn(Keeper::new(self.clone(), cluster.clone()).run());
                keepers.insert(cluster, task);
            }
            for cluster in keepers.keys().filter(|cluster| !named.contains(cluster)).cloned().collect::<Vec<_>>() {
                if !self.still_holds(&cluster) {
                    tracing::info!(%cluster, "no Environment names this cluster any more, and nothing of usher's is left to take away there");
                    keepers.remove(&cluster);
                    self.connections.0.write().remove(&cluster);
                    self.memory.forget_cluster(&cluster);
                }
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until something is known of each cluster that Environments name, but not longer than `most`.
    pub async fn settled(&self, most: Duration) {
        let start = Instant::now();
        let known = || {
            let named = self.named();
            self.memory.read(|content, _| {
                named.iter().all(|cluster| content.links.get(cluster).is_some_and(|link| link.read || link.trouble.is_some()))
            })
        };
        while !known() && start.elapsed() < most {
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn named(&self) -> BTreeSet<ClusterKey> {
        self.memory.read(|content, _| {
            let all = content.world.environments().map(|(_, environment)| ClusterKey::of(environment));
            all.filter(|cluster| *cluster != ClusterKey::Home).collect()
        })
    }

    /// Whether something is still to be taken away in a cluster that no Environment names: an Environment may have moved, and what it gave must go. What does
    /// not answer is waited for; what cannot be reached any more, as its Secret is gone, is not.
    fn still_holds(&self, cluster: &ClusterKey) -> bool {
        self.memory.read(|content, scene| {
            let Some(link) = content.links.get(cluster).filter(|link| link.read) else { return false };
            let gone = link.trouble.as_ref().is_some_and(|trouble| trouble.reason == crate::api::Reason::SecretNotFound);
            !gone && scene.clusters.get(cluster).is_some_and(|state| gives(state))
        })
    }
}

/// Whether usher gives anybody anything in a cluster.
fn gives(state: &ClusterState) -> bool {
    state.role_bindings.values().any(|bound| bound.ours)
        || state.cluster_role_bindings.values().any(|bound| bound.ours)
        || state.service_accounts.values().any(|account| ours(account.as_ref(), state.installation()))
}
