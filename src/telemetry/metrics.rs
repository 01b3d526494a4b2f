//! Prometheus metrics, in OpenMetrics text. Every label has a bounded set of values.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

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

/// From a millisecond, a pass that writes nothing, to a minute, a cluster in trouble.
const SECONDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0];

/// All metrics of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<Outcome, Counter>,
    pass_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    writes: Family<WriteLabels, Counter>,
    watch_restarts: Family<Kind, Counter>,
    queue: Family<Kind, Gauge>,
    oldest: Family<Kind, Gauge<f64, std::sync::atomic::AtomicU64>>,
    leader: Gauge,
    time_to_ready: Histogram,
    time_to_revoke: Histogram,
    grants: Family<Outcome, Counter>,
    exported: Counter,
    export_failures: Counter,
    export_waiting: Gauge,
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
            queue: Family::default(),
            oldest: Family::default(),
            leader: Gauge::default(),
            time_to_ready: seconds(),
            time_to_revoke: seconds(),
            grants: Family::default(),
            exported: Counter::default(),
            export_failures: Counter::default(),
            export_waiting: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Passes by kind and outcome", metrics.passes.clone());
        registry.register("reconcile_seconds", "Seconds a pass took, by kind", metrics.pass_seconds.clone());
        registry.register("api_writes", "Writes to the Kubernetes API, by kind and verb", metrics.writes.clone());
        registry.register("watch_restarts", "Watches that were interrupted, by kind", metrics.watch_restarts.clone());
        registry.register("queue_length", "Objects that wait for a pass, by kind", metrics.queue.clone());
        registry.register("queue_oldest_seconds", "Seconds that the oldest object has waited, by kind", metrics.oldest.clone());
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
        registry.register("grants", "Grants by what was done: begun, changed", metrics.grants.clone());
        registry.register("exported_lines", "Lines of the record that were exported", metrics.exported.clone());
        registry.register("export_failures", "Tries to export the record that failed or hung", metrics.export_failures.clone());
        registry.register("export_waiting", "Changes of the record that wait to be exported", metrics.export_waiting.clone());
        Self { registry, ..metrics }
    }
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

    /// How long a queue is, and how old its oldest item.
    pub fn queued(&self, kind: &str, length: usize, oldest: Duration) {
        self.queue.get_or_create(&Kind { kind: kind.to_owned() }).set(i64::try_from(length).unwrap_or(i64::MAX));
        self.oldest.get_or_create(&Kind { kind: kind.to_owned() }).set(oldest.as_secs_f64());
    }

    /// Whether this replica works.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Somebody's access is complete for the first time.
    pub fn ready_after(&self, seconds: f64) {
        self.time_to_ready.observe(seconds);
    }

    /// Somebody's access is gone.
    pub fn revoked_after(&self, took: Duration) {
        self.time_to_revoke.observe(took.as_secs_f64());
    }

    /// A Grant was begun or changed.
    pub fn granted(&self, what: &str) {
        self.grants.get_or_create(&Outcome { kind: "Grant".to_owned(), outcome: what.to_owned() }).inc();
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

    /// All metrics as OpenMetrics text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
