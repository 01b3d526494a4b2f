//! How the clusters of other Environments stand to usher: which they are, how people reach them, and what keeps usher from working there.
//!
//! Which cluster a Secret leads to is written down in the statuses of Environments, and on receipts, before anything is written there: so a Secret that leads
//! elsewhere by now, or a start while a cluster is silent, lets nothing be forgotten that is to be taken away.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::Reason;
use crate::api::environment::{KnownCluster, SecretKey};

use super::change::Step;
use super::cluster::{ClusterKey, ClusterState};
use super::placement::Scene;
use super::settings::Server;
use super::world::World;

/// What keeps usher from working in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The bounded word.
    pub reason: Reason,
    /// What is wrong, and what to do about it.
    pub message: String,
    /// Whether nothing can be read or written there. Else usher lacks single rights, and does what it may.
    pub silent: bool,
}

/// A cluster besides the home cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// How people reach it, by the last kubeconfig that was understood.
    pub server: Option<Server>,
    /// When the token of that kubeconfig ends, if it says so.
    pub token_ends: Option<Timestamp>,
    /// Which cluster it is, by the UID of its `kube-system`, since it answered and was let in.
    pub uid: Option<String>,
    /// What is wrong with it now.
    pub trouble: Option<Trouble>,
    /// Whether all of it was read since the start. Before that nothing is known of it, and nothing is concluded from that.
    pub read: bool,
}

impl Link {
    /// Whether its Secret was taken away: what is there is nobody's to look at any more.
    pub fn given_up(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.reason == Reason::SecretNotFound)
    }
}

/// The clusters besides the home cluster.
pub type Links = BTreeMap<ClusterKey, Link>;

/// What is known of clusters: those of which nothing was read since the start are left out.
pub fn readable<'a>(clusters: &'a BTreeMap<ClusterKey, ClusterState>, links: &Links) -> BTreeMap<ClusterKey, &'a ClusterState> {
    let read = |key: &ClusterKey| links.get(key).is_none_or(|link| link.read);
    clusters.iter().filter(|(key, _)| read(key)).map(|(key, state)| (key.clone(), state)).collect()
}

/// Clusters that do not answer, with the reason.
pub type Silences = BTreeMap<ClusterKey, (Reason, String)>;

/// Which cluster each Secret leads to, as far as it was let in.
#[derive(Debug, Default)]
pub struct Claims(BTreeMap<ClusterKey, String>);

impl Claims {
    /// Lets a Secret in that leads to the cluster with this UID, unless that would let things be forgotten or done twice. It is decided and noted at once: of
    /// two that come at the same time one is let in.
    ///
    /// # Errors
    /// Why not, and what to do about it: what follows the name of the Secret.
    pub fn admit(&mut self, world: &World, installation: &str, cluster: &ClusterKey, uid: &str) -> Result<(), String> {
        if uid == installation {
            return Err("leads to the cluster that usher runs in; leave spec.cluster out".to_owned());
        }
        if let Some(rival) = self.rival(world, cluster, uid) {
            // It is not in the way of the other any more.
            self.release(cluster);
            return Err(format!(
                "leads to the same cluster as {}; name the same Secret in both Environments, or delete that one if no Environment names it",
                rival.id()
            ));
        }
        let before = recorded(world, cluster).chain(self.0.get(cluster).map(String::as_str)).find(|before| *before != uid);
        if let Some(before) = before {
            return Err(format!(
                "leads to another cluster than before (its kube-system has UID {uid}, and had {before}), in which usher may have given something; put the \
                 kubeconfig of the first one back, or name another Secret in the Environment for the new one"
            ));
        }
        self.0.insert(cluster.clone(), uid.to_owned());
        Ok(())
    }

    /// Another Secret that leads to a cluster: one that was let in, or for which an Environment says that it does. So the same one is let in at each start.
    fn rival(&self, world: &World, cluster: &ClusterKey, uid: &str) -> Option<ClusterKey> {
        let written = all_recorded(world).filter(|(key, at)| *at == uid && self.0.get(key).is_none_or(|claim| claim == uid));
        let claimed = self.0.iter().map(|(key, claim)| (key.clone(), claim.as_str())).filter(|(_, claim)| *claim == uid);
        let mut rivals: BTreeSet<ClusterKey> = claimed.chain(written).map(|(key, _)| key).collect();
        // The one that came first by what is written has it, whichever another replica let in before that was written.
        if is_recorded(world, cluster, uid) {
            rivals.retain(|key| self.0.contains_key(key) && is_recorded(world, key, uid));
        }
        rivals.remove(cluster);
        rivals.into_iter().next()
    }

