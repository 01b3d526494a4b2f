//! Workspaces of people who departed, when their visible date has come.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::cluster::error::Error;
use crate::plan::cluster::ClusterKey;
use crate::plan::retention::{End, end_of};

use super::context::Context;
use super::frame::{Done, Pass};

/// Passes over workspaces, by namespace.
pub struct Workspaces {
    context: Arc<Context>,
    cluster: ClusterKey,
}

impl Pass for Workspaces {
    fn kind(&self) -> &'static str {
        "Workspace"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        async move { self.run(name).await.unwrap_or_else(|error| Done { errors: vec![error], ..Done::default() }) }.boxed()
    }
}

impl Workspaces {
    /// Passes over workspaces of a cluster.
    pub fn new(context: Arc<Context>, cluster: ClusterKey) -> Self {
        Self { context, cluster }
    }

    async fn run(&self, name: &str) -> Result<Done, Error> {
        let now = self.context.now();
        let (gone, end) = self.context.memory.read(|content, scene| {
            let gone = content.clusters.get(&self.cluster).is_none_or(|state| !state.namespaces.contains_key(name));
            (gone, end_of(scene, &self.cluster, name, now))
        });
        let mut done = Done { gone, ..Done::default() };
        match end {
            End::Stays => {}
            End::At(at) => done.recheck_at = Some(at),
            End::Now(step) => {
                tracing::info!(namespace = name, "deleting the workspace of somebody who departed, as its date has come");
                let carried = self.context.carry_out(vec![vec![step]]).await;
                done.wrote |= carried.written > 0;
                done.errors.extend(carried.errors);
            }
        }
        Ok(done)
    }
}
