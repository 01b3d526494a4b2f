//! The passes over clusters besides the home cluster. Each has its own, with queues and workers of its own, so that one that is slow keeps nobody waiting
//! elsewhere. They work while their cluster answers; what is to be done in one that does not is owed, and is done when it is back, departures first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cluster::seen::Seen;
use crate::plan::cluster::ClusterKey;

use super::context::{ClusterQueues, Context};
use super::frame::{Frame, Pass};
use super::queue::Queue;
use super::{departure, developer, lock, role, triggers, workspace};

/// The passes over other clusters.
pub struct Hands {
    context: Arc<Context>,
    at_work: BTreeMap<ClusterKey, JoinSet<()>>,
}

impl Hands {
    /// Nothing at work yet.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, at_work: BTreeMap::new() }
    }

    /// Begins with every cluster that answers.
    pub fn begin(&mut self) {
        let known: Vec<ClusterKey> = self.context.memory.read(|content, _| content.links.keys().cloned().collect());
        for cluster in &known {
            if self.answers(cluster) {
                self.start(cluster);
            }
        }
    }

    /// Looks at the clusters that a change concerns: how one stands, or that it is written down by now which one it is.
    pub fn follow(&mut self, change: &Seen) {
        match change {
            Seen::Link(cluster, ..) => self.look(cluster),
            Seen::Environment(_, old, new) => {
                let clusters = [old, new].into_iter().flatten().map(|environment| ClusterKey::of(environment));
                clusters
                    .filter(|cluster| *cluster != ClusterKey::Home)
                    .collect::<BTreeSet<_>>()
                    .iter()
                    .for_each(|cluster| self.look(cluster));
            }
            _ => {}
        }
    }

    fn answers(&self, cluster: &ClusterKey) -> bool {
        self.context.memory.read(|_, scene| scene.answers(cluster))
    }

    /// Begins to work in a cluster that answers by now, and ends it in one that does not any more.
    fn look(&mut self, cluster: &ClusterKey) {
        let answers = self.answers(cluster);
        if answers && !self.at_work.contains_key(cluster) {
            self.start(cluster);
            triggers::tell_all(&self.context);
        } else if !answers && self.at_work.remove(cluster).is_some() {
            self.context.queues.unfollow(cluster);
            self.context.there.forget_cluster(cluster);
            self.context.roles.lock().values_mut().for_each(|outcomes| drop(outcomes.remove(cluster)));
            triggers::tell_all(&self.context);
        }
    }

    fn start(&mut self, cluster: &ClusterKey) {
        let (context, queues) = (&self.context, ClusterQueues::default());
        let mut tasks = JoinSet::new();
        let mut start = |pass: Arc<dyn Pass>, queue: &Queue, concurrency: usize| {
            tasks.spawn(Frame::elsewhere(pass, queue.clone(), context.metrics.clone(), concurrency).run());
        };
        start(Arc::new(role::Roles::new(context.clone(), cluster.clone())), &queues.roles, 8);
        start(Arc::new(developer::Developers::new(context.clone(), cluster.clone())), &queues.developers, 32);
        start(Arc::new(workspace::Workspaces::new(context.clone(), cluster.clone())), &queues.workspaces, 4);
        start(Arc::new(departure::Departures::new(context.clone(), cluster.clone())), &queues.departures, 16);
        start(Arc::new(lock::Locks::new(context.clone(), cluster.clone())), &queues.locks, 8);
        self.at_work.insert(cluster.clone(), tasks);
        context.queues.follow(cluster, &queues);
        triggers::returned(context, &queues);
    }
}
