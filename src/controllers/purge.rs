//! The end of records that are over for longer than the value `audit.retention`: a few at a time, behind all other work.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Api;

use crate::api::{Departure, Grant};
use crate::cluster::apply::Written;
use crate::plan::purge::{Purge, purge_departures, purge_grants, purge_revisions};

use super::context::Context;
use super::frame::{Done, Pass};
use super::queue::Lane;

/// The key of Grants in the queue.
pub const GRANTS: &str = "grants";
/// The key of Departures in the queue.
pub const DEPARTURES: &str = "departures";
/// The key of revisions of Roles in the queue.
pub const REVISIONS: &str = "revisions";
/// All keys.
pub const RECORDS: [&str; 3] = [GRANTS, DEPARTURES, REVISIONS];

/// At most this many of a kind are deleted at once, so that years that end on one day hurt nobody.
const MOST: usize = 20;
/// How soon to go on when there are more.
const GO_ON: Duration = Duration::from_secs(10);

/// Passes over the kinds of records.
pub struct Purges {
    context: Arc<Context>,
}

impl Pass for Purges {
    fn kind(&self) -> &'static str {
        "Record"
    }

    fn pass<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Done> {
        self.run(name).boxed()
    }
}

impl Purges {
    /// Passes over the kinds of records.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    async fn run(&self, kind: &str) -> Done {
        let context = &self.context;
        // While usher's kinds come and go, or the export has not caught up, nothing is known to be over.
        if context.epoch().is_none() || context.export.behind() {
            return Done { soon: Some(GO_ON), ..Done::default() };
        }
        let now = context.now();
        let client = context.client.clone();
        match kind {
            GRANTS => {
                let purge = context.memory.read(|content, scene| purge_grants(scene, content.grants.ended(), now));
                let done = self.delete(&Api::<Grant>::all(client), purge).await;
                if done.wrote {
                    // They may have been the last that needed a revision.
                    context.queues.records.push(REVISIONS, Lane::Sweep);
                }
                done
            }
            DEPARTURES => {
                let purge = context
                    .memory
                    .read(|content, scene| purge_departures(scene, content.world.departures().all().map(|(_, departure)| departure), now));
                self.delete(&Api::<Departure>::all(client), purge).await
            }
            _ => {
                let purge =
                    context.memory.read(|content, scene| purge_revisions(scene, content.revisions.all(), content.grants.ran(), now));
                let namespace = context.memory.settings().namespace.clone();
                self.delete(&Api::<ControllerRevision>::namespaced(client, &namespace), purge).await
            }
        }
    }

    async fn delete<K: Written>(&self, api: &Api<K>, purge: Purge<K>) -> Done {
        let mut done = Done { recheck_at: purge.next, soon: (purge.due.len() > MOST).then_some(GO_ON), ..Done::default() };
        for record in purge.due.iter().take(MOST) {
            match self.context.objects.purge(api, record.as_ref()).await {
                Ok(()) => {
                    done.wrote = true;
                }
                Err(error) => done.errors.push(error),
            }
        }
        done
    }
}
