//! Clusters besides the home cluster: the kubeconfigs that lead to them, what usher may do there, and whether they answer.
//!
//! Each has a keeper of its own ([`keeper`]), who connects, watches, and says in memory how it stands. Nobody waits for another. Keepers only read: they work in
//! every replica, so that the one that takes over knows all clusters already.

mod keeper;
pub mod kubeconfig;
mod rights;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::plan::cluster::ClusterKey;
use crate::plan::link::{self, Claims};
use crate::telemetry::metrics::Metrics;

use super::leader::Terms;
use super::memory::Memory;

use self::keeper::Keeper;
pub use self::way::{READ_WITHIN, Way, secret_of, trouble};

/// How often it is looked which clusters Environments name, and whether a Secret changed. It is a look at memory.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// The connections to clusters that were reached.
#[derive(Default)]
pub struct Connections {
    open: RwLock<BTreeMap<ClusterKey, Connection>>,
    claims: Mutex<Claims>,
    /// How often all of them had to be read anew.
    anew: watch::Sender<u64>,
}

#[derive(Clone)]
struct Connection {
    client: Client,
    doubted: Arc<Notify>,
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.open.read().keys()).finish()
    }
}

impl Connections {
    /// A client of a cluster.
    pub fn client(&self, cluster: &ClusterKey) -> Option<Client> {
        self.open.read().get(cluster).map(|connection| connection.client.clone())
    }

    /// Has a cluster looked at now: something went wrong there.
    pub fn doubt(&self, cluster: &ClusterKey) {
        if let Some(connection) = self.open.read().get(cluster) {
            connection.doubted.notify_one();
        }
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
                tracing::info!(%cluster, "no Environment names this cluster any more, and nothing of usher's is left to take away there");
                keepers.remove(&cluster);
                self.connections.open.write().remove(&cluster);
                self.memory.forget_cluster(&cluster);
                self.connections.claims.lock().release(&cluster);
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

    /// Lets every cluster be read anew, over a connection of its own: whoever has only waited for long cannot know whether the old ones still bring what happens.
    /// Until then nothing counts that was read before.
    pub fn anew(&self) {
        self.connections.anew.send_modify(|count| *count += 1);
        let known: Vec<ClusterKey> = self.memory.read(|content, _| content.links.keys().cloned().collect());
        known.iter().for_each(|cluster| self.memory.set_link(cluster, |link| link.read = false));
    }

    fn named(&self) -> BTreeSet<ClusterKey> {
        self.memory.read(|content, _| link::named(&content.world))
    }
}
