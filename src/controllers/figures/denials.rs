//! Requests that the API server denied, as its audit webhook tells: whether they were errors of access is judged by the replica that works.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::Api;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use crate::plan::scorecard::denied::{Existing, Request, error, needed, person};
use crate::telemetry::metrics::Metrics;

use super::super::context::Context;

/// So many requests wait to be judged at most; what comes beyond is not judged.
const MOST: usize = 1_000;
/// What an existing ClusterRole allows is read again after this.
const FRESH: Duration = Duration::from_mins(1);
/// An access that was just given may be denied by what the API server has not seen yet, so a request is judged when the status that tells of it is there, too.
const LATER: Duration = Duration::from_secs(1);

/// Where denied requests go.
#[derive(Debug)]
pub struct Sink {
    sender: Sender<Request>,
    leads: AtomicBool,
    metrics: Arc<Metrics>,
}

/// A sink, and what comes out of it.
pub fn sink(metrics: Arc<Metrics>) -> (Arc<Sink>, Receiver<Request>) {
    let (sender, receiver) = channel(MOST);
    (Arc::new(Sink { sender, leads: AtomicBool::new(false), metrics }), receiver)
}

impl Sink {
    /// Takes requests in. Returns whether this replica works: what another one is told it knows nothing of.
    pub fn take(&self, requests: Vec<Request>) -> bool {
        if !self.leads.load(Ordering::SeqCst) {
            return false;
        }
        for request in requests {
            if self.sender.try_send(request).is_err() {
                self.metrics.audit_dropped();
            }
        }
        true
    }

    /// Whether this replica works.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }
}

/// Judges one request after another, for ever.
pub async fn judge(context: Arc<Context>, sink: Arc<Sink>, mut requests: Receiver<Request>) {
    sink.leads.store(true, Ordering::SeqCst);
    let mut known = Known { existing: Existing::new(), since: Instant::now() };
    while let Some(request) = requests.recv().await {
        let managed = context.memory.read(|_, scene| person(scene, &request.user).is_some());
        if !managed {
            continue;
        }
        let age = Duration::try_from(context.now().duration_since(request.at)).unwrap_or_default();
        tokio::time::sleep(LATER.saturating_sub(age)).await;
        known.read(&context, &request).await;
        context.metrics.audit_denied();
        let now = context.now();
        let denial = context.memory.read(|content, scene| {
            let grants =
                person(scene, &request.user).and_then(|developer| developer.metadata.name.clone()).map(|name| content.grants.of(&name));
            error(scene, &request, &known.existing, &grants.unwrap_or_default(), now)
        });
        if let Some(denial) = denial {
            tracing::warn!(developer = denial.developer, target = denial.target, what = denial.what, "denied although a Role allows it");
            context.figures.deny(denial, now);
        }
    }
}

/// What existing ClusterRoles allow.
struct Known {
    existing: Existing,
    since: Instant,
}

impl Known {
    /// Reads what a request may be allowed by. One that cannot be read allows nothing: no error is told that may be none.
    async fn read(&mut self, context: &Context, request: &Request) {
        if self.since.elapsed() > FRESH {
            *self = Self { existing: Existing::new(), since: Instant::now() };
        }
        let now = context.now();
        let wanted = context.memory.read(|_, scene| needed(scene, request, now));
        let api: Api<ClusterRole> = Api::all(context.client.clone());
        for name in wanted {
            if !self.existing.contains_key(&name) {
                let found: Option<Vec<PolicyRule>> = api.get_opt(&name).await.ok().flatten().and_then(|role| role.rules);
                self.existing.insert(name, found.unwrap_or_default());
            }
        }
    }
}
