//! What every controller works with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use kube::runtime::events::Recorder;
use kube::{Client, Resource};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::api::Reason;
use crate::cluster::apply::Cluster;
use crate::cluster::crds::{self, Health};
use crate::cluster::error::Error;
use crate::cluster::leader::Mandate;
use crate::cluster::memory::Memory;
use crate::cluster::objects::Objects;
use crate::cluster::pen::Pen;
use crate::cluster::remote::Connections;
use crate::cluster::secrets::Token;
use crate::plan::change::{Step, Verb};
use crate::plan::cluster::ClusterKey;
use crate::plan::environment::Pending;
use crate::plan::link::Silences;
use crate::plan::role::Failed;
use crate::telemetry::metrics::Metrics;

use super::accounts::Desks;
use super::consistency::Consistency;
use super::doorbell::Doorbell;
use super::export::Exporter;
use super::figures::Figures;
use super::queue::Queue;
use super::sources::Readers;
use super::there::There;

/// At most this many writes of one phase are under way at once.
const WRITES_AT_ONCE: usize = 16;
/// The least time between two passes over one Role: a burst of changes becomes one write per binding.
const ROLE_GAP: Duration = Duration::from_millis(100);
/// The least time between two passes that only report.
const REPORT_GAP: Duration = Duration::from_millis(200);

/// The queues, one a kind.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Developers.
    pub developers: Queue,
    /// Roles.
    pub roles: Queue,
    /// Bindings.
    pub bindings: Queue,
    /// Environments.
    pub environments: Queue,
    /// Providers.
    pub providers: Queue,
    /// Sources.
    pub sources: Queue,
    /// Workspaces whose end has come.
    pub workspaces: Queue,
    /// Kinds of records, of which the oldest may be over.
    pub records: Queue,
    /// Locks.
    pub locks: Queue,
    /// Receipts.
    pub departures: Queue,
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            developers: Queue::new(Duration::ZERO),
            roles: Queue::yielding(ROLE_GAP),
            bindings: Queue::new(REPORT_GAP),
            environments: Queue::new(REPORT_GAP),
            providers: Queue::new(PROVIDER_GAP),
            sources: Queue::new(REPORT_GAP),
            workspaces: Queue::new(Duration::ZERO),
            records: Queue::new(PURGE_GAP),
            locks: Queue::new(Duration::ZERO),
            departures: Queue::new(Duration::ZERO),
        }
    }
}

/// The least time between two passes over one Provider: its counts change with every account.
const PROVIDER_GAP: Duration = Duration::from_secs(1);

/// The least time between two looks for records that are over: they go a few at a time.
const PURGE_GAP: Duration = Duration::from_secs(10);

impl Queues {
    /// Lets the queues of another cluster follow.
    pub fn follow(&self, cluster: &ClusterKey, there: &ClusterQueues) {
        self.developers.follow(cluster, &there.developers);
        self.roles.follow(cluster, &there.roles);
        self.workspaces.follow(cluster, &there.workspaces);
        self.locks.follow(cluster, &there.locks);
        self.departures.follow(cluster, &there.departures);
    }

    /// That is over.
    pub fn unfollow(&self, cluster: &ClusterKey) {
        [&self.developers, &self.roles, &self.workspaces, &self.locks, &self.departures]
            .into_iter()
            .for_each(|queue| queue.unfollow(cluster));
    }
}

/// The queues of work in another cluster. They follow those of the same name in [`Queues`].
#[derive(Clone, Debug)]
pub struct ClusterQueues {
    /// Developers.
    pub developers: Queue,
    /// Roles.
    pub roles: Queue,
    /// Workspaces whose end has come.
    pub workspaces: Queue,
    /// Locks.
    pub locks: Queue,
    /// Receipts.
    pub departures: Queue,
}

impl Default for ClusterQueues {
    fn default() -> Self {
        Self {
            developers: Queue::new(Duration::ZERO),
            roles: Queue::yielding(ROLE_GAP),
            workspaces: Queue::new(Duration::ZERO),
            locks: Queue::new(Duration::ZERO),
            departures: Queue::new(Duration::ZERO),
        }
    }
}

/// How a Role's last pass went, for those who report on it.
#[derive(Clone, Debug, Default)]
pub struct RoleOutcome {
    /// The errors, as people read them.
    pub errors: Vec<(Reason, String)>,
    /// Whether all of the plan was written and seen.
    pub settled: bool,
    /// When the pass began, in ticks.
    pub started: u64,
    /// The generation of the Role that it was about, if it came so far.
    pub generation: Option<i64>,
    /// The clusters that it waits for, as they do not answer.
    pub silent: Silences,
}

