//! How the clusters of other Environments stand to usher: how people reach them, and what keeps usher from working there.

use std::collections::BTreeMap;

use crate::api::Reason;

use super::cluster::ClusterKey;
use super::settings::Server;

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
    /// What is wrong with it now.
    pub trouble: Option<Trouble>,
    /// Whether all of it was read once. Before that nothing is known of it, and nothing is concluded from that.
    pub read: bool,
}

/// The clusters besides the home cluster.
pub type Links = BTreeMap<ClusterKey, Link>;
