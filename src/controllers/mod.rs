//! Controllers: a change wakes a pass; a pass gathers, plans, carries out and reports.
//!
//! [`run`] starts all of them and runs while this replica leads.

pub mod accounts;
pub mod binding;
mod census;
pub mod consistency;
pub mod context;
pub mod defaults;
pub mod departure;
pub mod developer;
mod developer_there;
pub mod doorbell;
pub mod environment;
pub mod export;
pub mod figures;
pub mod frame;
mod hands;
pub mod lock;
pub mod outside;
pub mod provider;
pub mod purge;
pub mod queue;
pub mod report;
pub mod role;
mod seal;
pub mod sources;
mod there;
pub mod triggers;
mod turns;
pub mod workspace;

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::context::Context;
use self::frame::{Frame, Pass};
use self::hands::Hands;
use self::queue::Queue;
use crate::plan::cluster::ClusterKey;

/// How soon to look again whether usher's CRDs are back.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs every controller until it is dropped. `relisted` tells that a watch of usher's kinds had to list again.
pub async fn run(context: Arc<Context>, relisted: Arc<Notify>) {
    let mut seen = context.memory.listen();
    while let Err(error) = context.read_epoch().await {
        tracing::warn!(error = error.chain(), "cannot read usher's CRDs; trying again");
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    let counted = Arc::downgrade(&context);
    context.metrics.watch_census(move || counted.upgrade().map(|context| census::take(&context)).unwrap_or_default());
    let mut tasks = JoinSet::new();
    let mut start = |pass: Arc<dyn Pass>, queue: &Queue, concurrency: usize| {
        tasks.spawn(Frame::new(pass, queue.clone(), context.metrics.clone(), concurrency).run());
    };
    let queues = &context.queues;
    let home = ClusterKey::Home;
    start(Arc::new(role::Roles::new(context.clone(), home.clone())), &queues.roles, 8);
    start(Arc::new(developer::Developers::new(context.clone(), home.clone())), &queues.developers, 32);
    start(Arc::new(binding::Bindings::new(context.clone())), &queues.bindings, 8);
    start(Arc::new(environment::Environments::new(context.clone())), &queues.environments, 4);
    start(Arc::new(provider::Providers::new(context.clone())), &queues.providers, 4);
    start(Arc::new(sources::Sources::new(context.clone())), &queues.sources, 2);
    start(Arc::new(workspace::Workspaces::new(context.clone(), home.clone())), &queues.workspaces, 4);
    start(Arc::new(departure::Departures::new(context.clone(), home.clone())), &queues.departures, 16);
    start(Arc::new(lock::Locks::new(context.clone(), home)), &queues.locks, 8);
    start(Arc::new(purge::Purges::new(context.clone())), &queues.records, 1);
    start(Arc::new(consistency::Looks::new(context.clone())), context.consistency.queue(), 1);
    start(Arc::new(figures::Scorecards::new(context.clone())), &context.figures.queue, 1);
    start(Arc::new(figures::Ledgers::new(context.clone())), &context.figures.ledgers, 1);
    let exports = context.clone();
    tasks.spawn(async move { exports.export.run(&exports.memory, &exports.metrics).await });
    let rings = context.clone();
    tasks.spawn(async move { rings.doorbell.run().await });
    triggers::wake_all(&context);
    context.consistency.begin();
    context.figures.begin();
    let mut hands = Hands::new(context.clone());
    hands.begin();
    loop {
        tokio::select! {
            change = seen.recv() => match change {
                Some((change, by)) => {
                    hands.follow(&change);
                    triggers::wake(&context, &change, by);
                }
                None => return,
            },
            () = relisted.notified() => {
                let _ = whole(&context).await;
                triggers::wake_all(&context);
            }
            // A watch of what was missing takes its time to try again; removals should not wait for that.
            () = tokio::time::sleep(LOOK_AGAIN), if context.epoch().is_none() => {
                if whole(&context).await {
                    triggers::wake_all(&context);
                }
            }
        }
    }
}

/// Looks whether usher's CRDs are whole.
async fn whole(context: &Context) -> bool {
    let epoch = context.read_epoch().await;
    epoch.inspect_err(|error| tracing::warn!(error = error.chain(), "cannot read usher's CRDs")).is_ok_and(|epoch| epoch.is_some())
}