/// Somebody who is leaving.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// Since when that is seen.
    pub since: Instant,
    /// Whether her access was seen to be gone.
    pub gone: bool,
    /// Whether the API servers were asked, and denied everything.
    pub denied: bool,
}

/// What every controller works with.
pub struct Context {
    /// All that was seen.
    pub memory: Arc<Memory>,
    home: Cluster,
    /// The connections to other clusters.
    pub connections: Arc<Connections>,
    mandate: Mandate,
    pens: Mutex<BTreeMap<ClusterKey, Pen>>,
    /// What other clusters' passes have found, for those of the home cluster, which tell it.
    pub there: There,
    /// usher's own objects.
    pub objects: Objects,
    /// A client of the home cluster.
    pub client: Client,
    /// Measurements.
    pub metrics: Arc<Metrics>,
    /// Work to do.
    pub queues: Queues,
    /// How the Roles are, in each cluster at work.
    pub roles: Mutex<HashMap<String, BTreeMap<ClusterKey, RoleOutcome>>>,
    /// How alike Environments are.
    pub consistency: Consistency,
    /// What the four figures follow from, and what was told of them.
    pub figures: Figures,
    /// How accounts in outside systems are.
    pub desks: Desks,
    /// What was read of people's sources.
    pub sources: Readers,
    /// Since when somebody is seen to be leaving.
    pub leaving: Mutex<HashMap<String, Leaving>>,
    /// The last tokens of people who left, by the UID of the Developer and by cluster, until they were seen to be refused.
    pub tokens: Mutex<HashMap<String, BTreeMap<ClusterKey, Arc<Token>>>>,
    pending: Mutex<HashMap<(String, String), BTreeMap<String, Pending>>>,
    epoch: Mutex<Option<String>>,
    ticks: AtomicU64,
    /// Where Events go.
    pub doorbell: Doorbell,
    /// Where the record is exported to.
    pub export: Exporter,
}

/// What became of a phase of writes.
#[derive(Debug, Default)]
pub struct Carried {
    /// How many were carried out.
    pub written: usize,
    /// What failed.
    pub errors: Vec<Error>,
    /// Where it failed.
    pub failed: Failed,
    /// The namespaces that could not be made.
    broken: Vec<String>,
}

impl Carried {
    /// The first error that looking again does not settle.
    pub fn failure(self) -> Result<(), Error> {
        self.errors.into_iter().find(|error| !error.is_no_failure()).map_or(Ok(()), Err)
    }
}

impl Context {
    /// Puts together what every controller works with.
    pub fn new(
        (memory, connections): (Arc<Memory>, Arc<Connections>),
        client: Client,
        mandate: Mandate,
        metrics: Arc<Metrics>,
        recorder: impl Fn() -> Recorder + Send + Sync + 'static,
        export: Exporter,
    ) -> Self {
        let pen = Pen::new(mandate.clone(), metrics.clone());
        let home = Cluster::new(ClusterKey::Home, client.clone(), memory.clone(), pen.clone());
        let figures = Figures::new(memory.settings().figures.every);
        Self {
            objects: Objects::new(client.clone(), memory.clone(), pen),
            home,
            connections,
            mandate,
            pens: Mutex::default(),
            there: There::default(),
            memory,
            client,
            metrics,
            queues: Queues::default(),
            roles: Mutex::default(),
            consistency: Consistency::default(),
            figures,
            desks: Desks::default(),
            sources: Readers::default(),
            leaving: Mutex::default(),
            tokens: Mutex::default(),
            pending: Mutex::default(),
            epoch: Mutex::default(),
            ticks: AtomicU64::new(1),
            doorbell: Doorbell::new(recorder),
            export,
        }
    }

