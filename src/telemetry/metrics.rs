//! Prometheus metrics, in OpenMetrics text. Every label has a bounded set of values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use super::scorecards::ScorecardCensus;
use super::scorecards::Scorecards;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    provider: String,
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLane {
    kind: &'static str,
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLane {
    provider: String,
    lane: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderState {
    provider: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Environment {
    environment: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateOfSource {
    source: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceRead {
    source: String,
    outcome: String,
}

/// How a Source is.
#[derive(Clone, Debug)]
pub struct SourceCensus {
    /// Its name.
    pub name: String,
    /// Its state, if it has one yet.
    pub state: Option<&'static str>,
    /// How many seconds ago all of it was read, if it was.
    pub age: Option<f64>,
}

/// What is told of everything that is kept, when it is asked.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// How many Departures are in each state.
    pub departures: BTreeMap<&'static str, usize>,
    /// How many of them should have been complete long ago.
    pub overdue: usize,
    /// The state of each Provider.
    pub providers: Vec<(String, &'static str)>,
    /// The consistency index of each Environment that has one, from 0 to 1.
    pub consistency: Vec<(String, f64)>,
    /// How each Source is.
    pub sources: Vec<SourceCensus>,
    /// The four figures.
    pub scorecards: Vec<ScorecardCensus>,
}

/// What is counted of what is kept.
#[derive(Default)]
struct Counted {
    take: Mutex<Option<Box<dyn Fn() -> Census + Send + Sync>>>,
    departures: Family<State, Gauge>,
    overdue: Gauge,
    providers: Family<ProviderState, Gauge>,
    consistency: Family<Environment, Gauge<f64, AtomicU64>>,
    sources: Family<StateOfSource, Gauge>,
    read_ages: Family<OfSource, Gauge<f64, AtomicU64>>,
    scorecards: Scorecards,
}

impl fmt::Debug for Counted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Counted").finish_non_exhaustive()
    }
}

/// What waits in a lane: how many, and how long the first has.
pub type Waiting = (&'static str, usize, Duration);

/// A desk that is open: each has a number, as a Provider may be made anew under the same name.
struct OpenDesk {
    number: u64,
    /// What its calls came to so far.
    outcomes: BTreeSet<String>,
    waiting: Look,
}

impl fmt::Debug for OpenDesk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenDesk").field("number", &self.number).finish_non_exhaustive()
    }
}

type Look = Box<dyn Fn() -> Vec<Waiting> + Send + Sync>;

/// What waits for passes. It is looked at when it is asked: a queue that nothing is taken from would not tell.
#[derive(Default)]
struct Queues {
    watched: Mutex<Vec<(&'static str, Look)>>,
    length: Family<KindLane, Gauge>,
    oldest: Family<KindLane, Gauge<f64, AtomicU64>>,
}

impl fmt::Debug for Queues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queues").finish_non_exhaustive()
    }
}

/// What is measured of desks, and of which. A Provider that is gone has no series.
#[derive(Debug, Default)]
struct Desks {
    open: Mutex<BTreeMap<String, OpenDesk>>,
    numbers: AtomicU64,
    calls: Family<Call, Counter>,
    length: Family<ProviderLane, Gauge>,
    oldest: Family<ProviderLane, Gauge<f64, AtomicU64>>,
}

/// From a millisecond, a pass that writes nothing, to a minute, a cluster in trouble.
const SECONDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];
/// From a second to a day: a system may be down when somebody comes.
const ACCOUNTS: [f64; 12] = [1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];
/// From five minutes to a month: the first day at work is what matters.
const FIRST_COMMIT: [f64; 12] =
    [300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0, 604_800.0, 1_209_600.0, 2_592_000.0];