    /// Lets go of what a Secret led to.
    pub fn release(&mut self, cluster: &ClusterKey) {
        self.0.remove(cluster);
    }
}

/// The cluster to which a Secret leads.
pub fn key_of(secret: &SecretKey) -> ClusterKey {
    ClusterKey::Remote(secret.name.clone(), secret.key.clone())
}

/// The Secret that leads to a cluster, and which cluster that is.
pub fn known_cluster(cluster: &ClusterKey, uid: Option<&str>) -> Option<KnownCluster> {
    let ClusterKey::Remote(name, key) = cluster else { return None };
    let kubeconfig_secret = SecretKey { name: name.clone(), key: key.clone() };
    Some(KnownCluster { kubeconfig_secret, uid: uid.unwrap_or_default().to_owned() })
}

/// Which clusters usher works in, or has something left to take away in, as the Environments say it: the Secret, and the UID of its `kube-system`.
fn all_recorded(world: &World) -> impl Iterator<Item = (ClusterKey, &str)> {
    let clusters = world.environments().filter_map(|(_, environment)| environment.status.as_ref()).flat_map(|status| &status.clusters);
    clusters.filter(|known| !known.uid.is_empty()).map(|known| (key_of(&known.kubeconfig_secret), known.uid.as_str()))
}

/// Which cluster a Secret leads to by what is written. Where nothing is written usher has never given anything.
pub fn recorded<'a>(world: &'a World, cluster: &ClusterKey) -> impl Iterator<Item = &'a str> {
    all_recorded(world).filter(move |(key, _)| key == cluster).map(|(_, uid)| uid)
}

fn is_recorded(world: &World, cluster: &ClusterKey, uid: &str) -> bool {
    recorded(world, cluster).any(|at| at == uid)
}

/// Whether it is written already that another Secret leads to the cluster to which this one does. Then it is not written of this one: of two that were let in by
/// different replicas, one has it.
pub fn recorded_of_another(world: &World, cluster: &ClusterKey, uid: &str) -> bool {
    !is_recorded(world, cluster, uid) && all_recorded(world).any(|(key, at)| key != *cluster && at == uid)
}

/// The clusters besides the home cluster that Environments name, or named as long as there is something left to take away.
pub fn named(world: &World) -> BTreeSet<ClusterKey> {
    let present = world.environments().map(|(_, environment)| ClusterKey::of(environment)).filter(|key| *key != ClusterKey::Home);
    present.chain(all_recorded(world).map(|(key, _)| key)).collect()
}

/// Whether usher never came to a cluster, so that nothing of it can be there: before it is written down which cluster it is, nothing is given there.
pub fn untouched(scene: Scene<'_>, cluster: &ClusterKey) -> bool {
    *cluster != ClusterKey::Home && !scene.clusters.contains_key(cluster) && recorded(scene.world, cluster).next().is_none()
}

/// The clusters in which usher may have given something that it cannot see, as nothing was read of them since the start; with the reason. One whose Secret was
/// taken away is nobody's to look at any more.
pub fn unseen(scene: Scene<'_>) -> Silences {
    let written: BTreeSet<ClusterKey> = all_recorded(scene.world).map(|(key, _)| key).collect();
    let unseen = written.into_iter().filter(|key| !scene.clusters.contains_key(key));
    let open = unseen.filter(|key| scene.links.get(key).is_none_or(|link| !link.given_up()));
    open.filter_map(|key| Some((key.clone(), scene.silence(&key)?))).collect()
}

/// The clusters that writes wait for, with the reason.
pub fn awaited(scene: Scene<'_>, owed: &[Step]) -> Silences {
    let clusters: BTreeSet<&ClusterKey> = owed.iter().map(|step| &step.cluster).collect();
    clusters.into_iter().filter_map(|cluster| Some((cluster.clone(), scene.silence(cluster)?))).collect()
}

/// The clusters that a deleted object waits for, of which nothing is seen any more but these writes that are owed, with the reason.
pub fn owing(scene: Scene<'_>, owed: &[Step]) -> Silences {
    let mut owing = awaited(scene, owed);
    owing.retain(|cluster, _| scene.links.get(cluster).is_none_or(|link| !link.given_up()));
    owing.extend(unseen(scene));
    owing
}
