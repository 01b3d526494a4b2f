//! Where somebody who left had something: the targets of her receipt, each with its cluster. What a receipt once said of that stands: Environments move and go, and
//! a cluster of which nothing is known is never taken for another one.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::Departure;
use crate::api::departure::DepartureTarget;
use crate::api::developer::Identity;

use super::cluster::ClusterKey;
use super::departures::complete;
use super::link::{key_of, known_cluster, recorded, unseen, untouched};
use super::placement::Scene;
use super::seal::Site;
use super::target::{PROVIDER, environment_target};

/// Where a target of a receipt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The UID of its `kube-system`, if that is known.
    pub uid: Option<String>,
}

/// The places of a receipt's targets in clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts(BTreeMap<String, Place>);

/// The target of a cluster in which no Environment of the receipt is.
fn cluster_target(cluster: &ClusterKey) -> String {
    format!("cluster/{}", cluster.id())
}

impl Place {
    fn of(scene: Scene<'_>, cluster: ClusterKey) -> Self {
        let link = scene.links.get(&cluster).and_then(|link| link.uid.clone());
        let uid = link.or_else(|| recorded(scene.world, &cluster).next().map(str::to_owned));
        Self { cluster, uid }
    }

    /// As a receipt tells it: by the Secret that leads to that cluster now, whatever led there before.
    fn told(scene: Scene<'_>, target: &DepartureTarget) -> Self {
        let Some(known) = &target.cluster else { return Self { cluster: ClusterKey::Home, uid: None } };
        if known.uid.is_empty() {
            return Self::of(scene, key_of(&known.kubeconfig_secret));
        }
        let leads = scene.links.iter().find(|(_, link)| link.uid.as_deref() == Some(known.uid.as_str())).map(|(key, _)| key.clone());
        Self { cluster: leads.unwrap_or_else(|| key_of(&known.kubeconfig_secret)), uid: Some(known.uid.clone()) }
    }

    /// Why it cannot be looked at, if so.
    fn silence(&self, scene: Scene<'_>) -> Option<String> {
        let link = scene.links.get(&self.cluster);
        let elsewhere = link.and_then(|link| link.uid.as_ref()).zip(self.uid.as_ref()).filter(|(now, then)| now != then);
        match elsewhere {
            Some((_, then)) => Some(format!(
                "its Secret leads to another cluster by now; make an Environment that leads to the one with UID {then}, or waive this"
            )),
            None if link.is_none() && self.cluster != ClusterKey::Home && !scene.clusters.contains_key(&self.cluster) => {
                Some("no Environment leads there any more; make one, or waive this".to_owned())
            }
            None => scene.silence(&self.cluster).map(|(_, why)| why),
        }
    }
}

impl Whereabouts {
    /// Where somebody had something: by her receipt, by her workspaces, by how Environments know her. `touched`: the clusters in which something of hers was found.
    pub fn of(scene: Scene<'_>, departure: &Departure, identities: &[Identity], sites: &[Site], touched: &BTreeSet<ClusterKey>) -> Self {
        let told = departure.status.iter().flat_map(|status| &status.targets).filter(|target| !target.target.starts_with(PROVIDER));
        let mut places: BTreeMap<String, Place> = told.map(|target| (target.target.clone(), Place::told(scene, target))).collect();
        for identity in identities {
            let cluster = scene.world.environment(&identity.environment).map(|environment| ClusterKey::of(environment));
            // Where usher never came it has given nothing, so nothing is owed there.
            let Some(cluster) = cluster.filter(|cluster| !untouched(scene, cluster)) else { continue };
            let place = || Place::of(scene, cluster);
            places.entry(environment_target(&identity.environment)).or_insert_with(place);
        }
        for site in sites {
            places.entry(environment_target(&site.environment)).or_insert_with(|| Place::of(scene, site.cluster.clone()));
        }
        let mut others = touched.clone();
        if !complete(departure) {
            others.extend(unseen(scene).into_keys());
        }
        others.retain(|cluster| *cluster != ClusterKey::Home && places.values().all(|place| place.cluster != *cluster));
        places.extend(others.into_iter().map(|cluster| (cluster_target(&cluster), Place::of(scene, cluster))));
        Self(places)
    }

    /// The targets.
    pub fn targets(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    /// Where a target is, if that is known.
    pub fn place(&self, target: &str) -> Option<&Place> {
        self.0.get(target)
    }

    /// The targets in a cluster.
    pub fn targets_in<'a>(&'a self, cluster: &'a ClusterKey) -> impl Iterator<Item = &'a String> {
        self.0.iter().filter(move |(_, place)| place.cluster == *cluster).map(|(target, _)| target)
    }

    /// The clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterKey> {
        self.0.values().map(|place| &place.cluster)
    }

    /// The target of an Environment in a cluster: that of the cluster, if the receipt says that the Environment was elsewhere.
    pub fn target(&self, environment: &str, cluster: &ClusterKey) -> String {
        let target = environment_target(environment);
        if self.0.get(&target).is_some_and(|place| place.cluster == *cluster) { target } else { cluster_target(cluster) }
    }

    /// The clusters that cannot be looked at, with the reason.
    pub fn silent(&self, scene: Scene<'_>) -> BTreeMap<ClusterKey, String> {
        self.0.values().filter_map(|place| Some((place.cluster.clone(), place.silence(scene)?))).collect()
    }

    /// The cluster of a target, as the receipt tells it.
    pub fn known(&self, target: &str) -> Option<crate::api::environment::KnownCluster> {
        let place = self.0.get(target)?;
        known_cluster(&place.cluster, place.uid.as_deref())
    }
}