/// All metrics of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Outcome, Counter>,
    pass_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    writes: Family<WriteLabels, Counter>,
    watch_restarts: Family<Kind, Counter>,
    declarations: Family<Kind, Counter>,
    counted: Counted,
    queues: Queues,
    leader: Gauge,
    time_to_ready: Histogram,
    time_to_accounts: Histogram,
    time_to_first_commit: Histogram,
    time_to_revoke: Histogram,
    desks: Desks,
    grants: Family<Outcome, Counter>,
    reads: Family<SourceRead, Counter>,
    outcomes: Mutex<BTreeMap<String, BTreeSet<String>>>,
    exported: Counter,
    export_failures: Counter,
    export_waiting: Gauge,
    audit_denials: Counter,
    audit_dropped: Counter,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("usher");
        let metrics = Self {
            passes: Family::default(),
            pass_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            writes: Family::default(),
            watch_restarts: Family::default(),
            declarations: Family::default(),
            counted: Counted::default(),
            queues: Queues::default(),
            leader: Gauge::default(),
            time_to_ready: seconds(),
            time_to_accounts: Histogram::new(ACCOUNTS),
            time_to_first_commit: Histogram::new(FIRST_COMMIT),
            time_to_revoke: seconds(),
            desks: Desks::default(),
            grants: Family::default(),
            reads: Family::default(),
            outcomes: Mutex::default(),
            exported: Counter::default(),
            export_failures: Counter::default(),
            export_waiting: Gauge::default(),
            audit_denials: Counter::default(),
            audit_dropped: Counter::default(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Passes by kind and outcome", metrics.passes.clone());
        registry.register("reconcile_seconds", "Seconds a pass took, by kind", metrics.pass_seconds.clone());
        registry.register("api_writes", "Writes to the Kubernetes API, by kind and verb", metrics.writes.clone());
        registry.register("declarations", "Changes of what people declare, by kind", metrics.declarations.clone());
        registry.register("departures", "Departures, by state", metrics.counted.departures.clone());
        registry.register("departures_overdue", "Departures that should have been complete long ago", metrics.counted.overdue.clone());
        registry.register("provider_state", "1 for the state that a Provider is in", metrics.counted.providers.clone());
        registry.register(
            "consistency_ratio",
            "Share of people's Roles that are in an Environment just what they should be, from 0 to 1",
            metrics.counted.consistency.clone(),
        );
        registry.register("watch_restarts", "Watches that were interrupted, by kind", metrics.watch_restarts.clone());
        registry.register("queue_length", "Objects that wait for a pass, by kind and lane", metrics.queues.length.clone());
        registry.register(
            "queue_oldest_seconds",
            "Seconds that the oldest object has waited for a pass, by kind and lane",
            metrics.queues.oldest.clone(),
        );
        registry.register("leader", "1 while this replica works, else 0", metrics.leader.clone());
        registry.register(
            "time_to_ready_seconds",
            "Seconds from a Developer's creation until all access is in place",
            metrics.time_to_ready.clone(),
        );
        registry.register(
            "time_to_revoke_seconds",
            "Seconds from the first pass that saw somebody leave until no binding names her",
            metrics.time_to_revoke.clone(),
        );
        registry.register(
            "time_to_accounts_seconds",
            "Seconds from a Developer's creation until all accounts that she is to have are in place",
            metrics.time_to_accounts.clone(),
        );
        registry.register(
            "time_to_first_commit_seconds",
            "Seconds from a Developer's creation until her first push",
            metrics.time_to_first_commit.clone(),
        );
        registry.register("provider_calls", "Requests to an outside system, by Provider and outcome", metrics.desks.calls.clone());
        registry.register("account_queue_length", "Accounts that wait to be settled, by Provider and lane", metrics.desks.length.clone());
        registry.register(
            "account_queue_oldest_seconds",
            "Seconds that the oldest account has waited to be settled, by Provider and lane",
            metrics.desks.oldest.clone(),
        );
        registry.register("grants", "Grants by what was done: begun, changed", metrics.grants.clone());
        registry.register("source_state", "1 for the state that a Source is in", metrics.counted.sources.clone());
        registry.register("source_reads", "Tries to read a Source, by outcome", metrics.reads.clone());
        registry.register("source_read_age_seconds", "Seconds since all of a Source was read", metrics.counted.read_ages.clone());
        register(&metrics.counted.scorecards, &mut registry);
        registry.register("exported_lines", "Lines of the record that were exported", metrics.exported.clone());
        registry.register("export_failures", "Tries to export the record that failed or hung", metrics.export_failures.clone());
        registry.register("export_waiting", "Changes of the record that wait to be exported", metrics.export_waiting.clone());
        registry.register("audit_denials", "Denied requests of people that the audit webhook told of", metrics.audit_denials.clone());
        registry.register("audit_dropped", "Denied requests that were not judged, as too many waited", metrics.audit_dropped.clone());
        Self { registry, ..metrics }
    }
}