    /// A cluster that can be written to.
    pub fn cluster(&self, key: &ClusterKey) -> Option<Cluster> {
        if *key == ClusterKey::Home {
            return Some(self.home.clone());
        }
        let client = self.connections.client(key)?;
        let pen = || Pen::new(self.mandate.clone(), self.metrics.clone());
        let pen = self.pens.lock().entry(key.clone()).or_insert_with(pen).clone();
        Some(Cluster::new(key.clone(), client, self.memory.clone(), pen))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// A number that is greater than every one before.
    pub fn tick(&self) -> u64 {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// Reads the CRDs live. Returns their digest, or nothing while one of them is being deleted or missing.
    pub async fn read_epoch(&self) -> Result<Option<String>, Error> {
        let (epoch, locks_go) = match crds::health(&self.client).await? {
            Health::Whole(epoch) => (Some(epoch), false),
            Health::Broken(kinds) => {
                tracing::warn!(
                    kinds = kinds.join(","),
                    "a CRD of usher's is being deleted or missing: until it is back, what disappears ends nothing"
                );
                (None, kinds.contains(&"locks"))
            }
        };
        self.memory.set_locks_readable(None, Some(locks_go));
        self.epoch.lock().clone_from(&epoch);
        Ok(epoch)
    }

    /// The digest of the CRDs as they were last read.
    pub fn epoch(&self) -> Option<String> {
        self.epoch.lock().clone()
    }

    /// Carries out the writes of phases, those of one phase side by side.
    pub async fn carry_out(&self, phases: Vec<Vec<Step>>) -> Carried {
        let mut carried = Carried::default();
        self.carry_on(&mut carried, phases).await;
        carried
    }

    /// The same, after other phases.
    pub async fn carry_on(&self, carried: &mut Carried, phases: Vec<Vec<Step>>) {
        for phase in phases {
            let mut steps = phase;
            steps.retain(|step| !step.change.meta().namespace.as_ref().is_some_and(|namespace| carried.broken.contains(namespace)));
            let (barred, steps): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| carried.failed.bars(step));
            barred.iter().for_each(|step| carried.failed.note(step));
            let writes = steps.into_iter().map(|step| async move {
                let answer = self.carry_out_step(&step).await;
                (step, answer)
            });
            let answers: Vec<(Step, Result<(), Error>)> = stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).collect().await;
            for (step, answer) in answers {
                match answer {
                    Ok(()) => carried.written += 1,
                    Err(error) => {
                        carried.failed.note(&step);
                        if step.change.kind() == "Namespace" {
                            carried.broken.extend(step.change.meta().name.clone());
                        }
                        carried.errors.push(error);
                    }
                }
            }
        }
    }

    async fn carry_out_step(&self, step: &Step) -> Result<(), Error> {
        let Some(cluster) = self.cluster(&step.cluster) else { return Ok(()) };
        let written = {
            let _under_way = self.memory.writing.begin(super::figures::title(step));
            cluster.carry_out(step).await
        };
        written.inspect_err(|error| self.doubt(&step.cluster, error))?;
        if let Some(teams) = self.figures.hands.wrote(step) {
            super::figures::repaired(self, step, teams);
        }
        let verb = match step.change.verb() {
            Verb::Create => "create",
            Verb::Replace => "update",
            Verb::Delete => "delete",
        };
        tracing::debug!(verb, kind = step.change.kind(), object = crate::cluster::apply::title(step.change.meta()), "wrote");
        Ok(())
    }

    /// Has a cluster looked at that did not answer as it should.
    pub fn doubt(&self, cluster: &ClusterKey, error: &Error) {
        if !error.is_no_failure() {
            self.connections.doubt(cluster);
        }
    }

    /// Remembers what is still to be written for an object, by Environment; tells those Environments if that changed.
    pub fn set_pending<'a>(&self, owner: (&str, &str), steps: impl Iterator<Item = &'a Step>) {
        let mut counts: BTreeMap<String, Pending> = BTreeMap::new();
        self.memory.read(|_, scene| {
            for step in steps {
                if let Some(environment) = &step.environment {
                    counts.entry(environment.clone()).or_default().count(scene, step);
                }
            }
        });
        let key = (owner.0.to_owned(), owner.1.to_owned());
        let mut pending = self.pending.lock();
        let old = if counts.is_empty() { pending.remove(&key) } else { pending.insert(key, counts.clone()) }.unwrap_or_default();
        drop(pending);
        for environment in old.keys().chain(counts.keys()) {
            if old.get(environment) != counts.get(environment) {
                self.queues.environments.push(environment, super::queue::Lane::Sweep);
            }
        }
    }

    /// What is still to be written in an Environment.
    pub fn pending_in(&self, environment: &str) -> Pending {
        let pending = self.pending.lock();
        pending.values().filter_map(|counts| counts.get(environment)).fold(Pending::default(), |sum, one| sum.plus(*one))
    }

    /// Rings the doorbell: an Event on an object.
    pub fn event<K: Resource<DynamicType = ()>>(&self, object: &K, good: bool, reason: &str, note: &str) {
        self.doorbell.ring(object.object_ref(&()), good, reason, note);
    }
}
