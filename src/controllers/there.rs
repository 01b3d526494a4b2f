//! What the passes over other clusters have found. Those over the home cluster read it, and tell it in statuses and receipts: so no cluster waits for another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cluster::secrets::{Brought, Token};
use crate::plan::cluster::ClusterKey;
use crate::plan::elsewhere::TokenNotes;
use crate::plan::finding::Finding;
use crate::plan::locking::LockFound;
use crate::plan::receipt::FoundIn;

/// What was found about objects, by name and cluster.
#[derive(Debug)]
pub struct Told<T>(Mutex<HashMap<String, BTreeMap<ClusterKey, T>>>);

impl<T> Default for Told<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + PartialEq> Told<T> {
    /// Takes in what was found. Returns whether that is news.
    pub fn tell(&self, name: &str, cluster: &ClusterKey, found: T) -> bool {
        let mut told = self.0.lock();
        let of_name = told.entry(name.to_owned()).or_default();
        let news = of_name.get(cluster) != Some(&found);
        of_name.insert(cluster.clone(), found);
        news
    }

    /// What was found in each cluster.
    pub fn of(&self, name: &str) -> BTreeMap<ClusterKey, T> {
        self.0.lock().get(name).cloned().unwrap_or_default()
    }

    /// Forgets an object.
    pub fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// Forgets a cluster.
    pub fn forget_cluster(&self, cluster: &ClusterKey) {
        self.0.lock().retain(|_, found| {
            found.remove(cluster);
            !found.is_empty()
        });
    }
}

/// What the passes over other clusters have found.
#[derive(Debug, Default)]
pub struct There {
    /// What stands in the way of people.
    pub people: Told<Vec<Finding>>,
    /// How far departures are.
    pub departures: Told<FoundIn>,
    /// How far Locks are.
    pub locks: Told<LockFound>,
    tokens: Mutex<HashMap<String, BTreeMap<ClusterKey, Arc<Brought>>>>,
}

impl There {
    /// Takes in a token that was issued to a Developer, until it is in her kubeconfig.
    pub fn bring(&self, developer: &str, cluster: &ClusterKey, brought: Brought) {
        self.tokens.lock().entry(developer.to_owned()).or_default().insert(cluster.clone(), Arc::new(brought));
    }

    /// The tokens that were issued to a Developer in other clusters, and are not known to be in her kubeconfig.
    pub fn brought(&self, developer: &str) -> BTreeMap<ClusterKey, Arc<Brought>> {
        self.tokens.lock().get(developer).cloned().unwrap_or_default()
    }

    /// The same without their values.
    pub fn notes(&self, developer: &str) -> TokenNotes {
        self.brought(developer).into_iter().map(|(cluster, brought)| (cluster, brought.note.clone())).collect()
    }

    /// Forgets tokens of a Developer that are in her kubeconfig by now.
    pub fn delivered(&self, developer: &str, tokens: &BTreeMap<ClusterKey, Arc<Brought>>) {
        let mut all = self.tokens.lock();
        let Some(hers) = all.get_mut(developer) else { return };
        hers.retain(|cluster, brought| !tokens.get(cluster).is_some_and(|delivered| delivered.note == brought.note));
        if hers.is_empty() {
            all.remove(developer);
        }
    }

    /// Forgets the tokens that were issued to a Developer and are not known to be in her kubeconfig. Returns them, by the cluster that issued each.
    pub fn take_tokens(&self, developer: &str) -> BTreeMap<ClusterKey, Arc<Token>> {
        let hers = self.tokens.lock().remove(developer).unwrap_or_default();
        hers.into_iter().map(|(cluster, brought)| (cluster, Arc::new(brought.token().clone()))).collect()
    }

    /// Forgets a cluster.
    pub fn forget_cluster(&self, cluster: &ClusterKey) {
        self.people.forget_cluster(cluster);
        self.departures.forget_cluster(cluster);
        self.locks.forget_cluster(cluster);
    }
}