/// The figures of Scorecards.
fn register(scorecards: &Scorecards, registry: &mut Registry) {
    registry.register("scorecard_people", "People who are declared and have not left, by Scorecard", scorecards.people.clone());
    registry.register(
        "scorecard_time_to_access_seconds",
        "Seconds from the declaration of people who came within the window until everything was in place, by Scorecard and percentile",
        scorecards.access.clone(),
    );
    registry.register(
        "scorecard_time_to_first_commit_seconds",
        "Seconds from the declaration of people who came within the window until their first push, by Scorecard and percentile",
        scorecards.commit.clone(),
    );
    registry.register(
        "scorecard_access_error_ratio",
        "Share of people's targets that are in error, by Scorecard, from 0 to 1",
        scorecards.errors.clone(),
    );
    registry.register(
        "scorecard_denied_requests",
        "Requests within the window that were denied although a Role allowed them, by Scorecard",
        scorecards.denied.clone(),
    );
    registry.register(
        "scorecard_touchpoints",
        "What people did by hand within the window, by Scorecard and kind",
        scorecards.touchpoints.clone(),
    );
    registry.register(
        "scorecard_consistency_ratio",
        "Share of people's Roles that are alike where Environments are named together, by Scorecard, from 0 to 1",
        scorecards.consistency.clone(),
    );
}

impl Metrics {
    /// A pass is over.
    pub fn pass(&self, kind: &str, outcome: &str, took: Duration) {
        self.passes.get_or_create(&Outcome { kind: kind.to_owned(), outcome: outcome.to_owned() }).inc();
        self.pass_seconds.get_or_create(&Kind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    /// Something was written.
    pub fn wrote(&self, kind: &str, verb: &str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), verb: verb.to_owned() }).inc();
    }

    /// A watch was interrupted.
    pub fn watch_restarted(&self, kind: &str) {
        self.watch_restarts.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// Somebody declared something else than before.
    pub fn declared(&self, kind: &str) {
        self.declarations.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }

    /// From now on it is told what is kept.
    pub fn watch_census(&self, take: impl Fn() -> Census + Send + Sync + 'static) {
        *self.counted.take.lock() = Some(Box::new(take));
    }

    /// From now on it is told what waits in a queue.
    pub fn watch_queue(&self, kind: &'static str, waiting: impl Fn() -> Vec<Waiting> + Send + Sync + 'static) {
        self.queues.watched.lock().push((kind, Box::new(waiting)));
    }

    /// Whether this replica works.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Somebody's access is complete for the first time.
    pub fn ready_after(&self, seconds: f64) {
        self.time_to_ready.observe(seconds);
    }

    /// All accounts that somebody is to have are in place for the first time.
    pub fn accounts_after(&self, seconds: f64) {
        self.time_to_accounts.observe(seconds);
    }

    /// Somebody pushed for the first time. Who did so before she was declared is no newcomer, and is not counted.
    pub fn first_commit_after(&self, seconds: f64) {
        if seconds >= 0.0 {
            self.time_to_first_commit.observe(seconds);
        }
    }

    /// A Provider's desk was opened. Returns the number by which it counts its calls.
    pub fn desk_opened(&self, provider: &str, waiting: impl Fn() -> Vec<Waiting> + Send + Sync + 'static) -> u64 {
        let number = self.desks.numbers.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.desks.open.lock().insert(provider.to_owned(), OpenDesk { number, outcomes: BTreeSet::new(), waiting: Box::new(waiting) });
        number
    }

    /// A Provider's desk was closed: it has no series any more.
    pub fn desk_closed(&self, provider: &str, number: u64) {
        let mut open = self.desks.open.lock();
        let Some(desk) = open.get(provider).filter(|desk| desk.number == number) else { return };
        for (lane, ..) in (desk.waiting)() {
            let labels = ProviderLane { provider: provider.to_owned(), lane };
            self.desks.length.remove(&labels);
            self.desks.oldest.remove(&labels);
        }
        for outcome in &desk.outcomes {
            self.desks.calls.remove(&Call { provider: provider.to_owned(), outcome: outcome.clone() });
        }
        open.remove(provider);
    }

    /// A request of a desk was answered, or not. What a desk asked before it was closed may end later, and does not bring its series back.
    pub fn called(&self, provider: &str, number: u64, outcome: &str) {
        let mut open = self.desks.open.lock();
        if let Some(desk) = open.get_mut(provider).filter(|desk| desk.number == number) {
            desk.outcomes.insert(outcome.to_owned());
            self.desks.calls.get_or_create(&Call { provider: provider.to_owned(), outcome: outcome.to_owned() }).inc();
        }
    }

    /// Somebody's access is gone.
    pub fn revoked_after(&self, took: Duration) {
        self.time_to_revoke.observe(took.as_secs_f64());
    }

    /// A Grant was begun or changed.
    pub fn granted(&self, what: &str) {
        self.grants.get_or_create(&Outcome { kind: "Grant".to_owned(), outcome: what.to_owned() }).inc();
    }

    /// It was tried to read a Source.
    pub fn source_read(&self, source: &str, outcome: &str) {
        self.outcomes.lock().entry(source.to_owned()).or_default().insert(outcome.to_owned());
        self.reads.get_or_create(&SourceRead { source: source.to_owned(), outcome: outcome.to_owned() }).inc();
    }

    /// A Source is gone: it has no series any more.
    pub fn source_gone(&self, source: &str) {
        for outcome in self.outcomes.lock().remove(source).into_iter().flatten() {
            self.reads.remove(&SourceRead { source: source.to_owned(), outcome });
        }
    }

    /// Lines of the record were exported.
    pub fn exported(&self, lines: u64) {
        self.exported.inc_by(lines);
    }

    /// The record could not be exported, or not yet.
    pub fn export_failed(&self) {
        self.export_failures.inc();
    }

    /// How many changes wait to be exported.
    pub fn export_waits(&self, count: usize) {
        self.export_waiting.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The audit webhook told of a denied request of somebody.
    pub fn audit_denied(&self, times: u32) {
        self.audit_denials.inc_by(u64::from(times));
    }

    /// A denied request is not judged, as too many wait.
    pub fn audit_dropped(&self) {
        self.audit_dropped.inc();
    }

    /// All metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        self.count();
        self.look_at_queues();
        self.look_at_desks();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    fn count(&self) {
        let Some(census) = self.counted.take.lock().as_ref().map(|take| take()) else { return };
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.counted.overdue.set(gauge(census.overdue));
        for (state, count) in census.departures {
            self.counted.departures.get_or_create(&State { state }).set(gauge(count));
        }
        self.counted.providers.clear();
        for (provider, state) in census.providers {
            self.counted.providers.get_or_create(&ProviderState { provider, state }).set(1);
        }
        self.counted.consistency.clear();
        for (environment, ratio) in census.consistency {
            self.counted.consistency.get_or_create(&Environment { environment }).set(ratio);
        }
        self.counted.scorecards.take_in(census.scorecards);
        self.counted.sources.clear();
        self.counted.read_ages.clear();
        for SourceCensus { name: source, state, age } in census.sources {
            if let Some(state) = state {
                self.counted.sources.get_or_create(&StateOfSource { source: source.clone(), state }).set(1);
            }
            if let Some(age) = age {
                self.counted.read_ages.get_or_create(&OfSource { source }).set(age);
            }
        }
    }

    fn look_at_queues(&self) {
        for (kind, look) in self.queues.watched.lock().iter() {
            for (lane, length, oldest) in look() {
                let labels = KindLane { kind, lane };
                self.queues.length.get_or_create(&labels).set(i64::try_from(length).unwrap_or(i64::MAX));
                self.queues.oldest.get_or_create(&labels).set(oldest.as_secs_f64());
            }
        }
    }

    /// A desk that waits for its system makes no passes, so how long its queue is, is looked at when it is asked.
    fn look_at_desks(&self) {
        for (provider, desk) in self.desks.open.lock().iter() {
            for (lane, length, oldest) in (desk.waiting)() {
                let labels = ProviderLane { provider: provider.clone(), lane };
                self.desks.length.get_or_create(&labels).set(i64::try_from(length).unwrap_or(i64::MAX));
                self.desks.oldest.get_or_create(&labels).set(oldest.as_secs_f64());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_desk_that_is_closed_leaves_no_series_behind_and_its_last_answers_bring_none_back() {
        let metrics = Metrics::default();
        let waiting = || vec![("new", 2, Duration::from_secs(3))];
        let first = metrics.desk_opened("git", waiting);
        metrics.called("git", first, "Answered");
        let open = metrics.text();
        for line in [
            "usher_provider_calls_total{provider=\"git\",outcome=\"Answered\"} 1",
            "usher_account_queue_length{provider=\"git\",lane=\"new\"} 2",
            "usher_account_queue_oldest_seconds{provider=\"git\",lane=\"new\"} 3.0",
        ] {
            assert!(open.lines().any(|there| there == line), "{line} is not in\n{open}");
        }
        metrics.desk_closed("git", first);
        metrics.called("git", first, "Answered");
        assert!(!metrics.text().contains("\"git\""));
        let second = metrics.desk_opened("git", Vec::new);
        metrics.called("git", first, "Answered");
        metrics.desk_closed("git", first);
        metrics.called("git", second, "Unreachable");
        let again = metrics.text();
        assert!(!again.contains("Answered") && again.contains("Unreachable"), "{again}");
    }

    #[test]
    fn who_pushed_before_she_was_declared_is_no_newcomer() {
        let metrics = Metrics::default();
        metrics.first_commit_after(-60.0);
        metrics.first_commit_after(600.0);
        let text = metrics.text();
        assert!(text.contains("usher_time_to_first_commit_seconds_count 1"), "{text}");
    }
}
